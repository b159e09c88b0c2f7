"""A file that a user names on the command line, anywhere on the host -> its content, whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tasks.base import files
from tasks.base.errors import UserError


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path; what is there when the block ends well becomes the content of `path`.

    No directory is made. A link stays, and the file that it leads to is replaced; a device or a pipe stays,
    and gets the content. Raises UserError where nothing can be written.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no directory {target.parent}", "make it first")
    if target.is_dir():
        raise UserError(f"cannot write {path}: it is a directory", "name a file in it")
    if not target.exists() or target.is_file():
        with files.atomic(target) as temp:
            yield temp
        return
    with tempfile.TemporaryDirectory() as folder, files.explained(target):
        temp = Path(folder, "content")
        yield temp
        with temp.open("rb") as content, target.open("wb") as out:
            shutil.copyfileobj(content, out)
