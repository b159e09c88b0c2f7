"""Only what changed is built again; an interrupted build is never trusted. The heart of the project."""

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
from tests.conftest import House, content, ended, temporary

TAR_A = "#!/bin/sh\ncd $(dirname $0)\ntar -cf ${1:--} files\n"


@pytest.fixture
def built(house: House) -> House:
    """The project with its ISO made."""
    assert house.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}
    return house


def tar_names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_second_run_executes_nothing(built: House) -> None:
    before = content(built.workspace / "ovl")
    assert built.good("mkcdrom", "a", "b").tasks == set()
    assert built.good("ovl:a", "ovl:b").tasks == set()
    assert content(built.workspace / "ovl") == before
    assert iso9660.names(built.iso) == ["00a.tar", "01b.tar"]


def touch(house: House) -> None:
    for path in house.root.glob("ovl/**/*"):
        os.utime(path)


def comment(house: House) -> None:
    house.write("ovl/a/ovl.yaml", "# another comment\nsummary: first   # and one more\n")


@pytest.mark.parametrize("change", [touch, comment])
def test_what_means_nothing_runs_nothing(built: House, change: Callable[[House], None]) -> None:
    change(built)
    assert built.good("mkcdrom", "a", "b").tasks == set()


def edit(house: House) -> None:
    house.write("ovl/a/default/etc/a.conf", "A\n")


def executable(house: House) -> None:
    (house.root / "ovl/a/default/etc/a.conf").chmod(0o755)


def add(house: House) -> None:
    house.write("ovl/a/default/etc/new.conf", "new\n")


def add_directory(house: House) -> None:
    (house.root / "ovl/a/default/var/empty").mkdir(parents=True)


def delete(house: House) -> None:
    (house.root / "ovl/a/default/bin/run").unlink()


def link(house: House) -> None:
    (house.root / "ovl/a/default/etc/link").symlink_to("a.conf")


@pytest.mark.parametrize("change", [edit, executable, add, add_directory, delete, link])
def test_a_change_packs_that_overlay_and_the_iso(built: House, change: Callable[[House], None]) -> None:
    other = built.tar("b").stat().st_mtime_ns
    change(built)
    assert built.good("mkcdrom", "a", "b").tasks == {"ovl:a", "mkcdrom"}
    assert built.tar("b").stat().st_mtime_ns == other


def test_a_link_to_another_target_of_the_same_content(house: House) -> None:
    house.write("ovl/a/default/etc/twin.conf", "a\n")
    path = house.root / "ovl/a/default/etc/link"
    path.symlink_to("a.conf")
    house.good("mkcdrom", "a")
    path.unlink()
    path.symlink_to("twin.conf")
    assert house.good("mkcdrom", "a").tasks == {"ovl:a", "mkcdrom"}


def test_same_tar_again_stops_there(built: House) -> None:
    """An overlay that is packed again with the same outcome does not touch the ISO."""
    (built.root / "ovl/a/default/etc/a.conf").chmod(0o600)
    assert "mkcdrom" not in built.good("mkcdrom", "a", "b").tasks


def test_a_lost_output_is_made_again(built: House) -> None:
    built.iso.unlink()
    assert built.good("mkcdrom", "a", "b").tasks == {"mkcdrom"}
    built.tar("a").unlink()
    assert built.good("mkcdrom", "a", "b").tasks == {"ovl:a"}


def test_order_and_choice_of_words(built: House) -> None:
    assert built.good("mkcdrom", "b", "a").tasks == {"mkcdrom"}
    assert iso9660.names(built.iso) == ["00b.tar", "01a.tar"]
    assert built.good("mkcdrom", "b").tasks == {"mkcdrom"}
    assert iso9660.names(built.iso) == ["00b.tar"]


def test_what_an_overlay_needs_comes_before_it(house: House) -> None:
    house.write("ovl/a/ovl.yaml", "needs: [b]\n")
    house.good("mkcdrom", "a")
    assert iso9660.names(house.iso) == ["00b.tar", "01a.tar"]


def test_an_alias_is_the_other_overlay(house: House) -> None:
    house.write("ovl/c/ovl.yaml", "alias: b\n")
    house.good("mkcdrom", "c")
    assert iso9660.names(house.iso) == ["00b.tar"]


