"""The door `xc`: words in, exit codes and messages out. Nothing is started here."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Checkout, temporary

VERBS = (
    "start starts stop status scaleout scalein rsh rcp vm console logs mkcdrom mkovl doctor update".split()
)


def test_help(checkout: Checkout) -> None:
    overview = checkout.good("help").out
    assert set(VERBS) <= set(re.findall(r"^  (\w+) ", overview, re.M)), "each in a line of its own"
    assert checkout.good().out == overview
    start = checkout.good("help", "start").out
    assert "--nvm" in start and "--mem201=384" in start and "__name" in start
    assert "--cidata" in checkout.good("help", "mkcdrom").out


def test_help_is_there_when_definitions_are_wrong(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "sumary: x\n")
    assert "mkcdrom" in checkout.good("help").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["statr"], ("statr",)),
        (["start", "--nvn=3"], ("'--nvn'", "--nvm")),
        (["start", "--nvm=300"], ("nvm", "200", "300")),
        (["start", "--nvm=0", "--nrouters=0"], ("0 nodes",)),
        (["start", "--nvm=many"], ("nvm", "many")),
        (["start", "--kernel=debain"], ("debain", "debian")),
        (["start", "--image=bas"], ("bas", "base")),
        (["stop", "now"], ("stop", "now")),
        (["stop", "--name=No Name"], ("name", "No Name")),
        (["rsh"], ("rsh", "COMMAND")),
        (["rsh", "one", "ls"], ("'one'",)),
        (["status", "-o", "xml"], ("xml", "json")),
        (["ovl:nothing"], ("nothing",)),
    ],
)  # fmt: skip
def test_wrong_usage_is_2(checkout: Checkout, words: list[str], says: tuple[str, ...]) -> None:
    checkout.bad(*words, code=2, says=says)
    assert not (checkout.workspace / "run").exists() or not any((checkout.workspace / "run").iterdir())


def test_wrong_settings_in_the_environment(checkout: Checkout) -> None:
    checkout.bad("start", env={"__mem": "little"}, code=2, says=("__mem", "little"))


@pytest.mark.parametrize(
    "words", [["rsh", "9", "ls"], ["console", "9"], ["logs", "9"], ["scalein", "9"], ["rcp", "9", "a", "b"]]
)
def test_a_node_that_is_not_there_is_1(checkout: Checkout, words: list[str]) -> None:
    checkout.bad(*words, code=1, says=("no running node 9", "xcluster"))


def test_what_there_is_to_reach(checkout: Checkout) -> None:
    for node in ("vm-001", "vm-201"):
        (checkout.workspace / "run/xcluster" / node).mkdir(parents=True)
    checkout.bad("rsh", "9", "ls", code=1, says=("1, 201",))
    checkout.bad("logs", "1", code=1, says=("vm-001",))


def test_scaleout_of_nothing_builds_nothing(checkout: Checkout) -> None:
    ran = checkout.bad("scaleout", "--offline", "5", code=1, says=("not running", "start"))
    assert ran.tasks == set()


def test_stop_when_nothing_runs_is_fine(checkout: Checkout) -> None:
    assert "not running" in checkout.good("stop").err
    assert temporary(checkout.workspace) == []


def test_stop_clears_what_a_crash_left(checkout: Checkout) -> None:
    node = checkout.workspace / "run/xcluster/vm-001"
    node.mkdir(parents=True)
    (node / "node.json").write_text('{"pid": 1, "start": 1, "number": 1}')
    (node / "disk.qcow2").write_text("x")
    (checkout.workspace / "run/xcluster/cluster.json").write_text("{")
    checkout.good("stop")
    assert list((checkout.workspace / "run").iterdir()) == []


def test_status_when_nothing_runs(checkout: Checkout) -> None:
    assert json.loads(checkout.good("status", "-o", "json").out) is None
    assert json.loads(checkout.good("status", "-o", "json", "--all").out) == []
    ran = checkout.good("status")
    assert ran.out == "" and "not running" in ran.err


BROKEN = {
    "ovl/a/ovl.yaml": "sumary: x\n",
    "ovl/b/ovl.yaml": "summary: [\n",
    "kernel/debian.yaml": "prebuilt: 3\n",
    "images/base/image.yaml": "- a list\n",
    "xcluster.yaml": "ovls: a nowhere\n",
}


@pytest.mark.parametrize("path", BROKEN)
def test_a_mistake_in_a_definition_keeps_nobody_from_stopping(checkout: Checkout, path: str) -> None:
    checkout.write(path, BROKEN[path])
    checkout.good("stop")
    checkout.good("status")


def test_nor_does_an_overlay_that_is_gone(checkout: Checkout) -> None:
    checkout.good("mkcdrom", "a", "b")
    (checkout.root / "ovl/a/ovl.yaml").unlink()
    (checkout.root / "ovl/a").rename(checkout.root / "old")
    checkout.good("stop")


def test_but_it_does_from_starting(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "sumary: x\n")
    checkout.bad("start", code=2, says=("ovl/a/ovl.yaml", "'sumary'"))


def test_needs_that_go_in_a_circle(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "needs: [b]\n")
    checkout.write("ovl/b/ovl.yaml", "needs: [a]\n")
    ran = checkout.xc("mkcdrom", "a")
    assert ran.clean and ran.code in (1, 2) and "needs itself" in ran.err
    checkout.good("stop")


def test_doctor(checkout: Checkout) -> None:
    ran = checkout.xc("doctor", "-o", "json")
    assert ran.clean and ran.code in (0, 1)
    rows = {each["what"]: each for each in json.loads(ran.out)}
    assert {"qemu-system-x86_64", "memory", "workspace", "accelerator", "definitions"} <= set(rows)
    assert {each["state"] for each in rows.values()} <= {"ok", "missing", "optional"}
    assert (ran.code == 1) == any(each["state"] == "missing" for each in rows.values())


def test_doctor_tells_of_wrong_definitions(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "sumary: x\n")
    ran = checkout.xc("doctor")
    assert ran.clean and ran.code == 1 and "'sumary'" in ran.out


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("XC_KERNEL", "nosuch", "XC_KERNEL: unknown kernel 'nosuch'"),
        ("TOPOLOGY", "nosuch", "TOPOLOGY: unknown topology 'nosuch'"),
        ("__ovls", "nosuch", "__ovls: unknown overlay 'nosuch'"),
        ("__nvm", "many", "__nvm: expected a whole number"),
    ],
)
def test_doctor_tells_what_a_start_would_be_refused_for(
    checkout: Checkout, name: str, value: str, why: str
) -> None:
    env = {name: value}
    checkout.bad("starts", "--dry-run", env=env, code=2, says=(why,))
    found = checkout.xc("doctor", "-o", "json", env=env)
    rows = [each for each in json.loads(found.out) if each["what"] == "definitions"]
    assert found.code == 1 and rows[0]["state"] == "missing" and rows[0]["text"].startswith(why), rows


def test_mkovl(checkout: Checkout) -> None:
    checkout.write("ovl/template/ovl.yaml", "summary: about @NAME@\n")
    checkout.write("ovl/template/default/etc/template.conf", "@NAME@\n")
    checkout.good("mkovl", "mine")
    assert (checkout.root / "ovl/mine/default/etc/mine.conf").read_text() == "mine\n"
    checkout.good("mkcdrom", "mine")
    checkout.bad("mkovl", "mine", code=1, says=("already exists",))
    checkout.bad("mkovl", "--template=none", "other", code=2, says=("none", "template"))


def test_from_another_directory(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert "not running" in checkout.good("stop", cwd=tmp_path / "elsewhere").err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_workspace_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    checkout.good("mkcdrom", "a", env={"XCLUSTER_WORKSPACE": str(tmp_path / "w")})
    assert (tmp_path / "w/iso/xcluster.iso").is_file()
    assert not checkout.workspace.exists()


def test_a_workspace_on_a_readonly_disk(checkout: Checkout, readonly: Path) -> None:
    for folder in (readonly, readonly / "new"):
        says = ("cannot write", "XCLUSTER_WORKSPACE")
        checkout.bad("mkcdrom", "a", env={"XCLUSTER_WORKSPACE": str(folder)}, code=1, says=says)


def test_a_full_disk(checkout: Checkout, tiny_disk: Path) -> None:
    (checkout.root / "ovl/a/default/large").write_bytes(bytes(1 << 20))
    ran = checkout.xc("mkcdrom", "a", env={"XCLUSTER_WORKSPACE": str(tiny_disk)})
    assert ran.clean, ran.err
    assert ran.code == 1 and "full" in ran.err


def test_two_clusters_have_isos_of_their_own(checkout: Checkout) -> None:
    checkout.good("mkcdrom", "a")
    checkout.good("mkcdrom", "--name=two", "b")
    assert checkout.iso.is_file() and checkout.iso.with_name("two.iso").is_file()


GRAPH = """
import dodo, json, doit.loader
tasks = doit.loader.load_tasks(vars(dodo), ())
print(json.dumps([{"name": t.name, "deps": sorted(t.file_dep), "targets": t.targets} for t in tasks]))
"""


@pytest.fixture
def graph() -> Iterator[list[dict[str, list[str] | str]]]:
    """All tasks of the repository itself, as doit sees them."""
    done = subprocess.run([sys.executable, "-c", GRAPH], cwd=ROOT, capture_output=True, text=True, check=True)
    yield json.loads(done.stdout)


def test_what_a_task_needs_from_the_workspace_some_task_makes(graph: list[dict[str, list[str]]]) -> None:
    targets = {target for task in graph for target in task["targets"]}
    missing = [
        f"{task['name']}: {dep}"
        for task in graph
        for dep in task["deps"]
        if "/workspace/" in dep and dep not in targets
    ]
    assert missing == []
    assert len(targets) == sum(len(task["targets"]) for task in graph)


def test_an_image_with_an_alias(checkout: Checkout) -> None:
    """Whatever the image needs from the workspace, some task makes."""
    checkout.write("ovl/c/ovl.yaml", "alias: b\n")
    checkout.write("images/more/image.yaml", "summary: more\nextends: base\noverlays: [a, c]\n")
    output = checkout.xc("info", "image:more").out
    assert "ovl/b.json" in output and "ovl/c.json" not in output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["start", "--help"], "xc start"),
        (["stop", "-h"], "xc stop"),
        (["version"], "xcluster-doit"),
        (["mkcdrom", "a", "--dry-run"], "ovl:a"),
    ],
)
def test_doit_does_what_xc_does(checkout: Checkout, words: list[str], says: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(checkout.root)}
    doit = [sys.executable, "-m", "doit", *words]
    done = subprocess.run(doit, cwd=checkout.root, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == checkout.good(*words).out and not checkout.iso.exists()
    assert says in done.stdout
