"""What the last word of a command line may become: `xc __complete WORD...`, which each shell's script asks.

Verbs and options come from the table, names from the directories they are in: nothing else is loaded, so that
an answer takes no longer than a key press.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from tasks.base.node_names import number_in
from tasks.cli import table
from tasks.definitions import overlay_path, setting_list
from tasks.project.command_line import COMMON, EVERYWHERE, SHORT, Reads, Takes, Verb, dashes

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
OF_SETTINGS = {"kernel": "kernel", "image": "image", "topology": "topology", "name": "cluster"}
SLOW = ("artifact:", "suite:", "pull:")  # tasks that only doit can list


def main(words: Sequence[str]) -> int:
    """Print the candidates, one a line."""
    last = words[-1] if words else ""
    names = sorted({name for name in candidates(words[:-1], last) if name.startswith(last)})
    print("".join(f"{name}\n" for name in names), end="")
    return 0


def candidates(before: Sequence[str], last: str) -> Iterable[str]:
    """The candidates for `last`, the beginning of the word that comes after the words `before`."""
    row = next((table.VERBS[word] for word in before if word in table.VERBS), None)
    if last.startswith("--") and "=" in last:
        option = last.partition("=")[0]
        return [f"{option}={value}" for value in _values(row, option, before)]
    waits = bool(before) and before[-1].startswith("-") and "=" not in before[-1]
    if waits and _takes_value(row, before[-1]):
        return _values(row, before[-1], before)
    if last.startswith("-"):
        return _options(row)
    if ":" in last:
        return _tasks(last)
    if row is None:
        return [*table.VERBS, *_hooked(), *_nouns(last)]
    return _args(row, before, last)


def _args(row: Verb, before: Sequence[str], last: str) -> Iterable[str]:
    """What an arg of the verb may be."""
    at = list(before).index(row.name)
    args = [
        word
        for i, word in enumerate(before[at + 1 :], at + 1)
        if not word.startswith("-") and not _takes_value(row, before[i - 1])
    ]
    actions = row.actions if not args else ()
    if not row.kinds or (row.most is not None and len(args) >= row.most):
        return actions
    if row.reads is Reads.COMMAND and args:
        return actions
    kind = row.kinds[min(len(args), len(row.kinds) - 1)]
    return [*actions, *_names(kind, before, last)]


def _nouns(last: str) -> list[str]:
    """Nouns, and the tasks of those that the word begins."""
    begun = [noun for noun in table.NOUNS if last and noun.startswith(last)]
    fast = [noun for noun in begun if f"{noun}:" not in SLOW]
    return [*table.NOUNS, *(name for noun in fast for name in _tasks(f"{noun}:"))]


def _hooked() -> Iterable[str]:
    """The verbs of the user's hook."""
    if not os.environ.get("XCLUSTER_HOOK"):
        return ()
    from tasks.cli import hook

    return hook.verbs()


def _options(row: Verb | None) -> list[str]:
    """An option that takes a value ends in =; one that is off by default is switched on by its name."""
    shared = [*COMMON, *(row.options if row else ())]
    names = [dashes(option.name) + ("=" if option.value else "") for option in shared]
    names += [f"-{letter}" for letter in SHORT]
    if row is None:
        return [*names, "--version"]
    taken = setting_list.names() if row.takes is not Takes.NAME else EVERYWHERE
    defaults = {name: default for name, default, *_ in setting_list.rows()}
    off = [name for name in taken if setting_list.is_switch(name) and defaults[name] == "no"]
    return names + [dashes(name) + ("" if name in off else "=") for name in taken]


def _takes_value(row: Verb | None, word: str) -> bool:
    name = word.lstrip("-").replace("-", "_")
    if not word.startswith("-") or "=" in word or row is None:
        return False
    option = row.option(name) or next((each for each in COMMON if each.name == name), None)
    return (
        bool(option.value) if option else setting_list.is_setting(name) and not setting_list.is_switch(name)
    )


