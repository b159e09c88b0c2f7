"""The HTTP API of container registries (OCI distribution), as far as pulling and pushing an image takes.

Own code on `requests` and not skopeo: manifests have to stay as they are to the byte, in one shared layout
(skopeo rewrites docker's manifests for it, and the digest that was pinned is gone), and a layer that broke
off goes on where it was.
"""

import base64
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.progress import Bar
from tasks.build.containers import oci, registry_auth
from tasks.build.containers.registry_places import Mirror, RegistryAccess, places
from tasks.build.sources import trust
from tasks.definitions import image_reference

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
CHUNK = 1 << 16
TRIES = 4
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
LARGEST = 4 << 20  # bytes of a manifest, as registries have it
ACCEPT = ", ".join((oci.MANIFEST, oci.INDEX, oci.DOCKER_MANIFEST, oci.DOCKER_INDEX))


class NotThere(UserError):
    """The registry answers, and has no such image or blob."""


class Repository:
    """One place, spoken to."""

    def __init__(self, place: Mirror) -> None:
        import requests
        import urllib3

        trust.settle()
        self.place = place
        self._url = place.url
        self._authorization = ""
        self._session = requests.Session()
        if place.loose:
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)

    def manifest(self, which: str) -> tuple[bytes, str]:
        """The manifest of a tag or digest, and its digest; what was asked for by digest has that digest."""
        with self._ask("GET", f"manifests/{which}", headers={"Accept": ACCEPT}, stream=True) as reply:
            data = reply.raw.read(LARGEST + 1, decode_content=True)
        if len(data) > LARGEST:
            raise UserError(f"{self.place.text}: the manifest of {which} is larger than {LARGEST} bytes")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if which.startswith("sha256:") and which != digest:
            raise UserError(f"{self.place.text}: asked for manifest {which}, got {digest}")
        return data, digest

    def blob(self, descriptor: oci.Descriptor, target: Path) -> None:
        """Fetch a blob to `target`; what broke off stays in `target`.part, and goes on there."""
        import requests

        part = target.with_name(f"{target.name}.part")
        with files.locked(part.with_name(f"{part.name}.lock")), files.explained(target):
            for attempt in range(TRIES):
                if target.is_file() or self._have(part) == descriptor.size:
                    break
                try:
                    self._stream(descriptor, part)
                except requests.RequestException as error:
                    if attempt == TRIES - 1:
                        raise UserError(
                            f"{self.place.text}: {descriptor.digest[:19]}: {reason(error)}",
                            "run it again; it continues where it stopped",
                        ) from error
                    time.sleep(0.2 * 2**attempt)
            if not target.is_file():
                self._accept(descriptor, part, target)

    def _have(self, part: Path) -> int:
        return part.stat().st_size if part.is_file() else -1

    def _stream(self, descriptor: oci.Descriptor, part: Path) -> None:
        import requests

        have = max(self._have(part), 0)
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._ask("GET", f"blobs/{descriptor.digest}", headers=headers, stream=True) as reply:
            resumed = reply.status_code == 206
            got = have if resumed else 0
            with (
                part.open("ab" if resumed else "wb") as file,
                Bar(descriptor.digest[7:19], descriptor.size) as bar,
            ):
                bar.to(got)
                for chunk in reply.iter_content(CHUNK):
                    file.write(chunk)
                    got += len(chunk)
                    bar.add(len(chunk))
        if got < descriptor.size:
            raise requests.ConnectionError(f"the connection broke after {got} of {descriptor.size} bytes")

    def _accept(self, descriptor: oci.Descriptor, part: Path, target: Path) -> None:
        actual = f"sha256:{files.sha256(part)}"
        if actual != descriptor.digest:
            part.unlink()
            raise UserError(
                f"{self.place.text}: not the expected content\n"
                f"  expected {descriptor.digest}, {descriptor.size} bytes\n  got      {actual}",
                "run it again; if it fails again, the registry or a proxy before it is broken",
            )
        part.replace(target)

    def exists(self, what: str) -> bool:
        """Whether there is a blob (`blobs/sha256:...`) or manifest (`manifests/...`)."""
        try:
            self._ask("HEAD", what, headers={"Accept": ACCEPT}).close()
        except NotThere:
            return False
        return True

    def push_blob(self, digest: str, source: Path) -> None:
        """Send a blob, unless the registry has it."""
        if self.exists(f"blobs/{digest}"):
            return
        with self._ask("POST", "blobs/uploads/") as reply:
            where = urljoin(reply.url, reply.headers["Location"])
        with source.open("rb") as data:
            joint = "&" if "?" in where else "?"
            headers = {"Content-Type": "application/octet-stream"}
            self._ask("PUT", f"{where}{joint}digest={digest}", headers=headers, data=data).close()

    def push_manifest(self, which: str, data: bytes) -> None:
        """Send a manifest under a tag or its digest."""
        media = oci.parsed(data, which).get("mediaType") or oci.MANIFEST
        self._ask("PUT", f"manifests/{which}", headers={"Content-Type": media}, data=data).close()

    def _ask(self, method: str, what: str, **options: Any) -> "requests.Response":
        """A request; logs in when the registry wants it. NotThere for 404, UserError for other refusals."""
        import requests

        url = what if "://" in what else f"{self._url}/v2/{self.place.repository}/{what}"
        try:
            reply = self._send(method, url, **options)
        except requests.exceptions.SSLError:
            if not self.place.loose or self._url.startswith("http:"):
                raise
            self._url = self._url.replace("https:", "http:", 1)
            return self._ask(method, what, **options)
        if reply.status_code == 401 and self._log_in(reply.headers.get("WWW-Authenticate", "")):
            reply.close()
            if hasattr(options.get("data"), "seek"):
                options["data"].seek(0)
            reply = self._send(method, url, **options)
        if reply.ok:
            return reply
        with reply:
            text = f"{url}: the registry answered {reply.status_code} {reply.reason}{_message_of(reply)}"
        if reply.status_code == 404:
            raise NotThere(text)
        raise UserError(text, self._advice(reply.status_code))

    def _send(self, method: str, url: str, **options: Any) -> "requests.Response":
        def authorize(request: Any) -> Any:  # in this way .netrc does not come in between
            if self._authorization:
                request.headers["Authorization"] = self._authorization
            return request

        return self._session.request(
            method,
            url,
            auth=authorize,
            timeout=TIMEOUT,
            verify=False if self.place.loose else None,
            **options,
        )

    def _log_in(self, header: str) -> bool:
        """Answer a challenge; whether there is something to try."""
        scheme, challenge = registry_auth.challenge(header)
        who = registry_auth.login(*self.place.login_as, os.environ)
        if scheme == "basic" and who and not self._authorization:
            self._authorization = "Basic " + base64.b64encode(":".join(who).encode()).decode()
            return True
        if scheme != "bearer" or "realm" not in challenge:
            return False
        query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
        with self._session.get(
            challenge["realm"], params=query, auth=who or (lambda request: request), timeout=TIMEOUT
        ) as reply:
            if not reply.ok:
                return False
            token = oci.parsed(reply.content, challenge["realm"])
        self._authorization = f"Bearer {token.get('token') or token.get('access_token')}"
        return True

    def _advice(self, status: int) -> str | None:
        if status == 429:
            return (
                "the registry limits how much one may pull: log in, wait, or use a mirror (registry_mirrors)"
            )
        if status not in (401, 403):
            return None
        registry = self.place.login_as[0]
        program = registry_auth.helper(registry, os.environ)
        if program:
            return f"credential helpers are not asked, and yours is {program}: podman login {registry}"
        return f"log in (podman login {registry}), or write a login to {registry_auth.places(os.environ)[0]}"


