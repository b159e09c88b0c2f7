"""The door behind `xc`: the same verbs as `doit`, with help, and exit codes 0, 1, 2, and 128+n for signals.

Only what the verb needs is imported: the table of verbs says what that is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from tasks.base import output, progress
from tasks.base.errors import UsageError, UserError, unknown
from tasks.cli import form_of_errors, table
from tasks.definitions import overlay_path
from tasks.project import command_line
from tasks.project.command_line import Needs, Reads, Verb, Words

VERSION = ("--version", "-V")
DOIT = [verb.name for verb in table.GROUPS["Words of doit"]]


def main(argv: Sequence[str]) -> int:
    """Run `xc ARGV`; the exit code is 0 for done, 1 for failed, 2 for wrong usage, 128+n for signal n."""
    output.open_streams()
    overlay_path.make_absolute(os.environ)
    os.umask(os.umask(0o022) & 0o077)  # one that takes our own rights away would leave us with nothing
    return output.flushed(_answered(list(argv)))


def _answered(argv: list[str]) -> int:
    try:
        return _main(argv)
    except UserError as error:
        output.error(error)
        return error.exit_code
    except ImportError as error:
        output.error(_incomplete(error))
        return 1
    except OSError as error:
        if output.of_stdout(error):
            return output.lost(error)
        refusal = _refusal(error)
        if refusal is None:
            raise
        output.error(refusal)
        return refusal.exit_code


def _refusal(error: OSError) -> UserError | None:
    from tasks.project import place

    return place.refusal(error)


def _incomplete(error: ImportError) -> UserError:
    """A package that was installed is not whole any more; raises the error again if it is in our own code.

    Without this stamp the script `xc` looks at every file of the packages.
    """
    if (error.name or "").partition(".")[0] == "tasks":
        raise error
    problem = f"a Python package that is needed cannot be loaded: {error}"
    try:
        os.unlink(os.path.join(os.path.dirname(os.path.dirname(sys.executable)), "made-by"))
    except OSError:
        return UserError(
            problem, "install what pyproject.toml names; in a checkout: rm -r .venv, and run again"
        )
    return UserError(problem, "run it again: .venv is looked at then, and made anew")


def _main(argv: list[str]) -> int:
    if argv[:1] == ["__complete"]:
        from tasks.cli import complete

        return complete.main(argv[1:])
    code = None
    if os.environ.get("XCLUSTER_HOOK"):
        from tasks.cli import hook

        form_of_errors.choose(argv, table.VERBS)
        code = hook.run(argv)
    return _verb_or_task(argv) if code is None else code


def _verb_or_task(argv: list[str]) -> int:
    row = table.VERBS.get(argv[0]) if argv else None
    if row and row.reads in (Reads.ALL, Reads.DOIT) and argv[1:2] in (["--help"], ["-h"]):
        return _help(row)
    if row and table.is_upstream(row, argv[1:]):
        from tasks.cli.upstream import answer

        return answer.answer(row.upstream, argv)
    form_of_errors.choose(argv, table.VERBS)
    words = command_line.parse(argv, table.VERBS)
    if words.row is None:
        return _task(argv)
    front = command_line.common(argv[: argv.index(words.row.name)])[1]
    _check_front(front, words.row)
    if "help" in words.options:
        return _help(words.row)
    output.expect_json(words.json)
    progress.configure(words.options)
    if words.needs is Needs.BUILDS:
        # doit sees no words behind the verb: `a=b` among them would be a setting of its own.
        return _doit([*front, words.row.name], words)
    return _act(words)


def _check_front(front: list[str], row: Verb) -> None:
    """Raise UsageError for words before a verb that nobody would read."""
    for word in front:
        if word.startswith("-"):
            problem = f"the option '{word}' stands before the verb '{row.name}'; options of a verb follow it"
            raise UsageError(problem, command_line.usage(row))
        if row.needs is not Needs.BUILDS:
            wrong = _unknown(word) or f"'{word}' stands before the verb '{row.name}', which builds nothing"
            raise UsageError(wrong, command_line.usage(row))


def _help(row: Verb | None) -> int:
    from tasks.cli import help_text

    sys.stdout.write(help_text.of_verb(row) if row else help_text.overview())
    return 0


def _task(argv: list[str]) -> int:
    """Hand tasks, targets and words of doit to doit; without any word show the help."""
    options, words = command_line.common(argv)
    if any(word in VERSION for word in words[:1]):
        from tasks.cli import version

        sys.stdout.write(version.line())
        return 0
    if not words:
        return _help(None)
    wrong = _unknown(words[0])
    if wrong:
        raise UsageError(wrong, "xc help")
    progress.configure(options)
    # What stands behind a word of doit is for doit.
    at = argv.index(words[0])
    own = words[0] in table.VERBS
    return _doit(argv[at:] if own else words, Words(options={} if own else options))


def _unknown(word: str) -> str | None:
    """What is wrong with the first word, if it is neither a verb, a task, a target nor a word of doit."""
    if word.startswith("-"):
        return f"unknown option '{word}': only {_common_options()} may stand without a verb"
    if any(sign in word for sign in ":/*=") or word in (*table.VERBS, *table.NOUNS):
        return None
    if word == "diskim":
        return "diskim is not here: 'xc mkimage' builds an image, 'xc ximage' extends one with overlays"
    from tasks.cli import hook

    return unknown("verb", word, [*table.VERBS, *table.NOUNS, *hook.verbs()])


def _common_options() -> str:
    options = (*command_line.COMMON, command_line.DRY_RUN)
    return ", ".join(command_line.dashes(option.name) for option in options)


def _doit(names: list[str], words: Words) -> int:
    """Let doit run verbs and tasks, or show what it would run."""
    if "dry_run" in words.options:
        from tasks.cli import dry_run

        return dry_run.tell(names, words)
    if "verbose" in words.options and names[0] not in DOIT:
        from tasks.cli import dry_run

        dry_run.announce(names)
    from tasks.engine import run
    from tasks.project.project import ROOT

    return run.run(ROOT / "dodo.py", names)


def _act(words: Words) -> int:
    """Do a verb that builds nothing."""
    if words.verb == "help":
        from tasks.cli import help_text

        help_text.help_(words)
        return 0
    if words.verb == "version":
        from tasks.cli import version

        version.tell(words)
        return 0
    code = _at_once(words)
    if code is None:
        from tasks.cli import verb_tasks

        code = verb_tasks.act(words)
    return code


def _at_once(words: Words) -> int | None:
    """Do a verb in the ordinary case; None where it takes more than a glance."""
    if not words.row or not words.row.at_once:
        return None
    from tasks.project import place

    here = place.of(words, os.environ)
    try:
        return import_module(words.row.at_once).answer(words, here) if here else None
    except UserError as error:
        output.error(error, words.row.name)
        return error.exit_code
