"""The options of QEMU that a user sets ──> what is wrong with them, without starting it"""

import shlex

from tasks.base import proc
from tasks.base.errors import nearest
from tasks.definitions.settings import Settings

QEMU = "qemu-system-x86_64"


def usual_machine(settings: Settings) -> bool:
    """Whether nodes are of the type that they are without a setting."""
    return settings.machine == str(Settings.model_fields["machine"].default)


def wrong(settings: Settings) -> list[str]:
    """Settings that QEMU would end with at once."""
    try:
        shlex.split(settings.kvm_opt)
    except ValueError as error:
        return [f"kvm_opt cannot be split into words: {error}: {settings.kvm_opt}"]
    return _wrong_machine(settings.machine)


def _wrong_machine(machine: str) -> list[str]:
    """Whether QEMU has this type of machine; it is asked for others than the usual one only."""
    if machine == Settings.model_fields["machine"].default or not proc.find(QEMU):
        return []
    kind, *_ = machine.split(",")
    lines = proc.output([QEMU, "-machine", "help"]).decode().splitlines()[1:]
    kinds = [words[0] for line in lines if (words := line.split())]
    meant = "".join(f"; did you mean '{near}'?" for near in nearest(kind, kinds)[:1])
    lists = f"`{QEMU} -machine help` lists them"
    return [] if kind in kinds else [f"machine: QEMU has no type '{kind}', {lists}{meant}"]