def _values(row: Verb | None, word: str, before: Sequence[str]) -> Iterable[str]:
    """What may be the value of an option."""
    name = word.lstrip("-").replace("-", "_")
    options = [*(row.options if row else ()), *COMMON]
    option = next((each for each in options if each.name == name), None)
    if option:
        return option.choices or _names(option.kind, before, "")
    choices = next((row[3] for row in setting_list.rows() if row[0] == name), ())
    return choices or _names(OF_SETTINGS.get(name, ""), before, "")


def _names(kind: str, before: Sequence[str], last: str) -> Iterable[str]:
    """The names of a kind. For an unknown kind there are none, and the shell offers files."""
    workspace = os.environ.get("XCLUSTER_WORKSPACE") or os.path.join(ROOT, "workspace")
    if kind == "node":
        folder = os.path.join(workspace, "run", _cluster(before))
        return [str(number) for name in _below(folder) if (number := number_in(name))]
    if kind == "source-kernel":
        return [name for name in _kernels() if _is_source(name)]
    if "/" in kind:
        return kind.split("/")
    lists: Mapping[str, Callable[[], list[str]]] = {
        "kernel": _kernels,
        "image": lambda: _with_file(os.path.join(ROOT, "images"), "image.yaml"),
        "overlay": _overlays,
        "topology": _topologies,
        "cluster": lambda: [name for name in _below(os.path.join(workspace, "run")) if "." not in name],
        "checkpoint": lambda: _below(os.path.join(workspace, "checkpoint")),
        "interface": lambda: [f"eth{number}" for number in range(4)],
        "verb": lambda: [*table.VERBS, *_hooked()],
        "shell": lambda: ["bash", "zsh", "fish"],
        "task": lambda: _tasks(last) if ":" in last else [*table.NOUNS, *_nouns(last)],
    }
    return lists[kind]() if kind in lists else ()


def _cluster(before: Sequence[str]) -> str:
    """The cluster that the words name."""
    name = os.environ.get("XC_NAME") or os.environ.get("__name") or "xcluster"
    for i, word in enumerate(before):
        if word.startswith("--name="):
            name = word.partition("=")[2]
        elif word == "--name" and before[i + 1 :]:
            name = before[i + 1]
    return name


def _tasks(last: str) -> list[str]:
    noun = last.partition(":")[0]
    lists = {"kernel": "kernel", "image": "image", "ovl": "overlay"}
    if noun in lists:
        return [f"{noun}:{name}" for name in _names(lists[noun], (), "")]
    return _doit_tasks(noun) if f"{noun}:" in SLOW else []


def _doit_tasks(noun: str) -> list[str]:
    """Tasks as doit lists them."""

    from tasks.base import interpreter, proc
    from tasks.base.errors import UserError

    try:
        text = proc.output(interpreter.xc("list", "--all", "--quiet", noun)).decode()
    except UserError:  # definitions are wrong, which is no matter for completion
        return []
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def _kernels() -> list[str]:
    names = _below(os.path.join(ROOT, "kernel"))
    return [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]


def _is_source(name: str) -> bool:
    with open(os.path.join(ROOT, "kernel", f"{name}.yaml"), encoding="utf-8") as file:
        return any(line.startswith("source:") for line in file)


def _folders() -> list[str]:
    return overlay_path.folders(os.environ.get(overlay_path.VARIABLE, "")) or [os.path.join(ROOT, "ovl")]


def _overlays() -> list[str]:
    return [name for folder in _folders() for name in _below(folder) if os.path.isdir(f"{folder}/{name}")]


def _topologies() -> list[str]:
    places = [f"{folder}/{name}/topology" for folder in _folders() for name in _below(folder)]
    names = [name for place in places for name in _below(place)]
    return [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]


def _with_file(folder: str, name: str) -> list[str]:
    return [each for each in _below(folder) if os.path.isfile(os.path.join(folder, each, name))]


def _below(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name[0] != "."]
    except OSError:
        return []
