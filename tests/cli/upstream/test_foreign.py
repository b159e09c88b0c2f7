"""Overlays with names of ours, topologies that only their files set, and variables of a test library."""

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tasks.base.errors import DefinitionError
from tasks.cli.table import VERBS
from tasks.definitions import iso_choice, upstream_names
from tasks.project import project
from tasks.project.command_line import parse
from tasks.run.running.cluster import settings_of
from tasks.topology import envsettings
from tests.cli.upstream import foreign
from tests.cli.upstream.conftest import Upstream
from tests.conftest import ROOT, Checkout
from tests.topology.test_topology import TOPOLOGIES

PLAN = "$XCLUSTER starts --name=t-foreign --dry-run -o json"


@pytest.fixture
def theirs(upstream: Upstream) -> Upstream:
    """A user with overlays that have our names, and come before ours."""
    foreign.write(upstream.ovl)
    return upstream


def plan(user: Upstream, before: str = "", env: dict[str, str] | None = None) -> Any:
    """What a start would do."""
    return json.loads(user.good(f"{before}; {PLAN}" if before else PLAN, env))["plan"]


def packed(user: Upstream, overlay: str, path: str) -> str:
    """A file of a packed overlay."""
    with tarfile.open(user.workspace / f"ovl/{overlay}.tar") as tar:
        file = tar.extractfile(path)
        assert file
        return file.read().decode()


def test_a_topology_of_ours_with_their_overlay(theirs: Upstream) -> None:
    env = {"TOPOLOGY": "diamond"}
    theirs.good("$XCLUSTER mkcdrom --name=t-foreign env network-topology", env)
    assert packed(theirs, "network-topology", "etc/topology") == "diamond\n"
    theirs.good(
        "$XCLUSTER mkcdrom --name=t-foreign network-topology", {"__topology": "diamond", "TOPOLOGY": ""}
    )
    assert packed(theirs, "network-topology", "etc/topology") == "diamond\n"
    there = plan(theirs, env=env)
    nets = {node["name"]: node["nets"] for node in there["nodes"]}
    assert (nets["vm-201"], nets["vm-204"], nets["vm-221"]) == ([0, 1, 3, 4], [0, 4, 6], [0, 2])
    assert plan(theirs, f". {theirs.ovl}/network-topology/diamond/Envsettings")["nodes"] == there["nodes"]


def test_a_topology_that_only_the_environment_tells(theirs: Upstream) -> None:
    file = theirs.ovl / "network-topology/line/Envsettings"
    there = theirs.sh(f". {file}; {PLAN}")
    assert there.code == 0, there.err
    nets = {node["name"]: node["nets"] for node in json.loads(there.out)["plan"]["nodes"]}
    assert (len(nets), nets["vm-004"], nets["vm-201"]) == (5, [0, 3], [0, 3])
    assert "note: the topology 'line' (TOPOLOGY) is not defined here" in there.err
    assert "__mem201, __nets_router, __nets_vm, __nrouters" in there.err
    theirs.good("$XCLUSTER mkcdrom --name=t-foreign network-topology", {"TOPOLOGY": "line"})
    theirs.bad(PLAN.removesuffix(" -o json"), f". {file}", 2, {"TOPOLOGY": "line"})


@pytest.mark.parametrize(
    ("name", "nets", "code", "says"),
    [
        ("diamnd", "", 2, "Did you mean 'diamond'"),
        ("diamnd", "0,1", 2, "; one of your own has a file diamnd/Envsettings in an overlay"),
        ("ours7", "0,1", 0, "note: the topology 'ours7' (TOPOLOGY) is not defined here"),
    ],
)
def test_a_topology_that_nobody_knows(theirs: Upstream, name: str, nets: str, code: int, says: str) -> None:
    ran = theirs.sh(PLAN, {"TOPOLOGY": name, "__nets_vm": nets, "__nrouters": "2"})
    assert ran.code == code
    assert says in ran.out + ran.err


@pytest.mark.parametrize("name", ["line", "diamnd"])  # the second is like the name of a known one
def test_a_topology_of_an_overlay_that_ours_hides(theirs: Upstream, name: str) -> None:
    file = theirs.write(f"ovl/network-topology/{name}/Envsettings", foreign.LINE_ENVSETTINGS, 0o644)
    env = {"TOPOLOGY": name, "XCLUSTER_OVLPATH": f"{ROOT}/ovl:{theirs.ovl}"}
    ran = theirs.sh(PLAN, env)
    assert ran.code == 2
    for says in (str(file), f"hidden by {ROOT}/ovl/network-topology", f"{theirs.ovl} before it in XCLUSTER_"):
        assert says in ran.out + ran.err
    told = theirs.sh(PLAN, {**env, "__nets_vm": "0,3"})
    assert told.code == 0, told.err


