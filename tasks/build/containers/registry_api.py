"""The HTTP API of container registries (OCI distribution), as far as pulling and pushing an image takes.

Own code on `requests` and not skopeo: manifests have to stay as they are to the byte, in one shared layout
(skopeo rewrites docker's manifests for it, and the digest that was pinned is gone), and a layer that broke
off goes on where it was.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from tasks.base import files, locks, patience
from tasks.base.errors import UserError
from tasks.base.patience import Patience
from tasks.build.containers import oci, registry_auth, registry_token
from tasks.build.containers.registry_places import Mirror, RegistryAccess, places
from tasks.build.sources import download, web
from tasks.build.sources.partial import PartialDownload
from tasks.definitions import image_reference

if TYPE_CHECKING:
    from tasks.build.sources.web import Response

T = TypeVar("T")
LARGEST = 4 << 20  # bytes of a manifest, as registries have it
ACCEPT = ", ".join((oci.MANIFEST, oci.INDEX, oci.DOCKER_MANIFEST, oci.DOCKER_INDEX))


class NotThere(UserError):
    """The registry answers, and has no such image or blob."""


class Repository:
    """One place, spoken to. What brings next to nothing for so many `seconds` is given up."""

    def __init__(self, place: Mirror, seconds: float = patience.SECONDS) -> None:
        import urllib3

        self.place = place
        self._url = place.url
        self._answered = False  # so it is known whether it speaks TLS
        self._authorization = ""
        self._seconds = seconds
        self._session = web.session(loose=place.loose)
        if place.loose:
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)

    def manifest(self, which: str) -> tuple[bytes, str]:
        """The manifest of a tag or digest, and its digest; what was asked for by digest has that digest."""

        def get(wait: Patience) -> bytes:
            what = f"{self.place.text}: the manifest of {which}"
            with self.ask(
                "GET", f"manifests/{which}", wait, headers={"Accept": ACCEPT}, stream=True
            ) as reply:
                return web.body(reply, wait, LARGEST, what)

        data = self._persist(get)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if ":" in which and which != digest:
            raise UserError(f"{self.place.text}: asked for manifest {which}, got {digest}")
        return data, digest

    def blob(self, descriptor: oci.Descriptor, target: Path) -> None:
        """Fetch a blob to `target`; what broke off stays in `target`.part, and goes on there."""
        part = target.with_name(f"{target.name}.part")
        with locks.locked(part.with_name(f"{part.name}.lock")), files.explained(target):
            if target.is_file():
                if target.stat().st_size != descriptor.size:
                    raise UserError(
                        f"{self.place.text}: the manifest is wrong: {descriptor.digest} has "
                        f"{target.stat().st_size} bytes, not {descriptor.size}"
                    )
                return
            with PartialDownload(part, None) as partial:
                fetch = download.Fetch(partial, self._seconds, descriptor.size)
                self._fetch(descriptor, fetch, target)

    def _fetch(self, descriptor: oci.Descriptor, fetch: download.Fetch, target: Path) -> None:
        """From the registry; else from where the manifest says that a layer is, that may not be passed on."""
        sha256 = descriptor.digest.removeprefix("sha256:")

        def good(url: str) -> bool:
            hint = "run it again; if it fails again, the registry or a proxy before it is broken"
            return download.accept(url, sha256, fetch, target, download.Advice("sha256:", hint))

        try:
            download.get(_Blob(self, descriptor.digest), fetch, good)
        except NotThere:
            if not descriptor.urls:
                raise
            download.first(descriptor.urls, fetch, good)

    def exists(self, what: str) -> bool:
        """Whether there is a blob (`blobs/sha256:...`) or manifest (`manifests/...`)."""
        try:
            self._persist(lambda wait: self.ask("HEAD", what, wait, headers={"Accept": ACCEPT}).close())
        except NotThere:
            return False
        return True

    def push_blob(self, digest: str, source: Path) -> None:
        """Send a blob, unless the registry has it."""
        if self.exists(f"blobs/{digest}"):
            return

        def send(wait: Patience) -> None:
            with self.ask("POST", "blobs/uploads/", wait) as reply:
                where = urljoin(reply.url, reply.headers["Location"])
            headers = {"Content-Type": "application/octet-stream"}
            joint = "&" if "?" in where else "?"
            with source.open("rb") as data:
                url = f"{where}{joint}digest={digest}"
                self.ask("PUT", url, wait, headers=headers, data=data).close()

        self._persist(send)

    def push_manifest(self, which: str, data: bytes) -> None:
        """Send a manifest under a tag or its digest."""
        media = oci.parsed(data, which).get("mediaType") or oci.MANIFEST
        headers = {"Content-Type": media}
        self._persist(
            lambda wait: self.ask("PUT", f"manifests/{which}", wait, headers=headers, data=data).close()
        )

    def _persist(self, attempt: Callable[[Patience], T]) -> T:
        """A short exchange, tried again where that may help."""
        with Patience(web.host(self._url), self._seconds) as wait:
            return web.persistently(lambda: attempt(wait), wait, self.place.text, lambda: 0)

    def ask(self, method: str, what: str, wait: Patience, **options: Any) -> "Response":
        """A request; logs in when the registry wants it. NotThere for 404, UserError for other refusals."""
        reply = self._send(method, what, wait, options)
        if reply.status_code == 401 and self._log_in(reply, wait):
            reply.close()
            if hasattr(options.get("data"), "seek"):
                options["data"].seek(0)
            reply = self._send(method, what, wait, options)
        if reply.ok or (reply.status_code == 416 and method == "GET"):
            return reply
        with reply:
            advice = self._advice(reply.status_code)
            web.busy(reply, "the registry", advice)
            text = (
                f"{reply.url}: the registry answered {reply.status_code} {reply.reason}{_message_of(reply)}"
            )
        if reply.status_code == 404:
            raise NotThere(text)
        raise UserError(text, advice)

    def _send(self, method: str, what: str, wait: Patience, options: Mapping[str, Any]) -> "Response":
        """As it is; a registry that may do without a certificate is asked without TLS too."""
        try:
            reply = self._request(method, what, wait, options)
        except web.unreachable():
            if self._answered or not self.place.loose or not self.place.url.startswith("https:"):
                raise
            self._url = self.place.url.replace("https:", "http:", 1)
            try:
                reply = self._request(method, what, wait, options)
            except web.unreachable():
                self._url = self.place.url
                raise
        self._answered = True
        return reply

    def _request(self, method: str, what: str, wait: Patience, options: Mapping[str, Any]) -> "Response":
        def authorize(request: Any) -> Any:  # in this way .netrc does not come in between
            if self._authorization:
                request.headers["Authorization"] = self._authorization
            return request

        def send() -> "Response":
            return self._session.request(
                method, url, auth=authorize, timeout=web.timeouts(wait.seconds),
                verify=False if self.place.loose else None, **options,
            )  # fmt: skip

        url = what if "://" in what else f"{self._url}/v2/{self.place.repository}/{what}"
        return send() if options.get("data") else wait.answer(send)  # what is sent may take its time

    def _log_in(self, reply: "Response", wait: Patience) -> bool:
        """Answer a challenge; whether there is something to try."""
        who = registry_auth.login(*self.place.login_as, os.environ)
        challenges = dict(reversed(registry_auth.challenges(reply.headers.get("WWW-Authenticate", ""))))
        if "bearer" in challenges and "realm" in challenges["bearer"]:
            asked = registry_token.TokenRequest(reply.url, challenges["bearer"], who, self.place.loose)
            self._authorization = registry_token.fetch(self._session, asked, wait, self._advice(401))
            return True
        if who and not self._authorization and ("basic" in challenges or not challenges):
            self._authorization = registry_token.basic(who)
            return True
        return False

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


@dataclass(frozen=True)
class _Blob:
    """A blob as a place that a download can ask."""

    repository: Repository
    digest: str

    @property
    def url(self) -> str:
        return f"{self.repository.place.text}/blobs/{self.digest}"

    def ask(self, headers: Mapping[str, str], wait: Patience) -> "Response":
        return self.repository.ask("GET", f"blobs/{self.digest}", wait, headers=dict(headers), stream=True)


def _message_of(reply: "Response") -> str:
    try:
        errors = reply.json()["errors"]
        return ": " + "; ".join(str(each.get("message") or each.get("code")) for each in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def first(reference: image_reference.Reference, access: RegistryAccess, use: Callable[[Repository], T]) -> T:
    """What `use` gives at the first place that has the image.

    Raises NotThere when every place answers that it has it not, else UserError with each place's reason.
    """
    return at(places(reference, access), reference.text, use, access.timeout)


def at(
    where: Sequence[Mirror],
    what: str,
    use: Callable[[Repository], T],
    seconds: float = patience.SECONDS,
) -> T:
    """As `first`, for given places."""
    tried: list[UserError] = []
    for place in where:
        try:
            return use(Repository(place, seconds))
        except UserError as error:
            tried.append(error)
    lines = "".join(f"\n  {error.args[0]}" for error in tried)
    if all(isinstance(error, NotThere) for error in tried):
        raise NotThere(f"no registry has {what}:{lines}")
    hints = [error.hint for error in tried if error.hint]
    raise UserError(f"cannot reach {what}:{lines}", hints[-1] if hints else None)
