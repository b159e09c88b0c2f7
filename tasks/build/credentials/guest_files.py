"""A secret ──> the files in /etc/kubernetes of every node: certificates, keys and kubeconfigs, by path.

The layout is kubeadm's where it has one; `nodes/` has what each kubelet needs. All nodes get the files of
all: they are on one ISO.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.base.node_names import node_name
from tasks.build.credentials import kubeconfig
from tasks.build.credentials.certificates import Authority, Subject, key
from tasks.build.credentials.keys import KeyPair, Secret
from tasks.definitions.addresses import v4, v6
from tasks.definitions.kubernetes import CONTROL, DOMAIN, FOLDER, PORT, SERVICES

ADMIN = Subject("kubernetes-admin", "system:masters")
CLIENTS = {
    "admin": ADMIN,
    "controller-manager": Subject("system:kube-controller-manager"),
    "scheduler": Subject("system:kube-scheduler"),
    "kube-proxy": Subject("system:kube-proxy"),
    "metrics-server": Subject("system:metrics-server"),
}
METRICS = "metrics-server.kube-system.svc"  # how the API server calls the server of the metrics API


@dataclass(frozen=True)
class File:
    """A file of a guest."""

    path: str
    data: bytes
    secret: bool = False

    @property
    def mode(self) -> int:
        """As chmod takes it."""
        return 0o600 if self.secret else 0o644


def api(prefix: str, *, ipv6: bool) -> str:
    """The URL of the API for nodes; `prefix` is that of IPv6 addresses."""
    return f"https://[{v6(prefix, 1, CONTROL)}]:{PORT}" if ipv6 else f"https://{v4(1, CONTROL)}:{PORT}"


def layout(shared: Secret, prefix: str, nodes: int, *, ipv6: bool) -> Iterator[File]:
    """All files, for nodes 1 to `nodes`; with `ipv6` the nodes reach the API by IPv6."""
    authority, proxies = Authority(shared, "kubernetes"), Authority(shared, "front-proxy")
    url = api(prefix, ipv6=ipv6)
    ca = authority.pair
    yield from _pair("pki/ca", ca)
    yield from _pair("pki/front-proxy-ca", proxies.pair)
    yield from _pair("pki/front-proxy-client", proxies.issue("client", Subject("front-proxy-client")))
    yield from _pair(
        "pki/apiserver", authority.issue("apiserver", Subject("kube-apiserver", "", _api_hosts(prefix)))
    )
    yield from _pair(
        "pki/metrics-server", authority.issue("metrics-server serving", Subject(METRICS, "", [METRICS]))
    )
    to_kubelets = Subject("kube-apiserver-kubelet-client", "system:masters")
    yield from _pair("pki/apiserver-kubelet-client", authority.issue("apiserver-kubelet-client", to_kubelets))
    accounts = key(shared, "service-accounts")
    yield File(f"{FOLDER}/pki/sa.key", accounts.pem, secret=True)
    yield File(f"{FOLDER}/pki/sa.pub", accounts.public_pem)
    for name, subject in CLIENTS.items():
        yield _config(
            f"{name}.conf", kubeconfig.ApiAccess(name, url, ca.certificate, authority.issue(name, subject))
        )
    for number in range(1, nodes + 1):
        name = node_name(number)
        own = authority.issue(f"{name} client", Subject(f"system:node:{name}", "system:nodes"))
        yield _config(f"nodes/{name}.conf", kubeconfig.ApiAccess(name, url, ca.certificate, own))
        hosts = [
            name,
            *(v4(net, number) for net in (1, 0)),
            *(v6(prefix, net, number) for net in (1, 0)),
        ]
        yield from _pair(
            f"nodes/{name}", authority.issue(name, Subject(f"system:node:{name}", "system:nodes", hosts))
        )


def admin(secret: Secret, name: str, url: str) -> kubeconfig.ApiAccess:
    """How the administrator of the cluster `name` reaches its API at `url`."""
    authority = Authority(secret, "kubernetes")
    return kubeconfig.ApiAccess(name, url, authority.pair.certificate, authority.issue("admin", ADMIN))


def _api_hosts(prefix: str) -> list[str]:
    inside = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{DOMAIN}",
    ]
    own = [v4(net, CONTROL) for net in (0, 1)] + [v6(prefix, net, CONTROL) for net in (0, 1)]
    return [*inside, node_name(CONTROL), "localhost", "127.0.0.1", "::1", *own, *SERVICES]


def _pair(name: str, pair: KeyPair) -> Iterator[File]:
    yield File(f"{FOLDER}/{name}.crt", pair.certificate)
    yield File(f"{FOLDER}/{name}.key", pair.key, secret=True)


def _config(name: str, access: kubeconfig.ApiAccess) -> File:
    return File(f"{FOLDER}/{name}", kubeconfig.text(access).encode(), secret=True)
