"""Only what changed is built again; an interrupted build is never trusted. The heart of the project."""

import contextlib
import io
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.formats import iso9660
from tests.conftest import Checkout, content, ended, eventually, temporary

TAR_A = "#!/bin/sh\ncd $(dirname $0)\ntar -cf ${1:--} files\n"


@pytest.fixture
def built(checkout: Checkout) -> Checkout:
    """The project with its ISO made."""
    assert checkout.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}
    return checkout


def tar_names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_second_run_executes_nothing(built: Checkout) -> None:
    before = content(built.workspace / "ovl")
    assert built.good("mkcdrom", "a", "b").tasks == set()
    assert built.good("ovl:a", "ovl:b").tasks == set()
    assert content(built.workspace / "ovl") == before
    assert iso9660.names(built.iso) == ["00a.tar", "01b.tar"]


def touch(checkout: Checkout) -> None:
    for path in checkout.root.glob("ovl/**/*"):
        os.utime(path)


def comment(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "# another comment\nsummary: first   # and one more\n")


@pytest.mark.parametrize("change", [touch, comment])
def test_what_means_nothing_runs_nothing(built: Checkout, change: Callable[[Checkout], None]) -> None:
    change(built)
    assert built.good("mkcdrom", "a", "b").tasks == set()


def edit(checkout: Checkout) -> None:
    checkout.write("ovl/a/default/etc/a.conf", "A\n")


def executable(checkout: Checkout) -> None:
    (checkout.root / "ovl/a/default/etc/a.conf").chmod(0o755)


def add(checkout: Checkout) -> None:
    checkout.write("ovl/a/default/etc/new.conf", "new\n")


def add_directory(checkout: Checkout) -> None:
    (checkout.root / "ovl/a/default/var/empty").mkdir(parents=True)


def delete(checkout: Checkout) -> None:
    (checkout.root / "ovl/a/default/bin/run").unlink()


def link(checkout: Checkout) -> None:
    (checkout.root / "ovl/a/default/etc/link").symlink_to("a.conf")


@pytest.mark.parametrize("change", [edit, executable, add, add_directory, delete, link])
def test_a_change_packs_that_overlay_and_the_iso(built: Checkout, change: Callable[[Checkout], None]) -> None:
    other = built.tar("b").stat().st_mtime_ns
    change(built)
    assert built.good("mkcdrom", "a", "b").tasks == {"ovl:a", "mkcdrom"}
    assert built.tar("b").stat().st_mtime_ns == other


def test_a_link_to_another_target_of_the_same_content(checkout: Checkout) -> None:
    checkout.write("ovl/a/default/etc/twin.conf", "a\n")
    path = checkout.root / "ovl/a/default/etc/link"
    path.symlink_to("a.conf")
    checkout.good("mkcdrom", "a")
    path.unlink()
    path.symlink_to("twin.conf")
    assert checkout.good("mkcdrom", "a").tasks == {"ovl:a", "mkcdrom"}


def test_same_tar_again_stops_there(built: Checkout) -> None:
    """An overlay that is packed again with the same outcome does not touch the ISO."""
    (built.root / "ovl/a/default/etc/a.conf").chmod(0o600)
    assert "mkcdrom" not in built.good("mkcdrom", "a", "b").tasks


def test_a_lost_output_is_made_again(built: Checkout) -> None:
    built.iso.unlink()
    assert built.good("mkcdrom", "a", "b").tasks == {"mkcdrom"}
    built.tar("a").unlink()
    assert built.good("mkcdrom", "a", "b").tasks == {"ovl:a"}


def test_order_and_choice_of_words(built: Checkout) -> None:
    assert built.good("mkcdrom", "b", "a").tasks == {"mkcdrom"}
    assert iso9660.names(built.iso) == ["00b.tar", "01a.tar"]
    assert built.good("mkcdrom", "b").tasks == {"mkcdrom"}
    assert iso9660.names(built.iso) == ["00b.tar"]


def test_what_an_overlay_needs_comes_before_it(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "needs: [b]\n")
    checkout.good("mkcdrom", "a")
    assert iso9660.names(checkout.iso) == ["00b.tar", "01a.tar"]


def test_an_alias_is_the_other_overlay(checkout: Checkout) -> None:
    checkout.write("ovl/c/ovl.yaml", "alias: b\n")
    checkout.good("mkcdrom", "c")
    assert iso9660.names(checkout.iso) == ["00b.tar"]


def test_setup_chooses_variants(built: Checkout) -> None:
    built.write("ovl/a/test/etc/a.conf", "variant\n")
    ran = built.good("mkcdrom", "a", "b", env={"SETUP": "test"})
    assert ran.tasks == {"ovl:a@test", "mkcdrom"}
    with tarfile.open(built.tar("a@test")) as tar:
        member = tar.extractfile("etc/a.conf")
        assert member and member.read() == b"variant\n"
    assert "bin/run" in tar_names(built.tar("a@test"))
    assert built.good("mkcdrom", "a", "b", env={"SETUP": "test"}).tasks == set()
    assert built.good("mkcdrom", "a", "b").tasks == {"mkcdrom"}