def test_setup_chooses_variants(built: House) -> None:
    built.write("ovl/a/test/etc/a.conf", "variant\n")
    ran = built.good("mkcdrom", "a", "b", env={"SETUP": "test"})
    assert ran.tasks == {"ovl:a@test", "mkcdrom"}
    with tarfile.open(built.tar("a@test")) as tar:
        member = tar.extractfile("etc/a.conf")
        assert member and member.read() == b"variant\n"
    assert "bin/run" in tar_names(built.tar("a@test"))
    assert built.good("mkcdrom", "a", "b", env={"SETUP": "test"}).tasks == set()
    assert built.good("mkcdrom", "a", "b").tasks == {"mkcdrom"}


def test_xovls_come_last(house: House) -> None:
    house.good("mkcdrom", "b", env={"XOVLS": "a"})
    assert iso9660.names(house.iso) == ["00b.tar", "01a.tar"]


def test_ovlpath_first_hit_wins(house: House, tmp_path: Path) -> None:
    (tmp_path / "mine/a/default/etc").mkdir(parents=True)
    (tmp_path / "mine/a/default/etc/mine.conf").write_text("mine\n")
    house.good("mkcdrom", "a", "b", env={"XCLUSTER_OVLPATH": f"{tmp_path}/mine:{house.root}/ovl"})
    assert "etc/mine.conf" in tar_names(house.tar("a"))
    assert iso9660.names(house.iso) == ["00a.tar", "01b.tar"]


