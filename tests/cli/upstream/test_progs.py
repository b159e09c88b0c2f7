"""install_prog, cplib, libs and cploader, and what becomes of programs of the host in a tar script."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tasks.base import files
from tasks.build.overlay import host_libraries
from tasks.formats import elf
from tests.cli.upstream.conftest import Upstream

LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def names(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in files.tree_files(root)]


def test_install_prog_copies_a_program_and_its_libraries(upstream: Upstream) -> None:
    upstream.libs("libc.so.6", "libselinux.so.1", "libpcre2-8.so.0")
    assert upstream.good("$XCLUSTER install_prog --dest=$PWD/d sh /bin/tar") == ""
    installed = names(upstream.root / "d")
    assert {"bin/sh", "bin/tar"} <= set(installed)
    assert not any("libc.so.6" in name for name in installed)
    assert not (upstream.root / "d/bin/sh").is_symlink()
    assert os.access(upstream.root / "d/bin/tar", os.X_OK)


def test_all_libraries_at_their_path_on_the_host(upstream: Upstream) -> None:
    upstream.good("$XCLUSTER install_prog --root=d --base-libs=/dev/null sh")
    assert (upstream.root / f"d{LIBC}").is_file()
    upstream.good("__base_libs=/dev/null $XCLUSTER install_prog --dest=e sh")
    assert names(upstream.root / "d") == names(upstream.root / "e")
    upstream.good("__dest=f $XCLUSTER cploader")
    done = subprocess.run([upstream.root / "f/lib64/ld-linux-x86-64.so.2", "--version"], capture_output=True)
    assert done.returncode == 0


def test_base_libs_matches_anywhere_in_a_path(upstream: Upstream) -> None:
    upstream.write("list", "libc\n", 0o644)
    assert LIBC not in upstream.good("$XCLUSTER libs --base-libs=$PWD/list /bin/ls").split()
    assert LIBC in upstream.good("$XCLUSTER libs --base-libs=/dev/null /bin/ls").split()


def test_a_missing_program_is_a_warning(upstream: Upstream) -> None:
    upstream.libs("libc.so.6")
    ran = upstream.sh("$XCLUSTER install_prog --dest=d no-such-program sh")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "WARNING: Program not found [no-such-program]\n"
    assert names(upstream.root / "d") == ["bin/sh"]


def test_a_directory_of_the_same_name_is_no_program(upstream: Upstream) -> None:
    """Upstream took a directory `lspci` in the working directory for the program."""
    upstream.libs("libc.so.6")
    (upstream.root / "tar").mkdir()
    upstream.good("$XCLUSTER install_prog --dest=d tar")
    assert (upstream.root / "d/bin/tar").is_file()


def test_cplib_takes_globs_directories_and_text(upstream: Upstream) -> None:
    upstream.write("d/bin/script", "#!/bin/sh\n")
    upstream.write("text", "text\n", 0o644)
    upstream.good("cp /bin/ls d/bin; $XCLUSTER cplib --dest=d --base-libs=/dev/null d/bin/* . text /nowhere")
    assert (upstream.root / f"d{LIBC}").is_file()


def test_cplib_follows_ld_library_path(upstream: Upstream) -> None:
    upstream.write("lib/x", "", 0o644)
    out = upstream.good(
        f"cp {LIBC} lib; LD_LIBRARY_PATH=$PWD/lib $XCLUSTER libs --base-libs=/dev/null /bin/ls"
    )
    assert f"{upstream.root}/lib/libc.so.6" in out.split()


def test_libraries_of_the_workspace_are_left_out(upstream: Upstream) -> None:
    upstream.write("workspace/lib/x", "", 0o644)
    script = f"cp {LIBC} workspace/lib; $XCLUSTER libs --base-libs=/dev/null /bin/ls"
    out = upstream.good(script, {"LD_LIBRARY_PATH": str(upstream.workspace / "lib")})
    assert "libc.so.6" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [("install_prog ls", "No --dest"), ("cplib /bin/ls", "No --dest"), ("cploader", "No --dest"),
     ("install_prog --dest=d", "No programs"), ("install_prog --dest=d ls", "xc mkimage"),
     ("cploader --dest=d --loader=/nowhere", "Not readable [/nowhere]")],
)  # fmt: skip
def test_what_cannot_be(upstream: Upstream, words: str, says: str) -> None:
    upstream.bad(f"$XCLUSTER {words}", says)


def test_programs_get_a_loader_of_their_own_where_the_c_library_differs(upstream: Upstream) -> None:
    """What tests/boot/test_contract.py boots is looked at here: the changed loader runs on this host too."""
    root, listed = upstream.root / "tree", upstream.libs("libc.so.6", glibc="2.1")
    upstream.good("$XCLUSTER install_prog --dest=tree sh tar; cp /etc/hostname tree")
    assert host_libraries.is_foreign(listed)
    assert host_libraries.adapt(root, listed) == ["bin/sh", "bin/tar"]
    private = root / "lib/x86_64-linux-xch"
    assert elf.interpreter(root / "bin/sh") == host_libraries.LOADER
    assert (private / "libc.so.6").is_file()
    assert not any(path.is_file() for path in (root / "lib/x86_64-linux-gnu").glob("*"))
    loader = root / host_libraries.LOADER.lstrip("/")
    listing = subprocess.run(
        [loader, "--list", root / "bin/tar"], capture_output=True, text=True, check=False
    )
    assert "not found" not in listing.stdout, listing
    help_text = subprocess.run([loader, "--help"], capture_output=True, text=True, check=False).stdout
    assert "/lib/x86_64-linux-xch (system search path)" in help_text.replace("/ (", " (")


def test_the_same_c_library_changes_nothing(upstream: Upstream) -> None:
    listed = upstream.libs("libc.so.6", glibc=host_libraries.host_glibc())
    assert host_libraries.host_glibc()
    assert not host_libraries.is_foreign(listed)
    assert not host_libraries.is_foreign(upstream.root / "nowhere")


def test_a_tree_without_programs_stays(upstream: Upstream) -> None:
    upstream.write("tree/etc/x", "x\n", 0o644)
    assert host_libraries.adapt(upstream.root / "tree", upstream.libs("libc.so.6", glibc="2.1")) == []
    assert names(upstream.root / "tree") == ["etc/x"]


TAR = """#! /bin/sh
tmp=/tmp/$USER/xc-contract-$$
mkdir -p $tmp
$XCLUSTER install_prog --dest=$tmp $PROGRAM
cd $tmp
tar -cf $1 *
rm -rf $tmp
"""


def test_a_program_that_changes_is_packed_again(upstream: Upstream) -> None:
    upstream.write("tool", "#!/bin/sh\necho one\n")
    upstream.write("ovl/progs/tar", TAR.replace("$PROGRAM", f"{upstream.root}/tool"))
    mkcdrom = "__base_libs=/dev/null $XCLUSTER cache progs"

    def progress() -> str:
        return upstream.sh(mkcdrom).err

    assert "ovl:progs" in progress()
    assert progress() == ""
    upstream.write("tool", "#!/bin/sh\necho two, longer\n")
    assert "ovl:progs" in progress()
    with tarfile.open(upstream.workspace / "ovl/progs.tar") as tar:
        member = tar.extractfile("bin/tool")
        assert member and b"two" in member.read()