def test_xovls_come_last(checkout: Checkout) -> None:
    checkout.good("mkcdrom", "b", env={"XOVLS": "a"})
    assert iso9660.names(checkout.iso) == ["00b.tar", "01a.tar"]


def test_ovlpath_first_hit_wins(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "mine/a/default/etc").mkdir(parents=True)
    (tmp_path / "mine/a/default/etc/mine.conf").write_text("mine\n")
    checkout.good("mkcdrom", "a", "b", env={"XCLUSTER_OVLPATH": f"{tmp_path}/mine:{checkout.root}/ovl"})
    assert "etc/mine.conf" in tar_names(checkout.tar("a"))
    assert iso9660.names(checkout.iso) == ["00a.tar", "01b.tar"]


def test_directories_and_dot_are_overlays(checkout: Checkout, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere/c"
    (folder / "default/etc").mkdir(parents=True)
    (folder / "default/etc/c.conf").write_text("c\n")
    ran = {name.partition("-")[0] for name in checkout.good("mkcdrom", str(folder)).tasks}
    assert ran == {"ovl:c", "mkcdrom"}
    assert checkout.good("mkcdrom", ".", cwd=folder).tasks == set()
    assert iso9660.names(checkout.iso) == ["00c.tar"]


def test_directories_of_the_same_name(checkout: Checkout, tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / number / "c/default/etc").mkdir(parents=True)
        (tmp_path / number / "c/default/etc" / number).write_text(number)
    checkout.good("mkcdrom", str(tmp_path / "1/c"), str(tmp_path / "2/c"))
    assert iso9660.names(checkout.iso) == ["00c.tar", "01c.tar"]


def test_tar_files_are_words_too(checkout: Checkout, tmp_path: Path) -> None:
    file = tmp_path / "extra.tar.xz"
    with tarfile.open(file, "w:xz") as tar:
        tar.addfile(tarfile.TarInfo("hello"), io.BytesIO())
    assert checkout.good("mkcdrom", "a", str(file)).tasks == {"ovl:a", "mkcdrom"}
    assert iso9660.names(checkout.iso) == ["00a.tar", "01extra.tar"]
    assert checkout.good("mkcdrom", "a", "extra.tar.xz", cwd=tmp_path).tasks == set()
    assert temporary(checkout.workspace) == []


def test_a_later_run_without_words_keeps_the_choice(built: Checkout) -> None:
    built.good("mkcdrom", "b")
    assert built.good("status").tasks == set()
    built.write("ovl/b/default/etc/b.conf", "B\n")
    assert built.good("run", "mkcdrom").tasks == {"ovl:b", "mkcdrom"}
    assert iso9660.names(built.iso) == ["00b.tar"]


def test_without_words_the_iso_goes(built: Checkout) -> None:
    built.good("mkcdrom")
    assert not built.iso.exists()
    assert built.tar("a").exists()
    built.good("mkcdrom")


def test_label_and_cidata(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "cidata").mkdir()
    (tmp_path / "cidata/user-data").write_text("#cloud-config\n")
    words = ("mkcdrom", "--label=my-label", f"--cidata={tmp_path}/cidata", "a")
    checkout.good(*words)
    assert iso9660.names(checkout.iso) == ["00a.tar", "user-data"]
    assert b"my-label" in checkout.iso.read_bytes()[0x8000:0x8800]
    assert checkout.good(*words).tasks == set()
    (tmp_path / "cidata/user-data").write_text("#cloud-config\n# more\n")
    assert checkout.good(*words).tasks == {"mkcdrom"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["c"], ("unknown overlay 'c'", "a, b")),
        (["--label=" + "x" * 33, "a"], ("label", "32")),
        (["--label=ü", "a"], ("label",)),
        (["--cidata=/nowhere", "a"], ("cidata", "/nowhere")),
        (["./nowhere", "a"], ("nowhere",)),
        (["--speed=3", "a"], ("unknown option '--speed'", "--label")),
    ],
)  # fmt: skip
def test_wrong_words(built: Checkout, words: list[str], says: tuple[str, ...]) -> None:
    before = built.iso.read_bytes()
    built.bad("mkcdrom", *words, code=2, says=says)
    assert built.iso.read_bytes() == before