def test_directories_and_dot_are_overlays(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere/c"
    (folder / "default/etc").mkdir(parents=True)
    (folder / "default/etc/c.conf").write_text("c\n")
    ran = {name.partition("-")[0] for name in house.good("mkcdrom", str(folder)).tasks}
    assert ran == {"ovl:c", "mkcdrom"}
    assert house.good("mkcdrom", ".", cwd=folder).tasks == set()
    assert iso9660.names(house.iso) == ["00c.tar"]


def test_directories_of_the_same_name(house: House, tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / number / "c/default/etc").mkdir(parents=True)
        (tmp_path / number / "c/default/etc" / number).write_text(number)
    house.good("mkcdrom", str(tmp_path / "1/c"), str(tmp_path / "2/c"))
    assert iso9660.names(house.iso) == ["00c.tar", "01c.tar"]


def test_tar_files_are_words_too(house: House, tmp_path: Path) -> None:
    file = tmp_path / "extra.tar.xz"
    with tarfile.open(file, "w:xz") as tar:
        tar.addfile(tarfile.TarInfo("hello"), io.BytesIO())
    assert house.good("mkcdrom", "a", str(file)).tasks == {"ovl:a", "mkcdrom"}
    assert iso9660.names(house.iso) == ["00a.tar", "01extra.tar"]
    assert house.good("mkcdrom", "a", "extra.tar.xz", cwd=tmp_path).tasks == set()
    assert temporary(house.workspace) == []


def test_a_later_run_without_words_keeps_the_choice(built: House) -> None:
    built.good("mkcdrom", "b")
    assert built.good("status").tasks == set()
    built.write("ovl/b/default/etc/b.conf", "B\n")
    assert built.good("run", "mkcdrom").tasks == {"ovl:b", "mkcdrom"}
    assert iso9660.names(built.iso) == ["00b.tar"]


def test_without_words_the_iso_goes(built: House) -> None:
    built.good("mkcdrom")
    assert not built.iso.exists()
    assert built.tar("a").exists()
    built.good("mkcdrom")


def test_label_and_cidata(house: House, tmp_path: Path) -> None:
    (tmp_path / "cidata").mkdir()
    (tmp_path / "cidata/user-data").write_text("#cloud-config\n")
    words = ("mkcdrom", "--label=my-label", f"--cidata={tmp_path}/cidata", "a")
    house.good(*words)
    assert iso9660.names(house.iso) == ["00a.tar", "user-data"]
    assert b"my-label" in house.iso.read_bytes()[0x8000:0x8800]
    assert house.good(*words).tasks == set()
    (tmp_path / "cidata/user-data").write_text("#cloud-config\n# more\n")
    assert house.good(*words).tasks == {"mkcdrom"}


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
def test_wrong_words(built: House, words: list[str], says: tuple[str, ...]) -> None:
    before = built.iso.read_bytes()
    built.bad("mkcdrom", *words, code=2, says=says)
    assert built.iso.read_bytes() == before


def test_a_directory_that_is_no_overlay(house: House, tmp_path: Path) -> None:
    house.bad("mkcdrom", str(tmp_path), code=2, says=("no overlay", "default/"))


def test_tar_script(house: House) -> None:
    house.write("ovl/s/tar", TAR_A, 0o755)
    house.write("ovl/s/files/one", "1\n")
    assert house.good("mkcdrom", "s").tasks == {"ovl:s", "mkcdrom"}
    assert tar_names(house.tar("s")) == ["files", "files/one"]
    assert house.good("mkcdrom", "s").tasks == set()
    house.write("ovl/s/files/two", "2\n")
    assert house.good("mkcdrom", "s").tasks == {"ovl:s", "mkcdrom"}


def test_tar_script_sees_the_chosen_environment(house: House) -> None:
    script = 'd=$(mktemp -d)\necho "$xcluster_X $XCLUSTER" >$d/x\ntar -C $d -cf $1 x\nrm -r $d\n'
    house.write("ovl/s/tar", f"#!/bin/sh\n{script}", 0o755)
    house.good("mkcdrom", "s", env={"xcluster_X": "one"})
    assert house.good("mkcdrom", "s", env={"xcluster_X": "one"}).tasks == set()
    assert house.good("mkcdrom", "s", env={"xcluster_X": "two"}).tasks == {"ovl:s", "mkcdrom"}
    with tarfile.open(house.tar("s")) as tar:
        member = tar.extractfile("x")
        assert member and member.read().decode().split() == ["two", str(house.root / "xc")]


BAD_SCRIPTS = {
    "fails": ("#!/bin/sh\necho it broke >&2\nexit 7\n", ("it broke", "exit code 7", "'s'")),
    "fails after writing": ("#!/bin/sh\ntar -cf $1 $0\nexit 1\n", ("exit code 1",)),
    "writes nothing": ("#!/bin/sh\necho just talk\n", ("wrote nothing", "just talk")),
    "empty tar": ("#!/bin/sh\ntar -cf $1 -T /dev/null\n", ("empty", "allow_empty")),
    "empty file": ("#!/bin/sh\n: >$1\n", ("empty",)),
    "empty directory": ("#!/bin/sh\nd=$(mktemp -d); tar -C $d -cf $1 .; rmdir $d\n", ("empty",)),
    "garbage": ("#!/bin/sh\necho garbage >$1\n", ("not a tar",)),
    "leads out": ("#!/bin/sh\ntar -P -cf $1 --transform 's,^,../,' $0\n", ("leads out",)),
    "absolute": ("#!/bin/sh\ntar -P -cf $1 /etc/hostname\n", ("leads out",)),
    "no interpreter": ("#!/nowhere/sh\n", ("ovl/s/tar",)),
    "no #! line": ("tar -cf $1 $0\n", ("ovl/s/tar",)),
}


@pytest.mark.parametrize("name", BAD_SCRIPTS)
def test_bad_tar_scripts(house: House, name: str) -> None:
    script, says = BAD_SCRIPTS[name]
    house.write("ovl/s/tar", script, 0o755)
    house.bad("mkcdrom", "s", code=1, says=says)
    assert not house.tar("s").exists()
    assert not house.iso.exists()
    assert temporary(house.workspace) == []


def test_tar_script_that_is_not_executable(house: House) -> None:
    house.write("ovl/s/tar", TAR_A)
    house.bad("mkcdrom", "s", code=1, says=("not executable", "chmod"))


def test_an_empty_tar_that_is_meant(house: House) -> None:
    house.write("ovl/s/ovl.yaml", "allow_empty: true\n")
    house.write("ovl/s/tar", "#!/bin/sh\ntar -cf $1 -T /dev/null\n", 0o755)
    house.good("mkcdrom", "s")
    assert tar_names(house.tar("s")) == []


def test_an_overlay_with_nothing_in_it(house: House) -> None:
    house.write("ovl/s/ovl.yaml", "summary: nothing\n")
    house.bad("mkcdrom", "s", code=1, says=("nothing in it", "default"))
    assert temporary(house.workspace) == []


def test_a_failure_leaves_the_good_iso(built: House) -> None:
    before = built.iso.read_bytes()
    built.write("ovl/a/tar", "#!/bin/sh\nexit 1\n", 0o755)
    built.bad("mkcdrom", "a", "b", code=1, says=("'a'",))
    assert built.iso.read_bytes() == before


SLOW = """#!/bin/sh
cd $(dirname $0)
tar -cf $1 tar
[ ! -e slow ] || { : >started; exec sleep 3; }
"""


def test_two_at_once_both_end_well(house: House) -> None:
    house.write("ovl/s/tar", SLOW.replace("sleep 3", "sleep 0.3"), 0o755)
    house.write("ovl/s/slow", "")
    both = [house.start("mkcdrom", "s", "a") for _ in range(2)]
    ends = [ended(process) for process in both]
    assert [ran.code for ran in ends] == [0, 0], [ran.err for ran in ends]
    assert iso9660.names(house.iso) == ["00s.tar", "01a.tar"]
    assert temporary(house.workspace) == []


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists(), process.stderr and process.poll() is not None and process.stderr.read()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_build_is_not_trusted(house: House, sign: signal.Signals) -> None:
    house.write("ovl/s/tar", SLOW, 0o755)
    slow = house.write("ovl/s/slow", "")
    house.good("ovl:b")
    process = house.start("mkcdrom", "b", "a", "s")
    wait_for(house.root / "ovl/s/started", process)
    process.send_signal(sign)
    assert ended(process).code != 0
    assert not house.tar("s").exists() and not house.iso.exists()
    slow.unlink()
    (house.root / "ovl/s/started").unlink()
    assert house.good("mkcdrom", "b", "a", "s").tasks - {"ovl:a"} == {"ovl:s", "mkcdrom"}
    assert iso9660.names(house.iso) == ["00b.tar", "01a.tar", "02s.tar"]
    assert temporary(house.workspace) == []


def test_an_interrupted_build_leaves_no_process(house: House) -> None:
    house.write("ovl/s/tar", SLOW.replace("sleep 3", "sleep 3.14"), 0o755)
    house.write("ovl/s/slow", "")
    process = house.start("mkcdrom", "s")
    wait_for(house.root / "ovl/s/started", process)
    process.terminate()
    ended(process)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x003.14\0" not in commands


def test_the_same_bytes_again(built: House) -> None:
    before = {**content(built.workspace / "ovl"), "iso": built.iso.read_bytes()}
    built.good("clean")
    mask = os.umask(0o077)
    try:
        touch(built)
        built.good("mkcdrom", "a", "b", env={"TZ": "Asia/Tokyo", "LC_ALL": "C"})
    finally:
        os.umask(mask)
    assert {**content(built.workspace / "ovl"), "iso": built.iso.read_bytes()} == before


def test_clean_leaves_nothing(built: House) -> None:
    built.good("clean")
    left = [str(path.relative_to(built.workspace)) for path in built.workspace.rglob("*") if path.is_file()]
    assert [name for name in left if not name.startswith(("doit.db", "cache/", "keys/"))] == []
    assert built.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}


