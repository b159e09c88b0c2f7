"""Downloads by URL: resumed, verified, through the user's proxies; the only importer of requests."""

import hashlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.lib import files
from tasks.lib.errors import UserError
from tasks.lib.progress import Bar

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 16
TRIES = 4
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces


def download(url: str, sha256: str, target: Path) -> None:
    """Fetch `url` to `target`, whose content must have `sha256`.

    A connection that breaks is resumed, also by a later run: what came so far stays in `target`.part. Raises
    UserError when the server says no, goes silent, or sends something else.
    """
    import requests

    part = target.with_name(f"{target.name}.part")
    with files.locked(part.with_name(f"{part.name}.lock")), files.explained(target):
        if target.is_file():
            return
        for attempt in range(TRIES):
            try:
                _stream(url, part)
                break
            except requests.RequestException as error:
                if attempt == TRIES - 1 or not _passes(error):
                    raise UserError(
                        f"{url}: {_reason(error)}", "run again to go on where it broke off"
                    ) from error
                time.sleep(0.2 * 2**attempt)
        _accept(url, sha256, part, target)


def _stream(url: str, part: Path) -> None:
    import requests

    if url.startswith("file:"):
        _copy(url, part)
        return

    have = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, stream=True, headers=headers, timeout=TIMEOUT) as reply:
        if reply.status_code == 416:  # we have all of it, or something else: the checksum decides
            return
        if not reply.ok:
            raise UserError(f"{url}: the server answered {reply.status_code} {reply.reason}")
        resumed = reply.status_code == 206
        expected = _length(reply)
        with part.open("ab" if resumed else "wb") as file, Bar(Path(url).name, expected) as bar:
            got = 0
            for chunk in reply.iter_content(CHUNK):
                file.write(chunk)
                got += len(chunk)
                bar.add(len(chunk))
    if expected is not None and got < expected:
        raise requests.ConnectionError(f"the connection broke after {got} of {expected} bytes")


def _copy(url: str, part: Path) -> None:
    """A file URL: the user's own disk is as good a source as a server."""
    path = Path(unquote(urlsplit(url).path))
    try:
        shutil.copyfile(path, part)
    except FileNotFoundError as error:
        raise UserError(f"{url}: there is no file {path}") from error


def _passes(error: Exception) -> bool:
    """Whether another try may help; a URL that is none stays none."""
    import requests

    final = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, final)


def _length(reply: "requests.Response") -> int | None:
    text = reply.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _accept(url: str, sha256: str, part: Path, target: Path) -> None:
    with part.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        part.unlink()
        raise UserError(
            f"{url}: not the expected content\n  expected sha256 {sha256}\n  got      sha256 {actual}",
            "was it replaced at the source? if the new one is right, put its sha256 into the definition",
        )
    part.replace(target)


def _reason(error: Exception) -> str:
    text = str(error)
    return "the server does not answer" if "Max retries" in text or "timed out" in text else text
