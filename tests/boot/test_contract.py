"""An overlay as an upstream user has it, start to end; programs of the host in guests of other suites."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.paths import Workspace
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left
from tests.cli.upstream import foreign

pytestmark = pytest.mark.boot
XC = ROOT / "xc"

# tar, tool.sh and the program in the guest: as upstream's overlays are, not as ours.
TAR = """#! /bin/sh
##  tar OUT: pack the overlay
prg=$(basename $0)
dir=$(dirname $0); dir=$(readlink -f $dir)
tmp=/tmp/$USER/${prg}_$$

die() {
	echo "ERROR: $*" >&2
	rm -rf $tmp
	exit 1
}
test -n "$1" || die "No output"
test -n "$XCLUSTER" || die 'Not set [$XCLUSTER]'
test -x "$XCLUSTER" || die "Not executable [$XCLUSTER]"
eval $($XCLUSTER env | grep -E 'XCLUSTER_HOME|__kver')

mkdir -p $tmp/bin
test -d $dir/default && cp -R $dir/default/* $tmp
for n in $(echo $SETUP | tr ',' ' '); do
	test -d $dir/$n && cp -R $dir/$n/* $tmp
done
cp /bin/bash $tmp/bin
$XCLUSTER install_prog --dest=$tmp socat
$XCLUSTER cplib --dest=$tmp $tmp/bin/*
strip $tmp/bin/bash

cd $tmp
if test "$1" = "-"; then
	tar c *
else
	tar cf "$1" *
fi
cd $dir
rm -rf $tmp
"""
TEST = """#! /bin/sh
prg=$(basename $0)
dir=$(dirname $0); dir=$(readlink -f $dir)
me=$dir/$prg
tmp=/tmp/$USER/${prg}_$$

die() {
	echo "ERROR: $*" >&2
	rm -rf $tmp
	exit 1
}
cmd_env() {
	eval $($XCLUSTER env)
	test -n "$__nvm" || export __nvm=1
	test -n "$__nrouters" || export __nrouters=1
	export __image=$XCLUSTER_HOME/hd.img
}
cmd_test() {
	cmd_env
	rm -f $XCLUSTER_TMP/cdrom.iso
	. $($XCLUSTER ovld test)/default/usr/lib/xctest
	indent=''
	tlog "=== tool test on $(basename $__image)"
	test_$1
	tlog "=== passed"
}
test_start() {
	export xcluster_COLOUR=green
	xcluster_start network-topology .
}
test_default() {
	test_start
	otc 1 "tools"
	otcw "colour green"
	otcr "setup loud"
	rcp 1 /etc/setup $tmp/setup || tdie rcp
	test "$(cat $tmp/setup)" = loud || tdie
	xcluster_stop
}
cmd=$1
shift
grep -q "^cmd_$cmd()" $0 || die "Invalid command [$cmd]"
while echo "$1" | grep -q '^--'; do
	if echo $1 | grep -q =; then
		o=$(echo "$1" | cut -d= -f1 | sed -e 's,-,_,g')
		v=$(echo "$1" | cut -d= -f2-)
		eval "$o=\\"$v\\""
	else
		o=$(echo "$1" | sed -e 's,-,_,g')
		eval "$o=yes"
	fi
	shift
done
mkdir -p $tmp
cmd_$cmd "$@"
status=$?
rm -rf $tmp
exit $status
"""
GUEST = """#! /bin/sh
prg=$(basename $0)
tmp=/tmp/${prg}_$$

tcase_tools() {
	tcase "Programs of the host"
	bash --version | ogrep -q 'GNU bash' || tdie
	socat -V | ogrep -q socat || tdie
	test "$(bash -c 'echo ${BASH_VERSION+yes}')" = yes || tdie
}
tcase_colour() {
	tcase "Colour $1"
	mynode > /dev/null
	test "$i" -eq 1 || tdie "node $i"
	test "$COLOUR" = "$1" || tdie "[$COLOUR]"
}
tcase_setup() {
	tcase "Setup $1"
	tex "test \\"$(cat /etc/setup)\\" = $1" || tdie
}

. /etc/profile
. /usr/lib/xctest
indent='  '
cmd=$1
shift
grep -q "^$cmd()" $0 || tdie "Invalid command [$cmd]"
mkdir -p $tmp
$cmd "$@"
status=$?
rm -rf $tmp
exit $status
"""

MERGED = """
links:
  bin/busybox: ../usr/bin/busybox
  lib64/ld-linux-x86-64.so.2: ../usr/lib64/ld-linux-x86-64.so.2
"""


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overlay `tool`."""
    folder = tmp_path_factory.mktemp("ovls") / "tool"
    for path, text in (("tar", TAR), ("tool.sh", TEST), ("default/bin/tool_test", GUEST)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    for name in ("default", "loud"):
        (folder / name / "etc").mkdir(exist_ok=True, parents=True)
        (folder / name / "etc/setup").write_text(f"{name}\n")
    return folder


def environment(name: str, **more: str) -> dict[str, str]:
    """What upstream's user has set."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("__", "xcluster_"))}
    return {**clean, "XCLUSTER": str(XC), "__name": name, "USER": "tester", **more}


def test_an_overlay_of_upstream_from_start_to_end(tool: Path) -> None:
    done = subprocess.run(
        ["./tool.sh", "test", "--foo=bar", "default"], cwd=tool, capture_output=True, text=True,
        timeout=800, check=False, env=environment("t-tool", SETUP="loud"), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("=== tool test on hd.img", "Programs of the host", "Colour green", "=== passed"):
        assert text in done.stdout
        assert text in done.stderr
    assert_nothing_left("t-tool")


@pytest.fixture
def usual_choice() -> Iterator[None]:
    """Whoever uses this checkout has chosen overlays for the usual cluster, or none: that stays."""
    choice = Workspace(WORKSPACE).choice("xcluster")
    before = choice.read_bytes() if choice.exists() else None
    yield
    choice.unlink(missing_ok=True)
    if before is not None:
        choice.write_bytes(before)


@pytest.mark.usefixtures("usual_choice")
def test_a_test_of_upstream_as_it_is_typed(tmp_path: Path) -> None:
    """Its library starts the usual cluster and uses ssh by itself; overlays and a topology hide ours."""
    folder = foreign.write(tmp_path)
    own = {"XCLUSTER_OVLPATH": f"{folder}:{ROOT}/ovl", "__blank_password": "yes", "__fakenet": "on"}
    environ = {key: value for key, value in environment("", **own).items() if key != "__name"}
    done = subprocess.run(
        ["./net.sh"], cwd=folder / "net", capture_output=True, text=True, timeout=800, check=False,
        env=environ, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for case in ("Prefix fd00:", "Topology line", "Ping 192.168.3.201", "Ping 192.168.3.1", "An internet"):
        assert f"TEST CASE: {case}" in done.stdout
    assert "=== passed" in done.stdout
    assert "note: __timeout=10 is not the setting timeout here" in done.stderr
    assert_nothing_left("xcluster")


@pytest.fixture(params=["bullseye", "trixie"])
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an image of another suite, that is: with another C library than the usual one."""
    name = f"t-{request.param}"
    folder = ROOT / "images" / name
    shutil.copytree(ROOT / "images/base", folder)
    text = (folder / "image.yaml").read_text().replace("suite: bookworm", f"suite: {request.param}")
    if request.param == "trixie":  # its packages have everything below /usr
        text = text.replace("{bin/busybox: bin/ash}", "{usr/bin/busybox: bin/ash}")
        text = text.replace("\nlinks:\n", MERGED)
    if request.param == "bullseye":  # which has no such package
        text = "".join(line for line in text.splitlines(True) if "dhcpcd-base" not in line)
    (folder / "image.yaml").write_text(text)
    yield name
    shutil.rmtree(folder)
    for path in (WORKSPACE / "image").glob(f"{name}.*"):
        path.unlink()


def test_programs_of_the_host_in_a_guest_of_another_suite(tool: Path, other: str) -> None:
    cluster = Cluster("t-libs", {"__image": other, "__cold": "yes"})
    cluster.xc("mkcdrom", "env", str(tool))
    cluster.xc("starts", "--nvm=1", "--nrouters=0", "--timeout=400", "--mem=192", timeout=900)
    try:
        assert cluster.rsh(1, "ls /lib64").split() == ["ld-linux-x86-64.so.2", "ld-xc-host.so.2"]
        assert cluster.rsh(1, "bash -c 'echo $((6 * 7)) ${BASH_VERSION+bash}'") == "42 bash\n"
        assert "socat version" in cluster.rsh(1, "socat -V")
        cluster.rsh(1, "echo hello | socat - UDP:localhost:9; jq --version; tcpdump --version; ip link")
    finally:
        cluster.xc("stop")
    assert_nothing_left("t-libs")


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """Two nodes with nothing but a blank password, as upstream's are."""
    cluster = Cluster("t-vm", {"__blank_password": "yes"})
    cluster.xc("mkcdrom", "env")
    try:
        cluster.xc("starts", "--nvm=2", "--nrouters=0")
        yield cluster
    finally:
        cluster.xc("stop")


def port(cluster: Cluster, number: int) -> int:
    return int(next(node["ssh"] for node in cluster.status()["nodes"] if node["number"] == number))


def test_plain_ssh_with_a_blank_password(two: Cluster) -> None:
    done = subprocess.run(
        ["ssh", "-q", "-F", "/dev/null", "-o", "UserKnownHostsFile=/dev/null",
         "-o", "StrictHostKeyChecking=no",
         "-o", "IdentityFile=none", "-p", str(port(two, 2)), "root@127.0.0.1", "hostname"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stdout == "vm-002\n", done.stderr


def test_status_counts(two: Cluster) -> None:
    assert two.xc("status", "--quiet", "--nvm=8", ok=False).returncode == 2
    assert Cluster("t-none").xc("status", "--quiet").returncode == 0


def test_stop_vm_and_reset_vm(two: Cluster) -> None:
    before = two.rsh(2, "echo kept > /root/kept; cat /proc/sys/kernel/random/boot_id")
    two.xc("stop_vm", "2")
    silent = two.spawn("rsh", "2", "true")
    with pytest.raises(subprocess.TimeoutExpired):
        silent.wait(5)
    two.xc("reset_vm", "2")
    silent.wait(60)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        now = two.xc("rsh", "2", "cat /proc/sys/kernel/random/boot_id", ok=False).stdout
        if now and now != before:
            break
    assert now and now != before
    assert two.rsh(2, "cat /root/kept") == "kept\n"


def test_inject(two: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "late"
    (folder / "default/etc").mkdir(parents=True)
    (folder / "default/etc/late").write_text("late\n")
    address = f"root@127.0.0.1:{port(two, 1)}"
    key = WORKSPACE / "keys/id_ed25519"
    two.xc("inject", f"--addr={address}", f"--key={key}", str(folder))
    assert two.rsh(1, "cat /etc/late") == "late\n"
    refused = two.xc(
        "inject", f"--addr={address}", "--sudo=no-such-sudo", f"--key={key}", str(folder), ok=False
    )
    assert refused.returncode == 1 and "no-such-sudo" in refused.stderr
    assert two.xc("inject", str(folder), ok=False).returncode == 2


HOOK = """
##  start [--nvm=4] [--nrouters=2]
##    Start nodes and routers one by one
cmd_start() {
	cmd_env
	test -n "$__nvm" || __nvm=4
	test -n "$__nrouters" || __nrouters=2
	test -n "$__kbin" -a -n "$__cdrom" || die "no kernel"
	__quiet=yes cmd_status >/dev/null || cmd_stop
	rm -rf "$XCLUSTER_TMP/screen" "$XCLUSTER_TMP"/*.img
	__append1=of-the-hook
	for n in $(seq 1 $__nvm) $(seq 201 $((200 + __nrouters))); do
		xopt="-T node-$n" launch_node $n
	done
	cmd_no_such_thing
	echo went on
}
launch_node() {
	if test -n "$DISPLAY"; then cmd_xvm $1; else cmd_svm $1; fi
}
"""


def test_a_start_of_a_hook_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(HOOK)
    cluster = Cluster("t-hook", {"XCLUSTER_HOOK": str(tmp_path / "hook"), "__name": "t-hook"})
    try:
        done = subprocess.run(
            [ROOT / "xc", "start", "--nvm=1", "--nrouters=1"], env=cluster.environment, cwd=ROOT, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 127 and done.stdout == "", done.stderr
        assert "cmd_no_such_thing: the hook has no such function" in done.stderr
        assert [node["number"] for node in cluster.status()["nodes"]] == [1, 201]
        assert "of-the-hook" in cluster.rsh(1, "cat /proc/cmdline")
    finally:
        cluster.xc("stop")
    assert_nothing_left("t-hook")


def test_svm(two: Cluster) -> None:
    both = [two.spawn("svm", number) for number in ("5", "201")]
    for process in both:
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0 and "added in" in errors, errors
    assert {node["number"] for node in two.status()["nodes"]} == {1, 2, 5, 201}
    again = two.xc("svm", "5", ok=False)
    assert again.returncode == 1 and "vm-005 is running already" in again.stderr
    windowless = two.xc("xvm", "6", ok=False)
    assert windowless.returncode == 1 and "it needs DISPLAY and xterm" in windowless.stderr
    two.xc("scalein", "5", "201")


def test_boot_vm(two: Cluster) -> None:
    process = two.spawn("boot_vm", "7", "colour=red")
    assert process.stdout
    try:
        end = time.monotonic() + 300
        while two.xc("rsh", "7", "true", ok=False).returncode and time.monotonic() < end:
            assert process.poll() is None, process.communicate()
            time.sleep(1)
        assert "colour=red" in two.rsh(7, "cat /proc/cmdline")
        two.xc("rsh", "7", "poweroff")
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "BusyBox" in output
    assert {node["number"] for node in two.status()["nodes"]} == {1, 2}
