"""apt without root, against a small signed archive that is made here and served on loopback."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from tasks.base import files, proc
from tasks.base.errors import UsageError, UserError
from tasks.base.paths import Workspace
from tasks.build.sources import apt, apt_host, artifact
from tasks.build.sources.apt import Archive
from tasks.definitions.artifact_sources import Artifact, Source
from tasks.project.site import Site
from tests.conftest import ROOT, Fakes

TOOLS = ("apt-get", "dpkg-deb", "gpg", "gpgv")
pytestmark = pytest.mark.skipif(
    not all(map(proc.find, TOOLS)), reason="apt, dpkg and gpg are not all installed"
)


@dataclass(frozen=True)
class Debian:
    """A Debian archive with one suite."""

    root: Path
    home: Path  # of gpg
    url: str

    def add(self, name: str, version: str = "1", depends: str = "") -> None:
        """Put a package into the pool."""
        tree = self.home / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin" / name).write_text(f"{name} {version}\n")
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
        control += "Maintainer: me <m@e>\nDescription: x\n"
        (tree / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
        (self.root / "pool").mkdir(exist_ok=True)
        run(
            "dpkg-deb",
            "-Znone",
            "--root-owner-group",
            "-b",
            tree,
            self.root / "pool" / f"{name}_{version}_amd64.deb",
        )

    def publish(self) -> None:
        """Write and sign the lists."""
        binary = self.root / "dists/stable/main/binary-amd64"
        binary.mkdir(parents=True, exist_ok=True)
        stanzas = [self._stanza(deb) for deb in sorted((self.root / "pool").iterdir())]
        (binary / "Packages").write_text("\n".join(stanzas))
        data = (binary / "Packages").read_bytes()
        entry = f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages\n"
        head = "Origin: Debian\nSuite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\n"
        head += f"Date: {formatdate(usegmt=True)}\n"
        release = self.root / "dists/stable/Release"
        release.write_text(f"{head}SHA256:\n{entry}")
        run(
            "gpg",
            "--homedir",
            self.home,
            "--batch",
            "--yes",
            "--clearsign",
            "-o",
            release.with_name("InRelease"),
            release,
        )

    def _stanza(self, deb: Path) -> str:
        control = run("dpkg-deb", "-f", deb)
        return (
            f"{control}Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {files.sha256(deb)}\n"
        )


def run(*argv: object) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def debian(
    web: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Debian]:
    """An archive: tool needs lib, lib needs base."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    key = [
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--passphrase",
        "",
        "--quick-generate-key",
        "archive",
        "ed25519",
        "sign",
        "0",
    ]
    run(*key)
    run("gpg", "--homedir", home, "--batch", "--export", "-o", home / "keyring.gpg")
    monkeypatch.setattr(apt, "KEYRING", home / "keyring.gpg")
    repository = Debian(tmp_path / "web", home, web.rstrip("/"))
    repository.add("base")
    repository.add("lib", "2:1.5-3", "base")
    repository.add("tool", "1", "lib (>= 2:1)")
    repository.add("script", "1", "lib:any, base")
    repository.publish()
    yield repository
    subprocess.run(
        ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, capture_output=True
    )


@pytest.fixture
def archive(debian: Debian, tmp_path: Path) -> Archive:
    """Our side of it, with the lists fetched."""
    lists = Archive("stable", tmp_path / "apt", debian.url)
    assert not apt.has_lists(lists)
    apt.refresh(lists)
    assert apt.has_lists(lists)
    return lists


def names(packages: list[apt.Package]) -> list[str]:
    return [package.name for package in packages]


def test_packages_and_what_they_need(archive: Archive, debian: Debian) -> None:
    base, lib, tool = apt.fetch(archive, ["tool"])
    assert (base.name, lib.name, tool.name) == ("base", "lib", "tool")
    assert lib.version == "2:1.5-3"
    for package in (base, lib, tool):
        path = Path(package.path)
        assert path.is_file() and files.sha256(path) == package.sha256 and path.stat().st_size == package.size


def test_what_counts_as_installed(archive: Archive) -> None:
    assert names(apt.fetch(archive, ["tool"], exclude=["lib"])) == ["tool"]
    assert names(apt.fetch(archive, ["tool"], installed={"base": "1"})) == ["lib", "tool"]
    assert names(apt.fetch(archive, ["lib", "base"])) == ["base", "lib"]
    assert names(apt.alone(archive, ["tool"])) == ["tool"]


