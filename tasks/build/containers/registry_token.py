"""A challenge of a registry and a login ──> the Authorization header, from the registry's token server."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tasks.base.errors import UserError
from tasks.base.patience import Patience
from tasks.build.containers import oci
from tasks.build.containers.registry_auth import Login
from tasks.build.sources import web

if TYPE_CHECKING:
    from tasks.build.sources.web import Response, Session

LARGEST = 1 << 20  # bytes of an answer


@dataclass(frozen=True)
class TokenRequest:
    """What a registry at `url` wants of its token server."""

    url: str
    challenge: Mapping[str, str]  # realm, service, scope
    who: Login | None
    loose: bool  # any certificate will do

    @property
    def realm(self) -> str:
        """The URL of the token server. Raises UserError where a login would go there in plain text."""
        realm = urljoin(self.url, self.challenge["realm"])
        schemes = urlsplit(self.url).scheme, urlsplit(realm).scheme
        if schemes[1] not in ("http", "https") or (schemes == ("https", "http") and not self.loose):
            raise UserError(
                f"{self.url}: the registry sends us to a token server without TLS: {realm}",
                "if that is right, name the registry in registry_insecure",
            )
        return realm


def basic(who: Login) -> str:
    """The header for a user and a password."""
    return "Basic " + base64.b64encode(f"{who.user}:{who.password}".encode()).decode()


def fetch(session: "Session", asked: TokenRequest, wait: Patience, advice: str | None) -> str:
    """The header with a token. Raises UserError, with `advice` where the login is wrong; web.Failure."""
    realm = asked.realm
    with wait.answer(lambda: _send(session, realm, asked, wait)) as reply:
        web.busy(reply, f"the token server {realm}")
        if not reply.ok:
            text = f"{realm}: the token server answered {reply.status_code} {reply.reason}"
            raise UserError(text, advice)
        answer = oci.parsed(web.body(reply, wait, LARGEST, f"{realm}: the answer"), realm)
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str):
        raise UserError(f"{realm}: the token server gave no token", advice)
    return f"Bearer {token}"


def _send(session: "Session", realm: str, asked: TokenRequest, wait: Patience) -> "Response":
    """A GET with user and password; with an identity token a POST, as OAuth 2 has it."""
    query = {key: asked.challenge[key] for key in ("service", "scope") if key in asked.challenge}
    options: dict[str, Any] = {
        "timeout": web.timeouts(wait.seconds), "verify": False if asked.loose else None, "stream": True,
    }  # fmt: skip
    if asked.who and asked.who.identity:
        grant = {"grant_type": "refresh_token", "refresh_token": asked.who.identity, "client_id": "xcluster"}
        return session.post(realm, data={**query, **grant}, auth=_nobody, **options)
    return session.get(realm, params=query, auth=_header(asked.who), **options)


def _header(who: Login | None) -> Any:
    def authorize(request: Any) -> Any:
        if who:
            request.headers["Authorization"] = basic(who)
        return request

    return authorize


def _nobody(request: Any) -> Any:
    """No login of .netrc."""
    return request
