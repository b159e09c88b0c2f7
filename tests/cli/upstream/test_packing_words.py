"""collect_tar, cat_tar, cpio_list: overlays packed for something else than a cluster's ISO."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cli.upstream.conftest import Upstream
from tests.conftest import ROOT

GEN_INIT_CPIO = ROOT / "workspace/kbuild/small/source/usr/gen_init_cpio.c"


def test_tars_as_mkcdrom_packs_them(upstream: Upstream) -> None:
    upstream.write("ovl/second/ovl.yaml", "needs: [mine]\n", 0o644)
    upstream.write("ovl/second/default/etc/second", "2\n", 0o644)
    upstream.good("tar -C ovl/mine/default -cf plain.tar etc")
    out = upstream.good("$XCLUSTER collect_tar --dest=out second ./plain.tar second")
    names = ["00mine.tar", "01second.tar", "02plain.tar"]
    assert out.split() == names and sorted(os.listdir(upstream.root / "out")) == names
    with tarfile.open(upstream.root / "out/01second.tar") as tar:
        assert "etc/second" in tar.getnames()
    upstream.good("XOVLS=mine $XCLUSTER collect_tar --dest=more ovl/second/")
    assert len(os.listdir(upstream.root / "more")) == 2
    iso = upstream.workspace / "iso"
    assert [path.name for path in iso.iterdir() if path.suffix in (".iso", ".json")] == []


def test_all_overlays_as_one_tar(upstream: Upstream) -> None:
    upstream.write("ovl/second/default/etc/second", "2\n", 0o644)
    upstream.good("$XCLUSTER cat_tar mine second >all.tar")
    with tarfile.open(fileobj=io.BytesIO((upstream.root / "all.tar").read_bytes())) as tar:
        assert [name for name in tar.getnames() if "etc/" in name] == ["etc/mine", "etc/second"]
    upstream.good("mkdir root; tar -C root -xf all.tar")
    assert (upstream.root / "root/etc/second").read_text() == "2\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("collect_tar mine", "No --dest"), ("collect_tar --dest=d", "No ovls"), ("cat_tar", "No ovls"),
        ("cat_tar no-such", "ERROR: Ovl not found [no-such]"), ("cpio_list", "No dir"),
        ("cpio_list /no", "Not a directory [/no]"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed(upstream: Upstream, words: str, says: str) -> None:
    upstream.bad(f"$XCLUSTER {words}", says)


@pytest.mark.parametrize(
    ("word", "usage"),
    [
        ("collect_tar --dest=out", "xc collect_tar --dest=DIR OVL|DIR|TARFILE..."),
        ("cat_tar", "xc cat_tar OVL|DIR|TARFILE..."),
    ],
)
def test_a_word_tells_of_itself_and_not_of_what_it_comes_to(
    upstream: Upstream, word: str, usage: str
) -> None:
    name = word.split()[0]
    for wrong in ("./no-such", "mine --x=./y"):
        error = upstream.bad(f"$XCLUSTER {word} {wrong}", f"error: {name}: ")
        assert f"hint: {usage}\n" in error and "mkcdrom" not in error, error
    said = upstream.good(f"$XCLUSTER {word} mine 2>&1 >all.tar")
    assert name in said and "mkcdrom [" not in said and "overlay ISO" not in said, said


def tree(root: Path) -> None:
    (root / "bin").mkdir(parents=True)
    (root / "bin/run").write_text("#!/bin/sh\n")
    (root / "bin/run").chmod(0o700)
    (root / "conf").write_text("x\n")
    (root / "conf").chmod(0o644)
    (root / "link").symlink_to("bin/run")
    os.mkfifo(root / "queue", 0o600)


@pytest.mark.parametrize("word", ["cpio_list", "emit_cpio_list"])
def test_a_list_for_gen_init_cpio(upstream: Upstream, word: str) -> None:
    place = upstream.root / "fs"
    tree(place)
    text = upstream.good(f"$XCLUSTER {word} fs")
    assert text.splitlines() == [
        "dir /bin 0755 0 0",
        f"file /bin/run {place}/bin/run 0755 0 0",
        f"file /conf {place}/conf 0544 0 0",
        "slink /link bin/run 0777 0 0",
        "pipe /queue 0600 0 0",
    ]
    upstream.write("odd/a b", "")
    upstream.bad(f"$XCLUSTER {word} odd", "takes no name with a space")
    if GEN_INIT_CPIO.is_file():
        (upstream.root / "list").write_text(text)
        upstream.good(f"gcc -o gen {GEN_INIT_CPIO} && ./gen list >fs.cpio")
        listing = subprocess.run(
            ["cpio", "-t"], stdin=(upstream.root / "fs.cpio").open(), capture_output=True, text=True
        )
        # The kernel's program leaves out the slash that a name begins with.
        assert listing.stdout.split() == ["bin", "bin/run", "conf", "link", "queue"]