def _message_of(reply: "requests.Response") -> str:
    try:
        errors = reply.json()["errors"]
        return ": " + "; ".join(str(each.get("message") or each.get("code")) for each in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def reason(error: Exception) -> str:
    """What a person wants to know of a failed request."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "its certificate is not trusted: put its CA into REQUESTS_CA_BUNDLE, or it into registry_insecure"
        )
    if "Name or service not known" in text or "resolution" in text:
        return "there is no such host"
    if "IncompleteRead" in text or "Connection broken" in text or "Connection aborted" in text:
        return "the connection broke"
    return "the registry does not answer" if "Max retries" in text or "timed out" in text else text


def first(reference: image_reference.Reference, access: RegistryAccess, use: Callable[[Repository], T]) -> T:
    """What `use` gives at the first place that has the image.

    Raises NotThere when every place answers that it has it not, else UserError with each place's reason.
    """
    return at(places(reference, access), reference.text, use)


def at(where: Sequence[Mirror], what: str, use: Callable[[Repository], T]) -> T:
    """As `first`, for given places."""
    import requests

    tried: list[UserError] = []
    for place in where:
        try:
            return use(Repository(place))
        except UserError as error:
            tried.append(error)
        except requests.RequestException as error:
            tried.append(UserError(f"{place.text}: {reason(error)}"))
    lines = "".join(f"\n  {error.args[0]}" for error in tried)
    if all(isinstance(error, NotThere) for error in tried):
        raise NotThere(f"no registry has {what}:{lines}")
    hints = [error.hint for error in tried if error.hint]
    raise UserError(f"cannot reach {what}:{lines}", hints[-1] if hints else None)
