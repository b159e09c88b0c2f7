"""Rows: what the host and its user are like, when machines are started."""

import os

from tests.faults.case import Bench, Case

START = "$xc start --nvm=1 --nrouters=0 && "


def _odd_keys(bench: Bench) -> None:
    folder = bench.outside.parent / ".ssh"
    folder.mkdir()
    (folder / "id_latin.pub").write_bytes(b"ssh-rsa AAAA J\xfcrgen\n")
    (folder / "id_folder.pub").mkdir()
    os.mkfifo(folder / "id_fifo.pub")
    (folder / "id_large.pub").write_bytes(b"ssh-rsa " + b"A" * (16 << 10))


NO_IPV6 = "for each in all default; do echo 1 >/proc/sys/net/ipv6/conf/$each/disable_ipv6; done"
WITHOUT = """
unshare --net bash -c 'ip link set lo up; %s; $xc start --net=%s --nvm=1 --nrouters=0 &&
$xc rsh 1 "ip -6 -o address show eth1; ip -o link show eth1"; $xc stop'
"""

CASES = [
    Case(
        "keys of the user that are none",
        f"{START} $xc rsh 1 hostname && $xc stop",
        shows=("vm-001",),
        says=("id_latin.pub", "id_folder.pub", "id_fifo.pub", "id_large.pub"),
        prepare=_odd_keys,
    ),
    Case(
        "options that only QEMU can judge cost nobody the running cluster",
        f"{START} for each in --kvm-opt='-device nonsense' --machine=pc,foo=bar --net-setup=/nope "
        "--append=$(printf %3000s | tr ' ' x); do $xc start --nvm=1 --nrouters=0 \"$each\" && exit 9; done; "
        "$xc rsh 1 hostname && $xc stop",
        shows=("vm-001",),
        says=(
            "'nonsense' is not a valid device",
            "foo' not found",
            "/nope' is no program",
            "kernel reads 2047",
        ),
    ),
    Case(
        "a quote in --append",
        '$xc start --nvm=1 --nrouters=0 --append="\'" && $xc rsh 1 hostname && $xc stop',
        shows=("vm-001",),
    ),
    *(
        Case(
            f"no IPv6 on the host, {net}", WITHOUT % (NO_IPV6, net), shows=("fd00::c0a8:101/120", "state UP")
        )
        for net in ("bridge", "userspace")
    ),
]
