"""Files that are compressed in all the ways that are met; what other programs write, and damage."""

import bz2
import gzip
import lzma
import struct
import subprocess
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.formats import archive, compressed, decompress
from tests.containers import tar

DATA = b"".join(b"line %d\n" % number for number in range(40_000))
HALF = len(DATA) // 2


def zstd(data: bytes, *words: str) -> bytes:
    """What the program makes of it."""
    return bytes(subprocess.run(["zstd", "-q", "-c", *words], input=data, stdout=-1, check=True).stdout)


SKIPPED = struct.pack("<II", 0x184D2A5F, 5) + b"table"
GOOD = {
    "plain": DATA,
    "gzip": gzip.compress(DATA),
    "gzip of two members": gzip.compress(DATA[:HALF]) + gzip.compress(DATA[HALF:]),
    "gzip of an empty member first": gzip.compress(b"") + gzip.compress(DATA),
    "gzip with zeros between": gzip.compress(DATA[:HALF]) + bytes(700_000) + gzip.compress(DATA[HALF:]),
    "gzip with zeros behind": gzip.compress(DATA) + bytes(512),
    "gzip with garbage behind": gzip.compress(DATA) + b"signature",
    "gzip with a byte behind": gzip.compress(DATA) + b"\x1f",
    "bzip2": bz2.compress(DATA),
    "bzip2 of two streams": bz2.compress(DATA[:HALF]) + bz2.compress(DATA[HALF:]),
    "xz": lzma.compress(DATA),
    "xz with padding": lzma.compress(DATA[:HALF]) + bytes(8) + lzma.compress(DATA[HALF:]) + bytes(4),
    "zstd": zstd(DATA),
    "zstd of two frames": zstd(DATA[:HALF]) + zstd(DATA[HALF:]),
    "zstd with a frame to skip first": SKIPPED + zstd(DATA),
    "zstd with frames to skip": zstd(DATA[:HALF]) + SKIPPED + zstd(DATA[HALF:]) + SKIPPED,
    "zstd with a long window": zstd(DATA, "--ultra", "--long=31"),
}  # fmt: skip
DAMAGED = {
    "gzip cut short": gzip.compress(DATA)[:-3],
    "gzip whose second member is cut short": gzip.compress(DATA) + gzip.compress(DATA)[:-3],
    "gzip with a wrong checksum": gzip.compress(DATA)[:-8] + bytes(8),
    "bzip2 cut short": bz2.compress(DATA)[:-3],
    "bzip2 with other bytes": bz2.compress(DATA)[:40] + bytes(99),
    "xz cut short": lzma.compress(DATA)[:-3],
    "zstd cut short": zstd(DATA)[:-3],
    "zstd with garbage behind": zstd(DATA) + b"signature",
}


@pytest.mark.parametrize("how", GOOD)
def test_it_is_read_to_its_end(tmp_path: Path, how: str) -> None:
    (tmp_path / "file").write_bytes(GOOD[how])
    with compressed.opened(tmp_path / "file") as file:
        assert file.read() == DATA
    with compressed.opened(tmp_path / "file") as file:
        assert file.read(10) == DATA[:10]


@pytest.mark.parametrize("how", DAMAGED)
def test_damage_is_one_of_a_few_errors(tmp_path: Path, how: str) -> None:
    (tmp_path / "file").write_bytes(DAMAGED[how])
    with pytest.raises(compressed.DAMAGED), compressed.opened(tmp_path / "file") as file:
        while file.read(1 << 16):
            pass


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz", "zstd"])
def test_an_archive_may_be_packed_in_each_way(tmp_path: Path, how: str) -> None:
    data = tar(("bin/x", "program"))
    packers = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}
    (tmp_path / "file").write_bytes(packers[how](data))  # type: ignore[operator]
    archive.extract(tmp_path / "file", "bin/x", tmp_path / "x", "it")
    assert (tmp_path / "x").read_text() == "program"
    (tmp_path / "cut").write_bytes(packers[how](data)[:40])  # type: ignore[operator]
    with pytest.raises(UserError, match="damaged"):
        archive.extract(tmp_path / "cut", "bin/x", tmp_path / "x", "it")


@pytest.mark.parametrize(
    "head",
    [
        b"BZhave a nice day",
        b"]\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x50\x2a\x4d\x19" + bytes(20),
        b"\xeb\x63\x90" + bytes(20),
    ],
)
def test_what_only_looks_so_is_plain(head: bytes) -> None:
    assert decompress.program(head) is None