def test_an_excluded_interpreter_is_not_missed(archive: Archive) -> None:
    """`NAME:any` is how scripts depend on perl and python3."""
    assert names(apt.fetch(archive, ["script"], exclude=["lib"])) == ["base", "script"]


def test_nothing_is_fetched_twice(archive: Archive, debian: Debian) -> None:
    first = apt.fetch(archive, ["tool"])
    files.remove(debian.root / "pool")
    assert apt.fetch(Archive("stable", archive.directory, archive.mirror, offline=True), ["tool"]) == first


def test_offline_names_what_is_missing(archive: Archive) -> None:
    offline = Archive("stable", archive.directory, archive.mirror, offline=True)
    with pytest.raises(UserError, match="offline.*tool_1_amd64.deb"):
        apt.fetch(offline, ["tool"])
    with pytest.raises(UserError, match="offline"):
        apt.refresh(Archive("other", archive.directory.with_name("other"), archive.mirror, offline=True))


def test_a_package_that_does_not_exist(archive: Archive) -> None:
    with pytest.raises(UserError, match="stable has no package toool"):
        apt.fetch(archive, ["tool", "toool"])


def test_what_cannot_be_installed(debian: Debian, archive: Archive) -> None:
    debian.add("broken", depends="nothing-of-that-name")
    debian.publish()
    apt.refresh(archive)
    with pytest.raises(UserError, match="broken"):
        apt.fetch(archive, ["broken"])


