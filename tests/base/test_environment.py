"""What programs are given of a hostile environment: nothing that changes what comes out."""

import ast
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tasks.base import environment, files, proc
from tasks.build.kernel import kbuild
from tasks.formats import ext4, squashfs, tree
from tests.conftest import ROOT, Checkout
from tests.hostile import HOSTILE

# Programs of their own, which are started in an environment that was chosen before; and who chooses it.
LEFT_OUT = ("tasks/run/net/programs/", "tasks/base/proc.py")
DUMP = "all modules_install bzImage:\n\tenv >$(O)/environment\n\t@echo '[$(MAKEFLAGS)]' >$(O)/flags\n"


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """We run in an environment that would spoil everything."""
    for name, value in HOSTILE.items():
        if name != "LD_PRELOAD":  # the loader would complain to the stderr of everything we start here
            monkeypatch.setenv(name, value)


def output(tmp_path: Path, name: str) -> dict[str, str]:
    """One artifact of each program that makes some, with its sha256."""
    folder = tmp_path / name
    source = folder / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc/a").write_text("a\n")
    (source / "etc/b").symlink_to("a")
    image, disk, tar = folder / "image", folder / "disk", folder / "tar"
    ext4.make(source, image, "64M", 1)
    assert tree.write_tar(source, tar, 1)
    if proc.find("sqfstar"):
        squashfs.write(disk, lambda out: out.add(source / "etc/a", "a", filter=_plain), 1)
    packed = {"gzip": ("gzip", "-n"), "xz": ("xz",), "zstd": ("zstd", "-q")}
    for suffix, words in packed.items():
        if proc.find(words[0]):
            process = proc.filter([*words, "-c"])
            assert process.stdin and process.stdout
            process.stdin.write(b"content\n" * 999)
            process.stdin.close()
            (folder / suffix).write_bytes(process.stdout.read())
            assert proc.finish(process)[0] == 0
    return {path.name: files.sha256(path) for path in folder.iterdir() if path.is_file()}


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    for name, value in {"uid": 0, "gid": 0, "uname": "", "gname": "", "mtime": 1}.items():
        setattr(info, name, value)
    return info


def test_the_same_bytes(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    before = output(tmp_path, "before")
    request.getfixturevalue("hostile")
    assert output(tmp_path, "after") == before
    assert len(before) >= 3


def test_make_sees_what_we_chose(tmp_path: Path, hostile: None) -> None:
    source, objects = tmp_path / "source", tmp_path / "objects"
    source.mkdir()
    objects.mkdir()
    (source / "Makefile").write_text(DUMP)
    kbuild.Tree(source, objects, 1, tmp_path / "log").make(["all"])
    seen = dict(line.split("=", 1) for line in (objects / "environment").read_text().splitlines())
    kept = {name for name, value in HOSTILE.items() if seen.get(name) == value}
    assert kept - {"SSH_AUTH_SOCK"} == set()
    assert "n" not in (objects / "flags").read_text().split("-")[0]
    assert seen["PATH"].startswith(os.environ["PATH"]) and seen["LC_ALL"] == "C"


def test_what_a_program_may_need_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = {
        "https_proxy": "http://p:1",
        "NO_PROXY": "x",
        "SSL_CERT_FILE": "/x",
        "HOME": "/h",
        "DISPLAY": ":7",
    }
    for name, value in {**kept, "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    seen = dict(line.split("=", 1) for line in proc.output(["env"]).decode().splitlines())
    assert kept.items() <= seen.items() and seen["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_path(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    """Programs are found where every host has them, and not in the directory we are in."""
    monkeypatch.delenv("PATH") if path is None else monkeypatch.setenv("PATH", path)
    assert proc.output(["sh", "-c", "echo $PATH"]).decode().startswith(environment.PATH)


def test_a_script_gets_all_that_is_the_users(monkeypatch: pytest.MonkeyPatch, hostile: None) -> None:
    monkeypatch.setenv("NFQLB_DIR", "/mine")
    seen = environment.of_scripts({"__mac": "1"})
    assert (seen["NFQLB_DIR"], seen["__mac"], seen["LC_ALL"]) == ("/mine", "1", "C.UTF-8")
    assert not {"TAR_OPTIONS", "BASH_ENV", "CDPATH", "GIT_DIR", "BASH_FUNC_tar%%", "XZ_OPT"} & seen.keys()


def test_every_program_gets_a_chosen_environment() -> None:
    """No module starts a program with whatever the user's environment has."""
    bare = []
    for file in sorted((ROOT / "tasks").rglob("*.py")):
        name = str(file.relative_to(ROOT))
        if name.startswith(LEFT_OUT):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            starts = isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call",
            )  # fmt: skip
            if starts and not any(each.arg == "env" for each in getattr(node, "keywords", ())):
                bare.append(f"{name}:{node.lineno}")  # type: ignore[attr-defined]
    assert bare == []


SCRIPT = """#!/bin/bash
set -e
cd "$(dirname "$0")" >/dev/null
tmp=$(mktemp -d)
mkdir $tmp/etc
echo content | xz >$tmp/etc/t.xz
echo content | gzip -n >$tmp/etc/t.gz
(cd etc; cat t.conf; printf 'yes\\nno\\n' | grep yes) >$tmp/etc/t.conf
date -d @0 >$tmp/etc/date
tar -C $tmp -cf "$1" .
rm -rf $tmp
"""


def test_overlays_are_the_same(checkout: Checkout, tmp_path: Path) -> None:
    """Also one with a script that calls what a hostile environment leads astray."""
    checkout.write("ovl/t/tar", SCRIPT, 0o755)
    checkout.write("ovl/t/etc/t.conf", "t\n")
    words = ("mkcdrom", "a", "b", "t")
    checkout.good(*words, env={"TZ": "UTC"})
    before = {name: files.sha256(checkout.tar(name)) for name in "abt"} | {"iso": files.sha256(checkout.iso)}
    checkout.good("clean")
    quiet = {name: value for name, value in HOSTILE.items() if name not in ("LD_PRELOAD", "TZ")}
    mask = os.umask(0o777)
    try:
        checkout.good(*words, env={**quiet, "TZ": "UTC"})
    finally:
        os.umask(mask)
    after = {name: files.sha256(checkout.tar(name)) for name in "abt"} | {"iso": files.sha256(checkout.iso)}
    assert after == before


def test_a_library_that_is_loaded_into_everything(checkout: Checkout) -> None:
    """What the loader says of it to us is not taken for an error of an overlay's script."""
    checkout.write("ovl/t/tar", SCRIPT, 0o755)
    checkout.write("ovl/t/etc/t.conf", "t\n")
    checkout.good("mkcdrom", "t", env={"LD_PRELOAD": "/nonexistent/preloaded.so"})


def test_git_looks_at_the_checkout_we_name(tmp_path: Path, hostile: None) -> None:
    from tasks.build.release import git

    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1"\n')
    identity = ("-c", "user.name=me", "-c", "user.email=m@e")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], cwd=tmp_path, env=clean, check=True)
    assert [path for path, _ in git.look(tmp_path).tracked] == ["pyproject.toml"]
