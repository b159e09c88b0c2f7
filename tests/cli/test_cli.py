"""The door `xc`: words in, exit codes and messages out. Nothing is started here."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, House, temporary

VERBS = (
    "start starts stop status scaleout scalein rsh rcp vm console logs mkcdrom mkovl doctor update".split()
)


def test_help(house: House) -> None:
    said = house.good("help").out
    assert all(verb in said for verb in VERBS)
    assert house.good().out == said
    start = house.good("help", "start").out
    assert "--nvm" in start and "--mem201=384" in start and "__name" in start
    assert "--cidata" in house.good("help", "mkcdrom").out


def test_help_is_there_when_definitions_are_wrong(house: House) -> None:
    house.write("ovl/a/ovl.yaml", "sumary: x\n")
    assert "mkcdrom" in house.good("help").out


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
        (["rsh", "1"], ("rsh", "COMMAND")),
        (["rsh", "one", "ls"], ("'one'",)),
        (["status", "-o", "xml"], ("xml", "json")),
        (["ovl:nothing"], ("nothing",)),
    ],
)  # fmt: skip
def test_wrong_usage_is_2(house: House, words: list[str], says: tuple[str, ...]) -> None:
    house.bad(*words, code=2, says=says)
    assert not (house.workspace / "run").exists() or not any((house.workspace / "run").iterdir())


def test_wrong_settings_in_the_environment(house: House) -> None:
    house.bad("start", env={"__mem": "little"}, code=2, says=("__mem", "little"))


@pytest.mark.parametrize(
    "words", [["rsh", "9", "ls"], ["console", "9"], ["logs", "9"], ["scalein", "9"], ["rcp", "9", "a", "b"]]
)
def test_a_node_that_is_not_there_is_1(house: House, words: list[str]) -> None:
    house.bad(*words, code=1, says=("no node 9", "xcluster"))


def test_what_there_is_to_reach(house: House) -> None:
    for node in ("vm-001", "vm-201"):
        (house.workspace / "run/xcluster" / node).mkdir(parents=True)
    house.bad("rsh", "9", "ls", code=1, says=("1, 201",))
    house.bad("logs", "1", code=1, says=("vm-001",))


def test_scaleout_of_nothing_builds_nothing(house: House) -> None:
    ran = house.bad("scaleout", "--offline", "5", code=1, says=("not running", "start"))
    assert ran.tasks == set()


def test_stop_when_nothing_runs_is_fine(house: House) -> None:
    assert "not running" in house.good("stop").err
    assert temporary(house.workspace) == []


def test_stop_clears_what_a_crash_left(house: House) -> None:
    node = house.workspace / "run/xcluster/vm-001"
    node.mkdir(parents=True)
    (node / "node.json").write_text('{"pid": 1, "start": 1, "number": 1}')
    (node / "disk.qcow2").write_text("x")
    (house.workspace / "run/xcluster/cluster.json").write_text("{")
    house.good("stop")
    assert list((house.workspace / "run").iterdir()) == []


def test_status_when_nothing_runs(house: House) -> None:
    assert json.loads(house.good("status", "-o", "json").out) is None
    assert json.loads(house.good("status", "-o", "json", "--all").out) == []
    ran = house.good("status")
    assert ran.out == "" and "not running" in ran.err


BROKEN = {
    "ovl/a/ovl.yaml": "sumary: x\n",
    "ovl/b/ovl.yaml": "summary: [\n",
    "kernel/debian.yaml": "prebuilt: 3\n",
    "images/base/image.yaml": "- a list\n",
    "xcluster.yaml": "ovls: a nowhere\n",
}


@pytest.mark.parametrize("path", BROKEN)
def test_a_mistake_in_a_definition_keeps_nobody_from_stopping(house: House, path: str) -> None:
    house.write(path, BROKEN[path])
    house.good("stop")
    house.good("status")


def test_nor_does_an_overlay_that_is_gone(house: House) -> None:
    house.good("mkcdrom", "a", "b")
    (house.root / "ovl/a/ovl.yaml").unlink()
    (house.root / "ovl/a").rename(house.root / "old")
    house.good("stop")


def test_but_it_does_from_starting(house: House) -> None:
    house.write("ovl/a/ovl.yaml", "sumary: x\n")
    house.bad("start", code=2, says=("ovl/a/ovl.yaml", "'sumary'"))


def test_needs_that_go_in_a_circle(house: House) -> None:
    house.write("ovl/a/ovl.yaml", "needs: [b]\n")
    house.write("ovl/b/ovl.yaml", "needs: [a]\n")
    ran = house.xc("mkcdrom", "a")
    assert ran.clean and ran.code in (1, 2) and "needs itself" in ran.err
    house.good("stop")


def test_doctor(house: House) -> None:
    ran = house.xc("doctor", "-o", "json")
    assert ran.clean and ran.code in (0, 1)
    found = {each["what"]: each for each in json.loads(ran.out)}
    assert {"qemu-system-x86_64", "memory", "workspace", "accelerator", "definitions"} <= set(found)
    assert {each["state"] for each in found.values()} <= {"ok", "missing", "optional"}
    assert (ran.code == 1) == any(each["state"] == "missing" for each in found.values())


def test_doctor_tells_of_wrong_definitions(house: House) -> None:
    house.write("ovl/a/ovl.yaml", "sumary: x\n")
    ran = house.xc("doctor")
    assert ran.clean and ran.code == 1 and "'sumary'" in ran.out


def test_mkovl(house: House) -> None:
    house.write("ovl/template/ovl.yaml", "summary: about @NAME@\n")
    house.write("ovl/template/default/etc/template.conf", "@NAME@\n")
    house.good("mkovl", "mine")
    assert (house.root / "ovl/mine/default/etc/mine.conf").read_text() == "mine\n"
    house.good("mkcdrom", "mine")
    house.bad("mkovl", "mine", code=1, says=("there already",))
    house.bad("mkovl", "--template=none", "other", code=2, says=("none", "template"))


def test_from_another_directory(house: House, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert "not running" in house.good("stop", cwd=tmp_path / "elsewhere").err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_workspace_elsewhere(house: House, tmp_path: Path) -> None:
    house.good("mkcdrom", "a", env={"XCLUSTER_WORKSPACE": str(tmp_path / "w")})
    assert (tmp_path / "w/iso/xcluster.iso").is_file()
    assert not house.workspace.exists()


def test_a_workspace_on_a_readonly_disk(house: House, readonly: Path) -> None:
    for folder in (readonly, readonly / "new"):
        says = ("cannot write", "XCLUSTER_WORKSPACE")
        house.bad("mkcdrom", "a", env={"XCLUSTER_WORKSPACE": str(folder)}, code=1, says=says)


def test_a_full_disk(house: House, tiny_disk: Path) -> None:
    (house.root / "ovl/a/default/large").write_bytes(bytes(1 << 20))
    ran = house.xc("mkcdrom", "a", env={"XCLUSTER_WORKSPACE": str(tiny_disk)})
    assert ran.clean, ran.err
    assert ran.code == 1 and "full" in ran.err


def test_two_clusters_have_isos_of_their_own(house: House) -> None:
    house.good("mkcdrom", "a")
    house.good("mkcdrom", "--name=two", "b")
    assert house.iso.is_file() and house.iso.with_name("two.iso").is_file()


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
    made = {target for task in graph for target in task["targets"]}
    missing = [
        f"{task['name']}: {dep}"
        for task in graph
        for dep in task["deps"]
        if "/workspace/" in dep and dep not in made
    ]
    assert missing == []
    assert len(made) == sum(len(task["targets"]) for task in graph)


def test_an_image_with_an_alias(house: House) -> None:
    """Whatever the image needs from the workspace, some task makes."""
    house.write("ovl/c/ovl.yaml", "alias: b\n")
    house.write("images/more/image.yaml", "summary: more\nextends: base\noverlays: [a, c]\n")
    said = house.xc("info", "image:more").out
    assert "ovl/b.json" in said and "ovl/c.json" not in said
