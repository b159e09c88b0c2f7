"""QEMU's command line, without QEMU."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.base import proc, process_facts
from tasks.base.paths import ClusterDir, NodeDir
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net import bridge, userspace
from tasks.run.net.protocol import Ports, ScriptNic, loose
from tasks.run.node import qemu
from tasks.run.node.boot import _khz
from tasks.run.node.protocol import Boot

BOOT = Boot(
    kernel=Path("/w/kernel/k/vmlinux"),
    initramfs=Path("/w/kernel/k/initramfs.cpio"),
    modules=Path("/w/kernel/k/modules.img"),
    cmdline="quiet",
    image=Path("/w/image/base.qcow2"),
    iso=Path("/w/iso/xcluster.iso"),
    accel="tcg",
    machine="pc",
    extra="",
)


def boot(**changes: Any) -> Boot:
    """BOOT, less or more."""
    return Boot(**{**vars(BOOT), **changes})


def argv(
    number: int = 1, how: Boot = BOOT, telnet: int | None = None, root: str = "/w/run/x", **changed: Any
) -> list[str]:
    """The command line of one node of a cluster with the settings `changed`."""
    settings = Settings(**changed)
    node = settings.node_of(number)
    cluster = ClusterDir(Path(root))
    nics = userspace.BACKEND.nics(cluster, node, settings.prefix, Ports(settings.ssh_base, telnet))
    return qemu.argv(how, node, nics, cluster.node(number))


def values(words: list[str], option: str) -> list[str]:
    """What follows each `option`."""
    return [words[i + 1] for i, word in enumerate(words) if word == option]


def value(words: list[str], option: str) -> str:
    (only,) = values(words, option)
    return only


@pytest.mark.parametrize("number", [1, 200, 201, 221])
@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_every_node_has_the_random_device(number: int, accel: str) -> None:
    words = argv(number, boot(accel=accel))
    assert "rng-random,id=xcrng,filename=/dev/urandom" in values(words, "-object")
    assert "virtio-rng-pci,rng=xcrng,max-bytes=1024,period=80000" in values(words, "-device")


@pytest.mark.parametrize(
    ("number", "nets"), [(1, ["00", "01"]), (4, ["00", "01"]), (201, ["00", "01", "02"]), (221, ["00", "02"])]
)
def test_macs_say_net_and_number(number: int, nets: list[str]) -> None:
    devices = [device for device in values(argv(number), "-device") if device.startswith("virtio-net-pci")]
    macs = [
        part.removeprefix("mac=")
        for device in devices
        for part in device.split(",")
        if part.startswith("mac=")
    ]
    assert macs == [f"00:00:00:01:{net}:{number:02x}" for net in nets]
    assert [device.split(",")[1] for device in devices] == [f"netdev=net{i}" for i in range(len(nets))]


@pytest.mark.parametrize("telnet", [None, 12000])
def test_forwards_are_on_loopback_only(telnet: int | None) -> None:
    forwards = [
        part
        for netdev in values(argv(202, telnet=telnet), "-netdev")
        for part in netdev.split(",")
        if "hostfwd" in part
    ]
    expected = ["hostfwd=tcp:127.0.0.1:12502-192.168.0.202:22"]
    assert forwards == expected + (["hostfwd=tcp:127.0.0.1:12202-192.168.0.202:23"] if telnet else [])


def test_nothing_listens_elsewhere() -> None:
    words = " ".join(argv(201, telnet=12000))
    assert "0.0.0.0" not in words and "tcp::" not in words and "host=," not in words
    assert all("path=" in chardev for chardev in values(argv(), "-chardev"))


def test_net_0_is_the_users_others_are_switches() -> None:
    user, one, two = values(argv(201), "-netdev")
    assert user.startswith("user,id=net0,") and "ipv6-net=fd00::/64" in user
    assert one == "stream,id=net1,server=off,addr.type=unix,addr.path=/w/run/x/net/1"
    assert two == one.replace("net1", "net2").replace("net/1", "net/2")
    assert values(argv(1, nets_vm="1"), "-netdev") == [one.replace("net1", "net0")]


def test_taps_are_there_already_or_made_by_the_machine_itself() -> None:
    node = Settings().node_of(201)
    nics = bridge.BACKEND.nics(ClusterDir(Path("/w")), node, "fd00:", Ports(12300, None))
    words = qemu.argv(BOOT, node, nics, NodeDir(Path("/w")))
    named = [
        "tap,id=net0,ifname=xcbr0_t201",
        "tap,id=net1,ifname=xcbr1_t201",
        "tap,id=net2,ifname=xcbr2_t201",
    ]
    assert values(words, "-netdev") == [f"{name},script=no,downscript=no" for name in named]
    alone = qemu.argv(BOOT, node, [loose(3, "m", tap=True), loose(4, "m", tap=False)], NodeDir(Path("/w")))
    assert values(alone, "-netdev") == [
        "tap,id=net0,ifname=xct3,script=no,downscript=no",
        "hubport,id=net1,hubid=4",
    ]


def test_a_users_options_are_taken_as_they_are() -> None:
    nic = ScriptNic(1, "m", ("-netdev", "x", "-device", "y"))
    words = qemu.argv(BOOT, Settings(mtu=9000).node_of(1), [nic], NodeDir(Path("/w")))
    assert values(words, "-netdev") == ["x"] and "y" in values(words, "-device")


@pytest.mark.parametrize(
    ("mtu", "options"), [(1500, []), (9000, ["host_mtu=9000"]), (65521, ["host_mtu=65521"])]
)
def test_a_nic_tells_its_mtu(mtu: int, options: list[str]) -> None:
    nics = [device for device in values(argv(mtu=mtu), "-device") if device.startswith("virtio-net-pci")]
    assert [[p for p in nic.split(",") if p.startswith("host_mtu")] for nic in nics] == [options] * 2


def disks(words: list[str]) -> list[tuple[str, str]]:
    """Serial number and file of each disk, vda first."""
    files = {part.split(",")[1]: part.split(",")[0].removeprefix("file=") for part in values(words, "-drive")}
    blocks = [device for device in values(words, "-device") if device.startswith("virtio-blk-pci")]
    return [(block.partition("serial=")[2], files["id=" + block.partition("serial=")[2]]) for block in blocks]


def test_disks_in_order() -> None:
    root, iso, modules = (
        ("root", "/w/run/x/vm-001/disk.qcow2"),
        ("cdrom", str(BOOT.iso)),
        ("modules", str(BOOT.modules)),
    )
    assert disks(argv()) == [root, iso, modules]
    assert disks(argv(how=boot(iso=None))) == [root, modules]
    assert disks(argv(how=boot(modules=None))) == [root, iso]


def test_only_the_nodes_own_disk_is_writable() -> None:
    for drive in values(argv(), "-drive"):
        assert ("read-only=on" in drive) == ("id=root" not in drive)


def test_no_initramfs() -> None:
    assert "-initrd" not in argv(how=boot(initramfs=None))
    assert value(argv(), "-initrd") == str(BOOT.initramfs)


def test_kernel_command_line() -> None:
    words = value(argv(append="a=b c", per_node={"append1": "debug"}), "-append").split()
    assert words[:5] == ["root=/dev/vda", "rw", "rootflags=noauto_da_alloc", "init=/init", "console=ttyS0"]
    assert words[-4:] == ["quiet", "a=b", "c", "debug"]
    assert not any(word.startswith("mtu") for word in words)


def test_mtu_of_each_net() -> None:
    words = value(argv(201, mtu=9000), "-append").split()
    assert [word for word in words if word.startswith("mtu")] == ["mtu0=9000", "mtu1=9000", "mtu2=9000"]


@pytest.mark.parametrize(
    ("accel", "words", "cpu"), [("kvm", "kvm", "host"), ("tcg", "tcg,thread=multi", "max,-erms")]
)
def test_accelerator(accel: str, words: str, cpu: str) -> None:
    command = argv(how=boot(accel=accel))
    assert value(command, "-accel") == words
    assert value(command, "-cpu") == cpu
    assert ("mitigations=off" in value(command, "-append")) == (accel == "tcg")


@pytest.mark.parametrize(
    ("accel", "khz", "present"), [("tcg", 2596135, True), ("tcg", None, False), ("kvm", 1, False)]
)
def test_the_clock_of_emulated_guests_is_not_measured(accel: str, khz: int | None, present: bool) -> None:
    words = value(argv(how=boot(accel=accel, khz=khz)), "-append").split()
    assert (f"tsc_early_khz={khz}" in words) == present
    assert present or not any(word.startswith("tsc_early_khz") for word in words)


@pytest.mark.parametrize(
    ("cpus", "khz"),
    [
        ("flags\t\t: fpu tsc constant_tsc sse\nbogomips\t: 5192.27\n", 2596135),
        ("flags\t\t: fpu tsc sse\nbogomips\t: 5192.27\n", None),
        ("", None),
    ],
)
def test_the_frequency_of_the_host(tmp_path: Path, cpus: str, khz: int | None) -> None:
    (tmp_path / "cpuinfo").write_text(cpus)
    assert _khz(tmp_path / "cpuinfo") == khz


def test_more_virtual_cpus_than_processors() -> None:
    assert value(argv(how=boot(accel="tcg", crowded=True)), "-accel") == "tcg,thread=single"
    assert value(argv(how=boot(accel="kvm", crowded=True)), "-accel") == "kvm"


def test_memory_and_cpus() -> None:
    command = argv(201, per_node={"mem201": "384"}, smp=1)
    assert (value(command, "-m"), value(command, "-smp")) == ("384", "1")


def test_words_of_the_user_come_last() -> None:
    assert argv(how=boot(extra="-device 'x,y=a b' -snapshot"))[-3:] == ["-device", "x,y=a b", "-snapshot"]


def test_no_window_and_no_defaults() -> None:
    command = argv()
    assert value(command, "-display") == "none"
    assert "-nodefaults" in command and "-no-user-config" in command
    assert value(command, "-name") == "vm-001,process=vm-001"


def test_monitor_is_qmp_on_a_unix_socket() -> None:
    assert value(argv(), "-mon") == "chardev=qmp,mode=control"
    assert "socket,id=qmp,path=/w/run/x/vm-001/qmp,server=on,wait=off" in values(argv(), "-chardev")


def test_a_comma_in_a_path_is_doubled() -> None:
    command = argv(201, boot(iso=Path("/w,x/i.iso"), modules=Path("/w,x/m.img")), root="/w,x/run/x")
    for option in ("-drive", "-chardev", "-netdev"):
        assert [word for word in values(command, option) if "/w," in word.replace(",,", "")] == []
    assert (
        sum(
            "/w,,x/" in word
            for option in ("-drive", "-chardev", "-netdev")
            for word in values(command, option)
        )
        == 8
    )


def test_a_disk_of_its_own(tmp_path: Path) -> None:
    if not proc.find("qemu-img"):
        pytest.skip("qemu-img is not installed")
    image = tmp_path / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
    nodes = [NodeDir(tmp_path / "run" / name) for name in ("vm-001", "vm-002")]
    for node in nodes:
        node.root.mkdir(parents=True)
        qemu.make_disk(image, node.disk, tmp_path)
    output = subprocess.run(
        ["qemu-img", "info", str(nodes[1].disk)], check=True, capture_output=True, text=True
    ).stdout
    assert f"backing file: {image}" in output and "virtual size: 64 MiB" in output


def test_preflight_tells_of_memory() -> None:
    nodes = [Node(number=i, role="vm", mem=65536, smp=1, nets=(0,), mtu=1500) for i in range(1, 201)]
    assert any("MiB" in line and "--mem" in line for line in qemu.BACKEND.preflight(Settings(), nodes))


def test_a_process_is_known_by_its_start_time(tmp_path: Path) -> None:
    directory = NodeDir(tmp_path)
    assert qemu.BACKEND.pid(directory) is None
    qemu.BACKEND.stop(directory)
    with subprocess.Popen(["sleep", "30"]) as process:
        directory.state.write_text(f'{{"pid": {process.pid}, "start": 1}}')
        assert qemu.BACKEND.pid(directory) is None
        qemu.BACKEND.stop(directory)
        assert process.poll() is None  # another process with this pid is left alone
        directory.state.write_text(
            f'{{"pid": {process.pid}, "start": {process_facts.started_at(process.pid)}}}'
        )
        assert qemu.BACKEND.pid(directory) == process.pid
        qemu.BACKEND.stop(directory)
        assert process.wait(60) == -15
    assert qemu.BACKEND.pid(directory) is None


def test_container_images_are_one_more_disk_only_where_there_are_some() -> None:
    with_images = argv(how=boot(containers=Path("/w/store/x.squashfs")))
    more = [word for word in with_images if word not in argv()]
    assert more == [
        "file=/w/store/x.squashfs,id=images,if=none,format=raw,read-only=on",
        "virtio-blk-pci,drive=images,serial=images",
    ]