@pytest.mark.parametrize("name", [*sorted(TOPOLOGIES), "default"])
def test_their_scripts_read_our_topologies_too(name: str) -> None:
    topology = TOPOLOGIES["xnet" if name == "default" else name]
    for place in envsettings.places(topology):
        assert (ROOT / "ovl/network-topology" / place).read_text() == envsettings.text(topology)


def test_what_they_count_on_after_that(upstream: Upstream) -> None:
    script = (
        ". $($XCLUSTER ovld network-topology)/$TOPOLOGY/Envsettings; echo $TOPOLOGY $__nrouters $__ntesters"
    )
    assert upstream.good(script, {"TOPOLOGY": "diamond"}) == "diamond 4 1\n"
    assert upstream.good(script, {"TOPOLOGY": "diamond", "__ntesters": "3"}) == "diamond 4 3\n"
    assert upstream.good(script, {"TOPOLOGY": "default"}) == "xnet 2\n"
    upstream.good("$XCLUSTER cache network-topology", {"SETUP": "diamond"})
    for tar in (upstream.workspace / "ovl").glob("network-topology*.tar"):
        with tarfile.open(tar) as packed_tar:
            assert "Envsettings" not in packed_tar.getnames()


@pytest.mark.parametrize(
    ("env", "lines"),
    [
        ({}, []),
        ({"xcluster_PREFIX": ""}, ["PREFIX='fd00:'"]),
        ({"xcluster_PREFIX": "", "__prefix": "2000:"}, ["PREFIX='2000:'"]),
        ({"xcluster_PREFIX": "1000::1"}, ["PREFIX='1000::1'"]),
    ],
)
def test_the_prefix_trap_with_their_env(theirs: Upstream, env: dict[str, str], lines: list[str]) -> None:
    for word in ("cache env", "mkcdrom --name=t-foreign env"):
        theirs.good(f"$XCLUSTER {word}", env)
        shown = packed(theirs, "env", "etc/xcluster_env").splitlines() if lines else []
        assert shown == lines


@pytest.mark.parametrize(("env", "shown"), [({}, "1\nfd00:\n"), ({"xcluster_PREFIX": ""}, "0\nfd00:\n")])
def test_the_prefix_trap_in_a_hook(upstream: Upstream, env: dict[str, str], shown: str) -> None:
    hook = "cmd_show() { env | grep -q '^xcluster_PREFIX=fd00:$'; echo $?; echo $xcluster_PREFIX; }\n"
    file = upstream.write("my.hook", hook)
    assert upstream.good("$XCLUSTER show", {"XCLUSTER_HOOK": str(file), **env}) == shown


def test_empty_variables_that_have_a_default() -> None:
    empty = {"ARCHIVE": "", "KERNELDIR": "", "XCLUSTER_TMP": "", "GOPATH": "", "xcluster_DNS": ""}
    assert iso_choice.variables(empty) == {"GOPATH": "", "xcluster_DNS": ""}
    assert iso_choice.without({**empty, "PATH": "/bin"}) == {"PATH": "/bin"}


def loaded(workspace: Path, *words: str, **environ: str) -> Any:
    """The settings of a run."""
    variables = {"XCLUSTER_WORKSPACE": str(workspace), **environ}
    return project.load(parse(words, VERBS), variables, settings_of).settings


def test_variables_of_a_test_library_do_not_steer_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = {
        "__timeout": "10",
        "__retries": "3",
        "__interval": "1",
        "__log": "/x",
        "__list": "",
        "__mode": "x",
    }
    assert loaded(tmp_path, "starts", **library).timeout == 120
    assert "note: __timeout=10 is not the setting timeout here" in capsys.readouterr().err
    assert loaded(tmp_path, "starts", "--timeout=7", **library).timeout == 7
    assert loaded(tmp_path, "starts", XC_TIMEOUT="11", **library).timeout == 11
    assert "note" not in capsys.readouterr().err
    with pytest.raises(DefinitionError, match="XC_TIMEOUT: "):
        loaded(tmp_path, "starts", XC_TIMEOUT="soon")


