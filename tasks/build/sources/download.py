"""Downloads: resumed, verified, through the user's mirrors and proxies."""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from tasks.base import files, locks, patience, progress, seals
from tasks.base.errors import UserError
from tasks.base.patience import Patience
from tasks.base.progress import Bar, amount
from tasks.build.sources import web
from tasks.build.sources.network_faults import Fault
from tasks.build.sources.partial import PartialDownload, Sink
from tasks.build.sources.web import shown as shown

if TYPE_CHECKING:
    from tasks.build.sources.web import Response

PACKED = (".gz", ".tgz", ".svgz")  # a server that says so of these has packed nothing itself


class Origin(Protocol):
    """Where a file is asked for."""

    @property
    def url(self) -> str:
        """What is asked for; it tells versions of the file apart too."""

    def ask(self, headers: Mapping[str, str], wait: Patience) -> "Response":
        """An answer with a body to come. Raises web.Failure, or UserError when it is no."""


@dataclass(frozen=True)
class Url:
    """A file at a URL."""

    url: str

    def ask(self, headers: Mapping[str, str], wait: Patience) -> "Response":
        """A GET."""
        session = web.session()
        times = web.timeouts(wait.seconds)
        reply = wait.answer(lambda: session.get(self.url, stream=True, headers=dict(headers), timeout=times))
        with contextlib.ExitStack() as broken:
            broken.callback(reply.close)
            web.busy(reply, "the server")
            if not reply.ok and reply.status_code != 416:
                raise UserError(
                    f"{shown(self.url)}: the server answered {reply.status_code} {reply.reason}".rstrip(),
                    "it wants a login: put one into ~/.netrc" if reply.status_code == 401 else None,
                )
            broken.pop_all()
        return reply


def mirrored(url: str, mirrors: Mapping[str, Sequence[str]]) -> list[str]:
    """The places to ask for `url`, in order: mirrors of the longest prefix that fits, then the URL itself."""
    fitting = sorted((prefix for prefix in mirrors if url.startswith(prefix)), key=len)
    places = [place + url.removeprefix(fitting[-1]) for place in mirrors[fitting[-1]]] if fitting else []
    return list(dict.fromkeys([*places, url]))


def download(
    urls: str | Sequence[str],
    sha256: str,
    target: Path,
    sink: Sink | None = None,
    seconds: float = patience.SECONDS,
) -> str:
    """Fetch `target`, whose content must have `sha256`, from the first of `urls` that has it; which one had.

    A connection that breaks is resumed, also by a later run: what came so far stays in `target`.part. A
    `sink` sees every byte as it comes; it is started again when the download is. Raises UserError when no
    server has it: it says no, sends something else, or next to nothing for so many `seconds`.
    """
    places = [urls] if isinstance(urls, str) else list(urls)
    with locks.locked(target.with_name(f"{target.name}.part.lock")), files.explained(target):
        if target.is_file() and (
            seals.has(target, sha256) if sink is None else replayed(target, sha256, sink)
        ):
            return places[0]
        with PartialDownload(target.with_name(f"{target.name}.part"), sink) as part:
            fetch = Fetch(part, seconds)
            return first(places, fetch, lambda url: accept(url, sha256, fetch, target))


def learn(urls: Sequence[str], name: str, folder: Path, seconds: float = patience.SECONDS) -> str:
    """Fetch something whose content nobody knows; keep it in `folder` by its sha256, which is returned."""
    with files.explained(folder / name), PartialDownload(folder / f"{name}.part", None, fixed=False) as part:
        first(urls, Fetch(part, seconds), lambda _: True)
        actual = part.sha256
        part.become(folder / actual)
        return actual


def replayed(target: Path, sha256: str, sink: Sink) -> bool:
    """Give the sink what is in the cache. False if that was damaged; then it is removed."""
    seen = hashlib.sha256()
    sink.restart()
    with target.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            seen.update(chunk)
            sink.write(chunk)
    if seen.hexdigest() != sha256:
        progress.say(f"{target} changed on the disk; it is fetched again")
        target.unlink()
    return target.exists()


