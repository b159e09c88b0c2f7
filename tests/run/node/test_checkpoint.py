"""A checkpoint's record: what it says, what it needs, what of it cannot be used."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.base import files
from tasks.base.checkpoint_paths import CheckpointDir
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir, Workspace
from tasks.definitions.settings import Settings
from tasks.run.node import checkpoint, identity
from tasks.run.node.checkpoint import Checkpoint, CheckpointRecord, SavedNode
from tasks.run.node.protocol import Boot, NodeRun
from tests.conftest import Fakes
from tests.faults.quick_content import flip

SETTINGS = Settings(name="one", nvm=1, nrouters=1, net="userspace", accel="tcg", keep=True)


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was saved in this workspace."""

    workspace: Workspace

    @property
    def place(self) -> CheckpointDir:
        """Its files."""
        return CheckpointDir(self.workspace.checkpoints / "cp")

    def change(self, **values: Any) -> None:
        """Write other values into its record."""
        files.write_json(self.place.record, {**files.read_json(self.place.record), **values})

    def find(self) -> Checkpoint:
        """It has to be there."""
        saved = checkpoint.find(self.workspace, "cp")
        assert saved
        return saved


@pytest.fixture
def saved(tmp_path: Path, fakes: Fakes) -> Saved:
    """A node with an ISO through a qcow2 and container images, a router without."""
    fakes.program("qemu-system-x86_64")
    own = Saved(Workspace(tmp_path / "w"))
    workspace, place = own.workspace, own.place
    identity.user_key(workspace)
    for noun, name in (("kernel", "debian"), ("image", "base")):
        files.write_json(workspace.stamp(noun, name), {"files": {name: "1"}})
    place.root.mkdir(parents=True)
    node, router = SETTINGS.nodes()
    paths = [place.root / "i.iso", place.root / "c.squashfs"]
    for number in (1, 201):
        paths += [place.ram(number), place.state(number), place.disk(number)]
    for path in paths:
        path.write_text(path.name)
    record = CheckpointRecord(
        saved=7,
        settings=SETTINGS.model_dump(mode="json"),
        accel="tcg",
        needs=checkpoint.requirements(SETTINGS, workspace, SETTINGS.nodes()),
        host_keys={"vm-001": "key"},
        choice={"ovls": ["a"]},
        nodes=(
            SavedNode(node=node, iso="i.iso", containers="c.squashfs", iso_disk=True),
            SavedNode(node=router, iso=None, iso_disk=False),
        ),
    )
    files.write_json(place.record, record.model_dump(mode="json"))
    return own


def test_a_record_is_read_as_it_was_written(saved: Saved) -> None:
    one = saved.find()
    assert (one.name, one.cluster, one.record.saved) == ("cp", "one", 7)
    assert one.nodes == SETTINGS.nodes()
    assert one.record.choice == {"ovls": ["a"]} and one.record.secret is None
    assert [each.name for each in checkpoint.every(saved.workspace)] == ["cp"]


def test_a_record_of_the_last_version_is_read(saved: Saved) -> None:
    """It has no word of container images where a node has none."""
    nodes = files.read_json(saved.place.record)["nodes"]
    del nodes[1]["containers"]
    saved.change(nodes=nodes)
    assert saved.find().record.nodes[1].containers is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "nodes": 3}'])
def test_what_is_no_record_is_no_checkpoint(saved: Saved, text: str | None) -> None:
    if text is None:
        saved.place.record.unlink()
    else:
        saved.place.record.write_text(text)
    assert checkpoint.find(saved.workspace, "cp") is None
    assert checkpoint.every(saved.workspace) == []


def test_the_settings_of_a_restored_cluster(saved: Saved) -> None:
    settings = saved.find().settings("two")
    assert (settings.name, settings.accel, settings.keep) == ("two", "tcg", False)
    assert settings.nodes() == SETTINGS.nodes()


def test_nothing_differs_where_it_was_saved(saved: Saved) -> None:
    assert saved.find().differs(saved.workspace) == {} and saved.find().damage() == []


def another_kernel(saved: Saved) -> None:
    """The kernel was built again, and is another one."""
    files.write_json(saved.workspace.stamp("kernel", "debian"), {"files": {"debian": "2"}})


def no_image(saved: Saved) -> None:
    """The image was removed."""
    saved.workspace.stamp("image", "base").unlink()


def another_key(saved: Saved) -> None:
    """Our ssh key was made anew."""
    (saved.workspace.keys / "id_ed25519.pub").write_text("ssh-ed25519 another\n")


