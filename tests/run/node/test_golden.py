"""Which snapshots a cluster needs, and when one is made again: with a template that is a few files."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.node import golden, snapshot
from tasks.run.node.protocol import Boot
from tasks.run.node.snapshot import Shape
from tests.conftest import Fakes

SETTINGS = Settings(nvm=2, nrouters=1, net="userspace", accel="tcg")
TWO, THREE = Shape(128, 2, 2, (), ""), Shape(128, 2, 3, (), "")


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        ({}, [TWO, THREE]),
        ({"nrouters": 0}, [TWO]),
        ({"mtu": 9000, "nrouters": 0}, [Shape(128, 2, 2, ((0, 9000), (1, 9000)), "")]),
        ({"append": "quiet", "nrouters": 0}, [Shape(128, 2, 2, (), "quiet")]),
        ({"per_node": {"mem2": "256"}}, [TWO, THREE]),
        ({"per_node": {"mem2": "128", "mem201": "128", "smp1": "2"}}, [TWO, THREE]),  # as the others are
        ({"per_node": {"mem1": "128", "mem201": "128"}, "mem": 256, "nvm": 1}, []),
        ({"per_node": {"mem1": "256", "mem2": "256"}}, [Shape(256, 2, 2, (), ""), THREE]),
        ({"per_node": {"mem2": "256"}, "kubernetes": True}, [TWO, Shape(256, 2, 2, (), ""), THREE]),
        ({"per_node": {"nets2": "0,1,2"}}, [TWO, THREE]),
        ({"net": "custom"}, []),
    ],
)
def test_shapes_worth_a_snapshot(settings: dict[str, object], shapes: list[Shape]) -> None:
    chosen = SETTINGS.model_copy(update=settings)
    assert golden.shapes(chosen, chosen.nodes()) == shapes


def test_each_kind_of_snapshot_has_a_place_of_its_own() -> None:
    workspace = Workspace(Path("/w"))
    kinds: list[dict[str, object]] = [
        {}, {"net": "bridge"}, {"machine": "q35"}, {"kvm_opt": "-s"}, {"kernel": "k"}, {"image": "i"},
    ]  # fmt: skip
    places = {golden.folder(SETTINGS.model_copy(update=kind), workspace, TWO) for kind in kinds}
    places |= {golden.folder(SETTINGS, workspace, shape) for shape in (TWO, THREE, replace(TWO, append="x"))}
    assert len(places) == len(kinds) + 2


@dataclass
class Templates:
    """What would boot a guest and freeze it, but only notes it."""

    boot: Boot
    workspace: Workspace
    snapshots: list[str] = field(default_factory=list)
    fails: dict[str, str] = field(default_factory=dict)  # the reason, by what is made

    def note(self, kind: str, folder: Path, identity: str) -> None:
        """Leave a snapshot, or say why not."""
        self.snapshots.append(f"{kind} {folder.name.removeprefix('debian-base-')}")
        if kind in self.fails:
            raise UserError(self.fails[kind])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ram").write_text(identity)
        files.write_json(
            folder / "golden.json", {"key": identity, "events": [], "files": snapshot.states(folder)}
        )

    def prepare(self, *shapes: Shape) -> dict[Shape, str]:
        """The names of the snapshots for these shapes."""
        places = golden.prepare(SETTINGS, self.workspace, self.boot, shapes)
        return {shape: place.name.removeprefix("debian-base-") for shape, place in places.items()}


@pytest.fixture
def templates(tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Templates:
    """Snapshots that are made in no time."""
    fakes.program("qemu-system-x86_64")
    workspace = Workspace(tmp_path / "w")
    for noun, name in (("kernel", "debian"), ("image", "base")):
        files.write_json(workspace.stamp(noun, name), {"files": {name: "1"}})
    iso = workspace.iso("xcluster")
    iso.parent.mkdir(parents=True)
    iso.write_text("iso")
    boot = Boot(Path("/k"), None, None, "", Path("/i"), iso, "tcg", "pc", "")
    templates = Templates(boot, workspace)
    monkeypatch.setattr(
        snapshot, "make", lambda _, __, identity, folder: templates.note("freeze", folder, identity)
    )
    monkeypatch.setattr(
        snapshot, "unpack", lambda _, __, identity, ___, folder: templates.note("unpack", folder, identity)
    )
    return templates


def test_one_that_changed_on_the_disk_is_made_again(
    templates: Templates, capsys: pytest.CaptureFixture[str]
) -> None:
    templates.prepare(TWO)
    templates.snapshots.clear()
    ram = next((templates.workspace.root / "golden").glob("*nic/ram"))
    ram.write_text("x" + ram.read_text()[1:])
    templates.prepare(TWO)
    assert templates.snapshots == ["freeze 128M-2cpu-2nic"]
    assert "changed on the disk; it is made again" in capsys.readouterr().err


def test_made_once(templates: Templates) -> None:
    names = {TWO: "128M-2cpu-2nic@xcluster", THREE: "128M-2cpu-3nic@xcluster"}
    assert templates.prepare(TWO, THREE) == names
    assert templates.snapshots == [
        "freeze 128M-2cpu-2nic", "freeze 128M-2cpu-3nic",
        "unpack 128M-2cpu-2nic@xcluster", "unpack 128M-2cpu-3nic@xcluster",
    ]  # fmt: skip
    templates.snapshots.clear()
    assert templates.prepare(TWO, THREE) == names and templates.snapshots == []
    assert templates.prepare() == {} and templates.snapshots == []


def other_image(templates: Templates) -> None:
    """The image was built again, and is another one."""
    files.write_json(templates.workspace.stamp("image", "base"), {"files": {"base": "2"}})


def other_store(templates: Templates) -> None:
    """The cluster has other container images."""
    files.write_json(templates.workspace.stored("xcluster"), {"files": {"store": "1"}})


def other_cmdline(templates: Templates) -> None:
    """The kernel is told something else."""
    templates.boot = replace(templates.boot, cmdline="quiet")


def other_qemu(templates: Templates) -> None:
    """Another QEMU is installed."""
    path = Path(os.environ["PATH"].split(":")[0]) / "qemu-system-x86_64"
    path.write_text(path.read_text() + "# another\n")


@pytest.mark.parametrize("change", [other_image, other_store, other_cmdline, other_qemu])
def test_both_are_made_again_when_the_guest_would_be_another(
    templates: Templates, change: Callable[[Templates], None]
) -> None:
    templates.prepare(TWO)
    templates.snapshots.clear()
    change(templates)
    templates.prepare(TWO)
    assert templates.snapshots == ["freeze 128M-2cpu-2nic", "unpack 128M-2cpu-2nic@xcluster"]


def test_other_overlays_are_only_unpacked_again(templates: Templates) -> None:
    templates.prepare(TWO)
    templates.snapshots.clear()
    iso = templates.workspace.iso("xcluster")
    iso.write_text("another")
    os.utime(iso, (1, 1))
    templates.prepare(TWO)
    assert templates.snapshots == ["unpack 128M-2cpu-2nic@xcluster"]


def test_where_files_are_and_how_busy_the_host_is_changes_nothing(templates: Templates) -> None:
    templates.prepare(TWO)
    templates.snapshots.clear()
    templates.boot = replace(templates.boot, kernel=Path("/elsewhere"), image=Path("/there"), crowded=True)
    templates.prepare(TWO)
    assert templates.snapshots == []


def test_why_there_is_none_is_said_once_and_not_tried_again(
    templates: Templates, capsys: pytest.CaptureFixture[str]
) -> None:
    templates.fails["freeze"] = "QEMU cannot save this device"
    message = "no golden snapshot, nodes boot the ordinary way: QEMU cannot save this device\n"
    assert templates.prepare(TWO, THREE) == {}
    assert capsys.readouterr().err == message
    assert templates.snapshots == ["freeze 128M-2cpu-2nic", "freeze 128M-2cpu-3nic"]
    assert templates.prepare(TWO, THREE) == {}
    assert capsys.readouterr().err == message and len(templates.snapshots) == 2
    other_image(templates)
    templates.fails.clear()
    assert len(templates.prepare(TWO, THREE)) == 2


def test_an_overlay_that_fails_is_unpacked_by_every_node(
    templates: Templates, capsys: pytest.CaptureFixture[str]
) -> None:
    templates.fails["unpack"] = "overlay a fails in the guest (3)"
    assert templates.prepare(TWO) == {TWO: "128M-2cpu-2nic"}
    expected = "every node unpacks the overlays itself: overlay a fails in the guest (3)\n"
    assert capsys.readouterr().err == expected


def test_the_oldest_are_forgotten_but_none_of_the_last_minutes(templates: Templates) -> None:
    home = templates.workspace.root / "golden"
    for number in range(golden.KEPT + 3):
        folder = home / f"s{number:02d}"
        folder.mkdir(parents=True)
        age = golden.RECENT + 100 - number if number < 4 else 5
        os.utime(folder, (time.time() - age, time.time() - age))
    templates.prepare(TWO)
    assert sorted(path.name for path in home.glob("s*")) == [f"s{n:02d}" for n in range(4, golden.KEPT + 3)]


def test_the_identity_of_a_snapshot_is_all_that_its_guest_has_seen(fakes: Fakes) -> None:
    fakes.program("qemu-system-x86_64")
    boot = Boot(Path("/k"), None, None, "", Path("/i"), None, "tcg", "pc", "")
    others = [
        (replace(boot, accel="kvm"), TWO, ["a"]),
        (replace(boot, machine="q35"), TWO, ["a"]),
        (replace(boot, initramfs=Path("/r")), TWO, ["a"]),
        (replace(boot, containers=Path("/c")), TWO, ["a"]),
        (replace(boot, lpj=1), TWO, ["a"]),
        (replace(boot, apart=("unshare",)), TWO, ["a"]),
        (boot, THREE, ["a"]),
        (boot, replace(TWO, mem=256), ["a"]),
        (boot, TWO, ["b"]),
    ]
    identities = {snapshot.snapshot_id(*other) for other in [(boot, TWO, ["a"]), *others]}
    assert len(identities) == len(others) + 1
