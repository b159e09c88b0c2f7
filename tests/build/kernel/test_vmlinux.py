"""The ELF file inside a bzImage, made by hand."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable

import lz4.block
import pytest

from tasks.base.errors import UserError
from tasks.build.kernel import vmlinux

ELF = b"\x7fELF" + bytes(range(256)) * 100 + struct.pack("<III", 4, 8, 18) + b"Xen\0" + b"\0" * 5000


def bzimage(payload: bytes, sectors: int = 4, version: int = 0x20F) -> bytes:
    """A boot sector, set-up code, and the payload somewhere in the protected-mode part."""
    head = bytearray((sectors + 1) * 512)
    head[0x1F1] = sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 100, len(payload))
    return bytes(head) + b"\x90" * 100 + payload + b"tail"


def lz4_legacy(data: bytes) -> bytes:
    """As the kernel's build does: 8 MiB blocks, and the size of the whole at the end."""
    blocks = [
        lz4.block.compress(data[at : at + (8 << 20)], store_size=False) for at in range(0, len(data), 8 << 20)
    ]
    size = struct.pack("<I", len(data))
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks) + size


FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "lz4": lz4_legacy,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rest", [b"", b"\x10\x20\x30\x00"])
def test_formats(name: str, rest: bytes) -> None:
    """With and without the four bytes of the size that the kernel's build appends."""
    assert vmlinux.extract(bzimage(FORMATS[name](ELF) + rest)) == ELF


def test_more_than_one_block() -> None:
    large = ELF + bytes(9 << 20)
    assert vmlinux.extract(bzimage(lz4_legacy(large))) == large


@pytest.mark.parametrize("sectors", [1, 31])
def test_other_set_up_sizes(sectors: int) -> None:
    assert vmlinux.extract(bzimage(gzip.compress(ELF), sectors)) == ELF


def test_what_cannot_be_undone_is_none() -> None:
    assert vmlinux.extract(bzimage(b"\x28\xb5\x2f\xfd a zstd frame")) is None
    assert vmlinux.extract(bzimage(gzip.compress(b"no ELF"))) is None
    assert vmlinux.extract(bzimage(gzip.compress(ELF.replace(b"Xen\0", b"Yen\0")))) is None


@pytest.mark.parametrize("image", [b"", b"garbage" * 1000, bytes(4096), bzimage(b"", version=0x207), ELF])
def test_garbage(image: bytes) -> None:
    with pytest.raises(UserError, match="bzImage"):
        vmlinux.extract(image)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_payload(name: str) -> None:
    """Never a part of the ELF file, and no traceback."""
    whole = FORMATS[name](ELF)
    for payload in (whole[: len(whole) // 2], whole[:20] + bytes(len(whole) - 20)):
        try:
            assert vmlinux.extract(bzimage(payload)) is None
        except UserError:
            pass


@pytest.mark.parametrize("length", [0x208, 0x210, 0x24A])
def test_a_truncated_header(length: int) -> None:
    with pytest.raises(UserError):
        vmlinux.extract(bzimage(b"")[:length])
