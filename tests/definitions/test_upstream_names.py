"""Upstream's variables as our settings."""

from pathlib import Path

import pytest

from tasks.definitions import settings, upstream_names
from tasks.run.net import userspace


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("base", "base"), ("/a/b/hd.img", "base"), ("hd.img", "base"), ("/a/hd-k8s.img", "k8s"),
        ("/a/hd-k8s-v1.18.3.img", "k8s-v1.18.3"), ("/w/image/tools.qcow2", "tools"), ("./x", "x"),
    ],
)  # fmt: skip
def test_image(value: str, name: str) -> None:
    assert upstream_names.image_name(value) == name
    assert upstream_names.translated({"__image": value}, "/")["__image"] == name


def test_kernel(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/mine.yaml").touch()
    root = str(tmp_path)
    assert upstream_names.translated({"__kver": "mine"}, root)["__kernel"] == "mine"
    assert "__kernel" not in upstream_names.translated({"__kver": "linux-0.1"}, root)
    assert "__kernel" not in upstream_names.translated({"__kver": "../kernel/mine"}, root)
    assert upstream_names.translated({"__kver": "mine", "__kernel": "other"}, root)["__kernel"] == "other"


def test_prefix() -> None:
    assert upstream_names.translated({"xcluster_PREFIX": "1000::1"}, "/")["__prefix"] == "1000::1"
    assert (
        upstream_names.translated({"xcluster_PREFIX": "1000::1", "__prefix": "fd01:"}, "/")["__prefix"]
        == "fd01:"
    )
    assert "__prefix" not in upstream_names.translated({"xcluster_PREFIX": ""}, "/")


@pytest.mark.parametrize(
    ("prefix", "net"), [("fd00:", "fd00::"), ("1000::1", "1000::"), ("2001:db8:1:2:", None)]
)
def test_prefixes(prefix: str, net: str | None) -> None:
    read, problems = settings.load({"prefix": prefix}, {}, {})
    assert problems == []
    assert userspace._net64(read.prefix) == (net or "2001:db8:1:2::")


@pytest.mark.parametrize("prefix", ["fd00:1", "nothing", "1:2:3:4:5:6:7", ":", "fd00::1::"])
def test_prefixes_that_make_no_address(prefix: str) -> None:
    assert any("prefix" in problem for problem in settings.load({"prefix": prefix}, {}, {})[1])
