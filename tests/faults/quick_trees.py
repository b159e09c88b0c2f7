"""Rows: trees, archives and names that lead out of the workspace, or that cannot be packed as they are."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable

from tests.faults.case import Bench, Case

OUT = "00e.tar"
NOBODY = "HOME=/nonexistent setpriv --reuid=65534 --regid=65534 --clear-groups"


def overlay(files: dict[str, str], links: dict[str, str] | None = None) -> Callable[[Bench], None]:
    """An overlay `e` with these files and links; {outside} in a link is the directory beside the checkout."""

    def prepare(bench: Bench) -> None:
        bench.write("ovl/e/ovl.yaml", files.get("ovl.yaml", "summary: e\n"))
        for path, text in files.items():
            bench.write(f"ovl/e/{path}", text)
        for path, target in (links or {}).items():
            link = bench.root / "ovl/e" / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target.format(outside=bench.outside))

    return prepare


def script(text: str, name: str = "e") -> Callable[[Bench], None]:
    """An overlay whose content a `tar` script makes, from files beside it if it likes."""

    def prepare(bench: Bench) -> None:
        bench.write(f"ovl/{name}/tar", f"#!/bin/sh\ncd $(dirname $0)\n{text}\n", 0o755)

    return prepare


def names(bench: Bench, key: str = "e") -> list[str]:
    """What is in the overlay's tar."""
    with tarfile.open(bench.checkout.tar(key)) as tar:
        return tar.getnames()


def has(*paths: str, key: str = "e") -> Callable[[Bench], None]:
    """The overlay's tar has these paths; {outside} is the directory beside the checkout."""

    def left(bench: Bench) -> None:
        places = [path.format(outside=str(bench.outside).lstrip("/")) for path in paths]
        there = names(bench, key)
        assert [place for place in places if place not in there] == [], there

    return left


def modes(expected: dict[str, int]) -> Callable[[Bench], None]:
    """The modes of what is in the overlay's tar."""

    def left(bench: Bench) -> None:
        with tarfile.open(bench.checkout.tar("e")) as tar:
            assert {member.name: member.mode for member in tar if member.name in expected} == expected

    return left


def reads(path: str, content: bytes) -> Callable[[Bench], None]:
    """The overlay's tar has a regular file with this content, as another program reads it."""

    def left(bench: Bench) -> None:
        tar = bench.checkout.tar("e")
        assert subprocess.run(["tar", "-xOf", str(tar), path], capture_output=True).stdout == content

    return left


SPARSE = b"x" * 5000 + bytes(3 << 20) + b"y" * 3 + bytes(1 << 20)


