"""The part of a download that is there: grown, hashed while it grows, and never a mixture of two files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from tasks.base import files


class Sink(Protocol):
    """Sees a download as it comes."""

    def restart(self) -> None:
        """All that came so far does not count."""

    def write(self, chunk: bytes) -> None:
        """The next bytes."""


class PartialDownload:
    """A file that a download fills. Beside it, in .json, stands which version of what URL it is.

    Where the content is not `fixed` in advance, only the very same version of the same URL is gone on with.
    """

    def __init__(self, path: Path, sink: Sink | None, *, fixed: bool = True) -> None:
        self.path = path
        self.size = 0
        self.patched = False  # it may be of more than one piece
        self._about = path.with_name(f"{path.name}.json")
        self.fixed = fixed
        self._sink = sink
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        """Take over what an earlier run has left."""
        if self._sink:
            self._sink.restart()
        if self.path.is_file():
            with self.path.open("rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    self._see(chunk)
            self.patched = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """What came stays for a later run; an empty part is none."""
        self._close()
        if not self.size:
            self.path.unlink(missing_ok=True)
            self._about.unlink(missing_ok=True)

    def restart(self) -> None:
        """Throw all of it away."""
        self._close()
        if self.size and self._sink:
            self._sink.restart()
        self.size, self.patched, self._hash = 0, False, hashlib.sha256()
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def add(self, chunk: bytes) -> None:
        """Append."""
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        self._file.write(chunk)
        self._see(chunk)

    @property
    def sha256(self) -> str:
        """Of what is there."""
        return self._hash.hexdigest()

    def become(self, target: Path) -> None:
        """The part is the whole, and gets its name."""
        self._close()
        self.path.touch()  # an empty file has come without a byte
        self.path.replace(target)
        self._about.unlink(missing_ok=True)

    def condition(self, url: str) -> dict[str, str]:
        """Headers that ask for the rest, if it is still the same file."""
        about = files.read_json(self._about)
        same = about.get("url") == url
        if not self.size or not (self.fixed or (same and about.get("etag"))):
            return {}
        etag = str(about.get("etag", "")) if same else ""
        valid = etag if etag and not etag.startswith("W/") else str(about.get("modified", "")) if same else ""
        return {"Range": f"bytes={self.size}-", **({"If-Range": valid} if valid else {})}

    def continues(self, url: str, headers: Mapping[str, str]) -> bool:
        """Whether an answer with the rest goes on where we are, in the same version of the file."""
        about = files.read_json(self._about)
        start = headers.get("Content-Range", "").strip().removeprefix("bytes").strip(" =").partition("-")[0]
        if int(start) != self.size if start.isdigit() else not self.fixed:
            return False
        for key, header in (("etag", "ETag"), ("modified", "Last-Modified")):
            noted, now = about.get(key), headers.get(header)
            if about.get("url") == url and noted and now:
                return bool(noted == now)
        return True

    def is_all(self, headers: Mapping[str, str]) -> bool:
        """Whether a server that has nothing to add (416) has as many bytes as we do."""
        total = headers.get("Content-Range", "").rpartition("/")[2]
        return not total.isdigit() or int(total) == self.size

    def note(self, url: str, headers: Mapping[str, str]) -> None:
        """Write down what the next bytes are of."""
        self.patched = self.size > 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        about = {"url": url, "etag": headers.get("ETag", ""), "modified": headers.get("Last-Modified", "")}
        files.write_json(self._about, about)

    def _see(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._hash.update(chunk)
        if self._sink:
            self._sink.write(chunk)

    def _close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
