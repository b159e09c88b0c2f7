"""Which tars of `tar` scripts are complete. Every script of the table is run for real."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from tasks.base import progress
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.overlay import overlay_tar, tar_script
from tasks.build.overlay.overlay_tar import OverlayBuild
from tasks.definitions.schema import Overlay
from tasks.project.site import Site
from tests.build.overlay.tar_scripts import CASES, INSTALL, OWN, Case

SCRIPT = """#! /bin/sh
dir=$(dirname $0); dir=$(readlink -f $dir)
src=$dir/../../src
none=$dir/../../none
tmp=$(mktemp -d)
{body}
cd $tmp
tar cf "$1" --exclude=*.c .
cd /
rm -rf $tmp
"""
NEEDED = {
    "gcc": "gcc",
    "go build": "go",
    "strip $": "strip",
    "cpio": "cpio",
    "objcopy": "objcopy",
    "make": "make",
}
Said = list[str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """What a person is told."""
    lines: Said = []
    monkeypatch.setattr(progress, "say", lines.append)
    monkeypatch.setattr(os, "environ", {**os.environ, "XC_OVL_ALLOW": ""})
    return lines


def place(root: Path, case: Case) -> Path:
    """The overlay of a case, and what is around it."""
    own = root / "ovl" / case.overlay
    for name, text in (("default/etc/own", "own\n"), ("tar", SCRIPT.replace("{body}", case.body))):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    (own / "tar").chmod(0o755)
    (own / "hollow").mkdir()
    for name in ("bin/tool", "lib/libx.so.1", "notes"):
        (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "src" / name).write_text("#!/bin/sh\n")
    return own


def pack(root: Path, case: Case, **keys: object) -> list[str]:
    """The names in the tar of a case."""
    overlay = Overlay.model_validate({"name": case.overlay, "directory": place(root, case), **keys})
    site = Site(Workspace(root / "workspace"), "bookworm")
    overlay_tar.pack(
        OverlayBuild(overlay, case.overlay, case.setup, {"SETUP": ",".join(case.setup)}, 0, None, ""),
        site,
    )
    with tarfile.open(site.workspace.ovl(case.overlay)) as tar:
        return tar.getnames()


@pytest.mark.parametrize("name", CASES)
def test_a_script_in_upstreams_manner(tmp_path: Path, said: Said, name: str) -> None:
    case = CASES[name]
    lacking = [program for part, program in NEEDED.items() if part in case.body and not shutil.which(program)]
    if lacking and case.outcome != "refused":
        pytest.skip(f"without {lacking}")
    if case.outcome == "refused":
        with pytest.raises(UserError) as caught:
            pack(tmp_path, case)
        assert case.says in str(caught.value)
        assert list((tmp_path / "workspace/ovl").glob("*.tar")) == []
        return
    pack(tmp_path, case)
    warnings = [line for line in said if line.startswith("warning")]
    assert bool(warnings) == (case.outcome == "warned"), warnings
    assert case.says in "".join(warnings)


def test_a_missing_program_is_one_line(tmp_path: Path, said: Said) -> None:
    pack(tmp_path, Case(OWN + f"{INSTALL} sh no-such-one no-such-two", "warned"))
    assert [line for line in said if "no-such" in line] == [
        "warning: overlay 's' is packed without programs that this host lacks: no-such-one, no-such-two"
    ]


def test_what_an_overlay_provides_is_all_that_counts(tmp_path: Path, said: Said) -> None:
    body = OWN + "cp $none/extra $tmp"
    assert "./etc/own" in pack(tmp_path / "a", Case(body, "warned"), provides=("etc/own", "/etc/o*"))
    assert "cannot stat" in "".join(said)
    with pytest.raises(UserError, match="nothing for bin/x, lib/\\*.so"):
        pack(tmp_path / "b", Case(OWN, "refused"), provides=("etc/own", "bin/x", "lib/*.so"))


def test_what_may_be(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, hollow = Case(OWN + "cp $none/extra $tmp", "warned"), Case("mkdir $tmp/bin", "fine")
    pack(tmp_path / "a", loss, allow=("stderr",))
    assert "cannot stat" in "".join(said)
    pack(tmp_path / "b", hollow, allow=("empty",))
    with pytest.raises(UserError, match="allow: \\[empty\\]"):
        pack(tmp_path / "c", hollow, allow=("stderr",))
    monkeypatch.setitem(os.environ, "XC_OVL_ALLOW", "s:stderr,other:empty")
    pack(tmp_path / "d", loss)
    with pytest.raises(UserError):
        pack(tmp_path / "e", hollow)
    monkeypatch.setitem(os.environ, "XC_OVL_ALLOW", "")
    both = Case("mkdir $tmp/bin; cp $none/extra $tmp", "refused")
    with pytest.raises(UserError, match="allow: \\[stderr\\]"):
        pack(tmp_path / "f", both, allow=("empty",))
    pack(tmp_path / "g", both, allow=("empty", "stderr"))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo 'WARNING: no archive x' >&2", ["WARNING: no archive x"]),
        ("echo 'opt1 not found, not included' >&2", ["opt1 not found, not included"]),
        ("echo 'skipping: the tests' >&2; echo built 3", ["skipping: the tests", "built 3"]),
        (
            "(set -x; true); rm $none/x; mkdir $tmp/etc; tar cf - $dir/tar | cat >/dev/null; strip $dir/tar",
            [],
        ),
        ("(cd $src; git describe)", []),
        ("(PATH=/nowhere; strip x)", []),
        (":", []),
    ],
)
def test_what_a_script_itself_says_is_shown(tmp_path: Path, said: Said, body: str, told: list[str]) -> None:
    pack(tmp_path, Case(OWN + body, "fine"))
    assert said == (["  overlay 's' said:", *(f"    {line}" for line in told)] if told else [])


def test_a_script_that_says_much(tmp_path: Path, said: Said) -> None:
    pack(tmp_path, Case(OWN + "seq 30; echo 'skipped the tests' >&2; echo end", "fine"))
    assert said[1:-1] == [*(f"    {number}" for number in range(1, 10)), "    skipped the tests"]
    assert said[-1].startswith("    ... and 22 more lines: ")
    assert "skipped the tests" in Path(said[-1].rpartition(": ")[2]).read_text()


def test_a_program_that_comes_later(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path, Case(OWN + f"{INSTALL} sh later-program", "warned"))
    workspace = Workspace(tmp_path / "workspace")
    assert tar_script.unchanged(workspace, "s")
    (tmp_path / "later-program").write_text("#!/bin/sh\n")
    (tmp_path / "later-program").chmod(0o755)
    monkeypatch.setitem(os.environ, "PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not tar_script.unchanged(workspace, "s")