def sparse(options: str) -> Case:
    """A `tar` script that stores holes as holes."""

    def prepare(bench: Bench) -> None:
        path = bench.write("ovl/e/big", b"")
        with path.open("wb") as file:
            file.write(SPARSE[:5000])
            file.seek((3 << 20) + 5000)
            file.write(b"yyy")
            file.truncate(len(SPARSE))
        script(f"tar -S {options} -cf $1 big")(bench)

    return Case(f"a sparse member: {options}", "$xc mkcdrom e", prepare=prepare, left=reads("big", SPARSE))


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **facts: object
) -> tarfile.TarInfo:
    """An entry of an archive, with anything set that a tar can say."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, len(content)
    for key, value in facts.items():
        setattr(entry, key, value)
    return entry


def archive(*entries: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> Callable[[Bench], None]:
    """A `tar` script that hands out an archive with these entries."""

    def prepare(bench: Bench) -> None:
        with tarfile.open(bench.root / "in.tar", "w", format=form) as tar:
            for entry in entries:
                entry.linkname = entry.linkname.format(outside=bench.outside)
                tar.addfile(entry, io.BytesIO(b"x" * entry.size))
        script("cat ../../in.tar >$1")(bench)

    return prepare


def cidata(*files: str, links: dict[str, str] | None = None) -> Callable[[Bench], None]:
    """A directory for --cidata."""

    def prepare(bench: Bench) -> None:
        (bench.root / "c").mkdir()
        for name in files:
            bench.write(f"c/{name}", f"content of {name[:50]}\n".encode("utf-8", "surrogateescape"))
        for name, target in (links or {}).items():
            (bench.root / "c" / name).symlink_to(target)

    return prepare


def on_iso(*expected: str) -> Callable[[Bench], None]:
    """Another program finds these files on the ISO, with their names and content."""

    def left(bench: Bench) -> None:
        target = bench.root / "seen"
        command = [
            "xorriso",
            "-osirrox",
            "on",
            "-indev",
            str(bench.checkout.iso),
            "-extract",
            "/",
            str(target),
        ]
        subprocess.run(command, check=True, capture_output=True)
        assert sorted(os.listdir(target)) == sorted(expected)
        for name in expected:
            if not name.endswith(".tar"):
                assert (target / name).read_text() == f"content of {name[:50]}\n"

    return left


def unreadable(path: str, mode: int = 0) -> Callable[[Bench], None]:
    """An overlay `e` of which somebody else may not read a part; anybody may write the workspace."""

    def prepare(bench: Bench) -> None:
        overlay({"default/d/f": "1\n", "default/ok": "1\n"})(bench)
        (bench.root / "ovl/e" / path).chmod(mode)
        bench.workspace.mkdir(mode=0o777)
        bench.workspace.chmod(0o777)
        bench.root.chmod(0o755)
        for parent in bench.root.parents:
            if parent.stat().st_mode & 0o011 != 0o011:
                parent.chmod(parent.stat().st_mode | 0o011)

    return prepare


def leaves_daemon(bench: Bench) -> None:
    """A `tar` script that starts something; nobody should have to wait for it."""
    script('sleep 30 & echo $! >"$XCLUSTER_WORKSPACE/pid"\ntar -C ../a/default -cf $1 .')(bench)


def end_daemon(bench: Bench) -> None:
    """It still runs, as its overlay wanted."""
    os.kill(int((bench.workspace / "pid").read_text()), 9)


def topology(bench: Bench) -> None:
    """A topology to draw."""
    nodes = "groups: {vm: {nodes: vm, links: [1], routes: []}}\n"
    bench.write("ovl/a/topology/t.yaml", f"summary: two nodes\nnets: {{1: cluster}}\n{nodes}")


def packages_beside_script(bench: Bench) -> None:
    """Packages that nobody would unpack."""
    script("tar -C ../a/default -cf $1 .")(bench)
    bench.write("ovl/e/ovl.yaml", "packages: [jq]\n")


LONG = "n" * 120
ISO = "$xc mkcdrom --cidata=c"
NO_PIPES = ("default/p", "pipes and devices")
BIND = "import socket; socket.socket(socket.AF_UNIX).bind('ovl/a/default/p')"
FIFO, CHR, DIR, SYM, LNK = (
    tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
)  # fmt: skip
SETUP_X = {"SETUP": "X"}

CASES = [
    # Links that lead out of a tree
    Case(
        "a variant's file below an absolute link",
        "$xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"X/data/f": "1\n"}, {"default/data": "{outside}"}),
        left=has("data", "{outside}/f", key="e@X"),
    ),
    Case(
        "a variant's file below a link with many ..",
        "$xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"X/a/data/f": "1\n"}, {"default/a/data": "../" * 30 + "{outside}"}),
        left=has("a/data", "{outside}/f", key="e@X"),
    ),
    Case(
        "a variant's link over a link",
        "$xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"default/ok": ""}, {"default/data": "{outside}", "X/data/l": "x"}),
        left=has("{outside}/l", key="e@X"),
    ),
    Case(
        "a variant's file over a link to a file of the host",
        "$xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"X/data": "1\n"}, {"default/data": "{outside}/canary"}),
        left=has("data", key="e@X"),
    ),
    Case(
        "a file below a link to a file of the host",
        "$xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"X/data/f": "1\n"}, {"default/data": "{outside}/canary"}),
        left=has("{outside}/canary/f", key="e@X"),
    ),
    Case(
        "a file below a link to itself",
        "$xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"X/data/f": "1\n"}, {"default/data": "data"}),
        left=has("data/f", key="e@X"),
    ),
    Case(
        "a sticky directory over an absolute link",
        "chmod 1777 ovl/e/X/data; $xc mkcdrom e",
        env=SETUP_X,
        prepare=overlay({"X/data/f": "1\n"}, {"default/data": "{outside}"}),
        left=lambda bench: _same_mode(bench),
    ),
    Case(
        "an artifact below an absolute link",
        "$xc mkcdrom e",
        prepare=overlay(
            {
                "ovl.yaml": "artifacts: [{name: t, dest: data/f, sources: [{file: t}]}, "
                "{name: u, dest: /data/canary, sources: [{file: t}]}]\n",
                "t": "1\n",
            },
            {"default/data": "{outside}"},
        ),
        left=has("{outside}/f", "{outside}/canary"),
    ),
    Case(
        "an artifact with .. in its dest",
        "$xc mkcdrom e",
        prepare=overlay(
            {
                "ovl.yaml": "artifacts: [{name: t, dest: ../../../../../../../f, sources: [{file: t}]}]\n",
                "t": "1\n",
            }
        ),
        left=has("f"),
    ),
    Case(
        "a topology of an overlay below an absolute link",
        "$xc mkcdrom e",
        prepare=overlay({}, {"default/usr/lib": "{outside}", "X/usr/lib/network-topology/x.sh": "/x"}),
        env=SETUP_X,
        left=has("{outside}/network-topology/x.sh", key="e@X"),
    ),
    Case(
        "a template with a link",
        "$xc mkovl new --template=e",
        prepare=overlay({"ovl.yaml": "summary: e\n", "default/f": "1\n"}, {"default/l": "{outside}/canary"}),
    ),
    Case(
        "a container image of a directory with links",
        "$xc images mkimage --tag=x:1 ovl/e/default",
        prepare=overlay({"default/f": "1\n"}, {"default/l": "{outside}", "default/m": "/"}),
    ),
    # Archives of tar scripts
    sparse("--format=gnu"),
    sparse("--format=posix --sparse-version=0.0"),
    sparse("--format=posix --sparse-version=0.1"),
    sparse("--format=posix --sparse-version=1.0"),
    sparse("--format=gnu -z"),
    Case(
        "a name that leads out of an archive", "$xc mkcdrom e", 1, ("leads out of the tree",),
        prepare=archive(member("a/../../f")),
    ),
    Case(
        "an absolute name in an archive", "$xc mkcdrom e", 1, ("hint: ", "without -P"),
        prepare=archive(member("/etc/f")),
    ),
    Case(
        "a tar file with absolute names", "tar -Pcf abs.tar $root/ovl/a; $xc mkcdrom ./abs.tar", 1,
        ("the path /", "hint: write the tar without absolute paths", "tar -C DIR"),
    ),
    Case(
        "a hard link out of an archive", "$xc mkcdrom e", 1, ("leads out of the tree",),
        prepare=archive(member("h", LNK, linkname="{outside}/canary")),
    ),
    Case(
        "bits, pipes and devices in an archive",
        "$xc mkcdrom e",
        prepare=archive(
            member("su", mode=0o4755), member("sg", mode=0o2711), member("t", DIR, mode=0o1777),
            member("p", FIFO, mode=0o622), member("n", CHR, mode=0o666, devmajor=1, devminor=3),
        ),
        left=modes({"su": 0o4755, "sg": 0o2711, "t": 0o1777, "p": 0o622, "n": 0o666}),
    ),
    Case(
        "long names in an archive", "$xc mkcdrom e", prepare=archive(member(f"{LONG}/{LONG}/{LONG}/f")),
        left=has(f"{LONG}/{LONG}/{LONG}/f"),
    ),
    Case(
        "a name in an archive that no file can have", "$xc mkcdrom e", 1, ("cannot be the name of a file",),
        prepare=archive(member("n" * 256)),
    ),
    Case(
        "a link in an archive to nothing", "$xc mkcdrom e", 1, ("symbolic link to nothing",),
        prepare=archive(member("l", SYM)),
    ),
    Case(
        "names in an archive that are not UTF-8", "$xc mkcdrom e",
        prepare=archive(member(os.fsdecode(b"a\xff\xfe")), form=tarfile.GNU_FORMAT),
        left=has(os.fsdecode(b"a\xff\xfe")),
    ),
    Case(
        "a newline and a backslash in names of an archive", "$xc mkcdrom e",
        prepare=archive(member("a\nb"), member("a\\b"), member("-rf"), member("a;b c")),
        left=has("a\nb", "a\\b", "-rf", "a;b c"),
    ),
    Case(
        "times and owners in an archive that do not fit", "$xc mkcdrom e",
        prepare=archive(
            member("old", mtime=-100000), member("new", mtime=2**33), member("uid", uid=2**31, gid=70000),
            member("named", uname="ü" * 40),
        ),
        left=has("old", "new", "uid", "named"),
    ),
    Case(
        "entries that are there twice, as file and as directory", "$xc mkcdrom e",
        prepare=archive(
            member("a", content=b"1"), member("a", DIR), member("a/f"), member("f", content=b"1"),
            member("f", content=b"22"),
        ),
        left=has("a/f", "f"),
    ),
    Case(
        "a label and a global header in an archive", "$xc mkcdrom e",
        prepare=script("tar --label=x -C ../a/default -H gnu -cf l.tar etc; cat l.tar >$1; rm l.tar"),
        left=has("etc/a.conf"),
    ),
    Case(
        "a pax archive with comments and global headers", "$xc mkcdrom e",
        prepare=script("tar --format=pax --pax-option=comment=c,exthdr.name=x -C ../a/default -cf $1 etc"),
        left=has("etc/a.conf"),
    ),
    Case(
        "an incremental archive", "$xc mkcdrom e", 1, ("of a kind that guests cannot unpack",),
        prepare=script("tar -C ../a/default -g $1.list --format=gnu -cf $1 etc; rm $1.list"),
    ),
    Case(
        "a tar script that leaves a daemon behind", "$xc mkcdrom e", prepare=leaves_daemon, left=end_daemon,
        seconds=20,
    ),
    Case(
        "packages beside a tar script", "$xc mkcdrom e", 2, ("ovl/e/ovl.yaml", "'packages'", "tar", "needs"),
        prepare=packages_beside_script,
    ),
    # Trees that cannot be packed as they are
    Case(
        "a directory that cannot be read", f"{NOBODY} $xc mkcdrom e", 1,
        ("default/d cannot be read", "chmod"),
        never=("XCLUSTER_WORKSPACE",), prepare=unreadable("default/d"), left=lambda b: _open(b, "default/d"),
    ),
    Case(
        "a directory that cannot be entered", f"{NOBODY} $xc mkcdrom e", 1, ("cannot be read",),
        prepare=unreadable("default/d", 0o744), left=lambda b: _open(b, "default/d"),
    ),
    Case(
        "a file that cannot be read", f"{NOBODY} $xc mkcdrom e", 1, ("default/ok cannot be read",),
        never=("XCLUSTER_WORKSPACE",), prepare=unreadable("default/ok"),
    ),
    Case(
        "a file that cannot be read any more",
        f"{NOBODY} $xc mkcdrom e && cd ovl/e/default && chmod 0 ok && touch -d yesterday ok; cd ../../..; "
        f"{NOBODY} $xc mkcdrom e",
        1, ("default/ok cannot be read",), prepare=unreadable("default/ok", 0o644),
    ),
    Case(
        "an unreadable directory of another overlay", f"{NOBODY} $xc mkcdrom a",
        prepare=unreadable("default/d", 0o744), left=lambda b: _open(b, "default/d"),
    ),
    Case(
        "a pipe in a tree", "mkfifo ovl/a/default/p; $xc mkcdrom a", 1, NO_PIPES,
    ),
    Case(
        "a device in a tree", "mknod ovl/a/default/p c 1 3; $xc mkcdrom a", 1, NO_PIPES,
    ),
    Case(
        "a socket in a tree",
        f'python3 -c "{BIND}"; $xc mkcdrom a', 1, NO_PIPES,
    ),
    Case(
        "bits and hard links of a tree",
        "cd ovl/e/default; chmod 4755 su; chmod 2755 sg; chmod 1777 t; ln su su2; cd ../../..; $xc mkcdrom e",
        prepare=overlay({"default/su": "1\n", "default/sg": "1\n", "default/t/f": "1\n"}),
        left=modes({"su": 0o4755, "su2": 0o4755, "sg": 0o2755, "t": 0o1777}),
    ),
    Case(
        "odd names and times in a tree",
        "cd ovl/e/default; touch $'a\\nb' 'a\\b' -- -rf $'\\xff' 'a;b'; touch -d 1900-01-01 old; "
        "touch -d 2200-01-01 new; cd ../../..; $xc mkcdrom e",
        prepare=overlay({"default/f": "1\n"}),
        left=has("a\nb", "a\\b", "-rf", os.fsdecode(b"\xff"), "a;b", "old", "new"),
    ),
    Case(
        "a file of holes in a tree", "truncate -s 400M ovl/e/default/big; $xc ovl:e",
        prepare=overlay({"default/f": "1\n"}), left=lambda bench: _takes_no_room(bench),
    ),
    # What is on an ISO beside overlays
    Case(
        "cidata: two names with the same end", ISO,
        prepare=cidata("a" + "x" * 64, "b" + "x" * 64), left=on_iso("a" + "x" * 64, "b" + "x" * 64),
    ),
    Case("cidata: a long name", ISO, prepare=cidata("n" * 208), left=on_iso("n" * 208)),
    Case("cidata: the longest name", ISO, prepare=cidata("n" * 255), left=on_iso("n" * 255)),
    Case(
        "cidata: signs of other alphabets", ISO, prepare=cidata("äöü", "日本", "😀" * 60),
        left=on_iso("äöü", "日本", "😀" * 60),
    ),
    Case(
        "cidata: a semicolon, a newline and others", ISO,
        prepare=cidata("a;b", "a\nb", "a:b?*", "a b", "-x", ".hidden", "a\\b"),
        left=on_iso("a;b", "a\nb", "a:b?*", "a b", "-x", ".hidden", "a\\b"),
    ),
    Case("cidata: big and small letters", ISO, prepare=cidata("a", "A"), left=on_iso("a", "A")),
    Case(
        "cidata: a name that is not UTF-8", ISO, 1, ("not UTF-8",),
        prepare=cidata(os.fsdecode(b"a\xff")),
    ),
    Case(
        "cidata: a file called script", ISO, prepare=cidata("script"), left=on_iso("script")
    ),
    Case(
        "cidata: a file called script beside --script", "$xc mkcdrom --cidata=c --script=ovl/a/ovl.yaml", 2,
        ("it has a file 'script'",), prepare=cidata("script"),
    ),
    Case(
        "cidata: a file called as an overlay's tar", "$xc mkcdrom a --cidata=c", 1, ("called 00a.tar",),
        prepare=cidata("00a.tar"),
    ),
    Case(
        "cidata: a link that leads nowhere", ISO, 2, ("x is a link to nowhere",),
        prepare=cidata("a", links={"x": "nowhere"}),
    ),
    Case(
        "cidata: a link to a file", f"{ISO} && rm c/a && echo content of b >b && ln -sf ../b c/b && {ISO}",
        prepare=cidata("a", links={"b": "a"}), left=on_iso("b"),
    ),
    Case(
        "cidata: a link to a directory", ISO, 2, ("x is a directory",),
        prepare=cidata("a", links={"x": "/etc"}),
    ),
    Case("cidata: an empty directory", ISO, 2, ("there is no file in",), prepare=cidata()),
    Case("cidata: a pipe", "mkfifo c/p; $xc mkcdrom --cidata=c", 2, ("p is none",), prepare=cidata("a")),
    Case(
        "a tar file with an odd name", "tar -C ovl/a/default -cf 'ü;x y.tar' .; $xc mkcdrom './ü;x y.tar'",
        left=on_iso("00ü;x y.tar"),
    ),
    # Files that the user names, outside of the workspace
    Case(
        "an export below a directory that is not there", "$xc cache export $root/new/dir/x.tar", 1,
        ("there is no directory", "make it first"), left=lambda bench: _absent(bench, "new"),
    ),
    Case("an export to a directory", "$xc cache export ovl", 1, ("it is a directory",)),
    Case(
        "an export to a link", "ln -s real x.tar; $xc cache export x.tar && test -L x.tar && tar -tf real",
        shows=("cache/contents.json",),
    ),
    Case(
        "an export to a pipe", "mkfifo p; tar -tf p & $xc cache export p && wait && test -p p",
        shows=("cache/contents.json",),
    ),
    Case(
        "an export to a device", "mknod null c 1 3; $xc cache export null && test -c null",
    ),
    Case(
        "a picture below a directory that is not there", "$xc graph t -o dot --file=new/dir/x.dot", 1,
        ("there is no directory",), prepare=topology, left=lambda bench: _absent(bench, "new"),
    ),
    Case(
        "a picture to a device",
        "mknod null c 1 3; $xc graph t -o dot --file=null && test -c null",
        prepare=topology
    ),
    # What is removed, and names that lead out
    Case(
        "prune of a cache whose entries are links",
        "$xc mkcdrom a && mkdir -p workspace/cache/sha256 workspace/cache/apt/old && "
        "ln -s $outside workspace/cache/sha256/$(printf 'a%.0s' $(seq 64)) && "
        "ln -s $outside workspace/cache/apt/x && "
        "$xc cache prune",
    ),
    Case(
        "clean of a workspace with links",
        "$xc mkcdrom a; ln -s $outside workspace/out; ln -s $outside workspace/ovl/out; "
        "ln -s $outside workspace/kbuild; "
        "$xc clean",
    ),
    Case(
        "clean of a link in a directory that is cleaned",
        "mkdir -p workspace/x/y; ln -s $outside workspace/x/y/l; $xc clean",
    ),
    Case("a name of a cluster that leads out", "$xc stop --name=../../x", 2, ("expected a name",)),
    Case("a name of an ISO that leads out", "$xc mkcdrom a --name=../x", 2, ("expected a name",)),
    Case("a name of a checkpoint that leads out", "$xc checkpoint rm ../..", 2, ("cannot be the name",)),
    Case("a new overlay that leads out", "$xc mkovl ../x --template=a", 2, ("cannot be the name",)),
    Case(
        "a container image that leads out",
        "$xc images mkimage --tag=../x:1 ovl/a/default",
        2, ("no image name",),
    ),
    Case("an overlay's task that leads out", "$xc ovl:../a", 2, ("unknown task",)),
    Case("a namespace that leads out", "$xc nsadd ../x", 2, ("a namespace has a number",)),
    Case(
        "an artifact whose name leads out", "$xc mkcdrom e", 2, ("ovl/e/ovl.yaml",),
        prepare=overlay({"ovl.yaml": "artifacts: [{name: ../../x, dest: f, sources: [{file: t}]}]\n",
        "t": "1\n"}),
    ),
    Case(
        "an overlay called with an option's dash", "$xc mkcdrom ./-v", 2, ("expected a name",),
        prepare=lambda bench: _write(bench, "-v/default/f"),
    ),
]  # fmt: skip


def _same_mode(bench: Bench) -> None:
    assert bench.outside.stat().st_mode & 0o7777 == 0o755
    has("{outside}/f", key="e@X")(bench)


def _open(bench: Bench, path: str) -> None:
    (bench.root / "ovl/e" / path).chmod(0o755)


def _takes_no_room(bench: Bench) -> None:
    info = bench.checkout.tar("e").stat()
    assert info.st_size > 400 << 20 and info.st_blocks * 512 < 64 << 20


def _absent(bench: Bench, path: str) -> None:
    assert not (bench.root / path).exists()


def _write(bench: Bench, path: str) -> None:
    bench.write(path, "1\n")
