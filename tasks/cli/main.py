"""The door behind `xc`: the same verbs as `doit`, with help, and exit codes 0, 1 and 2."""

import sys

from tasks.base.errors import unknown
from tasks.cli.verbs import VERBS
from tasks.definitions import settings
from tasks.engine import run
from tasks.project import command_line
from tasks.project.project import ROOT

NOUNS = ("suite", "artifact", "kernel", "image", "ovl", "pull", "store", "golden")


def main(argv: list[str]) -> int:
    """Run `xc ARGV`; the exit code is 0 for done, 1 for failed, 2 for wrong usage."""
    if not argv or argv[0] in ("help", "-h", "--help"):
        if len(argv) > 1 and argv[1] not in VERBS:
            sys.stderr.write(f"error: {unknown('verb', argv[1], VERBS)}\n")
            return 2
        sys.stdout.write(_help(argv[1:]))
        return 0
    wrong = _unknown(argv)
    if wrong:
        sys.stderr.write(f"error: {wrong}\n  hint: xc help\n")
        return 2
    return run.run(ROOT / "dodo.py", _doit_words(argv))


def _unknown(argv: list[str]) -> str | None:
    """What is wrong with the first word, if it is neither a verb, a task, a target nor a word of doit."""
    first = argv[0]
    if first.startswith("-") or any(sign in first for sign in ":/*=") or first in command_line.DOIT_WORDS:
        return None
    return None if first in VERBS or first in NOUNS else unknown("verb", first, [*VERBS, *NOUNS])


def _doit_words(argv: list[str]) -> list[str]:
    """What doit has to see: the words up to the verb.

    What follows it was read from sys.argv, and doit would take `a=b` in it for a setting of its own.
    """
    if argv[0] in command_line.DOIT_WORDS:
        return argv
    at = next((i for i, word in enumerate(argv) if word in VERBS), None)
    return argv if at is None else argv[: at + 1]


def _help(names: list[str]) -> str:
    if names and names[0] in VERBS:
        verb = VERBS[names[0]]
        lines = [command_line.usage(verb), f"  {verb.doc}"]
        lines += [f"  {command_line.dashes(name):<18} {text}" for name, text in verb.options.items()]
        if verb.settings:
            fields = settings.Settings.model_fields
            lines += ["Settings (also in the environment as __name, and in xcluster.yaml):"]
            lines += [
                f"  --{n.replace('_', '-') + '=':<16} {fields[n].description} [{fields[n].default}]"
                for n in settings.names()
            ]
            lines += ["  mem, smp, nets and append also for one node: --mem201=384"]
        return "\n".join(lines) + "\n"
    rows = [f"  {name:<12} {verb.doc}" for name, verb in VERBS.items()]
    tail = (
        "Everything else goes to doit: xc list, xc kernel:linux-6.1, xc image:base, xc info TASK, xc clean."
    )
    return (
        "\n".join(["xc VERB [OPTIONS] [WORDS]", *rows, tail, "xc help VERB tells a verb's options."]) + "\n"
    )
