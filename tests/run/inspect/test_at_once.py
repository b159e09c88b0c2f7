"""Verbs that answer from a glance at a running cluster: the same answers as from its models."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.base import process_facts
from tasks.cli.table import VERBS
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.project import place
from tasks.project.command_line import parse
from tasks.run.inspect import at_once
from tasks.run.running import glance
from tests.conftest import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cluster `two` of two nodes: this process is one, the other has ended."""
    root = tmp_path / "run/two"
    (root / "net").mkdir(parents=True)
    settings = Settings(name="two", net="userspace", kernel="linux-6.1").model_dump(mode="json")
    ports = {"ssh": 13300, "telnet": None, "api": None}
    record = {"settings": settings, "ports": ports, "accel": "tcg", "made_of": {"kernel": "x"}, "started": 7}
    (root / "cluster.json").write_text(json.dumps(record))
    for number, start in ((1, process_facts.started_at(os.getpid())), (201, 1)):
        node(root, number, {"start": start})
    (root / "net/switch-1.json").write_text(json.dumps({"pid": os.getpid(), "start": 1}))
    return root


def node(root: Path, number: int, more: dict[str, Any]) -> None:
    folder = root / f"vm-{number:03d}"
    folder.mkdir(exist_ok=True)
    own = Settings().node_of(number).model_dump(mode="json")
    facts = {"pid": os.getpid(), "start": 1, "number": number, "node": own, "image": "/i", **more}
    (folder / "node.json").write_text(json.dumps(facts))
    (folder / "console.log").write_bytes(b"booted\xff\n")


def answer(root: Path, line: str) -> int | None:
    words = parse([*line.split(), "--name=two"] if "rsh" not in line else line.split(), VERBS)
    return at_once.answer(words, place.Place(str(root.parents[1]), "two"))


def test_status(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(root, "status") == 0
    assert capsys.readouterr().out == (
        "two: kernel linux-6.1, image base, accel tcg, net userspace\n"
        "  nets: the switch-1 has died: xc stop, or xc start\n"
        f"  vm-001  vm      alive ssh 127.0.0.1:13301  pid {os.getpid()}\n"
        "  vm-201  router  dead  ssh 127.0.0.1:13501  pid None\n"
    )
    assert answer(root, "status --quiet") == 1
    assert answer(root, "status -o json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["started"], report["dead"]) == ("two", 7, ["switch-1"])
    assert [(each["name"], each["state"], each["ssh"]) for each in report["nodes"]] == [
        ("vm-001", "alive", 13301),
        ("vm-201", "dead", 13501),
    ]


def test_it_is_what_the_models_say(root: Path) -> None:
    """`--all` is answered by the models."""
    env = {**os.environ, "XCLUSTER_WORKSPACE": str(root.parents[1]), "PYTHONPATH": str(ROOT)}

    def report(*words: str) -> Any:
        command = [sys.executable, "-m", "tasks", "status", "-o", "json", *words]
        return json.loads(subprocess.run(command, env=env, capture_output=True, check=True).stdout)

    assert report("--all") == [report("--name=two")]


def test_it_knows_what_the_model_of_a_node_has() -> None:
    assert set(glance.SELF) == set(Node.model_fields)


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: (root / "cluster.json").write_text("{"),
        lambda root: (root / "cluster.json").unlink(),
        lambda root: change(root / "cluster.json", format=2),
        lambda root: change(root / "cluster.json", started="now"),
        lambda root: change(root / "cluster.json", ports={"ssh": "13300"}),
        lambda root: change(root / "cluster.json", settings={"net": "userspace"}),
        lambda root: change(root / "vm-001/node.json", pid="1"),
        lambda root: change(root / "vm-001/node.json", node={}),
        lambda root: (root / "vm-001/node.json").unlink(),
        lambda root: (root / "net/place.json").write_text("{}"),
        lambda root: (root / "fakenet.helper").write_text("{}"),
        lambda root: (root / "vm-1").mkdir(),
        lambda root: reset(root, net="bridge"),
        lambda root: reset(root, nvm="4"),
        lambda root: reset(root, keep=0),
    ],
)
def test_what_is_not_as_usual_is_left_to_the_models(root: Path, damage: Any) -> None:
    damage(root)
    assert answer(root, "status") is None


