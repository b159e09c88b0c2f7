"""Processes found by what they are. Programs that are ours are small real ones; others look like ours."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tasks.base import helper, process_facts, records
from tasks.base.paths import ClusterDir, Workspace
from tasks.base.records import Damaged, Mark
from tasks.definitions.settings import Settings
from tasks.run.cluster import ending
from tasks.run.inspect import status
from tasks.run.net import obstacles, userspace
from tasks.run.net.bridge import BACKEND as BRIDGE
from tasks.run.net.net_state import PLACE, NetPlace
from tasks.run.net.protocol import Ports
from tasks.run.running import processes
from tasks.run.running.cluster import Running
from tests.conftest import eventually
from tests.ports import free_pair
from tests.run.running.clusters import started

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
NO_BRIDGES = pytest.mark.skipif(bool(obstacles.of_bridges()), reason="no bridges here")


class Programs:
    """Processes that end with the test."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []

    def start(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, name: str = ""
    ) -> "subprocess.Popen[bytes]":
        """Start one; it says `ready` when it runs. `name` is what its command line begins with."""
        words = [name, *argv[1:]] if name else list(argv)
        clean = {key: value for key, value in os.environ.items() if key != helper.MARK}
        process = subprocess.Popen(
            words,
            executable=argv[0],
            env={**clean, **(env or {})},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout and process.stdout.readline() == b"ready\n"
        self.all.append(process)
        return process

    def python(
        self, code: str = SLEEP, *words: str, env: Mapping[str, str] | None = None, name: str = ""
    ) -> "subprocess.Popen[bytes]":
        """A line of Python."""
        return self.start([sys.executable, "-c", code, *words], env, name=name)


@pytest.fixture
def programs() -> Iterator[Programs]:
    """None at first."""
    started = Programs()
    yield started
    for process in started.all:
        process.kill()
        process.wait()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One without a cluster."""
    return Workspace(tmp_path / "ws")


def marked(cluster: ClusterDir) -> dict[str, str]:
    """The mark of what runs for a cluster."""
    return helper.environment(cluster.root)


def pids(cluster: ClusterDir) -> set[int]:
    """The processes that are found."""
    return {process.mark.pid for process in processes.of(cluster)}


def test_a_marked_process_and_its_children_are_found_without_any_file(
    workspace: Workspace, programs: Programs
) -> None:
    cluster = workspace.cluster("c")
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    parent = programs.python(code, SLEEP, env=marked(cluster))
    (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert pids(cluster) == {parent.pid, int(child)}
    assert Running.find(workspace, "c") is not None
    assert processes.clusters(workspace) == {"c"}
    assert ending.stop(workspace, "c")
    assert parent.wait(10) and process_facts.started_at(int(child)) is None
    assert Running.find(workspace, "c") is None and not ending.stop(workspace, "c")


def test_one_that_ignores_sigterm_is_killed(workspace: Workspace, programs: Programs) -> None:
    process = programs.python(STUBBORN, env=marked(workspace.cluster("c")))
    assert ending.stop(workspace, "c")
    assert process.wait(10) == -signal.SIGKILL


def test_others_are_left_alone(workspace: Workspace, programs: Programs, tmp_path: Path) -> None:
    """Clusters of other names and workspaces, and programs that only look at the cluster's files."""
    cluster = workspace.cluster("c")
    own = programs.python(env=marked(cluster))
    console = cluster.node(1).console_log
    others = [
        programs.python(env=marked(workspace.cluster("cc"))),
        programs.python(env=marked(workspace.cluster("c-2"))),
        programs.python(env=marked(Workspace(tmp_path / "other").cluster("c"))),
        programs.python(env={"XCLUSTER_WORKSPACE": str(workspace.root), "__name": "c"}),
        programs.python(env={helper.MARK: str(cluster.node(1).root)}),
        programs.python(env={helper.MARK: ""}),
        programs.python(SLEEP, str(console)),  # an editor
        programs.python(SLEEP, "--", str(cluster.root), name="tail"),
        programs.python(SLEEP, f"file={cluster.node(1).disk}", name="qemu-system-x86_64"),  # not a node
        programs.python(SLEEP, "-name", "vm-001,process=vm-001", f"path={tmp_path}/other/run/c/vm-001/qmp",
                        name="qemu-system-x86_64"),
        programs.python(SLEEP, str(cluster.net), name="/x/tasks/run/net/programs/switch.py"),
    ]  # fmt: skip
    assert pids(cluster) == {own.pid}
    assert ending.stop(workspace, "c")
    assert own.wait(10) and [process.poll() for process in others] == [None] * len(others)


def test_whoever_stops_is_not_ended(workspace: Workspace, programs: Programs) -> None:
    """As in a window that was opened for the cluster: the mark is in our own environment."""
    cluster = workspace.cluster("c")
    code = "import sys; from pathlib import Path; from tasks.base.paths import Workspace"
    code += "; from tasks.run.cluster import ending"
    code += "; print('stopped', ending.stop(Workspace(Path(sys.argv[1])), 'c'))"
    other = programs.python(env=marked(cluster))
    shell = ["sh", "-c", '"$0" -c "$1" "$2"; echo $?', sys.executable, code, str(workspace.root)]
    done = subprocess.run(
        shell, env={**os.environ, **marked(cluster)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "stopped True\n0\n", done.stderr
    assert other.wait(10)


OLD = [  # command lines of programs as they were started before there was a mark
    ("qemu-system-x86_64", ["-name", "vm-001,process=vm-001", "-chardev", "socket,path={root}/vm-001/qmp"]),
    ("dnsmasq", ["--keep-in-foreground", "--conf-file={root}/dns/dnsmasq.conf"]),
    ("coredns", ["-conf", "{root}/dns/Corefile"]),
]  # fmt: skip
SCRIPTS = [
    "tasks/net/switch.py",
    "tasks/net/holder.py",
    "tasks/net/wire.py",
    "tasks/net/pretend.py",
    "tasks/node/guard.py",
    "tasks/run/net/programs/switch.py",
    "tasks/run/node/programs/guard.py",
]


@pytest.mark.parametrize(("name", "words"), OLD)
def test_programs_without_a_mark_are_known_by_their_command_line(
    workspace: Workspace, programs: Programs, name: str, words: list[str]
) -> None:
    cluster = workspace.cluster("c")
    process = programs.python(
        SLEEP, *(word.format(root=cluster.root) for word in words), name=f"/usr/bin/{name}"
    )
    assert pids(cluster) == {process.pid} and pids(workspace.cluster("c2")) == set()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_without_a_mark_too(
    workspace: Workspace, programs: Programs, tmp_path: Path, script: str
) -> None:
    file = tmp_path / "checkout" / script
    file.parent.mkdir(parents=True)
    file.write_text(SLEEP)
    cluster = workspace.cluster("c")
    process = programs.start([sys.executable, "-I", str(file), str(cluster.net), "1"])
    assert pids(cluster) == {process.pid}
    assert ending.stop(workspace, "c") and process.wait(10)


def test_a_workspace_behind_a_link_is_the_same(
    workspace: Workspace, programs: Programs, tmp_path: Path
) -> None:
    workspace.root.mkdir()
    (tmp_path / "link").symlink_to(workspace.root)
    process = programs.python(env=marked(Workspace(tmp_path / "link").cluster("c")))
    assert pids(workspace.cluster("c")) == {process.pid}
    assert pids(Workspace(tmp_path / "link").cluster("c")) == {process.pid}


def test_the_same_path_in_another_container_is_another_workspace(
    workspace: Workspace, programs: Programs
) -> None:
    """A process that sees something else at the workspace's path is of somebody else."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    workspace.root.mkdir()
    script = f'mount -t tmpfs none {workspace.root} && exec {sys.executable} -c "{SLEEP}"'
    other = programs.start(
        [shutil.which("unshare") or "", "--mount", "sh", "-c", script], marked(workspace.cluster("c"))
    )
    assert pids(workspace.cluster("c")) == set()
    assert not ending.stop(workspace, "c") and other.poll() is None


def test_a_node_whose_file_is_damaged_is_found_by_its_machine(
    workspace: Workspace, programs: Programs
) -> None:
    cluster = workspace.cluster("c")
    machine = programs.python(
        SLEEP, "-name", "vm-002,process=vm-002", env=marked(cluster), name="qemu-system-x86_64"
    )
    for number in (1, 2):
        cluster.node(number).root.mkdir(parents=True)
        cluster.node(number).state.write_text("{")
    running = Running.get(workspace, "c")
    assert running.alive() == {2: machine.pid}
    shown = status.of(running)
    assert [(node.name, node.state) for node in shown.nodes] == [("vm-001", "dead"), ("vm-002", "alive")]
    ending.remove_node(cluster, 2)
    assert machine.wait(10) and running.numbers == [1]


def test_a_container_is_found_by_its_file(workspace: Workspace, programs: Programs) -> None:
    cluster = workspace.cluster("c")
    cluster.node(3).root.mkdir(parents=True)
    cluster.node(3).state.write_text("{")
    keeper = programs.python(SLEEP, str(cluster.node(3).root / "container.json"), env=marked(cluster))
    assert Running.get(workspace, "c").alive() == {3: keeper.pid}


def test_a_cluster_whose_directory_is_gone_is_told(workspace: Workspace, programs: Programs) -> None:
    cluster = workspace.cluster("c")
    programs.python(env=marked(cluster))
    (running,) = Running.all_left(workspace)
    shown = status.of(running)
    assert [each.why for each in shown.damaged] == ["the directory is gone"]
    assert "xc stop --name=c" in shown.text()


def test_a_real_switch_whose_files_are_gone(workspace: Workspace) -> None:
    cluster = workspace.cluster("c")
    nodes = Settings(nvm=1, nrouters=1).nodes()
    userspace.BACKEND.up(cluster, nodes, "fd00:", Ports(12300, None))
    (pid,) = userspace.BACKEND.processes(cluster).values()
    shutil.rmtree(workspace.run)
    assert pids(cluster) == {pid}
    assert ending.stop(workspace, "c")
    assert process_facts.started_at(pid or 0) is None and list(workspace.run.iterdir()) == []


@NO_BRIDGES
def test_a_real_namespace_whose_files_are_gone(workspace: Workspace) -> None:
    """Its holder, what connects it, and whatever runs in it."""
    cluster = workspace.cluster("c")
    nodes = Settings(nvm=1, nrouters=1).nodes()
    BRIDGE.up(cluster, nodes, "fd00:", Ports(free_pair() - 1, None))
    guest = subprocess.Popen([*BRIDGE.inside(cluster), "sleep", "600"])
    all_pids = set(BRIDGE.processes(cluster).values())
    assert len(all_pids) == 3 and None not in all_pids
    shutil.rmtree(workspace.run)
    assert pids(cluster) == all_pids
    assert ending.stop(workspace, "c")
    assert guest.wait(10) == -signal.SIGKILL
    eventually(lambda: not any(process_facts.started_at(pid or 0) for pid in all_pids), 10)
    assert pids(cluster) == set()


@NO_BRIDGES
def test_a_namespace_whose_record_is_damaged(workspace: Workspace) -> None:
    cluster = workspace.cluster("c")
    BRIDGE.up(cluster, Settings(nvm=1, nrouters=0).nodes(), "fd00:", Ports(free_pair() - 1, None))
    all_pids = set(BRIDGE.processes(cluster).values())
    (cluster.net / "place.json").write_text(json.dumps({"format": 8}))
    assert ending.stop(workspace, "c")
    eventually(lambda: not any(process_facts.started_at(pid or 0) for pid in all_pids), 10)
    assert list(workspace.run.iterdir()) == []


def test_a_copy_of_a_clusters_files_is_not_that_cluster(workspace: Workspace, programs: Programs) -> None:
    """What it names belongs to the original, and stays."""
    original = workspace.cluster("original")
    machine = programs.python(env=marked(original))
    holder = programs.python(env=marked(original))
    started(
        workspace,
        Settings(name="original", net="bridge", nvm=1, nrouters=0),
        pid=machine.pid,
        start=process_facts.started_at(machine.pid),
    )
    mark = Mark.of(holder.pid)
    original.net.mkdir()
    records.write(original.net / PLACE, NetPlace(own=True, user=False, holder=mark, inner=mark))
    shutil.copytree(original.root, workspace.cluster("copy").root)
    copy = Running(workspace.cluster("copy"))
    assert copy.alive() == {} and Running(original).alive() == {1: machine.pid}
    assert ending.stop(workspace, "copy") and not copy.directory.root.exists()
    assert machine.poll() is None and holder.poll() is None
    assert ending.stop(workspace, "original")
    assert machine.wait(10) is not None and holder.wait(10) is not None


def test_files_that_were_moved_with_their_workspace_still_count(tmp_path: Path, programs: Programs) -> None:
    before = Workspace(tmp_path / "before")
    machine = programs.python(env=marked(before.cluster("c")))
    started(
        before,
        Settings(name="c", net="userspace", nvm=1, nrouters=0),
        pid=machine.pid,
        start=process_facts.started_at(machine.pid),
    )
    before.root.rename(tmp_path / "after")
    assert ending.stop(Workspace(tmp_path / "after"), "c")
    assert machine.wait(10) is not None


def test_a_machine_whose_directory_is_gone_is_a_damage(workspace: Workspace, programs: Programs) -> None:
    cluster = started(workspace, Settings(name="c", net="userspace", nvm=1, nrouters=0))
    machine = programs.python(SLEEP, "-name", "vm-002,process=vm-002", env=marked(cluster))
    damages = [damage for damage in Running(cluster).damages if damage.path == cluster.node(2).root]
    assert [damage.why for damage in damages] == ["the directory is gone, but the machine of vm-002 runs"]
    assert processes.nodes(cluster) == {2: machine.pid}


def test_bridges_without_the_file_of_their_namespace_are_a_damage(workspace: Workspace) -> None:
    cluster = started(workspace, Settings(name="c", net="bridge", nvm=1, nrouters=0))
    assert cluster.net / PLACE in {damage.path for damage in Running(cluster).damages}
    with pytest.raises(Damaged):
        Running(cluster).check()
