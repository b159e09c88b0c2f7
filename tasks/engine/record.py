"""Tells doit that a task is done that it has not done itself."""

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from doit.dependency import Dependency, SqliteDB
from doit.task import dict_to_task

from tasks.base import files
from tasks.base.errors import UserError
from tasks.engine.fresh import SizedChecker
from tasks.engine.kit import Task


def name_of(task: Task) -> str:
    """The name by which doit knows a task."""
    return f"{task['basename']}:{task['name']}" if task.get("name") else str(task["basename"])


def check(db: Path) -> None:
    """Raise UserError where something else stands in the place of doit's record, which is a database."""
    kind = files.odd_kind(db)
    if kind:
        raise unusable(db, f"it is {kind}, not a file")
    if not db.is_file():
        return
    try:
        with contextlib.closing(sqlite3.connect(db)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise unusable(db, str(error)) from error


def unusable(db: Path, why: str) -> UserError:
    """The record cannot be read; `why` is the end of the sentence."""
    if "locked" in why:
        return UserError(
            f"{db}, the record of what was built, cannot be read: {why}", "wait for the other run"
        )
    return UserError(
        f"{db}, the record of what was built, cannot be read: {why}",
        "remove it, and run it again: all is looked at then, and made again",
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
