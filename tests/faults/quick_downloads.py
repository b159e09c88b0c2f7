"""Rows: servers that misbehave, and networks that are not there. Artifacts stand for all downloads."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.conftest import temporary
from tests.faults.case import Bench, Case
from tests.servers import OK, RESET, SILENT, certificate, head, listening, web

BODY = b"content\n" * 40
PACKED = gzip.compress(BODY, mtime=0)
NO_PROXY = {"__download_timeout": "4"} | {
    name: "" for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
}
FAST = "$xc artifact:x"
Where = Callable[[Bench], str]


def asks(where: str | Where, body: bytes = BODY, **keys: str) -> Callable[[Bench], None]:
    """An overlay whose artifact `x` is at a URL."""

    def prepare(bench: Bench) -> None:
        url = where if isinstance(where, str) else where(bench)
        sha256 = hashlib.sha256(body).hexdigest()
        bench.write(
            "ovl/a/ovl.yaml",
            f"artifacts:\n  - name: x\n    dest: usr/bin/x\n    sha256: {sha256}\n"
            f"    sources:\n      - url: {url}\n",
        )

    return prepare


def http(answer: object, path: str = "/f", *, pause: float = 0, stay: bool = False) -> Where:
    """A server of such an answer."""
    return lambda _: f"http://{listening(answer, pause=pause, stay=stay)}{path}"


def https(host: str, days: tuple[int, int] = (-1, 1), *, trusted: bool = False) -> Where:
    """A server with TLS and a certificate for `host`."""

    def where(bench: Bench) -> str:
        pair = certificate(bench.root / "tls", host, days=days)
        if trusted:
            bench.env["REQUESTS_CA_BUNDLE"] = str(pair[0])
        return f"https://localhost:{web(lambda *_: (200, {}, BODY), pair).port}/f"

    return where


def got(bench: Bench) -> None:
    """The artifact is in the cache."""
    assert (bench.workspace / "cache/sha256" / hashlib.sha256(BODY).hexdigest()).read_bytes() == BODY


def away(name: str, where: str | Where, *says: str, resumable: bool = False, **env: str) -> Case:
    """A row: this server, and these words."""
    return Case(
        name, FAST, 1, says=("artifact:x: the artifact 'x' could not be had", *says),
        never=("object at 0x", "Max retries"), prepare=asks(where), env={**NO_PROXY, **env},
        seconds=20, resumable=resumable,
    )  # fmt: skip


def good(name: str, where: str | Where) -> Case:
    """A row: this server gives the right thing."""
    return Case(name, FAST, prepare=asks(where), env=NO_PROXY, left=got)


def busy(after: str) -> Where:
    """503 with this Retry-After."""
    return http(head([f"Retry-After: {after}", "Content-Length: 0"], "503 Busy"))


def recovering(_: Bench) -> str:
    """429 at first, then the file."""
    state = web(
        lambda web, *_: (429, {"Retry-After": "1"}, b"") if len(web.requests) < 3 else (200, {}, BODY)
    )
    return f"http://{state.host}/f"


def redirect(place: str) -> Where:
    """302 to there."""
    return http(head([f"Location: {place}", "Content-Length: 0"], "302 Found"))


def downgrade(bench: Bench) -> str:
    """302 from https to http."""
    pair = certificate(bench.root / "tls", "localhost")
    bench.env["REQUESTS_CA_BUNDLE"] = str(pair[0])
    other = f"http://{web(lambda *_: (200, {}, BODY)).host}/f"
    return f"https://localhost:{web(lambda *_: (302, {'Location': other}, b''), pair).port}/f"


def proxied(status: int) -> Callable[[Bench], None]:
    """A proxy that says no to tunnels."""

    def prepare(bench: Bench) -> None:
        host = web(lambda *_: (status, {}, b"")).host
        bench.env.update(http_proxy=f"http://me:secret@{host}", https_proxy=f"http://me:secret@{host}")
        asks("https://far.invalid/f")(bench)

    return prepare


def encoded(body: bytes, encoding: str = "gzip") -> bytes:
    """An answer that a server has packed, or says so."""
    return head([f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}"]) + body


def packed_file(bench: Bench) -> None:
    """A .gz file to which the server adds Content-Encoding: gzip: the file itself is right."""
    asks(http(encoded(PACKED), "/f.gz"), PACKED)(bench)


def packed_image(bench: Bench) -> None:
    """The same without a name that ends in .gz."""
    asks(http(encoded(PACKED)), PACKED)(bench)


def gone_on_with(bench: Bench, where: Where) -> None:
    """Half of it is there already."""
    asks(where)(bench)
    part = bench.workspace / "cache/sha256" / f"{hashlib.sha256(BODY).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY[:100])


def ranged(name: str, answer: bytes) -> Case:
    """A row: the first answer to a request for the rest; then all of it comes."""

    def prepare(bench: Bench) -> None:
        def act(state: object, _: str, __: str, headers: object) -> tuple[int, dict[str, str], bytes]:
            if "Range" not in headers:  # type: ignore[operator]
                return 200, {}, BODY
            status, _, rest = answer.decode().partition(" ")
            return int(status), {"Content-Range": rest} if rest else {}, BODY[100:]

        gone_on_with(bench, lambda _: f"http://{web(act).host}/f")

    return Case(name, FAST, prepare=prepare, env=NO_PROXY, left=got)


def no_lists(bench: Bench) -> None:
    """A Debian archive that never answers."""
    bench.write("xcluster.yaml", f"ovls: a b\nmirror: http://{listening(SILENT)}/debian\n")


def no_modules(bench: Bench) -> None:
    """A module proxy that never answers."""
    bench.env["GOPROXY"] = f"http://{listening(SILENT)}"
    source = "{module: example.com/x/y, version: v1.0.0}"
    bench.write(
        "ovl/a/ovl.yaml",
        f"artifacts:\n  - name: x\n    dest: usr/bin/x\n    sources:\n      - go: {source}\n",
    )


def tidy(bench: Bench) -> None:
    """Nothing is left."""
    assert temporary(Path(bench.workspace)) == []


TOLD = ("127.0.0.1:", "given up in", "does not answer", "__download_timeout=SECONDS")
CASES = [
    away("429 for ever", http(head(["Content-Length: 0"], "429 Too Many Requests")), "answered 429 Too Many"),
    away(
        "429 for ever, and it says when to come again",
        http(head(["Content-Length: 0", "Retry-After: 4"], "429 Too Many Requests")),
        "the server answered 429 Too Many Requests; try 2 of 5 in", "given up in", __download_timeout="6",
    ),
    good("429 at first", recovering),
    away(
        "a server that stops in its answer", http(head(["Content-Length: 12"]) + b"abc", stay=True),
        "the server began its answer, and stopped after 3 of 12 bytes", resumable=True,
    ),
    Case(
        "an error names its URL once, and has a hint of its own", FAST + " 2>&1 | grep -c http://", 0,
        shows=("1\n",), env=NO_PROXY, prepare=asks(http(head(["Content-Length: 0"], "500 Broken"))),
    ),
    away("a broken server", http(head(["Content-Length: 0"], "500 Broken")), "the fault is the server's"),
    Case(
        "a file URL that names a directory", FAST, 1, says=(" is a directory, not a file",),
        prepare=lambda bench: asks(f"file://{bench.root}")(bench),
    ),
    Case(
        "a file URL that names a pipe", "mkfifo pipe && $xc artifact:x", 1,
        says=(" is a pipe or a device, not a file",),
        prepare=lambda bench: asks(f"file://{bench.root}/pipe")(bench),
    ),
    Case(
        "the reason of a refusal has control characters", FAST, 1, says=("404 \\x1b[31mevil",),
        never=("\x1b",), prepare=asks(http(head(["Content-Length: 0"], "404 \x1b[31mevil"))), env=NO_PROXY,
    ),
    away("Retry-After is huge", busy("9" * 20), "503 Busy; it asks to be left alone for 999 days"),
    away("a silent server", http(SILENT), *TOLD),
    away("a TLS handshake that stalls", lambda _: f"https://{listening(SILENT)}/f", *TOLD),
    away(
        "a body a byte at a time", http(head(["Content-Length: 320"]) + BODY, pause=0.05, stay=True),
        "given up in", resumable=True, __download_timeout="6",
    ),
    away("no CA that is known", https("localhost"), "its certificate is not trusted: self"),
    away("a certificate that has expired", https("localhost", (-9, -2), trusted=True), "has expired"),
    away("a certificate of another host", https("other.invalid", trusted=True), "is for another host: "),
    away("no TLS on the port", lambda _: f"https://{listening(OK)}/f", "it does not speak TLS on this port"),
    away("nothing listens", "http://127.0.0.1:9/f", "nothing listens there: connection refused"),
    away("no host of that name", "http://no.such.invalid/f", "there is no host of that name"),
    away("no HTTP", http(b"SSH-2.0-OpenSSH\r\n"), "does not speak HTTP"),
    away("the connection is reset", http(RESET), "the server reset the connection"),
    away(
        "no proxy where one is set", "http://far.invalid/f",
        "the proxy in http_proxy or https_proxy does not answer: nothing", http_proxy="http://127.0.0.1:9",
    ),
    Case(
        "a proxy refuses", FAST, 1, says=("https_proxy refuses the connection: 403",), never=("secret",),
        prepare=proxied(403),
    ),
    Case(
        "a proxy requires a password", FAST, 1, says=("requires a password (407)",), never=("secret",),
        prepare=proxied(407),
    ),
    away(
        "Content-Length is negative", http(head(["Content-Length: -5"]) + BODY, stay=True),
        "the answer is damaged: Content-Length: -5",
    ),
    away("a web page of an error", http(head(["Content-Type: text/html"]) + b"<html>"), "it is a web page"),
    away("a redirect to a file", redirect("file:///etc/passwd"), "redirects to file:///etc/passwd"),
    away("a redirect from https to http", downgrade, "which is not followed from https"),
    away("401", http(head(["Content-Length: 0"], "401 Unauthorized")), "401 Unauthorized", "~/.netrc"),
    Case("Content-Encoding of a .gz file", FAST, prepare=packed_file, env=NO_PROXY),
    Case("Content-Encoding of a packed file by another name", FAST, prepare=packed_image, env=NO_PROXY),
    good("a file that is packed for the way", http(encoded(PACKED))),
    ranged("206 with another range", b"206 bytes 7-319/320"),
    ranged("416 for a file that is longer", b"416 bytes */320"),
    Case(
        "a Debian archive that never answers", "$xc suite:bookworm", 1,
        says=("apt could not fetch the package lists", "it waited for 127.0.0.1:"), prepare=no_lists,
        env=NO_PROXY,
    ),
    Case(
        "a module proxy that never answers", FAST, 1, says=("given up", "example.com/x/y@v1.0.0"),
        prepare=no_modules, env={**NO_PROXY, "__download_timeout": "6"}, left=tidy,
    ),
]  # fmt: skip
