"""Definitions: golden/ok/<case>/ is read as `expected.json` says, golden/bad/<case>/ has the `errors`.

A line of `errors` is one problem; ` ... ` in it stands for anything. All of it is written by hand.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.project import definition_files
from tests.conftest import ROOT, Checkout

GOLDEN = Path(__file__).parent / "golden"
BAD = sorted(path.name for path in (GOLDEN / "bad").iterdir())
OK = sorted(path.name for path in (GOLDEN / "ok").iterdir())


def matches(problem: str, pattern: str) -> bool:
    """Whether the pieces of `pattern` stand in `problem`, in their order."""
    at = 0
    for piece in pattern.split(" ... "):
        at = problem.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


@pytest.mark.parametrize("case", BAD)
def test_bad(case: str) -> None:
    folder = GOLDEN / "bad" / case
    expected = (folder / "errors").read_text().splitlines()
    problems = sorted(definition_files.load(folder).problems)
    assert len(problems) == len(expected), problems
    for problem, pattern in zip(problems, expected, strict=True):
        assert matches(problem, pattern), problem


def plain(definitions: definition_files.Definitions) -> dict[str, Any]:
    """Definitions as JSON, less defaults."""
    nouns = {"kernels": definitions.kernels, "images": definitions.images, "overlays": definitions.overlays}
    return {
        noun: {
            name: each.model_dump(mode="json", exclude_defaults=True, exclude={"name", "directory"})
            for name, each in some.items()
        }
        for noun, some in nouns.items()
    }  # fmt: skip


@pytest.mark.parametrize("case", OK)
def test_ok(case: str) -> None:
    folder = GOLDEN / "ok" / case
    definitions = definition_files.load(folder)
    assert definitions.problems == ()
    assert plain(definitions) == json.loads((folder / "expected.json").read_text())


def test_our_own_definitions() -> None:
    definitions = definition_files.load(ROOT)
    assert definitions.problems == ()
    assert {"debian", "linux-6.1"} <= set(definitions.kernels)
    assert "base" in definitions.images
    assert {"env", "timezone", "iptools", "network-topology", "xnet", "etcd", "template"} <= set(
        definitions.overlays
    )
    assert "virtio-rng" in definitions.kernels["linux-6.1"].fragments


def test_ovlpath(tmp_path: Path) -> None:
    for folder, name in (("one", "a"), ("two", "a"), ("two", "b")):
        (tmp_path / folder / name / "default").mkdir(parents=True)
    definitions = definition_files.load(tmp_path, f"{tmp_path}/nowhere:{tmp_path}/one:{tmp_path}/two")
    assert definitions.overlays["a"].directory == tmp_path / "one/a"
    assert definitions.overlays["b"].directory == tmp_path / "two/b"


def test_a_problem_elsewhere_names_the_real_file(tmp_path: Path) -> None:
    (tmp_path / "mine/a").mkdir(parents=True)
    (tmp_path / "mine/a/ovl.yaml").write_text("needs: [nothing]\n")
    (problem,) = definition_files.load(tmp_path / "project", str(tmp_path / "mine")).problems
    assert str(tmp_path / "mine/a/ovl.yaml") in problem


def test_definitions_cannot_be_changed() -> None:
    overlay = definition_files.load(GOLDEN / "ok/small").overlays["a"]
    with pytest.raises(ValueError, match="frozen"):
        overlay.summary = "x"  # type: ignore[misc]


def test_the_user_sees_all_problems_and_exit_code_2(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "sumary: x\n")
    checkout.write("kernel/debian.yaml", "summary: x\nprebuilt: {package: _}\n")
    checkout.write("xcluster.yaml", "nvm: many\n")
    says = ("ovl/a/ovl.yaml", "'sumary'", "kernel/debian.yaml", "prebuilt.package", "xcluster.yaml", "'many'")
    checkout.bad("mkcdrom", "b", code=2, says=says)
    assert not checkout.iso.exists()
