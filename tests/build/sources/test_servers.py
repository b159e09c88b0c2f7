"""Servers that misbehave, and networks that are not there: what a download says of each, and how soon."""

import gzip
import hashlib
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.build.sources import download, network_faults, web
from tests.servers import OK, RESET, SILENT, Reply, Web, certificate, head, listening
from tests.servers import web as served

BODY = b"content\n" * 40
SHA = hashlib.sha256(BODY).hexdigest()
PACKED = gzip.compress(BODY, mtime=0)
BUSY = "503 Busy"
HANGS = 60  # seconds; a busy machine may stand still for some


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no long pauses."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(web, "PAUSE", 0.01)


def refused(url: str, folder: Path, *says: str, seconds: float = 20) -> None:
    """The download fails with these words, and not only when somebody else gives it up."""
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        download.download(url, SHA, folder / "x", seconds=seconds)
    assert [text for text in says if text not in str(caught.value)] == [], str(caught.value)
    assert "object at 0x" not in str(caught.value)
    assert time.monotonic() - began < HANGS
    assert not (folder / "x").exists()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (head(["Content-Length: 0"], "429 Too Many Requests"), "the server answered 429 Too Many Requests"),
        (head(["Content-Length: 0"], "408 Request Timeout"), "the server answered 408"),
        (
            head(["Retry-After: 99999999999999999999"], BUSY),
            "503 Busy; it asks to be left alone for 999 days",
        ),
        (head(["Retry-After: Sun, 29 Nov 2099 10:00:00 GMT"], BUSY), "it asks to be left alone for"),
        (head(["Retry-After: 7200"], "429 Too Many"), "429 Too Many; it asks to be left alone for 2 hours"),
        (head(["Retry-After: Mon, 01 Jan 1990 00:00:00 GMT"], BUSY), "answered 503 Busy"),
        (head(["Retry-After: -5"], BUSY), "answered 503 Busy"),
        (head(["Retry-After: 1e9"], BUSY), "answered 503 Busy"),
        (head(["Retry-After: soon"], BUSY), "answered 503 Busy"),
        (head(["Retry-After:"], BUSY), "answered 503 Busy"),
        (head(["Content-Length: 0"], "410 Gone"), "the server answered 410 Gone"),
        (head(["Content-Length: 0"], "401 No"), "~/.netrc"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"\0" * 99 + b"\n", "does not speak HTTP"),
        (RESET, "the server reset the connection"),
        (b"", "the server closed the connection without an answer"),
        (head(["Content-Length: -5"]) + BODY, "the answer is damaged: Content-Length: -5"),
        (head(["Content-Length: ten"]) + BODY, "the answer is damaged: Content-Length: ten"),
        (head(["Content-Length: 3_2_0"]) + BODY, "the answer is damaged: Content-Length: 3_2_0"),
        (head(["Content-Length: +320"]) + BODY, "the answer is damaged: Content-Length: +320"),
        (head(["Content-Length: 9", "Content-Length: 8"]) + BODY, "does not speak HTTP"),
        (head(["Content-Length: 9"]) + BODY, ", 9 bytes"),
        (head(["Content-Length: 999"]) + BODY, "the connection broke (after 320 B)"),
        (head(["Transfer-Encoding: chunked"]) + b"140\r\n" + BODY, "the connection broke (after 320 B)"),
        (head(["Transfer-Encoding: chunked"]) + b"zz\r\n" + BODY, "the connection broke"),
        (head(["Content-Type: text/html; charset=x"]) + b"<html>", "it is a web page"),
        (head(["Location: file:///etc/passwd"], "302 Found"), "redirects to file:///etc/passwd"),
        (head(["Location: gopher://x/y"], "308 Permanent"), "redirects to gopher://x/y"),
        (head(["Location: http://no.such.invalid/"], "301 Moved"), "there is no host of that name"),
        (head(["Content-Encoding: gzip", "Content-Length: 7"]) + b"no gzip", "its Content-Encoding is wrong"),
    ],
)
def test_an_answer(tmp_path: Path, answer: object, says: str) -> None:
    refused(f"http://{listening(answer)}/f", tmp_path, says)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:9/f", "nothing listens there: connection refused"),
        ("http://no.such.invalid/f", "there is no host of that name"),
        ("https://me:secret@no.such.invalid/f", "https://***@no.such.invalid/f: there is no host"),
        ("ftp://x/f", "expected a URL that begins with http:// or https://"),
        ("http://[::1/f", "expected a URL"),
        ("http://127.0.0.1:99999/f", "expected a URL"),
        ("http://a..b/f", "expected a URL"),
    ],
)
def test_a_url(tmp_path: Path, url: str, says: str) -> None:
    refused(url, tmp_path, says)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_silence_is_bounded(tmp_path: Path, scheme: str) -> None:
    """With https it is the handshake that stalls."""
    refused(
        f"{scheme}://{listening(SILENT)}/f",
        tmp_path,
        "does not answer",
        "download_timeout",
        seconds=1,
    )


@pytest.mark.parametrize(
    "answer",
    [
        head(["X: " + "x" * 99]),
        head(["Content-Length: 320"]) + BODY,
        head(["Transfer-Encoding: chunked"]) + b"1\r\nx\r\n" * 99,
    ],
)
def test_a_byte_at_a_time_is_bounded(tmp_path: Path, answer: bytes) -> None:
    """Each byte is one more sign of life, and no download comes to an end in this way."""
    refused(f"http://{listening(answer, pause=0.02)}/f", tmp_path, "1 s", seconds=1)


def test_a_negative_length_does_not_hang(tmp_path: Path) -> None:
    refused(f"http://{listening(head(['Content-Length: -5']) + BODY, stay=True)}/f", tmp_path, "-5")


