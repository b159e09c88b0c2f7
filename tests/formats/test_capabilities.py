"""What a tree or tar has beyond names and content: setuid, links, capabilities. Kept, or refused aloud."""

import io
import os
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.formats import capabilities, tiny_programs, tree

# cap_net_raw, permitted and effective (capabilities(7), version 2)
NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
EPOCH = 1735689600


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with everything."""
    root = tmp_path / "default"
    (root / "bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "bin/first").write_text("two names")
    os.link(root / "bin/first", root / "bin/second")
    (root / "bin/setuid").write_text("s")
    (root / "bin/setuid").chmod(0o4755)
    (root / "bin/setgid").write_text("g")
    (root / "bin/setgid").chmod(0o2711)
    (root / "with space and åäö").write_text("x")
    return root


def packed(source: Path, tmp_path: Path) -> dict[str, tarfile.TarInfo]:
    """The entries of the tar that is made of a tree."""
    out = tmp_path / "tree"
    out.mkdir()
    assert tree.lay_over(source, out) == {}
    tree.write_tar(out, tmp_path / "x.tar", EPOCH)
    with tarfile.open(tmp_path / "x.tar") as tar:
        return {entry.name: entry for entry in tar}


def test_a_tree(source: Path, tmp_path: Path) -> None:
    entries = packed(source, tmp_path)
    assert entries["bin/second"].islnk() and entries["bin/second"].linkname == "bin/first"
    assert oct(entries["bin/setuid"].mode) == "0o4755"
    assert oct(entries["bin/setgid"].mode) == "0o2755"
    assert oct(entries["tmp"].mode) == "0o1777" and oct(entries["bin"].mode) == "0o755"
    assert entries["with space and åäö"].isreg()


def test_gnu_tar_reads_it(source: Path, tmp_path: Path) -> None:
    packed(source, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-C", out, "-xpf", tmp_path / "x.tar"], check=True)
    assert (out / "with space and åäö").read_text() == "x"
    assert (out / "bin/first").stat().st_ino == (out / "bin/second").stat().st_ino


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/null", path)])
def test_neither_file_nor_link(source: Path, tmp_path: Path, make: object) -> None:
    make(source / "bin/odd")  # type: ignore[operator]
    (tmp_path / "out").mkdir()
    if (source / "bin/odd").is_symlink():
        tree.lay_over(source, tmp_path / "out")
        assert os.readlink(tmp_path / "out/bin/odd") == "/dev/null"
        return
    with pytest.raises(UserError, match="neither a file") as caught:
        tree.lay_over(source, tmp_path / "out")
    assert "bin/odd" in str(caught.value)


def test_capabilities_of_a_tree(source: Path, tmp_path: Path) -> None:
    try:
        os.setxattr(source / "bin/setuid", capabilities.ATTRIBUTE, NET_RAW)
    except OSError:
        pytest.skip("only root may set capabilities")
    (tmp_path / "out").mkdir()
    assert tree.lay_over(source, tmp_path / "out") == {"bin/setuid": NET_RAW}


def tar_of(path: Path, value: bytes = NET_RAW) -> Path:
    """As GNU tar --xattrs writes it."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("./bin/it's me")
        entry.size, entry.mode = 4, 0o755
        entry.pax_headers = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
        tar.addfile(entry, io.BytesIO(b"ping"))
    return path


def test_capabilities_of_a_tar(tmp_path: Path) -> None:
    tree.adopt_tar(tar_of(tmp_path / "in.tar"), tmp_path / "out.tar", "x", EPOCH, name="mine@test")
    with tarfile.open(tmp_path / "out.tar") as tar:
        script = tar.extractfile("etc/init.d/01capabilities-mine.rc")
        program = tar.extractfile(capabilities.PROGRAM)
        assert script and program and program.read() == tiny_programs.set_capability()
        assert tar.getmember(capabilities.PROGRAM).mode == 0o755
        text = script.read().decode()
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert "\\001\\000\\000\\002\\000\\040" in text


@pytest.mark.parametrize("value", [NET_RAW, bytes(range(128, 148)), b"\n" * 20])
def test_gnu_tar_writes_it(tmp_path: Path, value: bytes) -> None:
    """Any bytes come through."""
    with tarfile.open(tar_of(tmp_path / "in.tar", value)) as tar:
        (entry,) = tar
        assert capabilities.of_member(entry) == value


def test_the_script_sets_them(tmp_path: Path) -> None:
    """Run here as in a guest, with the paths turned to a scratch directory."""
    program, target = tmp_path / "xc-setcap", tmp_path / "it's me"
    target.write_text("x")
    content = capabilities.carriers({"./it's me": NET_RAW}, "mine")
    program.write_bytes(content[capabilities.PROGRAM])
    program.chmod(0o755)
    text = content["etc/init.d/01capabilities-mine.rc"].decode()
    text = text.replace(f"/{capabilities.PROGRAM}", str(program))
    here = text.replace("'/it'\"'\"'s me'", f'"{target}"')
    done = subprocess.run(["sh", "-c", here, "x", "start"], capture_output=True, text=True)
    if os.geteuid():
        assert done.returncode == 1 and "no capabilities" in done.stdout
        return
    assert done.returncode == 0, done
    assert capabilities.of_file(target) == NET_RAW
    target.unlink()
    failed = subprocess.run(["sh", "-c", here, "x", "start"], capture_output=True, text=True)
    assert failed.returncode == 1 and "no capabilities" in failed.stdout


def test_without_capabilities_nothing_is_added(tmp_path: Path) -> None:
    assert capabilities.carriers({}, "x") == {}


def test_a_newer_c_library_is_found_first(tmp_path: Path) -> None:
    """In lib, where the base image has its own; other overlays stay as they are."""
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    (libraries / "libx.so.1.0").write_text("x")
    (libraries / "libx.so.1").symlink_to("libx.so.1.0")
    tree.unmerge(tmp_path)
    assert not (tmp_path / "lib").exists()
    (libraries / "libc.so.6").write_text("c")
    tree.unmerge(tmp_path)
    beside = tmp_path / "lib/x86_64-linux-gnu"
    assert sorted(path.name for path in beside.iterdir()) == ["libc.so.6", "libx.so.1", "libx.so.1.0"]
    assert (beside / "libx.so.1").read_text() == "x"
    assert (beside / "libc.so.6").samefile(libraries / "libc.so.6")