def test_a_setting_of_its_own_name_counts_more(tmp_path: Path) -> None:
    there = loaded(tmp_path, "starts", XC_KEEP="no", __keep="yes", XC_MEM201="300", __kernel="linux-6.1")
    assert (there.keep, there.node_of(201).mem, there.kernel) == (False, 300, "linux-6.1")


def test_a_value_that_is_for_something_else(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="__keep: expected yes or no, .*; if __keep is .*, set XC_KEEP"):
        loaded(tmp_path, "starts", __keep="/tmp/log")
    assert not loaded(tmp_path, "starts", __keep="/tmp/log", XC_KEEP="no").keep


def test_every_variable_of_upstream_with_a_name_of_ours_is_known() -> None:
    """Those that upstream's scripts use, and whether they mean a setting that we have too."""
    others = {"timeout", "retries", "interval", "list", "log", "no_start", "no_stop", "cni", "mode", "ipv6",
              "dns_spoof", "dpdk_src", "label", "script", "cidata", "bg", "quiet", "graphic", "bootable",
              "start", "get", "clear", "version", "format", "size", "template", "ovldir", "addr", "key",
              "sudo", "src", "dest", "root", "base_libs", "docker", "adr4", "gw4", "clean"}  # fmt: skip
    from tasks.definitions import setting_list

    assert {*upstream_names.SAME} - {"nets"} <= {*setting_list.names()}
    assert {name for name in others if setting_list.is_setting(name)} == set(upstream_names.OTHERS)


def test_their_overlay_is_used_where_it_is_named(theirs: Upstream) -> None:
    theirs.bad("$XCLUSTER mkcdrom --name=t-foreign containerd", "ERROR: Not readable")
    for image in ("base", "k8s"):
        tasks = theirs.good(f"$XCLUSTER starts --name=t-foreign --image={image} --dry-run")
        assert f"image:{image}" in tasks
        assert re.search(r"^ovl:network-topology-[0-9a-f]{8} ", tasks, re.MULTILINE)  # the checkout's


TAKING = """#!/bin/sh
die() { echo "ERROR: $*" >&2; exit 1; }
test -x $XCLUSTER_WORKSPACE/bin/tool || die "Not executable [$XCLUSTER_WORKSPACE/bin/tool]"
mkdir -p $XCLUSTER_WORKSPACE/x/bin; cp "${XCLUSTER_WORKSPACE}/bin/tool" $XCLUSTER_WORKSPACE/x/bin
tar -C $XCLUSTER_WORKSPACE/x -cf $1 bin
"""
MAKING = "artifacts: [{name: tool, sources: [{file: tool.sh}], dest: bin/tool, executable: true}]\n"


def test_a_program_that_a_script_takes_is_made_before(checkout: Checkout) -> None:
    checkout.write("ovl/c/tar", TAKING).chmod(0o755)
    checkout.bad("mkcdrom", "c", code=1, says=("Not executable", "`xc artifact:tool`"))
    checkout.write("ovl/a/ovl.yaml", MAKING)
    checkout.write("ovl/a/tool.sh", "#!/bin/sh\necho tool\n")
    checkout.good("mkcdrom", "c")
    assert (checkout.workspace / "x/bin/tool").read_text() == "#!/bin/sh\necho tool\n"


def test_a_program_of_the_user_stays(checkout: Checkout) -> None:
    checkout.write("ovl/c/tar", TAKING).chmod(0o755)
    checkout.write("ovl/a/ovl.yaml", MAKING)
    own = checkout.write("workspace/bin/tool", "mine\n")
    own.chmod(0o755)
    checkout.good("mkcdrom", "c")
    assert own.read_text() == "mine\n"


def test_a_new_overlay_is_told_of_as_it_is(checkout: Checkout) -> None:
    checkout.write("ovl/skeleton/tar", TAKING).chmod(0o755)
    checkout.write("ovl/skeleton/default/etc/skeleton", "x\n")
    told = checkout.good("mkovl", "--template=skeleton", "mine").err
    assert "edit its tar and default/, then: xc mkcdrom mine" in told and "ovl.yaml" not in told
    folder = checkout.root / "elsewhere"
    told = checkout.good("mkovl", "--template=b", f"--ovldir={folder}", "mine").err
    assert f"edit its ovl.yaml and default/, then: xc mkcdrom {folder}/mine" in told
