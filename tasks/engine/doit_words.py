"""The words of doit, with what it lacks: options checked as ours are, and a `dumpdb` for our database."""

import contextlib
import json
import pprint
import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from doit.cmd_clean import Clean as DoitsClean
from doit.cmd_dumpdb import DumpDB as DoitsDumpDB
from doit.cmd_run import Run as DoitsRun
from doit.cmdparse import CmdParseError
from doit.dependency import DatabaseException
from doit.doit_cmd import DoitMain

from tasks.base import output
from tasks.base.errors import UsageError, unknown
from tasks.engine import record
from tasks.project import place

CALL = re.compile(r"\S+ - executing '.*'\n", re.DOTALL)
ARGS = {"info": (1, 1, "one task"), "ignore": (1, None, "tasks"), "dumpdb": (0, 0, "nothing")}


class DumpDB(DoitsDumpDB):  # type: ignore[misc]
    """doit's own reads only the other kinds of database that it has."""

    database: ClassVar[str] = ""

    def execute(self, opt_values: Any, pos_args: Any) -> int:
        """Print what is recorded of each task. The exit code."""
        try:
            with contextlib.closing(sqlite3.connect(self.database)) as connection:
                rows = connection.execute("select task_id, task_data from doit order by task_id").fetchall()
        except sqlite3.Error as error:
            output.error(f"{self.database} cannot be read: {error}")
            return 1
        for name, data in rows:
            sys.stdout.write(f"{name} -> {pprint.pformat(json.loads(data), width=100)}\n")
        return 0


class _WithoutCalls:
    """A stream for `clean`, which drops the lines in which doit names the function that it calls."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As a text stream."""
        return len(text) if CALL.fullmatch(text) else int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Clean(DoitsClean):  # type: ignore[misc]
    """It says what it would remove, and nothing else."""

    outstream: Any

    def clean_tasks(self, tasks: Any, dryrun: bool, cleanforget: bool) -> None:
        """Run what each task has for it."""
        self.outstream = _WithoutCalls(self.outstream)
        super().clean_tasks(tasks, dryrun, cleanforget)


class Run(DoitsRun):  # type: ignore[misc]
    """doit's own shows a traceback for a file of the workspace, or a record, that it cannot read."""

    def parse_execute(self, in_args: Any) -> Any:
        """Run the tasks. The exit code."""
        try:
            return super().parse_execute(in_args)
        except OSError as error:
            refusal = place.refusal(error)
            if refusal is None:
                raise
        except (sqlite3.DatabaseError, DatabaseException) as error:
            refusal = record.unusable(Path(DumpDB.database), str(error))
        output.error(refusal)
        return refusal.exit_code


OWN = {DoitsDumpDB: DumpDB, DoitsClean: Clean, DoitsRun: Run}


class Main(DoitMain):  # type: ignore[misc]
    """doit with these words."""

    BIN_NAME = "xc"
    DOIT_CMDS = tuple(OWN.get(command, command) for command in DoitMain.DOIT_CMDS)


def check(main: Main, words: Sequence[str]) -> None:
    """Raise UsageError for options that the word of doit does not have, and for too few or too many args."""
    commands = main.get_cmds()
    own = bool(words) and words[0] in commands
    name = words[0] if own else "run"
    command = commands.get_plugin(name)(task_loader=main.task_loader, config={}, bin_name="xc", cmds=commands)
    hint = f"xc help {name}" if own else "xc help run"
    try:
        _, args = command.cmdparser.parse(list(words[1:] if own else words))
    except CmdParseError as error:
        raise UsageError(_sentence(str(error), command), hint) from None
    least, most, takes = ARGS.get(name, (0, None, ""))
    if own and not least <= len(args) <= (len(args) if most is None else most):
        raise UsageError(f"'{name}' takes {takes}, but got: {' '.join(args) or 'nothing'}", hint)


def _sentence(problem: str, command: Any) -> str:
    options = command.cmdparser.options
    named = re.search(r"option (-\S+) not recognized", problem)
    if named:
        dashed = [f"--{each.long}" for each in options if each.long] + [
            f"-{each.short}" for each in options if each.short
        ]
        return unknown("option", named[1], dashed)
    value = re.search(r"Error parsing parameter '(\w+)'(.*)", problem, re.DOTALL)
    if value:
        option = next(each for each in options if each.name == value[1])
        reason = " ".join(value[2].split()).removeprefix(str(option.type)).lstrip(". ")
        return f"{'--' + option.long if option.long else '-' + option.short}: {reason}"
    return " ".join(problem.partition(" (parsing")[0].removeprefix("Error parsing Command: ").split())
