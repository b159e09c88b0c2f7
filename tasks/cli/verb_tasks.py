"""From a row of the table of verbs to what does it: called at once, or as a task of doit."""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from tasks.base import interpreter, later, output
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.cli import table
from tasks.definitions.settings import Settings
from tasks.engine import kit
from tasks.engine.exit_code import EXIT
from tasks.project import project
from tasks.project.command_line import Reads, Verb, Words


def hand_over(argv: Sequence[str]) -> None:
    """Become `xc VERB` where doit itself was called with a verb of ours: so both do the same."""
    is_doit = Path(argv[0]).name == "doit" or Path(argv[0]).parts[-2:] == ("doit", "__main__.py")
    row = table.VERBS.get(argv[1]) if is_doit and len(argv) > 1 else None
    if row and row.reads is not Reads.DOIT:
        sys.stdout.flush()
        os.execv(sys.executable, interpreter.xc(*argv[1:]))


def started_with(workspace: Workspace, name: str) -> Settings | None:
    """The settings of the running cluster of this name; None when it does not run. Raises Damaged."""
    from tasks.run.running.cluster import settings_of  # much is loaded with it, and few verbs ask

    return settings_of(workspace, name)


def act(words: Words) -> int:
    """Do a verb that builds nothing; the exit code."""
    try:
        _call(words.verb or "", project.load(words, project.environment(os.environ), started_with))
    except UserError as error:
        output.error(error, words.verb or "")
        return error.exit_code
    return EXIT.code


def tasks(loaded: project.Project, cluster: list[str]) -> Iterator[kit.Task]:
    """The tasks of the verbs; `cluster` are the tasks that make all that a cluster needs.

    When the words name a verb, it is the only one that doit has to know.
    """
    for name, row in table.VERBS.items():
        if loaded.words.verb in (None, name) and _is_task(row):
            yield kit.verb(row, loaded.words, _call, [name, loaded], _after(row, loaded, cluster))


def _is_task(row: Verb) -> bool:
    """Whether the verb becomes a task of doit: not a word of doit, nor the name of a task that builds."""
    return bool(row.module) and row.name not in ("help", *table.MADE)


def _after(row: Verb, loaded: project.Project, cluster: list[str]) -> list[str]:
    if row.upstream == row.module or row.module.startswith("tasks.cli."):
        return []
    after: project.After = getattr(import_module(row.module), "AFTER", {})
    return after[row.name](loaded, cluster) if row.name in after else []


def _call(name: str, loaded: project.Project) -> None:
    row = table.VERBS[name]
    if table.is_upstream(row, loaded.words.args):
        from tasks.cli.upstream import answer

        if answer.answer(row.upstream, [name, *loaded.words.args]):
            raise UserError(f"'{name}' failed")
        return
    does: project.Does = import_module(row.module).DOES
    later.loaded()
    does[name](loaded)
