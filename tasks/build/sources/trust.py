"""The environment and the host ──> the certificate authorities that downloads and registries trust

Those that curl, git and Go trust too: requests alone would only know the list that it brings along, without
an authority that `update-ca-certificates` has added.
"""

import os
import ssl
from collections.abc import MutableMapping
from pathlib import Path

from tasks.base.errors import UserError

CHOSEN = "REQUESTS_CA_BUNDLE"
# The variables that name a file or directory of certificates, the one that counts most first.
VARIABLES = (CHOSEN, "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine
)


def settle(environ: MutableMapping[str, str] = os.environ) -> None:
    """Have requests, and programs that use it, trust what the user and the host trust.

    Raises UserError for a variable that names nothing, or no certificates.
    """
    place = _chosen(environ) or next((each for each in SYSTEM if os.access(each, os.R_OK)), None)
    if place:
        environ[CHOSEN] = place


def _chosen(environ: MutableMapping[str, str]) -> str | None:
    """What the user's variables name."""
    for name in VARIABLES:
        value = environ.get(name)
        if not value:
            continue
        places = value.split(":") if name == "SSL_CERT_DIR" else [value]
        there = [each for each in places if os.path.exists(each)]
        if not there:
            raise UserError(f"{name}: there is no {value}", f"correct it, or unset {name}")
        if Path(there[0]).is_file():
            _check(name, there[0])
        return there[0]
    return None


def _check(name: str, path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        reason = error.strerror if isinstance(error, PermissionError) else "it has no certificates"
        raise UserError(f"{name}: {path}: {reason}", "it has to be a file of certificates (PEM)") from error
