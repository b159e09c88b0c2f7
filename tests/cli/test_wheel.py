"""The package: built as `pip wheel .` builds it, and run from where it was unpacked."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tasks.cli import version
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the wheel installs."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def xc(site: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the script entry of the package."""
    program = "from xcluster.tasks.cli.installed import main; main()"
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "HOME": str(site.parent)}
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *words],
        cwd="/",
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_but_xcluster_is_importable(site: Path) -> None:
    assert sorted(path.name for path in site.iterdir()) == [
        "xcluster",
        f"xcluster_doit-{version.version()}.dist-info",
    ]
    entry = next(site.glob("*.dist-info")) / "entry_points.txt"
    assert "xc = xcluster.tasks.cli.installed:main" in entry.read_text()


@pytest.mark.parametrize(
    ("words", "says"), [("--version", f"xcluster-doit {version.version()}\n"), ("help start", "xc start ")]
)
def test_it_tells_its_version_and_help(site: Path, words: str, says: str) -> None:
    done = xc(site, *words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(says)


def test_it_writes_below_the_state_directory_alone(site: Path) -> None:
    before = sorted(site.rglob("*"))
    assert xc(site, "stop").returncode == 0
    assert [
        path for path in sorted(site.rglob("*")) if path not in before and "__pycache__" not in str(path)
    ] == []


def test_its_settings_can_be_sourced(site: Path) -> None:
    script = '. "$PLACE/Envsettings"; printf "%s\\n" "$XCLUSTER" "$XCLUSTER_WORKSPACE"'
    env = {"PATH": "/usr/bin:/bin", "PLACE": str(site / "xcluster"), "HOME": "/home/me"}
    done = subprocess.run(
        ["bash", "-c", script], cwd="/", env=env, capture_output=True, text=True, check=True
    )
    state = "/home/me/.local/state/xcluster/workspace"
    assert (done.stdout, done.stderr) == (f"{site / 'xcluster'}/xc\n{state}\n", "")
    assert (site / "xcluster" / "Envsettings.k8s").is_file()
