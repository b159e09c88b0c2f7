"""Commands of Go modules: from a module proxy made of files, with the real toolchain."""

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.sources import artifact, golang
from tasks.definitions.artifact_sources import Artifact, GoModule, Source
from tasks.project.site import Site
from tests.hostile import HOSTILE

MODULE = "example.com/Greet"
ESCAPED = "example.com/!greet"
MAIN = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello", %s) }\n'

pytestmark = pytest.mark.skipif(not proc.find("go"), reason="the Go toolchain is not installed")


def publish(proxy: Path, version: str, go: str = "1.18") -> None:
    """A version of the module: a command at its root, another below cmd/."""
    folder = proxy / ESCAPED / "@v"
    folder.mkdir(parents=True, exist_ok=True)
    mod = f"module {MODULE}\n\ngo {go}\n"
    (folder / f"{version}.mod").write_text(mod)
    (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2024-01-01T00:00:00Z"}))
    with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
        archive.writestr(f"{MODULE}@{version}/go.mod", mod)
        archive.writestr(f"{MODULE}@{version}/main.go", MAIN % f'"{version}"')
        archive.writestr(f"{MODULE}@{version}/cmd/other/main.go", MAIN % '"other"')
    with (folder / "list").open("a") as file:
        file.write(f"{version}\n")


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module proxy with two versions, and nothing else."""
    folder = tmp_path / "proxy"
    publish(folder, "v1.0.0")
    publish(folder, "v1.1.0")
    for name in ("GOMODCACHE", "GOFLAGS", "GOTOOLCHAIN"):
        monkeypatch.delenv(name, raising=False)
    # What is compiled may be kept from one test to the next; where it comes from may not.
    monkeypatch.setenv("GOCACHE", str(Path(os.environ.get("TMPDIR", "/tmp")) / f"xc-test-go-{os.getuid()}"))
    monkeypatch.setenv("GOPROXY", folder.as_uri())
    monkeypatch.setenv("GONOSUMDB", "example.com")
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A workspace, and a project without a lock."""
    return Site(Workspace(tmp_path / "w"), "bookworm", lock=tmp_path / "xcluster.lock")


def greeter(version: str | None = "v1.0.0", command: str = ".") -> Artifact:
    source = Source(go=GoModule(module=MODULE, version=version, command=command))
    return Artifact(name="greet", sources=(source,), dest="usr/bin/greet", executable=True)


def stamp(site: Site) -> dict[str, str]:
    return files.read_json(site.workspace.stamp("artifact", "greet"))


def test_a_command(site: Site, proxy: Path, tmp_path: Path) -> None:
    artifact.get(greeter(), tmp_path, site)
    program = site.workspace.bin("greet")
    assert subprocess.run([program], check=True, capture_output=True).stdout == b"hello v1.0.0\n"
    facts = stamp(site)
    assert facts["version"] == "v1.0.0" and facts["h1"].startswith("h1:")
    assert facts["source"] == f"go:{MODULE}@v1.0.0"
    assert files.sha256(site.workspace.content(facts["sha256"])) == facts["sha256"] == files.sha256(program)
    assert str(tmp_path).encode() not in program.read_bytes(), "no path of the builder"


def test_scratch_files_are_in_the_workspace(
    site: Site, proxy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go leaves them behind when it is killed, so they must be where we remove them."""
    monkeypatch.setenv("TMPDIR", "/nowhere")
    artifact.get(greeter(), tmp_path, site)
    assert list((site.workspace.go / "tmp").iterdir()) == []


def test_a_command_below(site: Site, proxy: Path, tmp_path: Path) -> None:
    artifact.get(greeter(command="cmd/other"), tmp_path, site)
    program = site.workspace.bin("greet")
    assert subprocess.run([program], check=True, capture_output=True).stdout == b"hello other\n"


def test_the_same_bytes_elsewhere_and_offline(site: Site, proxy: Path, tmp_path: Path) -> None:
    artifact.get(greeter(), tmp_path, site)
    other = Workspace(tmp_path / "a different place")
    subprocess.run(["mkdir", "-p", other.go], check=True)
    subprocess.run(["cp", "-r", site.workspace.go / "mod", other.go], check=True)
    files.remove(proxy)
    artifact.get(greeter(), tmp_path, Site(other, "bookworm", offline=True))
    there = files.read_json(other.stamp("artifact", "greet"))
    assert there["sha256"] == stamp(site)["sha256"]


def test_offline_and_not_there(site: Site, proxy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--offline is set"):
        artifact.get(greeter(), tmp_path, Site(site.workspace, "bookworm", offline=True))


def test_no_such_version(site: Site, proxy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="v9.9.9") as caught:
        artifact.get(greeter("v9.9.9"), tmp_path, site)
    assert "Traceback" not in str(caught.value)
    assert not site.workspace.bin("greet").exists()


def test_no_such_command(site: Site, proxy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cmd/nothing"):
        artifact.get(greeter(command="cmd/nothing"), tmp_path, site)


def test_a_toolchain_that_is_too_old(site: Site, proxy: Path, tmp_path: Path) -> None:
    publish(proxy, "v1.9.0", go="99.1")
    with pytest.raises(UserError, match="requires go >= 99.1") as caught:
        artifact.get(greeter("v1.9.0"), tmp_path, site)
    assert "newer Go" in str(caught.value)


def test_no_toolchain(site: Site, proxy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(proc, "find", lambda _: None)
    with pytest.raises(UserError, match="'go' is missing") as caught:
        artifact.get(greeter(), tmp_path, site)
    assert "golang-go" in str(caught.value)


def test_a_module_that_is_not_what_was_pinned(site: Site, proxy: Path, tmp_path: Path) -> None:
    assert site.lock
    pin = {"version": "v1.0.0", "h1": "h1:" + "A" * 43 + "="}
    lock = {"artifacts": {f"greet go:{MODULE}": pin}, "images": {}, "packages": {}}
    files.write_json(site.lock, lock)
    with pytest.raises(UserError) as caught:
        artifact.get(greeter(), tmp_path, site)
    now = golang.module(GoModule(module=MODULE), "v1.0.0", site).h1
    for part in (pin["h1"], now, "xc lock --update greet"):
        assert part in str(caught.value)


def test_without_a_version_the_lock_says_it(site: Site, proxy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="xc lock greet"):
        artifact.get(greeter(None), tmp_path, site)
    latest = golang.module(GoModule(module=MODULE), "latest", site)
    assert latest.version == "v1.1.0"
    assert site.lock
    pins = {f"greet go:{MODULE}": {"version": latest.version, "h1": latest.h1}}
    files.write_json(site.lock, {"artifacts": pins, "images": {}, "packages": {}})
    artifact.get(greeter(None), tmp_path, site)
    assert stamp(site)["version"] == "v1.1.0"


def test_a_source_that_can_be_had_comes_first(site: Site, proxy: Path, tmp_path: Path) -> None:
    (tmp_path / "greet").write_bytes(b"a binary")
    both = (Source(file="greet"), *greeter().sources)
    artifact.get(greeter().model_copy(update={"sources": both}), tmp_path, site)
    assert stamp(site)["sha256"] == hashlib.sha256(b"a binary").hexdigest()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A definition's directory with a module of its own, which needs the one of the proxy."""
    folder = tmp_path / "definition" / "src"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module own\n\ngo 1.18\n")
    text = 'package main\n\nimport "fmt"\n\nvar word = "?"\n\nfunc main() { fmt.Println(word) }\n'
    (folder / "main.go").write_text(text)
    return folder


def ours(name: str = "own", **keys: object) -> Artifact:
    source = Source(go=GoModule.model_validate({"directory": "src", **keys}))
    return Artifact(name=name, sources=(source,), dest=f"usr/bin/{name}", executable=True)


def test_a_module_beside_the_definition(site: Site, proxy: Path, own: Path) -> None:
    artifact.get(ours(variables={"main.word": "set"}), own.parent, site)
    program = site.workspace.bin("own")
    assert subprocess.run([program], check=True, capture_output=True).stdout == b"set\n"
    assert str(own).encode() not in program.read_bytes(), "no path of the builder"
    assert files.read_json(site.workspace.stamp("artifact", "own"))["source"] == "go:src"


def test_a_command_of_a_module_that_ours_requires(site: Site, proxy: Path, own: Path) -> None:
    """Pinned by our go.sum, and the proxy needs no list of versions."""
    (proxy / ESCAPED / "@v" / "list").unlink()
    (own / "main.go").unlink()
    (own / "go.mod").write_text(f"module own\n\ngo 1.18\n\nrequire {MODULE} v1.0.0\n")
    with pytest.raises(UserError, match="go.sum"):
        artifact.get(ours(command=f"{MODULE}/cmd/other"), own.parent, site)
    subprocess.run(
        ["go", "mod", "download", MODULE], cwd=own, check=True, env={**os.environ, **golang.environment(site)}
    )
    artifact.get(ours(command=f"{MODULE}/cmd/other"), own.parent, site)
    ran = subprocess.run([site.workspace.bin("own")], check=True, capture_output=True)
    assert ran.stdout == b"hello other\n"
    with pytest.raises(UserError, match="nowhere"):
        artifact.get(ours(command="example.com/nowhere/cmd"), own.parent, site)


def test_it_is_the_same_elsewhere_and_compiled_once(site: Site, proxy: Path, own: Path) -> None:
    artifact.get(ours(), own.parent, site)
    first = site.workspace.bin("own").read_bytes()
    artifact.get(ours("other"), own.parent, site)
    assert site.workspace.bin("other").read_bytes() == first
    assert len(list((site.workspace.go / "made").iterdir())) == 1
    elsewhere = own.parent.with_name("elsewhere")
    own.parent.rename(elsewhere)
    artifact.get(ours(), elsewhere, Site(Workspace(elsewhere / "w"), "bookworm"))
    assert Workspace(elsewhere / "w").bin("own").read_bytes() == first


def test_a_changed_module_is_compiled_again(site: Site, proxy: Path, own: Path) -> None:
    artifact.get(ours(), own.parent, site)
    (own / "main.go").write_text((own / "main.go").read_text().replace('"?"', '"new"'))
    artifact.get(ours(), own.parent, site)
    assert subprocess.run([site.workspace.bin("own")], check=True, capture_output=True).stdout == b"new\n"


def test_a_module_that_does_not_say_what_it_needs(site: Site, proxy: Path, own: Path) -> None:
    (own / "main.go").write_text(f'package main\n\nimport _ "{MODULE}"\n\nfunc main() {{}}\n')
    with pytest.raises(UserError, match=MODULE):
        artifact.get(ours(), own.parent, site)


def test_no_module_there(site: Site, proxy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Go module"):
        artifact.get(ours(), tmp_path, site)


def test_one_kind_of_module() -> None:
    for keys in ({}, {"directory": "src", "module": MODULE}, {"directory": "src", "version": "v1.0.0"}):
        with pytest.raises(ValueError):
            GoModule.model_validate(keys)


def test_the_same_bytes_in_a_hostile_environment(
    site: Site, proxy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the user's own file of Go's settings (`go env -w`) asks for something else."""
    artifact.get(greeter(), tmp_path, site)
    before = files.sha256(site.workspace.bin("greet"))
    for name, value in HOSTILE.items():
        if name != "LD_PRELOAD":
            monkeypatch.setenv(name, value)
    written = tmp_path / "env"
    written.write_text("GOFLAGS=-race\nGOOS=plan9\nGO111MODULE=off\nGOEXPERIMENT=nonsense\n")
    monkeypatch.setenv("GOENV", str(written))
    other = Site(Workspace(tmp_path / "other"), "bookworm", lock=tmp_path / "other.lock")
    artifact.get(greeter(), tmp_path, other)
    assert files.sha256(other.workspace.bin("greet")) == before


def test_the_users_file_names_the_proxy(
    site: Site, proxy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "config/go/env"
    written.parent.mkdir(parents=True)
    written.write_text(f"GOPROXY={proxy.as_uri()}\nGONOSUMDB=example.com\n")
    monkeypatch.delenv("GOPROXY")
    monkeypatch.delenv("GONOSUMDB")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    artifact.get(greeter(), tmp_path, site)
    assert stamp(site)["version"] == "v1.0.0"
