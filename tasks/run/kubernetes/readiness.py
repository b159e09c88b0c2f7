"""What an API says of nodes and pods ──> what is not ready, in sentences"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.base.node_names import node_name
from tasks.definitions import kubernetes

CONTROL = node_name(kubernetes.CONTROL)  # whose logs tell of the API


@dataclass(frozen=True)
class Lack:
    """Something that is not ready, and the logs that may say why."""

    what: str
    node: str = ""  # the node to look at
    logs: tuple[str, ...] = ()  # names of logs there, in /var/log
    pod: str = ""  # or the pod, in kube-system


def of_nodes(answer: Any, names: Iterable[str]) -> list[Lack]:
    """Nodes that are not there or not Ready; `answer` is a NodeList."""
    there = {each["metadata"]["name"]: each for each in answer.get("items") or []}
    lacks = []
    for name in names:
        why = _of_node(there[name]) if name in there else "it has not registered"
        if why:
            lacks.append(Lack(f"node {name}: {why}", name, ("kubelet", "containerd")))
    return lacks


def _of_node(node: Any) -> str:
    for condition in node.get("status", {}).get("conditions") or []:
        if condition["type"] == "Ready":
            text = condition.get("message") or condition.get("reason", "")
            return "" if condition["status"] == "True" else f"not Ready: {text}"
    return "not Ready: it has said nothing of itself"


def of_pods(answer: Any) -> list[Lack]:
    """Pods that do not run, or are not ready; `answer` is a PodList, which must not be empty."""
    items = answer.get("items") or []
    if not items:
        return [Lack("kube-system has no pods yet", CONTROL, ("kube-addons", "kube-controller-manager"))]
    lacks = []
    for pod in items:
        why = _of_pod(pod)
        if why:
            name, node = pod["metadata"]["name"], pod.get("spec", {}).get("nodeName", "")
            logs = ("kubelet",) if node else ("kube-scheduler", "kube-controller-manager")
            lacks.append(
                Lack(f"pod {name}{f' on {node}' if node else ''}: {why}", node or CONTROL, logs, name)
            )
    return lacks


def _of_pod(pod: Any) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return ""  # it shall not run
    status = pod.get("status", {})
    phase = status.get("phase", "Unknown")
    if phase == "Succeeded":
        return ""
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = [text for each in containers if (text := _of_container(each))]
    if reasons:
        return "; ".join(reasons)
    conditions = status.get("conditions") or []
    if phase == "Running" and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    ):
        return ""
    wrong = [each for each in conditions if each["status"] != "True" and each.get("message")]
    return f"{phase}: {wrong[0]['message']}" if wrong else str(phase)


def _of_container(container: Any) -> str:
    for kind, state in (container.get("state") or {}).items():
        if kind == "waiting":
            text = state.get("message", "")
            return f"{container['name']}: {state.get('reason', 'waiting')}{f' ({text})' if text else ''}"
        if kind == "terminated" and state.get("exitCode"):
            return f"{container['name']}: it ended with exit code {state['exitCode']}"
    return ""