def test_a_directory_with_files_from_outside(checkout: Checkout, tmp_path: Path) -> None:
    """An overlay that only the command line names brings its own artifacts."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/tool").write_text("a tool\n")
    (tmp_path / "mine/ovl.yaml").write_text("artifacts:\n- {name: t, dest: bin/t, sources: [{file: tool}]}\n")
    assert "artifact:t" in checkout.good("mkcdrom", str(tmp_path / "mine")).tasks
    assert checkout.good("mkcdrom", str(tmp_path / "mine")).tasks == set()


def test_a_directory_that_is_no_overlay(checkout: Checkout, tmp_path: Path) -> None:
    checkout.bad("mkcdrom", str(tmp_path), code=2, says=("is not an overlay", "default/"))


def test_tar_script(checkout: Checkout) -> None:
    checkout.write("ovl/s/tar", TAR_A, 0o755)
    checkout.write("ovl/s/files/one", "1\n")
    assert checkout.good("mkcdrom", "s").tasks == {"ovl:s", "mkcdrom"}
    assert tar_names(checkout.tar("s")) == ["files", "files/one"]
    assert checkout.good("mkcdrom", "s").tasks == set()
    checkout.write("ovl/s/files/two", "2\n")
    assert checkout.good("mkcdrom", "s").tasks == {"ovl:s", "mkcdrom"}


def test_tar_script_sees_the_chosen_environment(checkout: Checkout) -> None:
    script = 'd=$(mktemp -d)\necho "$xcluster_X $XCLUSTER" >$d/x\ntar -C $d -cf $1 x\nrm -r $d\n'
    checkout.write("ovl/s/tar", f"#!/bin/sh\n{script}", 0o755)
    checkout.good("mkcdrom", "s", env={"xcluster_X": "one"})
    assert checkout.good("mkcdrom", "s", env={"xcluster_X": "one"}).tasks == set()
    assert checkout.good("mkcdrom", "s", env={"xcluster_X": "two"}).tasks == {"ovl:s", "mkcdrom"}
    with tarfile.open(checkout.tar("s")) as tar:
        member = tar.extractfile("x")
        assert member and member.read().decode().split() == ["two", str(checkout.root / "xc")]


BAD_SCRIPTS = {
    "fails": ("#!/bin/sh\necho it broke >&2\nexit 7\n", ("it broke", "exit code 7", "'s'")),
    "fails after writing": ("#!/bin/sh\ntar -cf $1 $0\nexit 1\n", ("exit code 1",)),
    "writes nothing": ("#!/bin/sh\necho just talk\n", ("wrote no tar", "just talk")),
    "leaves a directory": ("#!/bin/sh\nmkdir $1\n", ("left a directory in place of the tar",)),
    "empty tar": ("#!/bin/sh\ntar -cf $1 -T /dev/null\n", ("empty", "allow: [empty]")),
    "empty file": ("#!/bin/sh\n: >$1\n", ("empty",)),
    "empty directory": ("#!/bin/sh\nd=$(mktemp -d); tar -C $d -cf $1 .; rmdir $d\n", ("empty",)),
    "garbage": ("#!/bin/sh\necho garbage >$1\n", ("ovl/s/tar: it is no tar file",)),
    "leads out": ("#!/bin/sh\ntar -P -cf $1 --transform 's,^,../,' $0\n", ("leads out",)),
    "absolute": ("#!/bin/sh\ntar -P -cf $1 /etc/hostname\n", ("leads out",)),
    "no interpreter": ("#!/nowhere/sh\n", ("ovl/s/tar",)),
    "no #! line": ("tar -cf $1 $0\n", ("ovl/s/tar",)),
}


@pytest.mark.parametrize("name", BAD_SCRIPTS)
def test_bad_tar_scripts(checkout: Checkout, name: str) -> None:
    script, says = BAD_SCRIPTS[name]
    checkout.write("ovl/s/tar", script, 0o755)
    checkout.bad("mkcdrom", "s", code=1, says=says)
    assert not checkout.tar("s").exists()
    assert not checkout.iso.exists()
    assert temporary(checkout.workspace) == []


def test_tar_script_that_is_not_executable(checkout: Checkout) -> None:
    checkout.write("ovl/s/tar", TAR_A)
    checkout.bad("mkcdrom", "s", code=1, says=("not executable", "chmod"))


def test_an_empty_tar_that_is_meant(checkout: Checkout) -> None:
    checkout.write("ovl/s/ovl.yaml", "allow_empty: true\n")
    checkout.write("ovl/s/tar", "#!/bin/sh\ntar -cf $1 -T /dev/null\n", 0o755)
    checkout.good("mkcdrom", "s")
    assert tar_names(checkout.tar("s")) == []


def test_an_overlay_with_nothing_in_it(checkout: Checkout) -> None:
    checkout.write("ovl/s/ovl.yaml", "summary: nothing\n")
    checkout.bad("mkcdrom", "s", code=1, says=("overlay 's' is empty", "default"))
    assert temporary(checkout.workspace) == []


def test_a_failure_leaves_the_good_iso(built: Checkout) -> None:
    before = built.iso.read_bytes()
    built.write("ovl/a/tar", "#!/bin/sh\nexit 1\n", 0o755)
    built.bad("mkcdrom", "a", "b", code=1, says=("'a'",))
    assert built.iso.read_bytes() == before


SLOW = """#!/bin/sh
cd $(dirname $0)
tar -cf $1 tar
[ ! -e slow ] || { : >started; exec sleep 3; }
"""


def test_two_at_once_both_end_well(checkout: Checkout) -> None:
    checkout.write("ovl/s/tar", SLOW.replace("sleep 3", "sleep 0.3"), 0o755)
    checkout.write("ovl/s/slow", "")
    both = [checkout.start("mkcdrom", "s", "a") for _ in range(2)]
    ends = [ended(process) for process in both]
    assert [ran.code for ran in ends] == [0, 0], [ran.err for ran in ends]
    assert iso9660.names(checkout.iso) == ["00s.tar", "01a.tar"]
    assert temporary(checkout.workspace) == []


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists(), process.stderr and process.poll() is not None and process.stderr.read()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_build_is_not_trusted(checkout: Checkout, sign: signal.Signals) -> None:
    checkout.write("ovl/s/tar", SLOW, 0o755)
    slow = checkout.write("ovl/s/slow", "")
    checkout.good("ovl:b")
    process = checkout.start("mkcdrom", "b", "a", "s")
    wait_for(checkout.root / "ovl/s/started", process)
    process.send_signal(sign)
    assert ended(process).code != 0
    assert not checkout.tar("s").exists() and not checkout.iso.exists()
    slow.unlink()
    (checkout.root / "ovl/s/started").unlink()
    assert checkout.good("mkcdrom", "b", "a", "s").tasks - {"ovl:a"} == {"ovl:s", "mkcdrom"}
    assert iso9660.names(checkout.iso) == ["00b.tar", "01a.tar", "02s.tar"]
    assert temporary(checkout.workspace) == []


def commands() -> list[str]:
    """The command lines of all processes; one may end while it is looked at."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return lines


