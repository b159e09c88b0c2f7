"""A kernel is compiled, by every step that a kernel from source takes; test_kernels.py starts nodes on it.

With `xc test` this is the work of the process that boots no machines (tests/conftest.py).
"""

from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.build.kernel import kbuild, kconfig
from tests.boot.conftest import ROOT, WORKSPACE, build

pytestmark = [pytest.mark.boot, pytest.mark.timeout(1800)]
SMALL = ("small", "virtio", "virtio-rng")  # fragments


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The kernel `small` is there; made from Debian's source if it was not."""
    build("kernel:small")


def test_a_second_build_executes_nothing() -> None:
    assert build("kernel:small") == ""


def test_what_a_kernel_consists_of() -> None:
    folder, stamp = WORKSPACE / "kernel" / "small", files.read_json(WORKSPACE / "kernel" / "small.json")
    assert sorted(stamp["files"]) == ["bzImage", "config", "modules.img", "vmlinux"]
    assert {name: facts["sha256"] for name, facts in stamp["files"].items()} == {
        path.name: files.sha256(path) for path in folder.iterdir()
    }
    config = kconfig.read(folder / "config")
    fragments = kconfig.merge(kconfig.load(ROOT / "kernel" / "fragments", SMALL))
    assert {symbol: config.get(symbol, "n") for symbol in fragments} == fragments
    assert config["CONFIG_NET_IPIP"] == "m"


def test_what_the_kernels_own_rules_take_away_is_named(tmp_path: Path) -> None:
    """NET_VRF depends on NET_L3_MASTER_DEV, which this kernel does not have."""
    tree = kbuild.Tree(WORKSPACE / "kbuild/small/source", tmp_path / "objects", 0, tmp_path / "log")
    fragments = kconfig.load(ROOT / "kernel" / "fragments", SMALL)
    tree.configure(fragments)
    with pytest.raises(UserError, match="fragment mine: CONFIG_NET_VRF=m was asked for, the kernel has n"):
        tree.configure({**fragments, "mine": {"CONFIG_NET_VRF": "m"}})
