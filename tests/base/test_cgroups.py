"""The cgroups of containers: where they are made, what keeps them from being made, and their end."""

import json
import os
from pathlib import Path

import pytest

from tasks.base import cgroups
from tasks.base.cgroups import Hierarchy

FIRST = """\
25 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
DOCKER = """\
31 30 0:27 /docker/1f /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
"""
SECOND = "30 25 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("own", "mounts", "expected"),
    [
        (
            "3:cpu,cpuacct:/\n2:memory:/a/b\n1:name=systemd:/\n0::/\n",
            FIRST,
            [("cpu,cpuacct", "cpu,cpuacct"), ("memory", "memory/a/b"), ("name=systemd", "systemd")],
        ),
        ("2:memory:/docker/1f\n", DOCKER, [("memory", "memory")]),
        ("2:memory:/docker/1f/more\n", DOCKER, [("memory", "memory/more")]),
        ("0::/user.slice/user-0.slice/session-1.scope\n", SECOND, [("", "")]),
        ("0::/\n", "25 1 254:0 / / rw - ext4 /dev/vda rw\n", []),
    ],
)
def test_where_they_are(own: str, mounts: str, expected: list[tuple[str, str]]) -> None:
    found = [(each.controllers, each.place) for each in cgroups.hierarchies(own, mounts)]
    assert found == [(name, Path("/sys/fs/cgroup", place)) for name, place in expected]


def test_obstacles(tmp_path: Path) -> None:
    assert cgroups.obstacles([]) == ["no cgroups are mounted"]
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert cgroups.obstacles([Hierarchy("", tmp_path)]) == []
    (tmp_path / "cgroup.controllers").write_text("hugetlb pids\n")
    lacking = [f"this host has no controller {name}" for name in ("cpu", "cpuset", "memory")]
    assert cgroups.obstacles([Hierarchy("", tmp_path)]) == lacking
    first = [Hierarchy(name, tmp_path / "none") for name in ("cpu,cpuacct", "cpuset", "memory", "pids")]
    assert cgroups.obstacles(first) == [f"{tmp_path / 'none'} cannot be written"]


def test_they_are_removed_with_what_is_below(tmp_path: Path) -> None:
    record, group = tmp_path / "record", tmp_path / "group"
    (group / "kubepods" / "pod").mkdir(parents=True)
    record.write_text(json.dumps([str(group), str(tmp_path / "gone")]))
    cgroups.forget(record)
    assert os.listdir(tmp_path) == []
    cgroups.forget(record)


def test_limits_are_written_where_there_is_a_file(tmp_path: Path) -> None:
    first, second = tmp_path / "memory", tmp_path / "unified"
    groups = cgroups.Cgroups([Hierarchy("memory", first), Hierarchy("", second)], "n", tmp_path / "record")
    for place, names in ((first, ["memory.limit_in_bytes"]), (second, ["memory.max", "cpu.max", "pids.max"])):
        (place / groups.name).mkdir(parents=True)
        for name in names:
            (place / groups.name / name).write_text("max")
    groups.limit({"mem": 64, "smp": 2, "processes": 512})
    written = {path.name: path.read_text() for path in tmp_path.glob("*/*/*")}
    assert written == {
        "memory.limit_in_bytes": "67108864", "memory.max": "67108864", "cpu.max": "200000 100000",
        "pids.max": "512",
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_a_user_was_given(tmp_path: Path) -> None:
    """As systemd delegates to users: app.slice, above the scope of a terminal."""
    own = "0::/user.slice/user@1.service/app.slice/term.scope\n"
    slice_ = tmp_path / "user.slice/user@1.service/app.slice"
    (slice_ / "term.scope").mkdir(parents=True)
    tmp_path.chmod(0o500)
    assert cgroups.delegated(Hierarchy("", tmp_path), own) == Hierarchy("", tmp_path)
    (slice_ / "cgroup.procs").touch()
    (slice_ / "cgroup.subtree_control").write_text("memory pids\n")
    assert cgroups.delegated(Hierarchy("", tmp_path), own) == Hierarchy("", slice_)
    tmp_path.chmod(0o700)
    assert cgroups.delegated(Hierarchy("", tmp_path), own) == Hierarchy("", tmp_path)


def test_to_find_out_leaves_nothing() -> None:
    assert cgroups.held() <= {"mem", "smp", "processes"}
    assert list(Path("/sys/fs/cgroup").glob("**/xcluster-trial-*")) == []


def test_what_is_left(tmp_path: Path) -> None:
    groups = {name: tmp_path / f"xcluster-{name}" for name in ("ended", "alive", "divided", "new")}
    for group in groups.values():
        (group / "pod").mkdir(parents=True)
        (group / "cgroup.procs").touch()
    (groups["alive"] / "cgroup.procs").write_text("12\n")
    (groups["divided"] / "pod" / "cgroup.procs").write_text("12\n")
    (tmp_path / "another").mkdir()
    assert cgroups.left([tmp_path]) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroups, "YOUNG", -60)
        assert cgroups.left([tmp_path]) == [groups["ended"], groups["new"]]


def test_they_go_also_when_the_directory_of_the_node_has_gone(tmp_path: Path) -> None:
    place, own = tmp_path / "memory", tmp_path / "node"
    place.mkdir()
    own.mkdir()
    groups = cgroups.Cgroups([Hierarchy("memory", place)], "n", own / "cgroups.json")
    groups.make(None)
    assert len(os.listdir(place)) == 1
    (own / "cgroups.json").unlink()
    own.rmdir()
    groups.remove()
    assert os.listdir(place) == []


def test_those_of_a_cluster_are_found_by_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "all_places", lambda: [tmp_path])
    for name in ("one", "two"):
        (tmp_path / f"xcluster-vm-001-{cgroups.mark(Path('/run', name))}-00112233").mkdir()
    cgroups.forget_cluster(Path("/run/one"))
    assert [cgroups.mark(Path("/run/two")) in name for name in os.listdir(tmp_path)] == [True]
