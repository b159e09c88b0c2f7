"""a running cluster ──wait──> Kubernetes is ready: nodes are Ready, pods of kube-system run, names are known

What is not ready when the time is over is named, with the last lines of its log.
"""

import concurrent.futures
import shlex
import time
from collections.abc import Callable, Sequence

from tasks.base import files, proc, progress
from tasks.base.errors import UserError
from tasks.base.node_names import node_name, number_of
from tasks.definitions import kubernetes
from tasks.definitions.roles import role_of
from tasks.project.project import Project
from tasks.run.kubernetes import kube_context, readiness
from tasks.run.kubernetes.api import Api, Unanswered
from tasks.run.kubernetes.readiness import CONTROL, Lack
from tasks.run.running import reach
from tasks.run.running.cluster import running

PAUSE = 2.0  # seconds between two looks, which cost an emulated node what it needs to become ready
LOGIN = 30  # seconds for a command on a node
LINES, WIDTH = 5, 200  # of a log
TOLD = 6  # lacks, and their logs
PHASES = ("API", "nodes", "pods", "names")  # one after the other
NAME = f"kubernetes.default.svc.{kubernetes.DOMAIN}"
SYSTEM = "/api/v1/namespaces/kube-system/pods"


def wait(project: Project) -> None:
    """Wait until Kubernetes in the running cluster is ready. UserError after the settings' `timeout`."""
    name = project.settings.name
    api = Api(kube_context.access(project.workspace, name))
    watch = ReadyWatch(project, api)
    began = time.monotonic()
    seconds: dict[str, float] = {}
    lacks: list[Lack] = []
    with progress.Bar("Kubernetes", len(PHASES), unit="step") as bar:
        while time.monotonic() - began < project.settings.timeout:
            done, lacks = watch.look()
            for phase in PHASES[:done]:
                seconds.setdefault(phase, round(time.monotonic() - began, 1))
            bar.to(done)
            if not lacks:
                break
            time.sleep(PAUSE)
    if lacks:
        raise UserError(
            f"Kubernetes is not ready after {project.settings.timeout} s:\n" + "\n".join(watch.report(lacks)),
            f"the cluster is still running; look at it: xc rsh --name={name} 1 kubectl get pods -A; "
            f"end it: xc stop --name={name}",
        )
    files.write_json(project.workspace.cluster(name).ready, {"seconds": seconds})
    progress.say(
        "Kubernetes is ready: " + ", ".join(f"{phase} in {each} s" for phase, each in seconds.items())
    )


class ReadyWatch:
    """Looks at one cluster again and again."""

    def __init__(self, project: Project, api: Api) -> None:
        self._project = project
        self._api = api
        directory = project.workspace.cluster(project.settings.name)
        self._numbers = [number for number in running(directory) if role_of(number) == "vm"]

    def look(self) -> tuple[int, list[Lack]]:
        """How many phases are done, and what the next one lacks."""
        try:
            nodes = self._api.get("/api/v1/nodes")
        except Unanswered as error:
            return 0, [Lack(str(error), CONTROL, ("etcd", "kube-apiserver"))]
        looks: Sequence[Callable[[], list[Lack]]] = (
            lambda: readiness.of_nodes(nodes, [node_name(number) for number in self._numbers]),
            lambda: readiness.of_pods(self._api.get(SYSTEM)),
            self._names,
        )
        for done, look in enumerate(looks, 1):
            try:
                lacks = look()
            except Unanswered as error:
                lacks = [Lack(str(error), CONTROL, ("etcd", "kube-apiserver"))]
            if lacks:
                return done, lacks
        return len(PHASES), []

    def report(self, lacks: Sequence[Lack]) -> list[str]:
        """What is missing, each with the last lines of what may say why."""
        lines = []
        for lack in lacks[:TOLD]:
            lines.append(f"  {lack.what}")
            lines += [f"    | {line[:WIDTH]}" for line in self._log(lack)]
        return lines + ([f"  and {len(lacks) - TOLD} more"] if len(lacks) > TOLD else [])

    def _names(self) -> list[Lack]:
        """The nodes on which the name of the API does not resolve."""
        with concurrent.futures.ThreadPoolExecutor(max(len(self._numbers), 1)) as pool:
            answers = list(
                pool.map(lambda number: self._on(number, f"nslookup {NAME} 2>&1 || true"), self._numbers)
            )
        return [
            Lack(
                f"{node_name(number)} does not find {NAME}: {_last(text)}",
                node_name(number),
                ("kube-proxy", "dnsmasq"),
            )
            for number, text in zip(self._numbers, answers, strict=True)
            if f"Name:\t{NAME}" not in text
        ]

    def _log(self, lack: Lack) -> list[str]:
        if lack.pod:
            try:
                lines = self._api.text(f"{SYSTEM}/{lack.pod}/log?tailLines={LINES}").splitlines()
            except Unanswered:
                lines = []
            if lines:
                return lines
        number = number_of(lack.node or CONTROL)
        paths = [f"/var/log/{name}.log" for name in lack.logs]
        command = f"for i in {shlex.join(paths)}; do [ ! -s $i ] || {{ echo $i:; tail -n {LINES} $i; }}; done"
        return self._on(number, command).splitlines()

    def _on(self, number: int, command: str) -> str:
        """What a command on a node prints, or why it could not be run."""
        try:
            words = reach.to_node(self._project, number, [command])
            return proc.output(["timeout", str(LOGIN), *words]).decode(errors="replace")
        except UserError as error:
            return str(error)


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no answer"