def other_devices(saved: Saved) -> None:
    """A version whose machines look different saved it."""
    saved.change(needs={**saved.find().record.needs, "devices": "x"})


def unknown_setting(saved: Saved) -> None:
    """A later version saved it."""
    saved.change(settings={**SETTINGS.model_dump(mode="json"), "colour": "red"})


@pytest.mark.parametrize(
    ("change", "part", "advice"),
    [
        (another_kernel, "kernel", "xc kernel:debian"),
        (no_image, "image", "xc image:base"),
        (another_key, "key", "id_ed25519"),
        (other_devices, "devices", "the version of this project"),
        (unknown_setting, "settings", "colour"),
    ],
)
def test_what_differs_is_named_with_what_to_do(
    saved: Saved, change: Callable[[Saved], None], part: str, advice: str
) -> None:
    change(saved)
    differs = saved.find().differs(saved.workspace)
    assert list(differs) == [part] and advice in differs[part]


def test_settings_that_are_not_known_are_an_error_of_the_user(saved: Saved) -> None:
    unknown_setting(saved)
    with pytest.raises(UserError, match="settings that this version does not know: colour"):
        saved.find().settings("one")


@pytest.mark.parametrize(
    "name", ["i.iso", "c.squashfs", "vm-001.ram", "vm-001.state", "vm-201.qcow2", "vm-201.ram"]
)
def test_a_file_that_is_missing_is_named(saved: Saved, name: str) -> None:
    (saved.place.root / name).unlink()
    (problem,) = saved.find().damage()
    assert name in problem and "xc checkpoint rm cp" in problem


@pytest.mark.parametrize("name", ["i.iso", "vm-001.ram", "vm-001.state", "vm-201.qcow2"])
def test_a_file_that_changed_is_named(saved: Saved, name: str) -> None:
    path = saved.place.root / name
    path.write_bytes(b"abc" + bytes(200_000) + b"def")
    saved.change(files=checkpoint.contents(saved.place))
    os.utime(path, (1, 1))
    assert saved.find().damage() == []  # a copy has another time
    flip(path)
    (problem,) = saved.find().damage()
    assert f"{name} changed on the disk" in problem and "xc checkpoint rm cp" in problem


def test_a_restored_node_has_names_of_its_own_for_the_files(saved: Saved, fakes: Fakes) -> None:
    """The checkpoint may be removed while it runs."""
    fakes.program("qemu-img", 'for last; do prev=$disk disk=$last; done; : >"$prev"')
    plain = Boot(Path("/k"), None, None, "", Path("/i"), Path("/iso"), "tcg", "pc", "")
    held = saved.workspace.root / "held"
    one = saved.find()
    node, router = (one.boot(plain, each, held) for each in one.nodes)
    assert node.image.parent == held and node.image.read_text() == "vm-001.qcow2"
    assert node.iso and node.iso.parent == held and node.iso.suffix == ".qcow2"
    assert node.containers and node.containers.parent == held
    assert node.frozen and node.frozen.booted and node.frozen.ram == saved.place.ram(1)
    assert router.iso is None and router.containers is None and router.image.read_text() == "vm-201.qcow2"


def runs(*names: int) -> list[NodeRun]:
    """Restored nodes, as far as waking looks at them."""
    return [NodeRun(SETTINGS.node_of(number), NodeDir(Path(f"/n{number}")), None) for number in names]  # type: ignore[arg-type]


def test_each_node_gets_randomness_of_its_own(tmp_path: Path) -> None:
    checkpoint.wake(runs(1, 201), lambda run, _: ["sh", "-c", f"cat >{tmp_path}/{run.node.number}"])
    seeds = [(tmp_path / name).read_bytes() for name in ("1", "201")]
    assert [len(seed) for seed in seeds] == [64, 64] and seeds[0] != seeds[1]


def test_a_dropped_connection_is_tried_again(tmp_path: Path) -> None:
    script = f"echo x >>{tmp_path}/tries; [ $(wc -l <{tmp_path}/tries) -ge {checkpoint.WAKE_TRIES} ]"
    checkpoint.wake(runs(1), lambda *_: ["sh", "-c", script])


def test_a_node_that_cannot_be_woken_is_named() -> None:
    def ssh(run: NodeRun, _: str) -> list[str]:
        return ["sh", "-c", "exit 0" if run.node.number == 1 else "echo no route >&2; exit 255"]

    with pytest.raises(UserError, match="the time and new randomness:\n  vm-201: no route$"):
        checkpoint.wake(runs(1, 201), ssh)
