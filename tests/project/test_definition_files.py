"""Definitions: golden/ok/<case>/ is read as `expected.json` says, golden/bad/<case>/ has the `errors`.

A line of `errors` is one problem; ` ... ` in it stands for anything. All of it is written by hand.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.project import definition_files
from tasks.project.catalogue import Definitions
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


def plain(definitions: Definitions) -> dict[str, Any]:
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


def test_the_user_sees_all_problems_of_what_is_needed(checkout: Checkout) -> None:
    checkout.write("images/base/image.yaml", "sumary: x\n")
    checkout.write("kernel/debian.yaml", "summary: x\nprebuilt: {package: _}\n")
    checkout.write("xcluster.yaml", "nvm: many\n")
    says = (
        "images/base/image.yaml",
        "'sumary'",
        "kernel/debian.yaml",
        "prebuilt.package",
        "xcluster.yaml",
        "'many'",
    )
    checkout.bad("start", "--name=t-d", "--dry-run", code=2, says=says)


def broken(folder: Path, name: str) -> None:
    """A user's overlay with a mistake."""
    (folder / name).mkdir(parents=True)
    (folder / name / "ovl.yaml").write_text("sumary: x\n")


def upstreams(folder: Path, name: str) -> None:
    """A user's overlay as upstream's are: a script, and no YAML."""
    (folder / name / "default").mkdir(parents=True)
    (folder / name / "tar").write_text("#!/bin/sh\nexit 1\n")
    (folder / name / "tar").chmod(0o755)


def with_others(folder: Path) -> Definitions:
    """Our definitions, with the overlays in the folder before ours."""
    return definition_files.load(ROOT, f"{folder}:{ROOT}/ovl")


def test_an_overlay_of_upstream_hides_ours_from_words_and_not_from_our_images(tmp_path: Path) -> None:
    for name in ("containerd", "kubernetes", "env", "dns", "network-topology", "etcd"):
        upstreams(tmp_path, name)
    (tmp_path / "kubernetes/versions.yaml").write_text("[\n")
    definitions = with_others(tmp_path)
    assert definitions.problems == () and definitions.faults == {}
    assert definitions.overlays["containerd"].directory == tmp_path / "containerd"
    assert definitions.own["containerd"].directory == ROOT / "ovl/containerd"
    assert {overlay.directory.parent for overlay in definitions.built()} == {tmp_path, ROOT / "ovl"}
    ours, xnet = definitions.own["network-topology"], definitions.overlays["xnet"]
    assert definitions.meant_by(ours)["dns"].directory == ROOT / "ovl/dns"
    assert definitions.resolved(xnet) is ours
    assert definitions.passed_over(ours) == tmp_path / "network-topology"
    assert {"diamond", "zones"} <= set(definitions.topologies)


def test_an_overlay_with_a_definition_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "containerd/default").mkdir(parents=True)
    (tmp_path / "containerd/ovl.yaml").write_text("image_stores: [oci]\n")
    definitions = with_others(tmp_path)
    assert definitions.faults == {}
    assert definitions.own["containerd"].directory == tmp_path / "containerd"
    (tmp_path / "containerd/ovl.yaml").write_text("summary: x\n")
    wrong = with_others(tmp_path)
    assert set(wrong.faults) == {("image", "k8s")}
    first, second = sorted(wrong.lacking("image", "k8s"))
    assert f"{tmp_path}/containerd: it is before ovl/containerd in XCLUSTER_OVLPATH, and hides it" in first
    assert "image_stores: [oci]" in second


def test_a_fault_is_of_all_that_need_it_and_of_nothing_else(tmp_path: Path) -> None:
    broken(tmp_path, "iptools")
    definitions = with_others(tmp_path)
    assert ("overlay", "iptools") in definitions.faults and ("image", "k8s") in definitions.faults
    assert "base" in definitions.images and "env" in definitions.overlays
    assert "hides it" in "".join(definitions.lacking("overlay", "iptools"))
    needing = {name for kind, name in definitions.faults if kind == "overlay"}
    for name, overlay in definitions.overlays.items():
        assert not needing & {*overlay.needs, overlay.alias}, name


def test_what_two_definitions_give_one_name_is_a_fault_of_the_second(tmp_path: Path) -> None:
    artifact = "artifacts: [{name: coredns, sources: [{file: x}], dest: bin/x, sha256: '%064d'}]\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/ovl.yaml").write_text(artifact % 0 + "images: [{ref: 'localhost/x:1', tree: .}]\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/ovl.yaml").write_text("images: [{ref: 'localhost/x:1', tree: .}]\n")
    definitions = with_others(tmp_path)
    assert set(definitions.faults) == {("overlay", "mine"), ("overlay", "other")}
    assert "other sources than in ovl/coredns/ovl.yaml" in "".join(definitions.lacking("overlay", "mine"))
    assert "made in two ways" in "".join(definitions.lacking("overlay", "other"))


@pytest.mark.parametrize(
    "text", ["needs: [bb]\n", "alias: bb\n", "images: [{ref: 'localhost/x:1', overlay: bb}]\n"]
)
def test_an_overlay_of_the_command_line_lacks_something(
    checkout: Checkout, tmp_path: Path, text: str
) -> None:
    folder = tmp_path / "elsewhere/mine"
    (folder / "default").mkdir(parents=True)
    (folder / "ovl.yaml").write_text(text)
    says = (f"{folder}/ovl.yaml: unknown overlay 'bb' (known: a, b)",)
    checkout.bad("mkcdrom", "b", str(folder), code=2, says=says)


def test_what_is_not_needed_stops_nothing(checkout: Checkout) -> None:
    checkout.write("ovl/c/ovl.yaml", "sumary: x\n")
    checkout.write("ovl/d/ovl.yaml", "needs: [c]\n")
    checkout.write("images/i/image.yaml", "summary: x\nextends: base\noverlays: [c]\n")
    checkout.write("images/j/image.yaml", "[\n")
    checkout.write("kernel/other.yaml", "sumary: x\n")
    checkout.write("ovl/b/topology/t.yaml", "sumary: x\n")
    checkout.good("mkcdrom", "a", "b")
    checkout.good("list", "--all")
    checkout.good("start", "--name=t-d", "--dry-run")
    why = ("ovl/c/ovl.yaml", "'sumary'")
    for words in (
        ["mkcdrom", "d"],
        ["run", "ovl:d"],
        ["run", "image:i"],
        ["start", "--name=t-d", "--image=i", "--dry-run"],
    ):
        checkout.bad(*words, code=2, says=why)
    checkout.bad(
        "start", "--name=t-d", "--topology=t", "--dry-run", code=2, says=("ovl/b/topology/t.yaml", "'sumary'")
    )
    checkout.bad(
        "start", "--name=t-d", "--kernel=other", "--dry-run", code=2, says=("kernel/other.yaml", "'sumary'")
    )
    checkout.bad("lock", "--check", code=2, says=(*why, "images/j/image.yaml", "kernel/other.yaml"))
