"""What the nets of a running cluster leave on the disk, and the programs beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from tasks.base import records
from tasks.base.paths import ClusterDir
from tasks.base.records import Mark, ProcessRecord, Record

PLACE = "place.json"  # in the directory of nets
TAPS = "taps.json"
SWITCH = "switch-*.json"
CUSTOM = "[0-9]*-[0-9]*.json"  # node and net
WIRE = "netem-*.helper"  # in the directory of a node


class NetPlace(Record):
    """Where the bridges are: in a namespace of the cluster's own, or in one that others use too."""

    own: bool
    user: bool = False  # the own namespace is in a user namespace of its own too
    holder: Mark | None = None  # these processes keep and connect an own namespace
    inner: Mark | None = None
    uplink: Mark | None = None
    ns: int | None = None  # the inode of a shared namespace

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if (self.holder if self.own else self.ns) is None:
            raise ValueError(f"'{'holder' if self.own else 'ns'}' is missing")
        return self

    @property
    def kept(self) -> int | None:
        """The process inside an own namespace, if that is still kept."""
        return self.inner.running if self.inner else None


class Taps(Record):
    """The links that were made."""

    taps: tuple[str, ...] = ()


class CustomLinks(Record):
    """The links that came with one run of a user's program."""

    links: tuple[str, ...] = ()


class WireQuality(BaseModel):
    """The impairment of one direction of a NIC; netem.py says what each number means."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    delay: float
    jitter: float
    loss: float
    rate: float
    limit: int


class WireRecord(ProcessRecord):
    """The program that makes a NIC's wire a bad one: what holds, by direction."""

    settings: Mapping[Literal["out", "in"], WireQuality]


class DnsRecord(ProcessRecord):
    """A DNS server: which one, where it listens, and the digest of all that it was started with."""

    digest: str
    program: str
    listen: tuple[str, ...]
    port: int


def advice(cluster: ClusterDir) -> str:
    """What to do about a damaged file of a cluster."""
    return f"`xc stop --name={cluster.root.name}` ends the cluster, whatever its files say"


def place(cluster: ClusterDir) -> NetPlace | None:
    """Where the bridges of a cluster are; None when there are none yet. Raises Damaged."""
    return records.read_if_there(cluster.net / PLACE, NetPlace, advice(cluster))


def intact_place(cluster: ClusterDir) -> NetPlace | None:
    """The same for code that cleans up, for which a damaged file counts as none."""
    return records.intact(cluster.net / PLACE, NetPlace)


def taps(cluster: ClusterDir) -> tuple[str, ...]:
    """The links that were made for a cluster, as far as it is known."""
    record = records.intact(cluster.net / TAPS, Taps)
    return record.taps if record else ()


def switches(cluster: ClusterDir) -> list[Path]:
    """The records of a cluster's switches."""
    return sorted(cluster.net.glob(SWITCH))