def test_values_of_a_definition_count(built: House) -> None:
    built.write("ovl/a/ovl.yaml", "summary: another sentence\n")
    assert built.good("mkcdrom", "a", "b").tasks <= {"ovl:a"}
    built.write("ovl/a/ovl.yaml", "needs: [b]\n")
    built.good("mkcdrom", "a")
    assert iso9660.names(built.iso) == ["00b.tar", "01a.tar"]


def test_list_and_info_say_why(built: House) -> None:
    assert "mkcdrom" in built.good("list").out
    edit(built)
    assert "a.conf" in built.xc("info", "ovl:a").out
    built.bad("info", "ovl:none", code=2, says=("'ovl:none' is not a task",))
    built.bad("info", code=2, says=("*one* task",))


def test_a_reader_that_has_seen_enough(built: House) -> None:
    process = built.start("info", "ovl:a")
    assert process.stdout
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert said == ""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_does_not_forget_what_was_done(house: House, sign: signal.Signals) -> None:
    house.write("ovl/s/tar", SLOW, 0o755)
    house.write("ovl/s/slow", "")
    process = house.start("ovl:a", "ovl:s")
    wait_for(house.root / "ovl/s/started", process)
    process.send_signal(sign)
    ended(process)
    assert house.good("ovl:a").tasks == set()
