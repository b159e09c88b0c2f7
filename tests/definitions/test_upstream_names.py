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


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"XC_NVM": "5"}, {"__nvm": "5"}),
        ({"XC_NVM": "5", "__nvm": "2"}, {"__nvm": "5"}),
        ({"XC_NVM": "", "__nvm": "2"}, {"__nvm": "2"}),
        ({"XC_MEM201": "300", "XC_NETS_VM": "0,1"}, {"__mem201": "300", "__nets_vm": "0,1"}),
        ({"XC_IMAGE": "k8s", "__image": "base"}, {"__image": "k8s"}),
        ({"XC_TIMEOUT": "300", "__timeout": "10"}, {"__timeout": "10"}),  # theirs is something else
        ({"XC_KEEP": "no", "__keep": "/tmp/log"}, {"__keep": "/tmp/log"}),
        ({"xc_nvm": "5", "XC_HOOKED": "start", "XC_nvm": "6"}, {}),
    ],
)
def test_scripts_of_upstream_read_what_was_given_by_our_names(
    given: dict[str, str], read: dict[str, str]
) -> None:
    seen = upstream_names.as_upstream(given)
    assert {name: value for name, value in seen.items() if name.startswith("__")} == read
    hook = upstream_names.of_hook(given)
    assert {name: value for name, value in hook.items() if name.startswith("__")} == read
    kept = {name for name in given if name in ("XC_TIMEOUT", "XC_KEEP", "XC_HOOKED", "xc_nvm", "XC_nvm")}
    assert {name for name in hook if not name.startswith("__") and given[name]} == kept
