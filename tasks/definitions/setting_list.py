"""The settings by name, for help, completion and the command line, without loading what checks their values.

The rows are in setting_table.py, which tasks/cli/reference.py writes from the model in settings.py.
"""

from __future__ import annotations

from tasks.definitions.setting_table import ROWS

# Settings that can be given for one node: --mem201=384, __smp3=1, __nets10=0,3, __append2=debug.
PER_NODE = ("mem", "smp", "nets", "append", "node")
HIDDEN = ("per_node", "mirrors")  # settings that only xcluster.yaml has


def names() -> list[str]:
    """The settings that the command line takes."""
    return [name for name, *_ in ROWS]


def rows() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """(name, default, help, choices) of each setting that the command line takes."""
    return list(ROWS)


def is_setting(name: str) -> bool:
    """Whether `name` (without dashes, - as _) is a setting, of all or of one node."""
    return name in names() or name == "mirrors" or per_node(name) is not None


def is_switch(name: str) -> bool:
    """Whether the setting is yes or no: its name alone means yes."""
    return any(row[0] == name and row[3] == ("yes", "no") for row in ROWS)


def per_node(name: str) -> tuple[str, int] | None:
    """("mem", 201) for mem201, the setting of one node; None for another name."""
    kind = name.rstrip("0123456789")
    number = name[len(kind) :]
    usable = kind in PER_NODE and 0 < len(number) < 4 and number[0] != "0"
    return (kind, int(number)) if usable else None
