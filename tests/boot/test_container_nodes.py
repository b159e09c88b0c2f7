"""Nodes that are containers, beside a virtual machine of the same image on the same nets."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left, build, processes_of, running

pytestmark = pytest.mark.boot
SHELL = "find / -xdev ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' ! -path '/run/*' ! -path '/tmp/*'"
# Of a kernel, a machine, or the one node.
OWN = ("/proc ", "/sys ", "/lib/modules", "/var/", "/root/.ash_history", "/etc/xcluster_node", "/initialboot",
       "/lost+found", "/mnt")  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> Iterator[Cluster]:
    """Two containers, and a router that is one."""
    yield from running("t-alone", ["--node=container", "--nvm=2", "--nrouters=1", "--dns=off"])


@pytest.fixture(scope="module")
def mixed() -> Iterator[Cluster]:
    """vm-001 is a virtual machine, vm-002 is a container."""
    yield from running("t-mixed", ["--node=container", "--node1=vm", "--nvm=2", "--nrouters=0", "--dns=off"])


@pytest.fixture(scope="module")
def host() -> dict[str, str]:
    """What a container must not change."""
    return _host()


def _host() -> dict[str, str]:
    names = ("kernel/core_pattern", "kernel/hostname", "kernel/panic", "net/ipv4/ip_forward")
    values = {name: Path("/proc/sys", name).read_text() for name in names}
    mounts = [line.split(" ", 5)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        **values,
        "mounts": " ".join(sorted(mounts)),
        "links": " ".join(sorted(os.listdir("/sys/class/net"))),
    }


def test_both_kinds_are_one_cluster(host: dict[str, str], mixed: Cluster) -> None:
    kinds = {node["number"]: node["kind"] for node in mixed.status()["nodes"]}
    assert kinds == {1: "vm", 2: "container"}
    for number, kind in kinds.items():
        words = mixed.rsh(number, ". /etc/profile; hostname; echo $NODE_KIND").split()
        assert words == [f"vm-{number:03d}", kind]
    for number, other in ((1, 2), (2, 1)):
        for address in (f"192.168.1.{other}", f"fd00::192.168.1.{other}", f"192.168.0.{other}"):
            mixed.rsh(number, f"ping -c1 -W5 -s 1400 {address}")
    assert _host() == host


@pytest.mark.parametrize(("server", "client"), [(1, 2), (2, 1)])
def test_much_data_arrives_whole(mixed: Cluster, server: int, client: int) -> None:
    """Segments larger than a frame, and checksums that are left to the other side."""
    mixed.rsh(server, "rm -f /tmp/got; (sleep 20 | nc -l -p 7000 >/tmp/got) >/dev/null 2>&1 & sleep 0.5")
    sent = mixed.rsh(
        client,
        "head -c 3000000 /dev/urandom > /tmp/sent;"
        f" nc -w 10 192.168.1.{server} 7000 < /tmp/sent; sha256sum < /tmp/sent",
    )
    assert (
        mixed.until(server, f'[ "$(sha256sum < /tmp/got)" = "{sent.strip()}" ] && echo same').strip()
        == "same"
    )
    # The DNS server of the other node answers by UDP.
    assert f"Name:\tvm-00{server}" in mixed.rsh(client, f"nslookup vm-00{server} 192.168.1.{server}")


def test_the_files_are_those_of_a_virtual_machine(mixed: Cluster) -> None:
    """Image and overlays, whatever the layers are that they come from."""
    listings = {}
    for number in (1, 2):
        lines = mixed.rsh(number, f"{SHELL} -exec stat -c '%n %A %u:%g %N' {{}} +").splitlines()
        listings[number] = {line for line in lines if not line.startswith(OWN)}
    assert len(listings[1]) > 500
    assert listings[1] ^ listings[2] == set()
    for name in ("/usr/bin", "/etc/init.d", "/usr/lib/x86_64-linux-gnu"):
        sums = [
            mixed.rsh(number, f"cd {name} 2>/dev/null && cat * 2>/dev/null | sha256sum") for number in (1, 2)
        ]
        assert sums[0] == sums[1], name


@pytest.mark.parametrize(
    "command",
    [
        "echo 5 > /proc/sys/kernel/panic",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /sys/kernel/mm/ksm/run || echo mem > /sys/power/state",
        "mount -t devtmpfs none /mnt",
        "mknod /tmp/disk b 254 0",
        "dmesg",
        "date -s 2020-01-01; date | grep 2020",
        "head -c 1 /proc/kcore | grep -q .",
        "chroot /proc/1/root/../.. ls /work",
    ],
)  # fmt: skip
def test_root_in_a_container_is_nobody_on_the_host(alone: Cluster, command: str) -> None:
    done = alone.xc("rsh", "2", command, ok=False)
    assert done.returncode not in (0, 255), done.stdout


def test_the_hosts_kernel_files_are_not_there(alone: Cluster) -> None:
    assert alone.rsh(2, "ls -A /boot /lib/modules").split() == ["/boot:", "/lib/modules:"]
    assert alone.rsh(2, "ls -d /layers /binds /stage /work 2>/dev/null || true") == ""


def test_the_console_and_its_log(alone: Cluster) -> None:
    with subprocess.Popen(
        alone.command("console", "2"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as console:
        assert console.stdin and console.stdout
        console.stdin.write(b"echo $((6 * 7))-typed\n")
        console.stdin.flush()
        heard = b""
        while b"42-typed" not in heard:
            heard += os.read(console.stdout.fileno(), 4096)
        console.terminate()
    assert "built-in shell" in alone.xc("logs", "2").stdout
    events = alone.xc("logs", "--events", "2").stdout
    assert "network-topology 0 (in the layer of the overlays)" in events and "phase ready" in events


def test_reboot_keeps_the_files_and_poweroff_ends(alone: Cluster) -> None:
    alone.xc("scaleout", "3")
    alone.rsh(3, "echo kept > /root/kept; cat /proc/sys/kernel/random/boot_id > /dev/null; touch /run/lost")
    alone.rsh(3, "(sleep 0.3; reboot) >/dev/null 2>&1 &")
    time.sleep(1)
    assert alone.until(3, "[ ! -e /run/lost ] && cat /root/kept").strip() == "kept"
    alone.rsh(3, "ping -c1 -W5 192.168.1.1")
    alone.rsh(3, "(sleep 0.3; poweroff) >/dev/null 2>&1 &")
    end = time.monotonic() + 20
    while _state(alone, 3) == "alive" and time.monotonic() < end:
        time.sleep(0.2)
    assert _state(alone, 3) == "dead"
    alone.xc("scalein", "3")


def _state(cluster: Cluster, number: int) -> str:
    return next(str(node["state"]) for node in cluster.status()["nodes"] if node["number"] == number)


def _processes_in(cluster: Cluster, number: int) -> set[int]:
    """The pids of a container: all that have its network namespace."""
    keeper = json.loads((cluster.directory / f"vm-{number:03d}" / "node.json").read_text())["pid"]
    tree, pids = [keeper], set()
    while tree:
        pid = tree.pop()
        pids.add(pid)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            tree += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return pids


@pytest.mark.parametrize("which", ["keeper", "room", "first"])
def test_whatever_is_killed_nothing_is_left(alone: Cluster, which: str) -> None:
    alone.xc("scaleout", "4")
    keeper, room, first = sorted(_processes_in(alone, 4))[:3]
    everyone = _processes_in(alone, 4)
    assert len(everyone) > 5
    os.kill({"keeper": keeper, "room": room, "first": first}[which], signal.SIGKILL)
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in everyone) and time.monotonic() < end:
        time.sleep(0.05)
    assert [pid for pid in everyone if Path(f"/proc/{pid}").exists()] == []
    assert "xcbr1_t4" not in alone.xc("enter", "ip", "-o", "link").stdout
    alone.xc("scalein", "4")


def _cgroups(number: int) -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/xcluster-vm-{number:03d}-*") if path.is_dir()]


def test_a_node_has_no_more_than_it_may(alone: Cluster) -> None:
    """Processes without end, and memory. The other nodes notice nothing, and nothing is left."""
    before = _cgroups(5)
    added = alone.xc("scaleout", "--mem5=64", "--smp5=1", "5")
    limits = {name for name in ("--mem", "--smp") if f"does not hold is {name}" not in added.stderr}
    bomb = "i=0; while [ $i -lt 2000 ]; do sleep 60 & i=$((i+1)); done; echo unlimited"
    assert "unlimited" not in alone.xc("rsh", "5", bomb, ok=False).stdout
    assert 100 < len(_processes_in(alone, 5)) <= 8 * 64 + 2  # with the two that keep it
    alone.rsh(1, "ping -c1 -W5 192.168.1.2")
    keeper = min(_processes_in(alone, 5))
    if "--mem" in limits:
        alone.xc("scalein", "5")
        alone.xc("scaleout", "--mem5=64", "5")
        keeper = min(_processes_in(alone, 5))
        much = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo unlimited"
        assert "unlimited" not in alone.xc("rsh", "5", much, ok=False).stdout
        alone.rsh(5, "dd if=/dev/zero of=/tmp/x bs=1M count=100 2>/dev/null && exit 1; rm /tmp/x")
        assert len(_cgroups(5)) > len(before)
    os.kill(keeper, signal.SIGKILL)
    alone.xc("scalein", "5")
    assert _cgroups(5) == before


@pytest.mark.parametrize(
    "words", [("checkpoint", "save", "t-alone"), ("reset_vm", "2"), ("stop_vm", "2")]
)  # fmt: skip
def test_what_needs_a_machine_is_refused(alone: Cluster, words: tuple[str, ...]) -> None:
    done = alone.xc(*words, ok=False)
    assert done.returncode == 1 and "container" in done.stderr and "Traceback" not in done.stderr


def test_containers_alone_need_no_machine(tmp_path: Path) -> None:
    """Neither a kernel nor QEMU: both are out of reach here."""
    build("rootfs:base")
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("qemu-system-x86_64", "qemu-img"):
        (folder / program).write_text("#!/bin/sh\necho it must not be asked >&2; exit 1\n")
        (folder / program).chmod(0o755)
    cluster = Cluster("t-bare", {"PATH": f"{folder}:{os.environ['PATH']}"})
    overlays = {"good": "opt/stamp", "wrong": "usr/bin"}  # a file in the place of a directory that has some
    for name, path in overlays.items():
        (tmp_path / name / "default" / path).parent.mkdir(parents=True)
        (tmp_path / name / "default" / path).write_text(f"{tmp_path}\n")  # so it was not unpacked before
        (tmp_path / name / "ovl.yaml").write_text("kernel: [own]\n" if name == "good" else "")
    try:
        cluster.xc("mkcdrom", "env", "network-topology", *(str(tmp_path / name) for name in overlays))
        done = cluster.xc("starts", "--node=container", "--mtu=9000", "--dns=off", "--kernel=linux-6.1")
        assert "accel=none" in done.stderr and "this has no effect: kernel=linux-6.1" in done.stderr
        assert done.stderr.count("warning: overlay ") == 1 and "overlay good: it needs rights" in done.stderr
        assert "vm-004: failed in the guest: 04wrong (1)" in done.stderr, done.stderr
        assert cluster.rsh(2, "cat /opt/stamp; ls -d /usr/bin/env").split() == [str(tmp_path), "/usr/bin/env"]
        cluster.rsh(1, "ping -c1 -W5 -s 8000 192.168.1.201")
        assert cluster.xc("starts", "--node=container", "--mtu=9000", "--dns=off").returncode == 0
        pid = json.loads((cluster.directory / "net/place.json").read_text())["holder"]["pid"]
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while processes_of("t-bare") and time.monotonic() < end:
            time.sleep(0.05)
        assert processes_of("t-bare") == []
    finally:
        cluster.xc("stop")
        cluster.xc("mkcdrom")
    assert_nothing_left("t-bare")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_node_that_fills_the_disk(tmp_path: Path) -> None:
    """It gets errors, and so does who needs more of the disk; what runs goes on, and ends as always."""
    build("rootfs:base")
    script = f"""
    mkdir -p {WORKSPACE}/run; mount -t tmpfs -o size=24m none {WORKSPACE}/run
    ./xc starts --name=t-full --node=container --nvm=2 --nrouters=0 --dns=off || exit
    ./xc rsh --name=t-full 2 'dd if=/dev/zero of=/root/big bs=1M count=100 2>/dev/null; echo wrote $?'
    ./xc rsh --name=t-full 1 'ping -c1 -W5 192.168.1.2 >/dev/null && echo reached'
    ./xc scaleout --name=t-full 3; echo added $?
    ./xc status --name=t-full; ./xc stop --name=t-full; ls -A {WORKSPACE}/run"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = done.stdout.splitlines()
    assert said[:3] == ["wrote 1", "reached", "added 1"] and done.stdout.count(" alive ") == 2, done.stderr
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert "vm-002" in said[-1] and processes_of("t-full") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts an overlayfs")
def test_without_overlayfs_each_container_has_a_copy(tmp_path: Path) -> None:
    """As in a container of Docker: the workspace is on an overlayfs, over which there can be no other one."""
    build("rootfs:base")
    script = f"""
    mount -t tmpfs none {tmp_path}; mkdir {tmp_path}/u {tmp_path}/w
    mount -t overlay none -o lowerdir={WORKSPACE},upperdir={tmp_path}/u,workdir={tmp_path}/w {WORKSPACE}
    ./xc starts --name=t-copy --node=container --nvm=2 --nrouters=0 --dns=off || exit
    ./xc rsh --name=t-copy 2 'mount | head -1; cat /etc/passwd; ls -ld /tmp /etc/shadow; ping -c1 192.168.1.1'
    ./xc rsh --name=t-copy 2 'touch /bin/mine'; ./xc rsh --name=t-copy 1 'ls /bin/mine' && echo shared
    ./xc stop --name=t-copy; ls -A {WORKSPACE}/run"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "each container has a copy of its files" in done.stderr, done.stderr
    assert "1 packets received" in done.stdout and "drwxrwxrwt" in done.stdout and "-rw-------" in done.stdout
    assert "shared" not in done.stdout and "t-copy" not in done.stdout.splitlines()[-1]
    assert processes_of("t-copy") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--net=userspace",), "need bridges: use --net=bridge instead of --net=userspace"),
        (("--node=jail",), "node: expected 'vm' or 'container', got 'jail'"),
        (("--node=vm", "--node7x=container"), "node7x"),
    ],
)
def test_what_containers_cannot_have(words: tuple[str, ...], said: str) -> None:
    done = Cluster("t-refused").xc("starts", "--node=container", *words, ok=False)
    assert done.returncode in (1, 2) and said in done.stderr, done.stderr
    assert not (ROOT / "workspace/run/t-refused").exists()
