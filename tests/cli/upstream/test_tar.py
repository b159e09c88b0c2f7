"""Overlays with a `tar` script: what it is given, what makes it run again, what it may not do."""

import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tasks.definitions import iso_choice
from tests.cli.upstream.conftest import XC, Env, Upstream

# In the manner of upstream: no set -e, a directory below /tmp/$USER, `-` or a file as the output.
HEAD = """#! /bin/sh
dir=$(dirname $0); dir=$(readlink -f $dir)
tmp=/tmp/$USER/xc_contract_$$
die() { echo "ERROR: $*" >&2; rm -rf $tmp; exit 1; }
test -n "$1" || die "No output"
test -n "$XCLUSTER" || die 'Not set [$XCLUSTER]'
test -x "$XCLUSTER" || die "Not executable [$XCLUSTER]"
eval $($XCLUSTER env)
mkdir -p $tmp/etc
"""
TAIL = """
cd $tmp
if test "$1" = "-"; then tar c *; else tar cf "$1" *; fi
cd $dir
rm -rf $tmp
"""


def member(path: Path, name: str) -> str:
    with tarfile.open(path) as tar:
        file = tar.extractfile(name)
        assert file
        return file.read().decode()


def packed(upstream: Upstream, body: str, env: Env | None = None) -> str:
    """What the script writes to etc/said."""
    upstream.write("ovl/s/tar", f"{HEAD}{body}{TAIL}")
    ran = upstream.sh("$XCLUSTER cache s", env)
    assert ran.code == 0, ran.err
    return member(upstream.workspace / "ovl/s.tar", "etc/said")


def test_what_a_script_is_given(upstream: Upstream) -> None:
    content = packed(
        upstream,
        'echo "$XCLUSTER|$USER|$HOME|$ARCHIVE|$XCLUSTER_WORKSPACE|${GOPATH-unset}|$__foo|$__mem" '
        ">$tmp/etc/said",
        {"__foo": "bar", "__mem": "192"},
    )  # fmt: skip
    home = upstream.root / "home"
    assert content.strip() == f"{XC}|tester|{home}|{home}/Downloads|{upstream.workspace}||bar|192"


def test_a_script_packs_another_overlay(upstream: Upstream) -> None:
    content = packed(
        upstream, "cp -R $($XCLUSTER ovld mine)/default/etc $tmp; mv $tmp/etc/mine $tmp/etc/said"
    )
    assert content == "mine\n"