def test_the_bound_is_for_what_is_too_slow(tmp_path: Path) -> None:
    """More than 1 KiB a second is not given up, however long it takes."""
    body = b"0123456789" * 1300  # about 4 s
    answer = head([f"Content-Length: {len(body)}"])
    slow = listening(answer + body, pause=0.0002)
    download.download(f"http://{slow}/f", hashlib.sha256(body).hexdigest(), tmp_path / "x", seconds=3)


CERTIFICATES = [
    ("localhost", (-1, 1), False, "its certificate is not trusted: self"),
    ("localhost", (-9, -2), True, "its certificate has expired"),
    ("localhost", (2, 9), True, "its certificate is not valid yet"),
    ("other.invalid", (-1, 1), True, "its certificate is for another host: "),
]


@pytest.mark.parametrize(("host", "days", "trusted", "says"), CERTIFICATES)
def test_a_certificate(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    days: tuple[int, int],
    trusted: bool,
    says: str,
) -> None:
    pair = certificate(tmp_path, host, days=days)
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair[0]))
    state = served(lambda *_: (200, {}, BODY), pair)
    refused(f"https://localhost:{state.port}/f", tmp_path, says)
    assert state.requests == []


def test_no_tls(tmp_path: Path) -> None:
    refused(f"https://{listening(OK)}/f", tmp_path, "it does not speak TLS on this port")


def test_from_https_to_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = certificate(tmp_path, "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair[0]))
    other = served(lambda *_: (200, {}, BODY))
    state = served(lambda *_: (302, {"Location": f"http://{other.host}/f"}, b""), pair)
    refused(f"https://localhost:{state.port}/f", tmp_path, "which is not followed from https", "give its URL")
    assert other.requests == []


@pytest.mark.parametrize(
    ("body", "encoding", "path"),
    [
        (PACKED, "gzip", "/f.gz"),  # the file, and a header that says too much
        (PACKED, "gzip", "/f"),
        (PACKED, "x-gzip", "/f.tgz"),
    ],
)
def test_a_packed_file(tmp_path: Path, body: bytes, encoding: str, path: str) -> None:
    answer = head([f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}"]) + body
    sha256 = hashlib.sha256(PACKED).hexdigest()
    download.download(f"http://{listening(answer)}{path}", sha256, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == PACKED


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", "br", "nonsense"])
@pytest.mark.parametrize("path", ["/f", "/f.gz"])
def test_packed_for_the_way(tmp_path: Path, encoding: str, path: str) -> None:
    """What a server has packed, or only says so."""
    import zlib

    body = {"gzip": PACKED, "deflate": zlib.compress(BODY)}.get(encoding, BODY)
    answer = head([f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}"]) + body
    download.download(f"http://{listening(answer)}{path}", SHA, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY


Act = Callable[[Web, str, str, Mapping[str, str]], Reply]


def rest(status: int, answer_range: str, body: bytes, headers: Mapping[str, str] = {}) -> Act:  # noqa: B006
    """A request for the rest gets this, one for all gets all."""
    extra = {"Content-Range": answer_range} if answer_range else {}
    return lambda _, __, ___, asked: (
        (status, {**extra, **headers}, body) if "Range" in asked else (200, {}, BODY)
    )


@pytest.mark.parametrize(
    "act",
    [
        rest(206, "bytes 7-319/320", BODY[100:]),
        rest(206, "bytes 0-319/320", BODY),
        rest(206, "", BODY[50:]),
        rest(206, "bytes */320", BODY[50:]),
        rest(206, "items 100-319/320", BODY[99:]),
        rest(416, "bytes */320", b""),
        rest(416, "", b""),
        rest(200, "", BODY),
        rest(206, "bytes 100-319/320", b"x" * 220, {"ETag": '"other"'}),
    ],
)
def test_odd_answers_to_a_request_for_the_rest(tmp_path: Path, act: Act) -> None:
    (tmp_path / "x.part").write_bytes(BODY[:100])
    download.download(f"http://{served(act).host}/f", SHA, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY


def test_what_nobody_knows_is_not_put_together(tmp_path: Path) -> None:
    """A 206 that does not say where it begins may be of anything."""

    def act(state: Web, _: str, __: str, asked: Mapping[str, str]) -> Reply:
        if len(state.requests) == 1:
            return 200, {"ETag": '"1"', "Transfer-Encoding": "chunked"}, BODY  # breaks: it has no chunks
        return (206, {"ETag": '"1"'}, b"other") if "Range" in asked else (200, {"ETag": '"1"'}, BODY)

    assert download.learn([f"http://{served(act).host}/f"], "new", tmp_path) == SHA


def test_a_wait_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """After 3 s: which server, what it said, which try, and when."""
    answer = head(["Content-Length: 0", "Retry-After: 4"], "429 Too Many Requests")
    place = listening(answer)
    refused(f"http://{place}/f", tmp_path, "answered 429", seconds=5)
    line = rf"{place}: the server answered 429 Too Many Requests; try 2 of 5 in \d s; given up in \d s"
    assert re.search(line, capfd.readouterr().err)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "x"), "its name cannot be looked up now"),
        (OSError(101, "Network is unreachable"), "there is no route to it"),
        (OSError(113, "No route to host"), "there is no route to it"),
        (TimeoutError("timed out"), "the server does not answer"),
        (RuntimeError("odd <x.Y object at 0x7f>: words"), "odd words"),
    ],
)
def test_faults_of_a_network(error: Exception, says: str) -> None:
    """They cannot be brought about here without another network; how they are wrapped, other tests show."""
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    fault = network_faults.of(wrapped if not isinstance(error, RuntimeError) else error)
    assert says in fault.text and fault.passes
