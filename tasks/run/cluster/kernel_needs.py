"""What overlays need of a kernel, against the host's, on which containers run"""

from collections.abc import Iterable

from tasks.definitions.schema import Overlay
from tasks.run.node import host_kernel
from tasks.run.node.host_kernel import HostKernel

WAY_OUT = "a node that is a virtual machine has it: --node=vm"


def lacking(overlays: Iterable[Overlay], kernel: HostKernel | None = None) -> list[str]:
    """One line for each overlay that containers cannot have all of."""
    needs = {
        each.name: [option.removeprefix("CONFIG_") for option in each.kernel]
        for each in overlays
        if each.kernel
    }
    if not needs:
        return []
    kernel = kernel or HostKernel.of()
    answers = {option: kernel.has(option) for options in needs.values() for option in options}
    return [line for name, options in needs.items() if (line := _line(name, options, answers))]


def _line(name: str, options: Iterable[str], answers: dict[str, bool | None]) -> str:
    missing = [option for option in options if answers[option] is False and option != host_kernel.OWN]
    unknown = [option for option in options if answers[option] is None]
    if missing:
        what = f"lacks {_names(missing)}"
        return f"overlay {name}: the host's kernel, which containers have, {what}; {WAY_OUT}"
    if host_kernel.OWN in options:
        return f"overlay {name}: it needs rights over a whole kernel, which no container has; {WAY_OUT}"
    if unknown:
        what = f"does not tell whether it has {_names(unknown)}"
        return f"overlay {name}: the host's kernel, which containers have, {what}"
    return ""


def _names(options: Iterable[str]) -> str:
    return ", ".join(f"CONFIG_{option}" for option in options)