def test_a_damaged_package_is_fetched_anew(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    (package,) = apt.fetch(archive, ["base"])
    path = Path(package.path)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    apt.fetch(archive, ["base"])
    assert "is not what the signed list of stable says; it is fetched again" in capsys.readouterr().err
    assert path.read_bytes() == good


def test_a_package_that_the_lists_do_not_vouch_for(archive: Archive, debian: Debian) -> None:
    deb = debian.root / "pool/base_1_amd64.deb"
    deb.write_bytes(deb.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="could not download"):
        apt.fetch(archive, ["base"])


def test_lists_that_are_not_signed(debian: Debian, tmp_path: Path) -> None:
    release = debian.root / "dists/stable/InRelease"
    release.write_text(release.read_text().replace("Suite: stable", "Suite: stabler"))
    with pytest.raises(UserError, match="could not fetch the package lists of stable"):
        apt.refresh(Archive("stable", tmp_path / "apt", debian.url))


def test_nobody_there(tmp_path: Path, fakes: Fakes) -> None:
    fakes.program("apt-get", "echo 'E: Failed to fetch http://x/InRelease  Could not connect'; exit 100")
    with pytest.raises(UserError, match="Could not connect") as caught:
        apt.refresh(Archive("stable", tmp_path / "apt", "http://127.0.0.1:1"))
    assert "network" in str(caught.value) and "mirror" in str(caught.value)


def test_the_digest_follows_the_lists(archive: Archive, debian: Debian) -> None:
    before = apt.lists_digest(archive)
    apt.refresh(archive)
    assert apt.lists_digest(archive) == before
    time.sleep(1.01)  # apt asks "If-Modified-Since"
    debian.add("tool", "2")
    debian.publish()
    apt.refresh(archive)
    assert apt.lists_digest(archive) != before
    assert apt.fetch(archive, ["tool"])[-1].version == "2"


def test_the_host_stays_as_it_is(archive: Archive) -> None:
    watched = [Path("/var/lib/apt"), Path("/var/lib/dpkg/status"), Path("/var/cache/apt")]
    before = [os.stat(path).st_mtime_ns for path in watched]
    apt.fetch(archive, ["tool"])
    assert [os.stat(path).st_mtime_ns for path in watched] == before


def test_an_artifact_from_a_package(archive: Archive, debian: Debian, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    site = Site(workspace, "stable", debian.url)
    archive.directory.rename(tmp_path / "moved")
    workspace.apt("stable").parent.mkdir(parents=True)
    (tmp_path / "moved").rename(workspace.apt("stable"))
    artifact.get(Artifact(name="t", sources=(Source(deb="tool", member="usr/bin/tool"),)), tmp_path, site)
    stamp = files.read_json(workspace.stamp("artifact", "t"))
    assert workspace.content(str(stamp["sha256"])).read_text() == "tool 1\n"
    with pytest.raises(UserError, match="usr/bin/nothing"):
        artifact.get(
            Artifact(name="n", sources=(Source(deb="tool", member="usr/bin/nothing"),)), tmp_path, site
        )


HOSTS = """Acquire::http::Proxy "http://127.0.0.1:9";
Acquire::https::Proxy::deb.example "DIRECT";
Acquire::Languages "de";
Acquire::GzipIndexes "true";
APT::Install-Suggests "true";
APT::Default-Release "sid";
APT::Update::Pre-Invoke { "false"; };
APT::Get::Download-Only "false";
Dir::Cache::pkgcache "";
DPkg::Post-Invoke { "false"; };
"""
ASK = """import subprocess, sys
from pathlib import Path
from tasks.base import environment
from tasks.build.sources import apt_host
own = apt_host.environment(Path(sys.argv[1]))
subprocess.run(["apt-config", "dump"], env=environment.of_programs(own), check=True)
"""


def test_of_the_hosts_configuration_only_proxies_count(tmp_path: Path) -> None:
    """In a mount namespace with another /etc/apt/apt.conf.d, and with APT_CONFIG set."""
    folder = tmp_path / "apt.conf.d"
    folder.mkdir()
    (folder / "99mine").write_text(HOSTS)
    (tmp_path / "more").write_text('APT::Get::AllowUnauthenticated "true";\n')
    (tmp_path / "ask.py").write_text(ASK)
    enter = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/apt/apt.conf.d && exec "$@"']
    words = [*enter, str(folder), sys.executable, str(tmp_path / "ask.py"), str(tmp_path / "own.conf")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "APT_CONFIG": str(tmp_path / "more")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("mount namespaces are not allowed")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 'Acquire::http::Proxy "http://127.0.0.1:9";' in lines
    assert 'Acquire::https::Proxy::deb.example "DIRECT";' in lines
    for word in ("Suggests", "Default-Release", "Pre-Invoke", "Post-Invoke", "AllowUnauth", '"de"'):
        assert [line for line in lines if word in line and not line.endswith(('"";', '"0";'))] == []


def test_hooks_of_the_host_are_not_run(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile").write_text(f'APT::Update::Pre-Invoke {{ "touch {tmp_path}/invoked"; }};\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "hostile"))
    apt.refresh(archive)
    assert names(apt.fetch(archive, ["tool"])) == ["base", "lib", "tool"]
    assert not (tmp_path / "invoked").exists()


@pytest.mark.parametrize("how", ["file:{}", "file://{}", "copy:{}", "mirror+file:{}/mirrors.txt"])
def test_an_archive_on_this_host(debian: Debian, tmp_path: Path, how: str) -> None:
    """What is on a disk already goes into the cache, too: a cache can be taken to another machine."""
    (debian.root / "mirrors.txt").write_text(f"{debian.url}/\n")
    lists = Archive("stable", tmp_path / "apt", how.format(debian.root))
    apt.refresh(lists)
    packages = apt.fetch(lists, ["tool"])
    assert names(packages) == ["base", "lib", "tool"]
    assert all(Path(package.path).is_file() for package in packages)
    assert names(apt.alone(lists, ["lib"])) == ["lib"]


@pytest.mark.parametrize(
    "mirror", ["mirror.example/debian", "http:// x/y", "cdrom:[Debian]/", "/srv/debian", "http:"]
)
def test_a_mirror_that_is_none(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(UsageError, match="expected the URL of a Debian archive"):
        apt.refresh(Archive("stable", tmp_path / "apt", mirror))


def test_what_the_host_uses() -> None:
    """A disc is left out, of several mirrors the first counts, and other people's archives do not."""
    rows = [
        "cdrom://[Debian GNU/Linux 12] bookworm Debian",
        "cdrom:[disc] bookworm Debian",
        "file:/srv/debian bookworm Debian",
        "http://other/debian bookworm Debian",
        "mirror+file:/etc/apt/mirrors.txt bookworm-security Debian",
        "http://other/debian bookworm-updates Debian",
        "http://ppa/ubuntu jammy Ubuntu",
        "http://elsewhere/x stable Elsewhere Ltd",
        "http://empty/x stable",
        "",
    ]
    assert apt_host.archives(rows) == {
        "bookworm": "copy:/srv/debian",
        "bookworm-security": "mirror+file:/etc/apt/mirrors.txt",
        "bookworm-updates": "http://other/debian",
    }
