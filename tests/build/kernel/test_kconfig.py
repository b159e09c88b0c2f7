"""Kernel configuration fragments."""

from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.build.kernel import kconfig
from tests.conftest import ROOT


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "f.config"
    path.write_text(
        '# comment\n\nCONFIG_A=y\n  CONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="a b"\nCONFIG_E=0x10\n'
    )
    assert kconfig.read(path) == {
        "CONFIG_A": "y",
        "CONFIG_B": "m",
        "CONFIG_C": "n",
        "CONFIG_D": '"a b"',
        "CONFIG_E": "0x10",
    }


@pytest.mark.parametrize("line", ["CONFIG_A", "A=y", "y", "CONFIG_A = y"])
def test_a_bad_line_is_told_with_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "f.config"
    path.write_text(f"CONFIG_OK=y\n{line}\n")
    with pytest.raises(UserError, match=rf"f\.config:2: .*'{line}'"):
        kconfig.read(path)


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [("m", "y", "y"), ("y", "m", "y"), ("n", "m", "m"), ("y", "n", "y"), ("64", "64", "64")],
)
def test_merge(one: str, other: str, merged: str) -> None:
    assert kconfig.merge({"f": {"CONFIG_A": one}, "g": {"CONFIG_A": other}}) == {"CONFIG_A": merged}


@pytest.mark.parametrize(("one", "other"), [("64", "32"), ('"a"', '"b"'), ("y", "3"), ("3", "n")])
def test_values_that_do_not_go_together(one: str, other: str) -> None:
    with pytest.raises(UserError, match="CONFIG_A.*fragment f.* g"):
        kconfig.merge({"f": {"CONFIG_A": one}, "g": {"CONFIG_A": other}})


def test_text_is_read_back(tmp_path: Path) -> None:
    symbols = {"CONFIG_B": "m", "CONFIG_A": "n", "CONFIG_C": '"x"'}
    path = tmp_path / "f.config"
    path.write_text(kconfig.text(symbols))
    assert kconfig.read(path) == symbols


def test_lost_symbols_are_named(tmp_path: Path) -> None:
    fragments = {
        "one": {"CONFIG_GONE": "y", "CONFIG_KEPT": "y", "CONFIG_AS_MODULE": "y", "CONFIG_UP": "m"},
        "two": {"CONFIG_OFF": "n", "CONFIG_VALUE": "3", "CONFIG_KEPT": "m"},
    }
    config = tmp_path / ".config"
    config.write_text("CONFIG_KEPT=y\nCONFIG_AS_MODULE=m\nCONFIG_UP=y\nCONFIG_OFF=y\nCONFIG_VALUE=4\n")
    with pytest.raises(UserError) as caught:
        kconfig.check(fragments, config)
    text = str(caught.value)
    assert "fragment one: CONFIG_GONE=y" in text and "has n" in text
    assert "CONFIG_AS_MODULE" in text and "CONFIG_OFF" in text and "fragment two: CONFIG_VALUE=3" in text
    assert "CONFIG_KEPT" not in text and "CONFIG_UP" not in text


def test_nothing_lost(tmp_path: Path) -> None:
    config = tmp_path / ".config"
    config.write_text("CONFIG_A=y\n")
    kconfig.check({"one": {"CONFIG_A": "m", "CONFIG_B": "n"}}, config)


def test_our_own_fragments_go_together() -> None:
    folder = ROOT / "kernel" / "fragments"
    fragments = kconfig.load(folder, sorted(path.stem for path in folder.glob("*.config")))
    assert kconfig.merge(fragments)
    assert fragments["virtio-rng"]["CONFIG_HW_RANDOM_VIRTIO"] in "ym"
