"""What a process may use: processors by affinity and quota, memory by the host and by control groups."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import limits
from tests.conftest import ROOT

ASK = "from tasks.base import limits; print(limits.processors(), limits.memory().free)"
MIB = 1 << 20
MEMINFO = "MemTotal: 24000000 kB\nMemAvailable: 20480000 kB\n"
V1 = "32 31 0:31 / {mount} rw,relatime - cgroup cgroup rw,memory\n"
V2 = "41 31 0:38 {top} {mount} rw,relatime - cgroup2 cgroup2 rw\n"


def ask(*prefix: str) -> tuple[int, int]:
    """What a process finds that was started so: processors, and MiB."""
    words = [*prefix, sys.executable, "-c", ASK]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
    processors, free = out.split()
    return int(processors), int(free)


def test_affinity_counts() -> None:
    first = min(os.sched_getaffinity(0))
    assert ask("taskset", "-c", str(first))[0] == 1


def test_without_limits() -> None:
    assert limits.processors() <= (os.cpu_count() or 1)
    assert limits.memory().free > 0


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory control group of version 1 with 500 MiB, where one can be made."""
    folder = Path("/sys/fs/cgroup/memory") / f"xcluster-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(500 * MIB))
    except OSError:
        pytest.skip("no control group of memory can be made here")
    yield folder
    folder.rmdir()


def test_a_real_control_group(group: Path) -> None:
    enter = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
    assert 400 < ask("sh", "-c", enter, str(group))[1] <= 500


def tree(tmp_path: Path, mount: str, cgroup: str, files: dict[str, str]) -> limits.Memory:
    """What is found on a host with these files."""
    proc = {"proc/meminfo": MEMINFO, "proc/self/mountinfo": mount, "proc/self/cgroup": cgroup}
    groups = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {**proc, **groups}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return limits.memory(tmp_path)


def test_version_2(tmp_path: Path) -> None:
    """The least of all groups above counts, and files that nobody uses make room."""
    mount, cgroup = V2.format(top="/", mount="/sys/fs/cgroup"), "0::/user.slice/job\n"
    files = {
        "user.slice/memory.max": f"{900 * MIB}\n", "user.slice/memory.current": f"{800 * MIB}\n",
        "user.slice/memory.stat": f"anon 1\ninactive_file {200 * MIB}\n",
        "user.slice/job/memory.max": "max\n", "user.slice/job/memory.current": f"{700 * MIB}\n",
    }  # fmt: skip
    memory = tree(tmp_path, mount, cgroup, files)
    assert memory.free == 300 and "user.slice" in memory.of and "900 MiB" in memory.of


def test_in_a_container(tmp_path: Path) -> None:
    """What is mounted there is its own group."""
    mount = V2.format(top="/docker/abc", mount="/sys/fs/cgroup")
    files = {"memory.max": f"{500 * MIB}\n", "memory.current": "0\n"}
    assert tree(tmp_path, mount, "0::/docker/abc\n", files).free == 500
    assert tree(tmp_path, mount, "0::/../..\n", files).free == 500


@pytest.mark.parametrize("limit", ["9223372036854771712", "max", "", "nonsense"])
def test_no_limit(tmp_path: Path, limit: str) -> None:
    mount = V1.format(mount="/sys/fs/cgroup/memory")
    files = {"memory/x/memory.limit_in_bytes": limit, "memory/x/memory.usage_in_bytes": "1"}
    memory = tree(tmp_path, mount, "4:memory:/x\n0::/\n", files)
    assert (memory.free, memory.of) == (20000, "the host")


def test_version_1(tmp_path: Path) -> None:
    mount = V1.format(mount="/sys/fs/cgroup/memory")
    files = {
        "memory/x/memory.limit_in_bytes": f"{500 * MIB}", "memory/x/memory.usage_in_bytes": f"{100 * MIB}",
        "memory/x/memory.stat": f"cache 1\ntotal_inactive_file {50 * MIB}\n",
    }  # fmt: skip
    assert tree(tmp_path, mount, "4:memory:/x\n", files).free == 450