def test_an_interrupted_build_leaves_no_process(checkout: Checkout) -> None:
    checkout.write("ovl/s/tar", SLOW.replace("sleep 3", "sleep 3.14"), 0o755)
    checkout.write("ovl/s/slow", "")
    process = checkout.start("mkcdrom", "s")
    wait_for(checkout.root / "ovl/s/started", process)
    eventually(lambda: "sleep 3.14" in commands())
    process.terminate()
    ended(process)
    assert "sleep 3.14" not in commands()


def test_the_same_bytes_again(built: Checkout) -> None:
    before = {**content(built.workspace / "ovl"), "iso": built.iso.read_bytes()}
    built.good("clean")
    mask = os.umask(0o077)
    try:
        touch(built)
        built.good("mkcdrom", "a", "b", env={"TZ": "Asia/Tokyo", "LC_ALL": "C"})
    finally:
        os.umask(mask)
    assert {**content(built.workspace / "ovl"), "iso": built.iso.read_bytes()} == before


def test_clean_leaves_nothing(built: Checkout) -> None:
    assert "executing" not in built.good("clean", "-n").out
    assert built.good("clean").out == ""
    left = [str(path.relative_to(built.workspace)) for path in built.workspace.rglob("*") if path.is_file()]
    assert [name for name in left if not name.startswith(("doit.db", "cache/", "keys/"))] == []
    assert built.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}


def test_values_of_a_definition_count(built: Checkout) -> None:
    built.write("ovl/a/ovl.yaml", "summary: another sentence\n")
    assert built.good("mkcdrom", "a", "b").tasks <= {"ovl:a"}
    built.write("ovl/a/ovl.yaml", "needs: [b]\n")
    built.good("mkcdrom", "a")
    assert iso9660.names(built.iso) == ["00b.tar", "01a.tar"]


def test_list_and_info_say_why(built: Checkout) -> None:
    assert "mkcdrom" in built.good("list").out
    edit(built)
    assert "a.conf" in built.xc("info", "ovl:a").out
    built.bad("info", "ovl:none", code=2, says=("unknown task 'ovl:none'",))
    built.bad("info", code=2, says=("takes one task",))


def test_a_reader_that_has_seen_enough(built: Checkout) -> None:
    process = built.start("info", "ovl:a")
    assert process.stdout
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == ""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_does_not_forget_what_was_done(checkout: Checkout, sign: signal.Signals) -> None:
    checkout.write("ovl/s/tar", SLOW, 0o755)
    checkout.write("ovl/s/slow", "")
    process = checkout.start("ovl:a", "ovl:s")
    wait_for(checkout.root / "ovl/s/started", process)
    process.send_signal(sign)
    ended(process)
    assert checkout.good("ovl:a").tasks == set()
