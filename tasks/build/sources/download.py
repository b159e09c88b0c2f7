"""Downloads: resumed, verified, through the user's mirrors and proxies; the only importer of requests."""

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.base import files, progress, seals
from tasks.base.errors import UserError
from tasks.base.progress import Bar
from tasks.build.sources import trust
from tasks.build.sources.partial import PartialDownload, Sink

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 16
TRIES = 5  # in a row without a byte that is new
PAUSE = 0.2  # seconds before the second try; each further pause is twice as long
LONGEST_PAUSE = 30  # seconds, where the server says when to come again
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers after which another try may help


def mirrored(url: str, mirrors: Mapping[str, Sequence[str]]) -> list[str]:
    """The places to ask for `url`, in order: mirrors of the longest prefix that fits, then the URL itself."""
    fitting = sorted((prefix for prefix in mirrors if url.startswith(prefix)), key=len)
    places = [place + url.removeprefix(fitting[-1]) for place in mirrors[fitting[-1]]] if fitting else []
    return list(dict.fromkeys([*places, url]))


def download(urls: str | Sequence[str], sha256: str, target: Path, sink: Sink | None = None) -> str:
    """Fetch `target`, whose content must have `sha256`, from the first of `urls` that has it; which one had.

    A connection that breaks is resumed, also by a later run: what came so far stays in `target`.part. A
    `sink` sees every byte as it comes; it is started again when the download is. Raises UserError when no
    server has it: it says no, goes silent, or sends something else.
    """
    places = [urls] if isinstance(urls, str) else list(urls)
    with files.locked(target.with_name(f"{target.name}.part.lock")), files.explained(target):
        if target.is_file() and (
            _is_whole(target, sha256) if sink is None else replayed(target, sha256, sink)
        ):
            return places[0]
        with PartialDownload(target.with_name(f"{target.name}.part"), sink) as part:
            return _first(places, part, lambda url: _accept(url, sha256, part, target))


def _is_whole(target: Path, sha256: str) -> bool:
    """Whether the cache has what its name says. If it has something else, that is removed."""
    if not seals.is_whole(target, sha256):
        progress.say(f"{target} changed on the disk; it is fetched again")
        target.unlink()
    return target.exists()


def learn(urls: Sequence[str], name: str, folder: Path) -> str:
    """Fetch something whose content nobody knows; keep it in `folder` by its sha256, which is returned."""
    with files.explained(folder / name), PartialDownload(folder / f"{name}.part", None, fixed=False) as part:
        _first(list(urls), part, lambda _: True)
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


def _first(urls: list[str], part: PartialDownload, good: Callable[[str], bool]) -> str:
    """The first URL that gives what is `good`."""
    errors: list[UserError] = []
    for url in urls:
        try:
            _whole(url, part)
            if not good(url):  # it began with what another run, or another server, had left
                _whole(url, part)
                good(url)
            return url
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise UserError("\n  ".join(str(error.args[0]) for error in errors), errors[-1].hint)


def _whole(url: str, part: PartialDownload) -> None:
    """Fetch to the end; a connection that breaks is tried again as long as something comes."""
    import requests

    failures, best = 0, part.size
    while True:
        try:
            _stream(url, part)
            return
        except requests.RequestException as error:
            failures = 1 if part.size > best else failures + 1
            best = max(best, part.size)
            if failures >= TRIES or not _passes(error):
                hint = "run it again; it continues where it stopped" if _passes(error) else None
                raise UserError(f"{shown(url)}: {_reason(error)}", hint) from error
            pause = getattr(error, "pause", None)
            time.sleep(PAUSE * 2 ** (failures - 1) if pause is None else pause)


def _stream(url: str, part: PartialDownload) -> None:
    if url.startswith("file:"):
        _copy(url, part)
        return
    import requests

    trust.settle()
    headers = {"Accept-Encoding": "identity", **part.condition(url)}
    with requests.get(url, stream=True, headers=headers, timeout=TIMEOUT) as reply:
        if reply.status_code == 416:  # we have all of it, or something else: the checksum decides
            if not part.is_all(reply.headers):
                part.restart()
                raise requests.ConnectionError("the file was changed at the source while it was fetched")
            return
        _refuse(url, reply)
        if reply.status_code != 206:
            part.restart()
        elif not part.continues(url, reply.headers):
            part.restart()
            raise requests.ConnectionError("the file was changed at the source while it was fetched")
        part.note(url, reply.headers)
        expected = _length(reply)
        got = 0
        with Bar(_title(url), expected) as bar:
            for chunk in reply.iter_content(CHUNK):
                part.add(chunk)
                got += len(chunk)
                bar.add(len(chunk))
    if expected is not None and got < expected:
        raise requests.ConnectionError(f"the connection broke after {got} of {expected} bytes")


def _refuse(url: str, reply: "requests.Response") -> None:
    """Raise when the answer is no: for good, or for now."""
    import requests

    if reply.ok:
        return
    if reply.status_code == 407:
        raise UserError(
            f"{shown(url)}: the proxy requires a password (407)",
            "put it into http_proxy and https_proxy: http://USER:PASSWORD@HOST:PORT",
        )
    answer = f"the server answered {reply.status_code} {reply.reason}"
    if reply.status_code not in BUSY:
        raise UserError(f"{shown(url)}: {answer}")
    error = requests.ConnectionError(answer)
    after = reply.headers.get("Retry-After", "")
    if after.isdigit():
        error.pause = min(int(after), LONGEST_PAUSE)  # type: ignore[attr-defined]
    raise error


def _copy(url: str, part: PartialDownload) -> None:
    """A file URL: the user's own disk is as good a source as a server."""
    path = Path(unquote(urlsplit(url).path))
    part.restart()
    with _readable(url, path), path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            part.add(chunk)


@contextlib.contextmanager
def _readable(url: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{url}: there is no file {path}") from error


def _passes(error: Exception) -> bool:
    """Whether another try may help; a URL that is none stays none, a proxy that says no goes on doing so."""
    import requests

    final = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, final) and " 407 " not in str(error)


def _length(reply: "requests.Response") -> int | None:
    text = reply.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _accept(url: str, sha256: str, part: PartialDownload, target: Path) -> bool:
    """Keep the part as `target` if it is right. False when it is worth to fetch all of it from this URL."""
    actual = part.sha256
    if actual == sha256:
        part.become(target)
        return True
    again = part.patched
    part.restart()
    if again:
        return False
    raise UserError(
        f"{shown(url)}: not the expected content\n  expected sha256 {sha256}\n  got      sha256 {actual}",
        "if the file was replaced at its source and the new one is right, put the new sha256 into the "
        "definition",
    )


def shown(url: str) -> str:
    """A URL for people: without the password that may be in it."""
    return re.sub(r"(://)[^/@\s]*@", r"\1***@", url)


def _title(url: str) -> str:
    return Path(urlsplit(url).path).name or url


def _reason(error: Exception) -> str:
    text = shown(str(error))
    if " 407 " in text:
        return "the proxy requires a password (407): http_proxy, https_proxy=http://USER:PASSWORD@HOST:PORT"
    if "ProxyError" in text:
        return "the proxy in http_proxy or https_proxy does not answer"
    return "the server does not answer" if "Max retries" in text or "timed out" in text else text
