"""Requests to servers: tried again where that may help, bounded in time, refused in words.

The only importer of requests: downloads and container registries both ask through here.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from tasks.base.errors import UserError
from tasks.base.patience import LATER, GivenUp, Patience
from tasks.base.progress import amount
from tasks.build.sources import network_faults, trust
from tasks.build.sources.network_faults import Fault

if TYPE_CHECKING:
    from requests import Response as Response
    from requests import Session as Session

T = TypeVar("T")
CHUNK = 1 << 16
TRIES = 5  # in a row without a byte that is new
PAUSE = 0.15  # seconds before the second try; each further pause is twice as long
CONNECT = 10.0  # seconds at most for one address and its handshake
REDIRECTS = 10
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers after which another try may help
RESUMED = "run it again; it continues where it stopped"


class Failure(Exception):
    """A request came to nothing, for now or for good. `pause`: seconds that the server asks for."""

    def __init__(self, fault: Fault, pause: float | None = None) -> None:
        super().__init__(fault.text)
        self.fault, self.pause = fault, pause


def timeouts(seconds: float) -> tuple[float, float]:
    """Seconds to connect, and between two pieces, so that a silent server is asked twice."""
    return min(CONNECT, seconds / 2), seconds / 2


def session(*, loose: bool = False) -> "Session":
    """A session that never goes from https to http, or to no server at all, unless it is a `loose` one."""
    import requests

    trust.settle()

    class Bounded(requests.Session):
        def get_redirect_target(self, reply: Any) -> str | None:
            place = super().get_redirect_target(reply)
            if place is not None:
                _check_redirect(reply.url, urljoin(reply.url, place), loose)
            return place

    new = Bounded()
    new.max_redirects = REDIRECTS
    return new


def _check_redirect(old: str, new: str, loose: bool) -> None:
    schemes = urlsplit(old).scheme, urlsplit(new).scheme
    if schemes[1] not in ("http", "https") or (schemes == ("https", "http") and not loose):
        raise UserError(
            f"{shown(old)}: the server redirects to {shown(new)}, which is not followed from {schemes[0]}",
            "if that is the right place, give its URL instead" if schemes[1] == "http" else None,
        )


def persistently(attempt: Callable[[], T], patience: Patience, what: str, reached: Callable[[], int]) -> T:
    """What `attempt` gives; a fault that may pass is tried again as long as `reached` grows.

    Raises UserError, which begins with `what`: for good, after TRIES in a row, or when the time is over.
    """
    failures, best = 0, reached()
    while True:
        patience.state(f"no answer yet (try {failures + 1} of {TRIES})")
        try:
            return attempt()
        except Failure as error:
            fault, pause = error.fault, error.pause
        except GivenUp as error:
            raise UserError(
                f"{what}: {error}{_after(reached())}", _next_step(Fault(""), reached())
            ) from error
        except _request_errors() as error:
            fault, pause = network_faults.of(error), None
        failures = 1 if reached() > best else failures + 1
        best = max(best, reached())
        if failures >= TRIES or not fault.passes:
            raise UserError(f"{what}: {fault.text}{_after(reached())}", _next_step(fault, reached()))
        pause = max(PAUSE * 2 ** (failures - 1), pause or 0)
        try:
            patience.sleep(pause, f"{fault.text}; try {failures + 1} of {TRIES}")
        except GivenUp:
            later = f"; it asks to be left alone for {_span(pause)}" if pause >= 1 else ""
            raise UserError(f"{what}: {fault.text}{later}", _next_step(fault, reached())) from None


def _after(size: int) -> str:
    return f" (after {amount(size)})" if size > 0 else ""


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{min(seconds / size, 999):.0f} {unit}"
    return f"{seconds:.0f} s"


def _next_step(fault: Fault, size: int) -> str | None:
    """What to do: what the fault says, else to come again."""
    if fault.hint or not fault.passes:
        return fault.hint
    return RESUMED if size else LATER


def unreachable() -> tuple[type[Exception], ...]:
    """What a request raises where no server answers, or one that speaks something else."""
    import requests

    return (requests.ConnectionError, requests.Timeout)


def _request_errors() -> tuple[type[Exception], ...]:
    import requests
    import urllib3

    return (requests.RequestException, urllib3.exceptions.HTTPError)


def busy(reply: "Response", who: str, hint: str | None = None) -> None:
    """Raise Failure for an answer that says: not now; and where a proxy stands before the server."""
    if reply.status_code == 407:
        raise Failure(network_faults.proxy_password())
    if reply.status_code in BUSY:
        text = f"{who} answered {reply.status_code} {reply.reason}".rstrip()
        raise Failure(
            Fault(text, hint or _later(reply.status_code)), retry_after(reply.headers.get("Retry-After", ""))
        )


def _later(status: int) -> str:
    """What to do when a server is busy, or broken."""
    if status >= 500 and status != 503:
        return "the fault is the server's: run it again later, or ask who runs the server"
    return "the server has too much to do, or lets a host ask only so often: run it again later"


def retry_after(header: str) -> float | None:
    """Seconds that a server asks for, in a number or by a date; None when it says nothing that is either."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return Retry(retry_after_max=10**9).parse_retry_after(header) if header.strip() else None
    except (InvalidHeader, OverflowError, ValueError):
        return None


def length(reply: "Response") -> int | None:
    """The Content-Length; None where there is none. Raises UserError when it is no length."""
    text = reply.headers.get("Content-Length")
    if text is None or "chunked" in reply.headers.get("Transfer-Encoding", "").lower():
        return None
    numbers = {part.strip() for part in text.split(",")}  # several headers, joined
    (number,) = numbers if len(numbers) == 1 else ("",)
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise UserError(
            f"{shown(reply.url)}: the answer is damaged: Content-Length: {text[:40]}",
            "the server, or a proxy before it, is broken",
        )
    return int(number)


def pieces(reply: "Response", patience: Patience, *, decode: bool = False) -> Iterator[bytes]:
    """The body as it comes. What a server has packed for the way is unpacked only with `decode`.

    Raises Failure when the server stops in the middle.
    """
    from urllib3.exceptions import TimeoutError as ReadTimeout

    size = 0
    try:
        while chunk := reply.raw.read1(CHUNK, decode_content=decode):
            patience.moved(len(chunk))
            size += len(chunk)
            yield chunk
    except (ReadTimeout, TimeoutError) as error:
        total = length(reply)
        amounts = f"{size} of {total}" if total is not None else f"{size}"
        raise Failure(Fault(f"the server began its answer, and stopped after {amounts} bytes")) from error


def body(reply: "Response", patience: Patience, most: int, what: str) -> bytes:
    """All of a short body. Raises UserError when it has more than `most` bytes."""
    data = b""
    length(reply)
    for chunk in pieces(reply, patience, decode=True):
        data += chunk
        if len(data) > most:
            raise UserError(f"{what} is larger than {most} bytes")
    return data


def host(url: str) -> str:
    """The server in a URL, with its port, for people."""
    return shown(url).partition("://")[2].partition("/")[0].rpartition("@")[2] or url


def shown(url: str) -> str:
    """A URL for people: without the password that may be in it."""
    return re.sub(r"(://)[^/@\s]*@", r"\1***@", url)
