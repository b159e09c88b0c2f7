"""Questions to a Kubernetes API, on the standard library: nothing is installed on the host for it."""

import contextlib
import http.client
import json
import os
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

from tasks.build.credentials.keys import KeyPair
from tasks.build.credentials.kubeconfig import ApiAccess

PATIENCE = 20.0  # seconds for one answer


class Unanswered(Exception):
    """Why there was no good answer, in one line."""


class Api:
    """The API at a URL; one connection, made again when it broke."""

    def __init__(self, access: ApiAccess) -> None:
        self._context = ssl.create_default_context(cadata=access.authority.decode())
        with _files(access.own) as (certificate, key):
            self._context.load_cert_chain(certificate, key)
        self._at = urllib.parse.urlsplit(access.server)
        self._link: http.client.HTTPSConnection | None = None

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises Unanswered."""
        try:
            return json.loads(self.text(path))
        except ValueError as error:
            raise Unanswered(f"{path}: {error}") from error

    def text(self, path: str) -> str:
        """What is at a path. Raises Unanswered."""
        try:
            status, body = self._ask(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(f"the API does not answer: {_reason(error)}") from error
        if status != http.HTTPStatus.OK:
            raise Unanswered(f"{path}: {status} {_message(body)}".strip())
        return body.decode(errors="replace")

    def close(self) -> None:
        """End the connection."""
        if self._link:
            self._link.close()
            self._link = None

    def _ask(self, path: str) -> tuple[int, bytes]:
        if self._link is None:
            self._link = http.client.HTTPSConnection(
                str(self._at.hostname), self._at.port, timeout=PATIENCE, context=self._context
            )
        self._link.request("GET", path)
        reply = self._link.getresponse()
        return reply.status, reply.read()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:200]


@contextlib.contextmanager
def _files(pair: KeyPair) -> Iterator[tuple[str, str]]:
    """A certificate and its key as files in memory: ssl takes paths only."""
    handles = [os.memfd_create("pem") for _ in range(2)]
    try:
        for handle, data in zip(handles, (pair.certificate, pair.key), strict=True):
            os.write(handle, data)
        yield f"/proc/self/fd/{handles[0]}", f"/proc/self/fd/{handles[1]}"
    finally:
        for handle in handles:
            os.close(handle)
