"""doit's settings, and a run of it: with our exit codes, and without tracebacks for a user's mistake."""

import contextlib
import importlib
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.base import output, signals
from tasks.base.errors import UserError
from tasks.engine.exit_code import EXIT
from tasks.engine.fresh import SizedChecker
from tasks.engine.kit import Tasks
from tasks.engine.loader import Loader
from tasks.engine.reporter import Reporter

TELLING = (["list"], ["info"], ["help"], ["dumpdb"])  # words of doit that change nothing


def config(db: Path, default_tasks: list[str]) -> dict[str, Any]:
    """doit's settings. Sequential on purpose: each recipe uses all cores by itself."""
    return {
        "backend": "sqlite3",
        "dep_file": str(db),
        "default_tasks": default_tasks,
        "check_file_uptodate": SizedChecker,
        "reporter": Reporter,
        "cleanforget": True,
        "cleanall": True,
        "minversion": "0.37.0",
        "action_string_formatting": "new",
    }


def run(dodo: Path, words: list[str]) -> int:
    """Let doit do `words` with the tasks of `dodo`; its exit code 3 (wrong words) is our 2.

    A run that removed damaged content is repeated once. Raises UsageError for a task that is not there,
    OSError if stdout cannot be written to.
    """
    from doit.runner import Runner

    signals.whole(Runner.finish)  # what was finished is kept
    module = importlib.import_module(dodo.stem)
    code = _run(module, words)
    if EXIT.again:
        EXIT.repeat()
        code = _run(module, words)
    return 2 if code == 3 else EXIT.code or code


def _run(module: ModuleType, words: list[str]) -> int:
    """One run of doit; its own exit code."""
    from tasks.engine import doit_words

    loader = Loader(module)
    main = doit_words.Main(loader, config_filenames=())
    doit_words.check(main, words)
    doit_words.DumpDB.database = module.DOIT_CONFIG["dep_file"]
    # doit shows a traceback if a write fails, so what only tells is written when doit has ended.
    text = io.StringIO()
    telling = contextlib.redirect_stdout(text) if words[:1] in TELLING else contextlib.nullcontext()
    try:
        with telling:
            code = int(main.run(words) or 0)
    except SystemExit:
        if loader.problem is None:
            raise
        raise loader.problem from None
    sys.stdout.write(text.getvalue())
    return code


def reported(tasks: Tasks) -> Tasks:
    """`tasks`, where a user's mistake found while they are made ends the run with a message."""
    try:
        yield from tasks
    except UserError as error:
        output.error(error)
        sys.exit(error.exit_code)
