"""The forms that the values of settings have: types for the model, which read what people write."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from tasks.definitions import quantities, written

PLAIN_TOPOLOGY = "xnet"
# Settings that xcluster.yaml may have as a list, and what stands between its elements elsewhere.
LISTS = dict.fromkeys(("ovls", "append", "kvm_opt", "registry_mirrors", "registry_insecure"), " ") | {
    "nets": ","
}

LEAST_MTU = 1280  # with less Linux switches IPv6 off on a link


def _read(form: Callable[[str], Any], value: Any) -> Any:
    return form(value) if isinstance(value, str) else value


def net_list(text: str) -> str:
    """Nets with commas between, as in `0, 1`, each of them once. Raises ValueError for anything else."""
    if not re.fullmatch(r"\s*[0-9]{1,2}(\s*,\s*[0-9]{1,2})*\s*", text):
        raise ValueError("expected nets with commas between, such as 0,1,2")
    nets = [int(net) for net in text.split(",")]
    twice = [net for net in nets if nets.count(net) > 1]
    if twice:
        raise ValueError(f"a node can be on each net once, but {twice[0]} is there twice")
    return ",".join(map(str, nets))


def topology_name(name: Any) -> Any:
    """The name of a topology; upstream also calls the default topology `default`."""
    return PLAIN_TOPOLOGY if name == "default" else name


def with_room(mtu: int) -> int:
    """An MTU that has room for IPv6; ValueError for others."""
    if mtu < LEAST_MTU:
        raise ValueError(f"must be at least {LEAST_MTU}, which IPv6 needs")
    return mtu


DnsProgram = Literal["auto", "coredns", "dnsmasq"]
Whole = Annotated[int, BeforeValidator(lambda value: _read(quantities.whole, value))]
Mtu = Annotated[Whole, AfterValidator(with_room)]
Mebibytes = Annotated[int, BeforeValidator(lambda value: _read(quantities.mebibytes, value))]
Seconds = Annotated[int, BeforeValidator(lambda value: _read(quantities.seconds, value))]
Switch = Annotated[bool, BeforeValidator(written.truth)]
Nets = Annotated[str, BeforeValidator(lambda value: _read(net_list, value))]
Prefix = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]+:[0-9a-fA-F:]*$")]
Mirrors = Annotated[str, StringConstraints(pattern=r"^(\s*[^\s=]+=(https?://)?[^\s=/:][^\s=]*)*\s*$")]
ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]

Url = Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^ ]*/$")]
UrlList = Annotated[
    tuple[Url, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