@dataclass
class Fetch:
    """A file that is being fetched to `part`; `size`: its bytes, where they are known before."""

    part: PartialDownload
    seconds: float
    size: int | None = None
    other_way: bool = False  # unpack what a server says that it has packed, or not
    encoding: str = ""  # of the last answer
    kind: str = ""  # its Content-Type

    def whole(self, place: Origin) -> None:
        """Fetch to the end; a connection that breaks is tried again as long as something comes."""
        what = shown(place.url)
        with Patience(web.host(place.url), self.seconds) as wait:
            web.persistently(lambda: self._stream(place, wait), wait, what, lambda: self.part.size)

    def _stream(self, place: Origin, wait: Patience) -> None:
        part = self.part
        headers = {"Accept-Encoding": "identity", **part.condition(place.url)}
        with place.ask(headers, wait) as reply:
            if reply.status_code == 416:  # we have all of it, or something else: the checksum decides
                if not part.is_all(reply.headers):
                    self._changed()
                return
            if reply.status_code != 206:
                part.restart()
            elif not part.continues(place.url, reply.headers):
                self._changed()
            part.note(place.url, reply.headers)
            self._take(place, reply, wait)

    def _changed(self) -> None:
        """What is there cannot be gone on with."""
        self.part.restart()
        raise web.Failure(Fault("the file was changed at the source while it was fetched"))

    def _take(self, place: Origin, reply: "Response", wait: Patience) -> None:
        """The body, behind what is there."""
        part, title = self.part, _title(place.url)
        self.encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
        self.kind = reply.headers.get("Content-Type", "")
        packed = self.encoding not in ("", "identity")
        decode = packed and (self.other_way or self._is_packed(place.url))
        expected = web.length(reply)
        total = self.size if expected is None else expected + part.size
        if self.size is not None and total is not None and total > self.size and not decode:
            raise self._too_large(place, f"{total} bytes")
        of = f" of {amount(total)}" if total else ""
        wait.state(lambda: f"{title}: {amount(part.size)}{of} so far")
        before = part.size
        with Bar(title, expected) as bar:
            for chunk in web.pieces(reply, wait, decode=decode):
                if self.size is not None and part.size + len(chunk) > self.size:
                    raise self._too_large(place, "more")
                part.add(chunk)
                bar.add(len(chunk))
        wait.state("the end of the answer")
        if not decode and expected is not None and part.size - before < expected:
            text = f"the connection broke after {part.size - before} of {expected} bytes"
            raise web.Failure(Fault(text))

    def _is_packed(self, url: str) -> bool:
        """Whether a server means that; where the content is known, that decides, and the bytes come first."""
        return not self.part.fixed and not urlsplit(url).path.lower().endswith(PACKED)

    def _too_large(self, place: Origin, size: str) -> Exception:
        self.part.restart()
        if self.encoding not in ("", "identity") and not self.other_way:
            self.other_way = True
            return web.Failure(Fault("it was packed for the way"))
        return UserError(
            f"{shown(place.url)}: not the expected content: {self.size} bytes are right, it has {size}",
            "the server, or a proxy before it, is broken",
        )


def first(urls: Sequence[str], fetch: Fetch, good: Callable[[str], bool]) -> str:
    """The first URL that gives what is `good`."""
    errors: list[UserError] = []
    for url in urls:
        try:
            get(url, fetch, good)
            return url
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise UserError("\n  ".join(str(error.args[0]) for error in errors), errors[-1].hint)


def get(url: str | Origin, fetch: Fetch, good: Callable[[str], bool]) -> None:
    """Fetch from one place what is `good`. False of that means: begin again here, it may come right."""
    place = Url(url) if isinstance(url, str) else url
    fetch.other_way = False
    if place.url.startswith("file:"):
        _copy(place.url, fetch.part)
    else:
        fetch.whole(place)
    for _ in range(3):  # it began with what another run, or another server, had left; or it was packed
        if good(place.url):
            return
        fetch.whole(place)
    raise UserError(f"{shown(place.url)}: the file changes while it is fetched", "run it again later")


def _copy(url: str, part: PartialDownload) -> None:
    """A file URL: the user's own disk is as good a source as a server."""
    path = Path(unquote(urlsplit(url).path))
    if not path.is_file():  # a pipe would never be read out
        raise UserError(f"{url}: {files.no_file(path)}")
    part.restart()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            part.add(chunk)


@dataclass(frozen=True)
class Advice:
    """How a sha256 is written in a message, and what to do when it is wrong."""

    prefix: str
    hint: str


PINNED = Advice(
    "sha256 ",
    "if the file was replaced at its source and the new one is right, put the new sha256 into the definition",
)


def accept(url: str, sha256: str, fetch: Fetch, target: Path, how: Advice = PINNED) -> bool:
    """Keep the part as `target` if its hash is `sha256`.

    False when it is worth to fetch all of it again: it was of several pieces, or the server had packed it.
    """
    part = fetch.part
    actual, size, again = part.sha256, part.size, part.patched
    if actual == sha256 and fetch.size in (None, size):
        part.become(target)
        return True
    part.restart()
    if again:
        return False
    if fetch.encoding not in ("", "identity") and not fetch.other_way:
        fetch.other_way = True
        return False
    page = "text/html" in fetch.kind
    right = "" if fetch.size is None else f", {fetch.size} bytes"
    note = "; it is a web page: an error, or a login" if page else ""
    raise UserError(
        f"{shown(url)}: not the expected content\n  expected {how.prefix}{sha256}{right}\n"
        f"  got      {how.prefix}{actual}, {size} bytes{note}",
        "open the URL in a browser" if page else how.hint,
    )


def _title(url: str) -> str:
    name = Path(urlsplit(url).path).name
    return name[:19] if name.startswith("sha") else name or url
