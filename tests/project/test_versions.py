"""Words in artifacts: versions of Kubernetes, and the environment."""

from pathlib import Path

import pytest

from tasks.project import definition_files
from tasks.project.catalogue import Definitions
from tests.conftest import ROOT

SHA = "a" * 64
TABLE = f"""
v2.0.0: {{minor: '0', archive: ''}}
v1.9.0: {{minor: '9', archive: {SHA}}}
"""
OVERLAY = """
artifacts:
  - name: kubelet
    dest: usr/bin/kubelet
    sources:
      - file: ${BUILD_HERE}/kubelet
      - {url: 'https://example.com/${kubernetes}.tar.gz', member: kubelet, sha256: '${archive}'}
      - go: {directory: 'src/${kubernetes}', variables: {main.minor: '${minor}'}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one overlay and two versions."""
    for name, text in (("versions", TABLE), ("ovl", OVERLAY)):
        file = tmp_path / "ovl" / "kubernetes" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def sources(definitions: Definitions) -> list[str]:
    """The sources of the only artifact."""
    assert definitions.problems == ()
    return [source.text for source in definitions.overlays["kubernetes"].artifacts[0].sources]


def test_the_first_version_is_the_default(root: Path) -> None:
    assert sources(definition_files.load(root)) == ["go:src/v2.0.0"]
    (source,) = definition_files.load(root).overlays["kubernetes"].artifacts[0].sources
    assert source.go and source.go.variables == {"main.minor": "0"}


def test_another_version_with_an_archive(root: Path) -> None:
    texts = sources(definition_files.load(root, "", "v1.9.0"))
    assert texts == ["https://example.com/v1.9.0.tar.gz", "go:src/v1.9.0"]


def test_a_build_directory_comes_first(root: Path) -> None:
    texts = sources(definition_files.load(root, "", "", {"BUILD_HERE": "/srv/out", "minor": "not a word"}))
    assert texts == ["file:/srv/out/kubelet", "go:src/v2.0.0"]


def test_an_unknown_version_names_those_that_are_there(root: Path) -> None:
    (problem,) = definition_files.load(root, "", "v3").problems
    assert "'v3'" in problem and "v1.9.0, v2.0.0" in problem and "versions.yaml" in problem


def test_a_word_that_no_version_says(root: Path) -> None:
    file = root / "ovl" / "kubernetes" / "ovl.yaml"
    file.write_text(OVERLAY.replace("${minor}", "${minnor}"))
    (problem,) = definition_files.load(root).problems
    assert problem.startswith("ovl/kubernetes/ovl.yaml: ") and "minnor" in problem and "minor" in problem


def test_a_version_that_is_no_mapping(root: Path) -> None:
    (root / "ovl" / "kubernetes" / "versions.yaml").write_text("v2.0.0: 7\n")
    problems = definition_files.load(root).problems
    assert "ovl/kubernetes/versions.yaml: v2.0.0: expected lines of the form WORD: TEXT" in problems


def test_all_versions_here_have_a_module() -> None:
    table = definition_files.read_yaml(ROOT / "ovl" / "kubernetes" / "versions.yaml", "versions.yaml", [])
    assert table
    for version in table:
        module = ROOT / "ovl" / "kubernetes" / "src" / version / "go.mod"
        assert f"k8s.io/kubernetes {version}\n" in module.read_text()
