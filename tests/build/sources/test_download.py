"""Downloads, from a server on loopback that can be made to behave badly."""

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import progress
from tasks.base.errors import UserError
from tasks.build.sources import download, web
from tests.conftest import eventually
from tests.ports import free_port

BODY = bytes(range(256)) * 16384  # 4 MiB
HALF = 1_500_000  # bytes after which a connection breaks
SHA = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY; the path says what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []  # path and Range of each request
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is, without / at the end."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Serve the file, or do as the path says."""
        server = self.server
        assert isinstance(server, Server)
        range_header = self.headers.get("Range", "")
        server.requests.append(f"{self.path} {range_header}".strip())
        getattr(self, "_" + self.path.strip("/").partition("/")[0])(range_header, len(server.requests))

    def _reply(self, code: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _good(self, range_header: str, _: int) -> None:
        if not range_header:
            self._reply(200, BODY)
            return
        start = int(range_header.removeprefix("bytes=").rstrip("-"))
        if start >= len(BODY):
            self._reply(416, b"")
        else:
            self._reply(206, BODY[start:])

    def _drops(self, range_header: str, count: int) -> None:
        """Breaks off in the middle, the first two times."""
        if count > 2:
            self._good(range_header, count)
            return
        start = int(range_header.removeprefix("bytes=").rstrip("-") or 0)
        self._reply(206 if range_header else 200, BODY[start : start + HALF], len(BODY) - start)
        self.close_connection = True

    def _norange(self, range_header: str, count: int) -> None:
        """As drops, but knows no Range."""
        self._reply(200, BODY if count > 1 else BODY[:HALF], len(BODY))
        self.close_connection = True

    def _alwaysdrops(self, range_header: str, count: int) -> None:
        self._reply(200, BODY[:300_000], len(BODY))
        self.close_connection = True

    def _moved(self, range_header: str, count: int) -> None:
        self._reply(302, b"", Location="/good/file")

    def _loop(self, range_header: str, count: int) -> None:
        self._reply(302, b"", Location="/loop")

    def _missing(self, range_header: str, count: int) -> None:
        self._reply(404, b"no such thing")

    def _slow(self, range_header: str, count: int) -> None:
        time.sleep(0.4)
        self._good(range_header, count)

    def _silent(self, range_header: str, count: int) -> None:
        assert isinstance(self.server, Server)
        self.server.over.wait()
        self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, and no proxy in between."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as instance:
        yield instance
        instance.over.set()
        instance.shutdown()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a download goes."""
    return tmp_path / "cache" / "sha256" / SHA


def check(target: Path) -> None:
    """The download is there and nothing else."""
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("path", ["good/file", "slow/file", "moved/file"])
def test_good(server: Server, target: Path, path: str) -> None:
    before = progress.downloaded()
    download.download(f"{server.url}/{path}", SHA, target)
    check(target)
    assert progress.downloaded() - before == len(BODY)


def test_what_is_there_is_not_fetched_again(server: Server, target: Path) -> None:
    download.download(f"{server.url}/good/file", SHA, target)
    download.download(f"{server.url}/good/file", SHA, target)
    assert len(server.requests) == 1


def test_a_broken_connection_is_resumed(server: Server, target: Path) -> None:
    download.download(f"{server.url}/drops/file", SHA, target)
    check(target)
    first, second, third = (
        int(request.partition("bytes=")[2].rstrip("-") or 0) for request in server.requests
    )
    assert first == 0
    assert HALF - (1 << 20) < second <= HALF
    assert second + HALF - (1 << 20) < third <= 2 * HALF


def test_little_is_lost_when_a_connection_breaks(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where connections break after less than a chunk, a download would never come on."""
    monkeypatch.setattr(web, "TRIES", 1)
    with pytest.raises(UserError):
        download.download(f"{server.url}/alwaysdrops/file", SHA, target)
    assert target.with_name(f"{SHA}.part").stat().st_size >= 200_000


def test_a_later_run_resumes(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(f"{SHA}.part").write_bytes(BODY[:5000])
    download.download(f"{server.url}/good/file", SHA, target)
    check(target)
    assert server.requests == ["/good/file bytes=5000-"]


def test_a_server_without_range(server: Server, target: Path) -> None:
    download.download(f"{server.url}/norange/file", SHA, target)
    check(target)


def test_all_of_it_was_there_already(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(f"{SHA}.part").write_bytes(BODY)
    download.download(f"{server.url}/good/file", SHA, target)
    check(target)


@pytest.mark.parametrize("start", [b"from somewhere else", BODY + b"too much"])
def test_a_bad_beginning_is_thrown_away(server: Server, target: Path, start: bytes) -> None:
    """A part that another source left must not make a good source fail for ever."""
    target.parent.mkdir(parents=True)
    target.with_name(f"{SHA}.part").write_bytes(start)
    try:
        download.download(f"{server.url}/good/file", SHA, target)
    except UserError:
        download.download(f"{server.url}/good/file", SHA, target)
    check(target)


def test_wrong_content(server: Server, target: Path) -> None:
    other = "1" * 64
    with pytest.raises(UserError) as caught:
        download.download(f"{server.url}/good/file", other, target)
    assert SHA in str(caught.value) and other in str(caught.value) and server.url in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_not_found(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match="404") as caught:
        download.download(f"{server.url}/missing/file", SHA, target)
    assert f"{server.url}/missing/file" in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_never_whole(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TRIES", 2)
    with pytest.raises(UserError, match="run it again; it continues where it stopped"):
        download.download(f"{server.url}/alwaysdrops/file", SHA, target)
    assert not target.exists()
    assert len(server.requests) == 2


def test_no_answer(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked twice; how long each try lasts is given, as a busy machine may stand still."""
    assert web.timeouts(30) == (10, 15) and web.timeouts(6) == (3, 3)
    monkeypatch.setattr(web, "TRIES", 2)
    monkeypatch.setattr(web, "timeouts", lambda _: (30, 0.3))
    with pytest.raises(UserError, match="does not answer"):
        download.download(f"{server.url}/silent/file", SHA, target, seconds=60)
    eventually(lambda: len(server.requests) == 2)  # the second one may have been given up before it was read
    assert not target.exists()


def test_nobody_there(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TRIES", 2)
    port = free_port()
    with pytest.raises(UserError, match=f"127.0.0.1:{port}"):
        download.download(f"http://127.0.0.1:{port}/x", SHA, target)
    assert not target.exists()


@pytest.mark.parametrize("url", ["gopher://x/y", "http://", "no url", "http://[/x"])
def test_urls_that_are_none(target: Path, url: str) -> None:
    with pytest.raises(UserError):
        download.download(url, SHA, target)


def test_a_circle_of_redirects(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match="redirect"):
        download.download(f"{server.url}/loop", SHA, target)


def test_a_file_url(target: Path, tmp_path: Path) -> None:
    """The model promises http, https or file URLs."""
    (tmp_path / "source").write_bytes(BODY)
    download.download((tmp_path / "source").as_uri(), SHA, target)
    check(target)


def test_a_cache_that_cannot_be_written(server: Server, readonly: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        download.download(f"{server.url}/good/file", SHA, readonly / "sha256" / SHA)


def test_a_full_disk(server: Server, tiny_disk: Path) -> None:
    with pytest.raises(UserError, match="disk is full"):
        download.download(f"{server.url}/good/file", SHA, tiny_disk / SHA)
    assert not (tiny_disk / SHA).exists()


def test_two_at_once_fetch_once(server: Server, target: Path) -> None:
    both = [
        threading.Thread(target=download.download, args=[f"{server.url}/slow/file", SHA, target])
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    check(target)
    assert len(server.requests) == 1