def test_to_stdout_by_hand(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    out = upstream.root / "out.tar"
    upstream.good(f"cd /; $($XCLUSTER ovld s)/tar - >{out}")
    assert member(out, "etc/said") == "x\n"


@pytest.mark.parametrize(
    "name", [*iso_choice.NAMES[:2], "TEST", "NFQLB_DIR", "xcluster_X", "__kver", "__other"]
)
def test_variables_are_inputs(upstream: Upstream, name: str) -> None:
    upstream.write("ovl/s/tar", f'{HEAD}echo "${name}" >$tmp/etc/said{TAIL}')
    task = f"ovl:s@{'one'}" if name == "SETUP" else "ovl:s"
    run = f"{name}=one $XCLUSTER cache s"
    assert task in upstream.sh(run).err
    assert upstream.sh(run).err == ""
    assert "ovl:s" in upstream.sh(f"{name}=two $XCLUSTER cache s").err


def test_settings_that_no_script_reads_are_not(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    upstream.good("$XCLUSTER cache s")
    assert upstream.sh("__mem=200 __smp=1 __nets_vm=0 $XCLUSTER cache s").err == ""


def test_no_cache(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    upstream.good("$XCLUSTER cache s")
    for _ in range(2):
        assert "ovl:s" in upstream.sh("XC_OVL_CACHE=no $XCLUSTER cache s").err
    assert upstream.sh("$XCLUSTER cache s").err == ""


SILENT = {
    "a missing file": "cp /no/such/file $tmp",
    "a missing program": "no-such-program",
    "none of our programs": "rm -r $tmp/etc; $XCLUSTER install_prog --dest=$tmp --base-libs=/dev/null no no2",
    "our error": "$XCLUSTER ovld no-such-overlay",
    "an error of its own": "echo 'ERROR: no binaries' >&2",
    "a place that is closed": "echo x >/no/such/place",
}


@pytest.mark.parametrize("name", SILENT)
def test_errors_behind_an_exit_code_of_0(upstream: Upstream, name: str) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said\n{SILENT[name]}{TAIL}")
    upstream.bad("$XCLUSTER cache s", "the tar script of overlay 's' ended with 0, but ")
    assert [path.name for path in (upstream.workspace / "ovl").glob("*s.*") if path.suffix != ".host"] == []


def test_what_is_said_is_told_and_how_to_go_on(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said; cp /no/such $tmp{TAIL}")
    errors = upstream.sh("$XCLUSTER mkcdrom s").err
    assert "cannot stat '/no/such'" in errors
    assert "allow: [stderr]" in errors and "XC_OVL_ALLOW=s:stderr" in errors
    assert not (upstream.workspace / "iso/xcluster.iso").exists()


@pytest.mark.parametrize("way", ["the overlay's own word", "s:stderr", "stderr,empty"])
def test_errors_that_are_meant(upstream: Upstream, way: str) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said; cp /no/such $tmp{TAIL}")
    env = {}
    if " " in way:
        upstream.write("ovl/s/ovl.yaml", "allow: [stderr]\n", 0o644)
    else:
        env = {"XC_OVL_ALLOW": way}
    ran = upstream.sh("$XCLUSTER cache s", env)
    assert ran.code == 0
    assert "warning" in ran.err and "cannot stat '/no/such'" in ran.err


def test_leave_for_one_is_no_leave_for_another(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said; cp /no/such $tmp{TAIL}")
    upstream.bad("$XCLUSTER cache s", "ended with 0", env={"XC_OVL_ALLOW": "t:stderr s:empty"})


@pytest.mark.parametrize(
    ("body", "allow", "warns"),
    [("cp /no/such $tmp", "stderr", "cannot stat"), ("rm -r $tmp/etc; cd $tmp; set -f", "s:empty", "empty")],
)
def test_leave_ends_with_its_variable(upstream: Upstream, body: str, allow: str, warns: str) -> None:
    tail = TAIL if allow == "stderr" else '\ntar cf "$1" -T /dev/null\n'
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said; {body}{tail}")
    for _ in range(2):
        ran = upstream.sh("$XCLUSTER mkcdrom s", {"XC_OVL_ALLOW": allow})
        assert ran.code == 0, ran.err
        assert "warning" in ran.err and warns in ran.err
    for _ in range(2):
        upstream.bad("$XCLUSTER mkcdrom s", "ended with 0")


@pytest.mark.parametrize("word", ["s", "s:foo", ":stderr", "stderr,all", "s=stderr"])
def test_a_leave_that_means_nothing(upstream: Upstream, word: str) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    upstream.good("$XCLUSTER cache s")
    env = {"XC_OVL_ALLOW": word}
    upstream.bad("$XCLUSTER cache s", "the kinds are stderr and empty", code=2, env=env)
    upstream.bad("$XCLUSTER mkcdrom s", "OVERLAY:KIND", code=2, env=env)
    assert upstream.sh("$XCLUSTER ovld s", env).code == 0


def test_leave_for_an_overlay_that_is_not_there(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    ran = upstream.sh("$XCLUSTER mkcdrom s", {"XC_OVL_ALLOW": "no-such:stderr s:stderr"})
    assert ran.code == 0, ran.err
    assert ran.err.count("XC_OVL_ALLOW names overlays that are not there: no-such\n") == 1


def test_an_empty_tar(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", "#!/bin/sh\ntar -cf $1 -T /dev/null\n")
    upstream.bad("$XCLUSTER cache s", "the tar is empty")
    upstream.good("XC_OVL_ALLOW=s:empty $XCLUSTER cache s")
    upstream.write("ovl/s/ovl.yaml", "allow: [empty]\n", 0o644)
    upstream.good("$XCLUSTER cache s")


def test_a_word_that_allow_does_not_know(upstream: Upstream) -> None:
    upstream.write("ovl/s/ovl.yaml", "allow: [everything]\n", 0o644)
    upstream.write("ovl/s/tar", f"{HEAD}{TAIL}")
    upstream.bad("$XCLUSTER mkcdrom s", "allow", code=2)


def test_words_of_mkcdrom(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    upstream.write("elsewhere/other/default/o", "")
    upstream.good("tar -C ovl/mine/default -czf plain.v1.tar.gz etc")
    upstream.good(
        "cd elsewhere/other; $XCLUSTER mkcdrom s . ../../plain.v1.tar.gz s mine", env={"XOVLS": "mine env"}
    )
    listed = subprocess.run(
        ["xorriso", "-indev", str(upstream.workspace / "iso/xcluster.iso"), "-ls"],
        capture_output=True,
        text=True,
    )
    names = [line.rpartition("'")[0].rpartition("'")[2] for line in listed.stdout.splitlines()]
    assert sorted(names) == ["00s.tar", "01other.tar", "02plain.tar", "03mine.tar", "04env.tar"]
    iso = upstream.workspace / "iso/xcluster.iso"
    upstream.good("eval $($XCLUSTER env); rm $__cdrom; $XCLUSTER mkcdrom s")
    assert iso.is_file()
    upstream.good("$XCLUSTER mkcdrom")
    assert not iso.exists()


@pytest.mark.parametrize(
    ("prefix", "lines"), [(None, []), ("", ["PREFIX='fd00:'"]), ("1000::1", ["PREFIX='1000::1'"])]
)
def test_the_prefix_trap(upstream: Upstream, prefix: str | None, lines: list[str]) -> None:
    """Exported but empty asks for fd00:, absent for nothing."""
    upstream.good("$XCLUSTER cache env", None if prefix is None else {"xcluster_PREFIX": prefix})
    with tarfile.open(upstream.workspace / "ovl/env.tar") as tar:
        file = tar.extractfile("etc/xcluster_env") if "etc/xcluster_env" in tar.getnames() else None
        assert (file.read().decode().splitlines() if file else []) == lines


def test_a_user_with_nothing_but_overlays_of_his_own(upstream: Upstream) -> None:
    own = {"XCLUSTER_OVLPATH": str(upstream.ovl)}
    upstream.good("$XCLUSTER cache mine; $XCLUSTER mkcdrom mine", own)
    for image in ("base", "k8s"):  # which are the checkout's, and so are their overlays
        shown = upstream.good(f"$XCLUSTER starts --name=t-never --image={image} --offline --dry-run", own)
        assert f"image:{image}" in shown


@pytest.mark.parametrize(
    ("env", "headers"),
    [
        ({}, ["headers:debian"]),
        ({"__kver": "linux-6.1"}, ["headers:linux-6.1"]),
        ({"__kernel": "small"}, ["headers:small"]),
        ({"KERNELDIR": "/mine", "__kver": "linux-6.10"}, []),
        ({"__kobj": "/mine/obj"}, []),
    ],
)
def test_trees_of_the_kernel_are_made_for_scripts_that_read_them(
    upstream: Upstream, env: Env, headers: list[str]
) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}make -C $__kobj M=$tmp{TAIL}")
    plan = upstream.good("$XCLUSTER --dry-run ovl:s", env)
    assert re.findall(r"headers:[\w.-]+", plan) == headers
    upstream.write("ovl/s/tar", f"{HEAD}echo x >$tmp/etc/said{TAIL}")
    assert "headers:" not in upstream.good("$XCLUSTER --dry-run ovl:s", env)


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        ("make -C $KERNELDIR/$__kver M=$tmp", True),
        ('test -d "${__kobj:-none}" && echo y', True),
        ("  # make -C $__kobj", False),
        ("eval $($XCLUSTER env | grep -E '__kobj|KERNELDIR')", False),
        ("echo KERNELDIR is not read >&2", False),
        ("echo $KERNELDIRECTORY $__kobjects", False),
    ],
)
def test_a_mention_of_the_trees_is_no_use_of_them(upstream: Upstream, body: str, is_read: bool) -> None:
    upstream.write("ovl/s/tar", f"{HEAD}{body}{TAIL}")
    assert ("headers:" in upstream.good("$XCLUSTER --dry-run ovl:s")) == is_read


def test_no_trees_where_nobody_can_compile(upstream: Upstream) -> None:
    upstream.write("ovl/s/tar", f'{HEAD}test -n "$KERNELDIR" || echo none >$tmp/etc/said{TAIL}'.replace(
        "eval $($XCLUSTER env)\n", ""))  # fmt: skip
    env = {"XCLUSTER_WORKSPACE": str(upstream.root / "a place")}
    ran = upstream.sh("$XCLUSTER cache s", env)
    assert ran.code == 0, ran.err
    assert "headers:" not in ran.err
    assert "note: overlay 's' is packed without the kernel's trees" in ran.err
    assert member(upstream.root / "a place/ovl/s.tar", "etc/said") == "none\n"


def test_kernel_trees_of_the_user(upstream: Upstream) -> None:
    content = packed(
        upstream,
        'echo "$KERNELDIR/$__kver $__kobj" >$tmp/etc/said',
        {"KERNELDIR": "/mine", "__kver": "linux-9"},
    )
    assert content == f"/mine/linux-9 {upstream.workspace}/kbuild/linux-9/objects\n"
