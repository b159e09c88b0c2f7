"""The cpio archive of an initramfs."""

import subprocess
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.formats import cpio
from tasks.formats.cpio import CHAR, LINK, Entry

ENTRIES = [
    Entry("init", 0o100755, b"#!/bin/sh\n"),
    Entry("usr/lib/x", content=b"odd", mode=0o100644),
    Entry("bin/sh", LINK, b"busybox"),
    Entry("dev/console", CHAR, device=(5, 1)),
    Entry("empty", 0o100644),
    Entry("root"),
]


def test_cpio_reads_it(tmp_path: Path) -> None:
    if not proc.find("cpio"):
        pytest.skip("cpio is not installed")
    cpio.write(tmp_path / "x.cpio", ENTRIES)
    with (tmp_path / "x.cpio").open("rb") as file:
        listing = subprocess.run(
            ["cpio", "-tvn", "--quiet"], stdin=file, check=True, capture_output=True, text=True
        ).stdout
    lines = {line.split()[-3 if "->" in line else -1]: line for line in listing.splitlines()}
    assert list(lines) == [
        "bin",
        "bin/sh",
        "dev",
        "dev/console",
        "empty",
        "init",
        "root",
        "usr",
        "usr/lib",
        "usr/lib/x",
    ]
    assert lines["init"].startswith("-rwxr-xr-x") and lines["usr"].startswith("drwxr-xr-x")
    assert lines["bin/sh"].endswith("-> busybox")
    assert lines["dev/console"].startswith("crw-------") and "5,   1" in lines["dev/console"]


def test_content_comes_back(tmp_path: Path) -> None:
    if not proc.find("cpio"):
        pytest.skip("cpio is not installed")
    cpio.write(tmp_path / "x.cpio", [entry for entry in ENTRIES if entry.mode != CHAR])
    with (tmp_path / "x.cpio").open("rb") as file:
        subprocess.run(["cpio", "-id", "--quiet"], stdin=file, check=True, cwd=tmp_path)
    assert (tmp_path / "usr/lib/x").read_bytes() == b"odd"
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").stat().st_size == 0


def test_order_does_not_count(tmp_path: Path) -> None:
    cpio.write(tmp_path / "1", ENTRIES)
    cpio.write(tmp_path / "2", reversed(ENTRIES))
    data = (tmp_path / "1").read_bytes()
    assert data == (tmp_path / "2").read_bytes()
    assert len(data) % 4 == 0 and data.count(b"TRAILER!!!") == 1
