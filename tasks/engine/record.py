"""Tells doit that a task is done that it has not done itself."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from doit.dependency import Dependency, SqliteDB
from doit.task import dict_to_task

from tasks.base import seals
from tasks.base.errors import UserError
from tasks.engine.fresh import SizedChecker
from tasks.engine.kit import Task


def name_of(task: Task) -> str:
    """The name by which doit knows a task."""
    return f"{task['basename']}:{task['name']}" if task.get("name") else str(task["basename"])


def check(db: Path) -> None:
    """Raise UserError where something else stands in the place of doit's record, which is a file."""
    kind = seals.odd_kind(db)
    if kind:
        raise UserError(
            f"{db} is {kind}, not the file in which is recorded what was built",
            "remove it, and run it again: what is there is looked at, and made again where that is needed",
        )


def recorded(db: Path) -> set[str]:
    """The names of the tasks that doit has a record of."""
    if not db.is_file():
        return set()
    connection = sqlite3.connect(db)
    try:
        return {row[0] for row in connection.execute("select task_id from doit")}
    except sqlite3.DatabaseError:  # doit itself says what is wrong with it
        return set()
    finally:
        connection.close()


def done(db: Path, tasks: Iterable[Task]) -> None:
    """Record `tasks` as done with their inputs as they are now."""
    state = Dependency(SqliteDB, str(db), SizedChecker)
    for each in tasks:
        task = dict_to_task({**{k: v for k, v in each.items() if k != "basename"}, "name": name_of(each)})
        for check, args, words in task.uptodate:
            check(task, {}, *args, **words)  # it computes what it is going to save
        task.save_extra_values()
        state.remove(task.name)
        state.save_success(task)
    state.close()
