"""A NIC of a node -> QEMU's options for it."""

from collections.abc import Callable
from pathlib import Path

from tasks.definitions import addresses
from tasks.run.net.protocol import LooseNic, Nic, ScriptNic, SwitchNic, TapNic, UserNic, VethNic


def escaped(path: Path) -> str:
    """A path in QEMU's options, where a comma is doubled."""
    return str(path).replace(",", ",,")


def of(index: int, nic: Nic, mtu: int, socket: Callable[[Path], Path]) -> list[str]:
    """QEMU's options for a NIC; `socket` gives the name by which QEMU knows a socket."""
    if isinstance(nic, ScriptNic):
        return list(nic.options)
    assert not isinstance(nic, VethNic), "containers have these"
    own = f",host_mtu={mtu}" if mtu != 1500 else ""  # else a guest has that anyway
    # A clone has not moved, so there is nothing to announce (and QEMU's announcer crashes when told so).
    return [
        "-netdev", _netdev(f"net{index}", nic, socket),
        "-device", f"virtio-net-pci,netdev=net{index},mac={nic.mac},romfile=,guest_announce=off{own}",
    ]  # fmt: skip


def _netdev(name: str, nic: UserNic | SwitchNic | TapNic | LooseNic, socket: Callable[[Path], Path]) -> str:
    if isinstance(nic, (TapNic, LooseNic)) and nic.tap:
        return f"tap,id={name},ifname={nic.tap},script=no,downscript=no"
    if isinstance(nic, SwitchNic):
        return f"stream,id={name},server=off,addr.type=unix,addr.path={escaped(socket(Path(nic.switch)))}"
    if isinstance(nic, LooseNic):
        return f"hubport,id={name},hubid={nic.net}"
    assert isinstance(nic, UserNic)
    forwards = "".join(
        f",hostfwd=tcp:127.0.0.1:{f.host_port}-{nic.guest}:{f.guest_port}" for f in nic.forwards
    )
    return (
        f"user,id={name},net={addresses.subnet4(0)},host={nic.host},"
        f"dns={addresses.v4(0, addresses.QEMU_DNS)},dhcpstart={nic.guest},"
        f"ipv6-net={nic.prefix6}/64,ipv6-host={nic.host6}{forwards}"
    )