def test_a_namespace_of_its_own(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reset(root, net="bridge")
    (root / "net/switch-1.json").unlink()
    mine = {"pid": os.getpid(), "start": process_facts.started_at(os.getpid())}
    place_file = root / "net/place.json"
    place_file.write_text(
        json.dumps({"own": True, "user": False, "holder": mine, "inner": mine, "uplink": None})
    )
    assert answer(root, "status") == 0
    assert "net bridge\n  vm-001  vm      alive ssh 127.0.0.1:13301" in capsys.readouterr().out
    for wrong in ({"own": False}, {"uplink": {"pid": os.getpid(), "start": 1}}, {"inner": 3}):
        before = place_file.read_text()
        change(place_file, **wrong)
        assert answer(root, "status") is None
        place_file.write_text(before)


def change(path: Path, **facts: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def reset(root: Path, **settings: Any) -> None:
    old = json.loads((root / "cluster.json").read_text())["settings"]
    change(root / "cluster.json", settings={**old, **settings})


def test_a_cluster_that_is_not_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = root.with_name("gone")
    assert glance.look(str(root.parent), "gone") is None
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "XCLUSTER_RUNS_FOR": str(gone)}) as left:
        with pytest.raises(glance.Unsure):
            glance.look(str(root.parent), "gone")
        left.kill()


def test_rsh_becomes_ssh(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = root.parents[1] / "keys"
    keys.mkdir()
    assert answer(root, "rsh 1 ls") is None  # the key has to be made
    (keys / "id_ed25519").touch()
    assert answer(root, "rsh 1 ls") is None  # so has the file of host keys
    (keys / "two").mkdir()
    (keys / "two/known_hosts").touch()
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, argv: called.append(argv))
    answer(root, "rsh vm-001 ls -l a;b")
    answer(root, "rsh --bg 1 sleep 9")
    assert answer(root, "rsh 201 true") is None and len(called) == 2  # it has ended
    assert called[0][-5:] == ["13301", "root@127.0.0.1", "ls", "-l", "a;b"]
    assert f"IdentityFile={keys}/id_ed25519" in called[0] and "HostKeyAlias=two-vm-001" in called[0]
    assert called[1][-1] == "sh -c 'sleep 9' >/dev/null 2>&1 &"


def test_logs(root: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert answer(root, "logs 1") == 0
    assert capfdbinary.readouterr().out == b"booted\xff\n"
    assert answer(root, "logs 1 --events") is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "xcluster"),
        ("# nothing\nmem: 256 # MiB\nname: mine\n", "mine"),
        ("mem: 256\nname: [x]\n", None),
        ("name: 'mine'\n", None),
        ("mirrors:\n  http://a/: http://b/\n", None),
        ("- a\n", None),
        ("name: No Name\n", None),
    ],
)
def test_the_name_of_the_cluster(
    text: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xcluster.yaml").write_text(text)
    monkeypatch.setattr(place, "ROOT", str(tmp_path))
    here = place.of(parse(["stop"], VERBS), {"XCLUSTER_WORKSPACE": str(tmp_path)})
    assert (here.cluster if here else None) == name
    named = place.of(parse(["stop"], VERBS), {"XCLUSTER_WORKSPACE": str(tmp_path), "__name": "env"})
    assert named is None or named.cluster == "env"


def test_nothing_large_is_loaded() -> None:
    """What each of these verbs imports, help and completion too."""
    program = (
        "import sys; from tasks.base import later; later.install(); from tasks.cli.door import main;"
        "main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    heavy = {"pydantic", "yaml", "doit", "typing", "subprocess", "pathlib", "ast", "tqdm"}
    for words in (["status"], ["stop"], ["start", "--help"], ["help"], ["__complete", "st"]):
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-c", program, *words], capture_output=True, text=True, check=False,
            env={"PYTHONPATH": str(ROOT), "XCLUSTER_WORKSPACE": f"{ROOT}/tests", "__name": "none-of-ours"},
        )  # fmt: skip
        assert not heavy & set(done.stderr.split()), words
