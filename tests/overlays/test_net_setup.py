"""Nets by Open vSwitch: the example of a `__net_setup`, by somebody who is not root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.paths import Workspace
from tasks.build.sources import apt
from tasks.project.site import Site
from tests.boot.conftest import ROOT, Cluster, assert_nothing_left

SCRIPT = ROOT / "docs/examples/net-setup-ovs"
NAME = "t-ovs-setup"
PROGRAMS = ("ovs-vsctl", "ovs-appctl", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd")
FOLDERS = ("usr/bin", "usr/sbin", "usr/lib/openvswitch-switch")
OF_THE_HOST = ("libc6", "libgcc-s1", "libstdc++6", "libcrypt1")  # two of these do not go together
SHELL = f"""
set -eu
ip link set dev lo up
export __net_setup={SCRIPT} __name={NAME}
trap './xc stop' EXIT
./xc starts --nvm=2 --nrouters=0 --dns=off
./xc rsh 1 'ping -c3 -W5 192.168.1.2; ping -6 -c1 -W5 fd00::192.168.1.2'
ip -o link | grep -c ovs
export OVS_RUNDIR=$(echo {{tmp}}/xc-ovs-*)
ovs-appctl dpif/show
./xc scalein 1
./xc rsh 2 hostname                    # the bridges were not those of vm-001 alone
trap - EXIT
./xc stop
for second in 1 2 3 4 5 6 7 8 9; do [ ! -d "$OVS_RUNDIR" ] || sleep 1; done
ip -o link | wc -l
ls {{tmp}}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables with which Open vSwitch is found: that of the host, or a package of it that is unpacked."""
    if shutil.which("ovs-vswitchd"):
        yield {}
        return
    folder = tmp_path_factory.mktemp("ovs")
    archive = apt.archive(Site(Workspace(ROOT / "workspace"), "bookworm"), "bookworm")
    for package in apt.fetch(archive, ["openvswitch-switch"]):
        if package.name.startswith(("openvswitch", "lib")) and package.name not in OF_THE_HOST:
            subprocess.run(["dpkg-deb", "-x", package.path, folder], check=True)
    (folder / "bin").mkdir()
    libraries = f"LD_LIBRARY_PATH={folder}/usr/lib/x86_64-linux-gnu"
    for name in PROGRAMS:
        (path,) = [folder / place / name for place in FOLDERS if (folder / place / name).is_file()]
        (folder / "bin" / name).write_text(f'#!/bin/sh\n{libraries} exec {path} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    path_of_all = f"{folder}/bin:{os.environ['PATH']}"
    yield {"PATH": path_of_all, "OVS_PKGDATADIR": f"{folder}/usr/share/openvswitch"}
    shutil.rmtree(folder)


def test_nodes_reach_each_other_by_open_vswitch(environment: dict[str, str], tmp_path: Path) -> None:
    """As `docs/networking.md` has it, but for the terminal."""
    cluster = Cluster(NAME)
    words = ["unshare", "--map-root-user", "--net", "sh", "-c", SHELL.format(tmp=tmp_path)]
    env = {**cluster.environment, **environment, "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "net=custom (net_setup is set)" in done.stderr
    assert "3 packets received" in done.stdout and "1 packets received" in done.stdout
    assert "netdev@ovs-netdev" in done.stdout and "ovs1_2" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["vm-002", "1"]  # the loopback alone, and no file
    assert_nothing_left(NAME)
