"""What `xc help` and `xc VERB --help` print, from the table of verbs."""

from __future__ import annotations

import os
import sys

from tasks.base.errors import UsageError, unknown
from tasks.cli import hook, table
from tasks.definitions import setting_list
from tasks.project.command_line import COMMON, EVERYWHERE, SHORT, Reads, Takes, Verb, Words, dashes, usage

TAIL = """\
Everything else is a task that builds: xc kernel:linux-6.1, xc image:base, xc ovl:env. `xc list --all` tells
the tasks. `xc help VERB` and `xc VERB --help` tell how a verb is used. Exit codes: 0 done, 1 failed, 2 wrong
words or definitions.
"""


def help_(words: Words) -> None:
    """Do the verb `help`."""
    name = words.args[0] if words.args else ""
    hooked = hook.verbs()
    if name in hooked:
        sys.stdout.write(hook.help_of(name, hooked[name]))
        return
    if name and name not in table.VERBS:
        raise UsageError(unknown("verb", name, [*table.VERBS, *hooked]), "xc help")
    sys.stdout.write(of_verb(table.VERBS[name]) if name else overview())


def overview() -> str:
    """All verbs, one line each."""
    lines = ["xc VERB [OPTIONS] [WORDS]"]
    for title, verbs in table.GROUPS.items():
        lines += ["", f"{title}:", *(f"  {verb.name:<16} {verb.summary}" for verb in verbs)]
    hooked = hook.verbs()
    if hooked:
        lines += ["", f"Verbs of your hook, {os.environ[hook.VARIABLE]}:"]
        lines += [f"  {name:<16} {hook.summary(name, text)}" for name, text in hooked.items()]
    return "\n".join([*lines, "", TAIL])


def of_verb(verb: Verb) -> str:
    """Usage, options, settings and examples of a verb."""
    lines = [usage(verb), f"  {verb.summary}"]
    if verb.options:
        lines += ["Options:", *(f"  {option.dashed:<22} {option.help}" for option in verb.options)]
    if verb.takes is not Takes.NAME:
        lines += ["Settings (also in the environment as __name, and in xcluster.yaml):"]
        lines += [_setting(*row) for row in setting_list.rows() if row[0] in shown(verb)]
        lines += ["  others as for start: xc help start"] if verb.shows else []
        lines += (
            ["  mem, smp, nets and append also for one node: --mem201=384"] if "mem" in shown(verb) else []
        )
    lines += ["Examples:", *(f"  {example}" for example in verb.examples)]
    return "\n".join([*lines, *_everywhere(verb)]) + "\n"


def shown(verb: Verb) -> tuple[str, ...]:
    """The settings that help lists for a verb that takes them."""
    return verb.shows or tuple(setting_list.names())


def _setting(name: str, default: str, text: str, choices: tuple[str, ...]) -> str:
    values = f" ({', '.join(choices)})" if choices and choices != ("yes", "no") else ""
    return f"  {dashes(name) + '=':<22} {text}{values} [{default}]"


def _everywhere(verb: Verb) -> list[str]:
    """The options that every verb takes, in one line."""
    if verb.reads in (Reads.ALL, Reads.DOIT):
        return []
    letters = {name: letter for letter, name in SHORT.items()}
    own = {option.name for option in verb.options}
    shared = [
        f"-{letters[option.name]}|{option.dashed}" if option.name in letters else option.dashed
        for option in COMMON
        if option.name not in own
    ]
    names = EVERYWHERE if verb.takes is Takes.NAME else ()
    return [f"With every verb: {' '.join([*(f'{dashes(name)}=' for name in names), *shared])}"]
