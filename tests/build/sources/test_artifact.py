"""Artifacts: sources in order, one content, a cache."""

import hashlib
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.sources import artifact
from tasks.definitions.artifact_sources import Artifact, Source
from tasks.project.site import Site
from tests.conftest import Checkout

BODY = b"a tool\n"
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A workspace, and no proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return Site(Workspace(tmp_path / "w"), "bookworm")


def tool(*sources: Source, sha256: str | None = SHA) -> Artifact:
    return Artifact(name="tool", sources=sources, sha256=sha256)


def stamp(site: Site) -> dict[str, object]:
    return files.read_json(site.workspace.stamp("artifact", "tool"))


def test_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(BODY)
    artifact.get(tool(Source(file="tool"), sha256=None), tmp_path, site)
    assert site.workspace.content(SHA).read_bytes() == BODY
    assert (stamp(site)["sha256"], stamp(site)["size"]) == (SHA, len(BODY))


def test_a_url(site: Site, tmp_path: Path, web: str) -> None:
    (tmp_path / "web/tool").write_bytes(BODY)
    artifact.get(tool(Source(url=f"{web}tool")), tmp_path, site)
    assert site.workspace.content(SHA).read_bytes() == BODY
    assert [path.name for path in site.workspace.content(SHA).parent.iterdir()] == [SHA]


def test_sources_in_order(site: Site, tmp_path: Path, web: str) -> None:
    (tmp_path / "tool").write_bytes(BODY)
    artifact.get(tool(Source(file="nowhere"), Source(url=f"{web}404"), Source(file="tool")), tmp_path, site)
    assert stamp(site)["source"] == "file:tool"
    files.remove(site.workspace.content(SHA))
    (tmp_path / "web/tool").write_bytes(BODY)
    artifact.get(tool(Source(url=f"{web}tool"), Source(file="tool")), tmp_path, site)
    assert stamp(site)["source"] == f"{web}tool"


def test_a_program_that_the_user_built(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOBIN", raising=False)
    monkeypatch.setenv("GOPATH", f"{tmp_path / 'none'}:{tmp_path / 'go'}")
    only = tool(Source(gobin="tool"), sha256=None)
    with pytest.raises(UserError, match=r"gobin:tool: no program tool in \$GOPATH/bin"):
        artifact.get(only, tmp_path, site)
    (tmp_path / "go/bin").mkdir(parents=True)
    (tmp_path / "go/bin/tool").write_bytes(BODY)
    with pytest.raises(UserError, match="no program tool"):  # nobody may execute it
        artifact.get(only, tmp_path, site)
    (tmp_path / "go/bin/tool").chmod(0o755)
    artifact.get(only, tmp_path, site)
    assert (stamp(site)["sha256"], stamp(site)["source"]) == (SHA, "gobin:tool")


def test_sources_with_content_of_their_own(site: Site, tmp_path: Path, web: str) -> None:
    """Two makers of one source pack it differently: each source says what it gives."""
    other = b"the same, packed by somebody else"
    (tmp_path / "web/tool").write_bytes(other)
    sha256 = hashlib.sha256(other).hexdigest()
    sources = (Source(file="nowhere", sha256=SHA), Source(url=f"{web}tool", sha256=sha256))
    artifact.get(tool(*sources, sha256=None), tmp_path, site)
    assert stamp(site)["sha256"] == sha256
    (tmp_path / "tool").write_bytes(b"neither")
    with pytest.raises(UserError, match=SHA):
        artifact.get(tool(Source(file="tool", sha256=SHA), sha256=None), tmp_path, site)


def test_the_cache_comes_first(site: Site, tmp_path: Path) -> None:
    content = site.workspace.content(SHA)
    content.parent.mkdir(parents=True)
    content.write_bytes(BODY)
    artifact.get(
        tool(Source(url="http://127.0.0.1:1/tool")),
        tmp_path,
        Site(site.workspace, "bookworm", offline=True),
    )
    assert stamp(site)["sha256"] == SHA


def test_a_source_with_other_content_is_passed_over(site: Site, tmp_path: Path, web: str) -> None:
    (tmp_path / "bad").write_bytes(b"something else")
    (tmp_path / "web/bad").write_bytes(b"something else")
    (tmp_path / "tool").write_bytes(BODY)
    artifact.get(tool(Source(file="bad"), Source(url=f"{web}bad"), Source(file="tool")), tmp_path, site)
    assert stamp(site)["source"] == "file:tool"


def test_nobody_has_it(site: Site, tmp_path: Path, web: str) -> None:
    (tmp_path / "bad").write_bytes(b"something else")
    with pytest.raises(UserError) as caught:
        artifact.get(
            tool(Source(url=f"{web}404"), Source(file="bad"), Source(file="nowhere")), tmp_path, site
        )
    text = str(caught.value)
    for part in (
        "'tool'",
        f"{web}404",
        "404",
        "file:bad",
        SHA,
        "file:nowhere",
        str(site.workspace.content(SHA)),
    ):
        assert part in text
    assert stamp(site) == {}


def test_offline_names_every_source_and_the_file_that_would_do(site: Site, tmp_path: Path, web: str) -> None:
    (tmp_path / "web/tool").write_bytes(BODY)
    offline = Site(site.workspace, "bookworm", offline=True)
    with pytest.raises(UserError) as caught:
        artifact.get(tool(Source(url=f"{web}tool"), Source(file="nowhere")), tmp_path, offline)
    text = str(caught.value)
    for part in ("offline", f"{web}tool", "file:nowhere", str(site.workspace.content(SHA))):
        assert part in text


@pytest.mark.parametrize("differs", [True, False])
def test_two_definitions_of_one_artifact_have_to_agree(checkout: Checkout, differs: bool) -> None:
    """Else both would get the content of one of them."""
    for number, kernel in enumerate(("one", "two")):
        checkout.write(f"kernel/{kernel}.tar", str(number))
        source = f"{kernel}.tar" if differs else "one.tar"
        checkout.write(
            f"kernel/{kernel}.yaml",
            f"summary: x\nsource: {{name: linux, sources: [{{file: {source}}}]}}\nfragments: [f]\n",
        )
    checkout.write("kernel/fragments/f.config", "CONFIG_A=y\n")
    if differs:
        says = ("artifact 'linux'", "kernel/one.yaml", "kernel/two.yaml", "`sources`")
        checkout.bad("kernel:two", code=2, says=says)
    checkout.good("artifact:linux")  # of the one that was read first


def test_a_changed_file_is_another_artifact(site: Site, tmp_path: Path) -> None:
    for body in (b"one", b"two"):
        (tmp_path / "tool").write_bytes(body)
        artifact.get(tool(Source(file="tool"), sha256=None), tmp_path, site)
        assert stamp(site)["sha256"] == hashlib.sha256(body).hexdigest()
