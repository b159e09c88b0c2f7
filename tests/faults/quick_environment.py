"""Rows: variables that other programs are set with, and what they must not do to what is built."""

from tests.faults.case import Bench, Case

SCRIPT = """#!/bin/bash
set -e
tmp=$(mktemp -d)
cd "$(dirname "$0")"
mkdir $tmp/etc
cat etc/t.conf | xz >$tmp/etc/t.xz
cat etc/t.conf | gzip -n | zstd -q >$tmp/etc/t.gz.zst
grep yes etc/t.conf >$tmp/etc/t.conf
echo "$NFQLB_DIR $__mine" >$tmp/etc/mine
tar -C $tmp -cf "$1" .
rm -rf $tmp
"""
SEEN = "$xc start --name=t-p --dry-run"  # its ports move where others have them
# The same three overlays twice, the second time with what stands for %s before it: the same bytes.
TWICE = """
iso() { $xc mkcdrom a b t && /usr/bin/sha256sum <workspace/iso/xcluster.iso; }
export NFQLB_DIR=/mine __mine=yes
a=$(iso) && $xc clean >&2 && b=$(%s; iso) && [ "$a" = "$b" ] && echo the same
tar -xOf workspace/ovl/t.tar ./etc/mine
"""


def _script(bench: Bench) -> None:
    bench.write("ovl/t/tar", SCRIPT, 0o755)
    bench.write("ovl/t/etc/t.conf", "yes\nno\n")
    bench.write("lib/bash", "echo from a file that is read first; exit 3\n")


def _same(name: str, hostile: str) -> Case:
    return Case(name, TWICE % hostile, prepare=_script, shows=("the same", "/mine yes"))


def _elsewhere(bench: Bench) -> None:
    """Overlays in a directory of their own: one of them asks for another one from where it is."""
    bench.write("more/far/default/etc/far", "far\n")
    bench.write(
        "more/near/tar", '#!/bin/sh\ncd / && cd "$($XCLUSTER ovld far)/default" && tar -cf $1 .\n', 0o755
    )
    bench.write("more/file", "")


CASES = [
    Case(
        "a relative directory of overlays",
        "export XCLUSTER_OVLPATH=more:ovl; $xc mkcdrom near a && $xc ovld far && $xc env",
        shows=("/more/far\n", "XCLUSTER_OVLPATH='/"),
        never=("warning",),
        prepare=_elsewhere,
        then="tar -tf workspace/ovl/near.tar | grep -q etc/far",
    ),
    *(
        Case(
            f"{what} among the directories of overlays",
            f"export XCLUSTER_OVLPATH={path}:ovl; $xc mkcdrom a && $xc ovl:a; $xc doctor; true",
            says=(f"warning: XCLUSTER_OVLPATH: {text}",),
            shows=(f"optional  overlays             XCLUSTER_OVLPATH: {text}",),
            prepare=_elsewhere,
        )
        for what, path, text in (
            ("one that is not there", "/no/such", "there is no directory /no/such"),
            ("a relative one that is not there", "no/such", "there is no directory /"),
            ("a file", "$root/more/file", "/"),
            ("an overlay", "$root/more/far", "/"),
        )
    ),
    Case(
        "no overlay, for a directory that is not there",
        "export XCLUSTER_OVLPATH=/no/such:ovl; $xc ovld x",
        1,
        ("ERROR: Ovl not found [x]; XCLUSTER_OVLPATH: there is no directory /no/such\n",),
    ),
    Case(
        "a directory of overlays that is made",
        "XCLUSTER_OVLPATH=new:ovl $xc mkovl x --template=a && ls new/x",
    ),
    Case(
        "a disk image that is not there",
        f"__image=/no/such/hd.img {SEEN}",
        says=("note: there is no file /no/such/hd.img (image); the image 'base' is used",),
    ),
    Case(
        "a disk image that is not there, with the name of no image",
        f"__image=/no/such/mine.img {SEEN}",
        2,
        ("unknown image 'mine'",),
        never=("is used",),
    ),
    Case(
        "a kernel of the user's by its path",
        f"__kbin=/boot/vmlinuz {SEEN}; eval $($xc env); export __kbin; {SEEN}",
        says=("note: the kernel /boot/vmlinuz (__kbin) is not used: a kernel is a file kernel/NAME.yaml",),
        never=("bzImage (__kbin)",),
    ),
    _same("tar's own options", "export TAR_OPTIONS='--exclude=* --owner=nobody'"),
    _same("compressors' options", "export XZ_DEFAULTS=-0 XZ_OPT=--check=none GZIP=-1 ZSTD_CLEVEL=19"),
    _same(
        "files that a shell reads first", "export BASH_ENV=$root/lib/bash ENV=$root/lib/bash CDPATH=/usr:/"
    ),
    _same("functions that a shell exports", "tar() { false; }; grep() { false; }; export -f tar grep"),
    _same(
        "how programs of GNU behave, languages and time zones",
        "export POSIXLY_CORRECT=1 GREP_OPTIONS=-v LANG=de_DE LC_ALL=tr_TR LANGUAGE=de TZ=Pacific/Kiritimati",
    ),
    _same("a library for everything", "export LD_PRELOAD=/nonexistent/x.so"),
    _same("a umask that leaves nothing, and no TMPDIR", "umask 0777; export TMPDIR=/nonexistent"),
    _same("no PATH", "PATH="),
    Case(
        "the time of everything is the user's",
        "SOURCE_DATE_EPOCH=86400 $xc mkcdrom a && tar --utc --full-time -tvf workspace/ovl/a.tar",
        shows=("1970-01-02 00:00:00",),
    ),
]
