"""Scripts as an upstream user would write them, run by sh with XCLUSTER set; nothing is started here."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import OURS, ROOT, Ran

Env = Mapping[str, str]
XC = ROOT / "xc"


@dataclass(frozen=True)
class Upstream:
    """A user's place: a workspace and overlays of its own, and scripts that call our `xc`."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def ovl(self) -> Path:
        """The user's overlays; they come before the repository's."""
        return self.root / "ovl"

    @property
    def workspace(self) -> Path:
        """Where it builds."""
        return self.root / "workspace"

    def write(self, path: str, text: str, mode: int = 0o755) -> Path:
        """Write a file below the user's place."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def sh(self, script: str, env: Env | None = None, *, cwd: Path | None = None, trace: bool = False) -> Ran:
        """Run a script with sh; with `trace` as `sh -x`: stderr is full, and stdout must stay clean."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        mine = {
            "XCLUSTER": str(XC),
            "XCLUSTER_WORKSPACE": str(self.workspace),
            "XCLUSTER_OVLPATH": f"{self.ovl}:{ROOT}/ovl",
            "USER": "tester",
            "HOME": str(self.root / "home"),
        }
        done = subprocess.run(
            ["sh", *(["-x"] if trace else []), "-c", script], cwd=cwd or self.root, text=True,
            env={**clean, **mine, **self.env, **(env or {})}, capture_output=True, stdin=subprocess.DEVNULL,
            timeout=120, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def good(self, script: str, env: Env | None = None, *, cwd: Path | None = None) -> str:
        """What a script prints on stdout; it has to end well and show no traceback."""
        ran = self.sh(script, env, cwd=cwd)
        assert ran.code == 0, ran.err
        assert ran.clean
        return ran.out

    def bad(self, script: str, says: str, code: int = 1, env: Env | None = None) -> str:
        """The script has to end with `code`, say why on stderr, and print nothing on stdout. Returns why."""
        ran = self.sh(script, env)
        assert ran.code == code, ran.err
        assert says in ran.err
        assert ran.clean
        assert ran.out == ""
        return ran.err

    def libs(self, *names: str, glibc: str = "") -> Path:
        """Pretend that the image `base` was built with these libraries."""
        return self.write(
            "workspace/image/base.libs",
            "".join([f"# glibc {glibc}\n", *(f"/{name}\n" for name in names)]),
            0o644,
        )


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    """A user with one overlay of its own."""
    user = Upstream(tmp_path)
    (tmp_path / "home").mkdir()
    user.write("ovl/mine/default/etc/mine", "mine\n", 0o644)
    return user
