"""An exception of a request ──> what is wrong in a sentence, what to do next, and whether it may pass."""

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

NEVER_NAMES = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
# OpenSSL's X509_V_ERR_*: what its user can do depends on them.
NOT_YET, EXPIRED, HOSTNAME, ADDRESS = 9, 10, 62, 64


@dataclass(frozen=True)
class Fault:
    """Why a request failed."""

    text: str
    hint: str | None = None
    passes: bool = True  # another try may help


NETWORK = "is there a network? a proxy is set with http_proxy and https_proxy"
SYSTEM = {
    errno.ECONNREFUSED: (
        "nothing listens there: connection refused",
        "is the server up? check host and port",
    ),
    errno.ECONNRESET: ("the server reset the connection", None),
    errno.EPIPE: ("the server closed the connection", None),
    errno.ENETUNREACH: ("there is no route to it: network is unreachable", NETWORK),
    errno.EHOSTUNREACH: ("there is no route to it: no route to host", NETWORK),
    errno.EADDRNOTAVAIL: ("there is no route to it: no address of this host fits", NETWORK),
    errno.ETIMEDOUT: ("the server does not answer", "is it up? is a firewall in between?"),
}


def of(error: BaseException) -> Fault:
    """What an exception of requests, urllib3 or the system means."""
    chain = list(_chain(error))
    names = {type(each).__name__ for each in chain}
    if "ProxyError" in names:
        return _of_proxy(chain)
    return _of_chain(chain, names)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it wraps, and what it came from."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        each = queue.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        queue += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]


def _of_proxy(chain: list[BaseException]) -> Fault:
    """The proxy is what failed: not there, or it says no."""
    where = "the proxy in http_proxy or https_proxy"
    refusal = re.search(r"Tunnel connection failed: (\d{3})([^'\")]*)", " ".join(map(str, chain)))
    if refusal and refusal[1] == "407":
        return proxy_password()
    if refusal:
        text = f"{where} refuses the connection: {refusal[1]}{refusal[2].rstrip()}"
        return Fault(text, "may this host be reached through it? no_proxy names hosts that need none", False)
    inner = _of_chain(chain, {type(each).__name__ for each in chain if type(each).__name__ != "ProxyError"})
    text = inner.text if inner.text != UNKNOWN else "it does not answer"
    return Fault(f"{where} does not answer: {text}", "check the proxy, or unset the variable", inner.passes)


def proxy_password() -> Fault:
    """A proxy answers 407."""
    return Fault(
        "the proxy requires a password (407)",
        "put it into http_proxy and https_proxy: http://USER:PASSWORD@HOST:PORT",
        passes=False,
    )


UNKNOWN = "the request failed"
SLOW = ("TimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectTimeout", "ReadTimeout")
# Names of exceptions of requests, urllib3 and http.client; the first that is there counts.
NAMED: tuple[tuple[tuple[str, ...], Fault], ...] = (
    (("TooManyRedirects",), Fault("the server redirects in a circle", "open the URL in a browser", False)),
    (
        ("BadStatusLine", "LineTooLong", "UnknownProtocol", "HeaderParsingError", "InvalidHeader"),
        Fault("what answers there does not speak HTTP", "check host and port of the URL", False),
    ),
    (
        ("IncompleteRead", "ProtocolError", "ChunkedEncodingError", "InvalidChunkLength", "SSLEOFError"),
        Fault("the connection broke"),
    ),
    (
        ("DecodeError", "ContentDecodingError"),
        Fault("the answer cannot be decoded: its Content-Encoding is wrong", passes=False),
    ),
)
NO_URL = ("InvalidURL", "MissingSchema", "InvalidSchema", "LocationParseError", "LocationValueError")


def _of_chain(chain: list[BaseException], names: set[str]) -> Fault:
    system = [fault for each in chain if (fault := _of_tls_or_name(each))]
    system += [fault for each in chain if (fault := _of_system(each))]
    if system:
        return system[0]
    if names.intersection(SLOW):
        return Fault(*SYSTEM[errno.ETIMEDOUT])
    if names.intersection(NO_URL):
        return Fault(_last(chain[0]), "expected a URL that begins with http:// or https://", passes=False)
    named = next((fault for kinds, fault in NAMED if names.intersection(kinds)), None)
    return named or Fault(_last(chain[0]) or UNKNOWN)


def _of_tls_or_name(error: BaseException) -> Fault | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error)
    if isinstance(error, socket.gaierror):
        return _of_name(error)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return _of_tls(error)
    return None


def _of_system(error: BaseException) -> Fault | None:
    if isinstance(error, http.client.RemoteDisconnected):
        return Fault("the server closed the connection without an answer")
    if isinstance(error, OSError) and error.errno in SYSTEM:
        return Fault(*SYSTEM[error.errno])
    return None


def _last(error: BaseException) -> str:
    """The words of an exception without the addresses of objects."""
    return re.sub(r"<[^<>]*object at 0x[0-9a-f]+>:? ?", "", str(error))


def _of_name(error: socket.gaierror) -> Fault:
    if error.errno in NEVER_NAMES:
        return Fault(
            "there is no host of that name", "check the name; who looks it up is in /etc/resolv.conf", False
        )
    return Fault("its name cannot be looked up now: no name server answers", NETWORK)


def _of_certificate(error: ssl.SSLCertVerificationError) -> Fault:
    code = error.verify_code
    if code == EXPIRED:
        return Fault(
            "its certificate has expired", "is the clock of this host right? else its owner renews it", False
        )
    if code == NOT_YET:
        return Fault("its certificate is not valid yet", "is the clock of this host right?", passes=False)
    if code in (HOSTNAME, ADDRESS) or "match" in error.verify_message:
        text = f"its certificate is for another host: {error.verify_message}"
        return Fault(text, "use the name that the certificate is for", passes=False)
    return Fault(
        f"its certificate is not trusted: {error.verify_message}",
        "name a file with the CA that signed it in REQUESTS_CA_BUNDLE; a container registry may be named in "
        "registry_insecure",
        passes=False,
    )


def _of_tls(error: ssl.SSLError) -> Fault:
    text = str(error).lower()
    if any(
        words in text for words in ("wrong version number", "record layer", "http request", "packet length")
    ):
        return Fault(
            "it does not speak TLS on this port", "is it http:// and not https://? check the port", False
        )
    if "timed out" in text:
        return Fault("the TLS handshake does not come to an end", "is it up? is a firewall in between?")
    reason = error.reason or str(error)
    return Fault(f"the TLS handshake failed: {reason.lower().replace('_', ' ')}", passes=False)
