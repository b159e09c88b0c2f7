"""The ELF inside a bzImage. QEMU starts it by PVH, which saves a guest the decompression.

Layout: kernel's Documentation/arch/x86/boot.rst, fields payload_offset and payload_length (protocol 2.08).
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable

from tasks.base.errors import UserError


def _lz4(data: bytes) -> bytes:
    """LZ4's legacy frame, as kernels use it: after the magic, blocks of up to 8 MiB with their lengths."""
    import lz4.block

    out, at = [], 4
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        if length == 0 or at + 4 + length > len(data):
            break
        try:
            out.append(lz4.block.decompress(data[at + 4 : at + 4 + length], uncompressed_size=8 << 20))
        except lz4.block.LZ4BlockError as error:
            raise ValueError(str(error)) from error
        at += 4 + length
    return b"".join(out)


_FORMATS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)),
    (b"\x1f\x8b", lambda data: zlib.decompressobj(31).decompress(data)),
    (b"\x02\x21\x4c\x18", _lz4),
    (b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data)),
    (b"\x5d\0\0", lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data)),
)
_PVH_NOTE = struct.pack("<I", 18)  # XEN_ELFNOTE_PHYS32_ENTRY


def extract(image: bytes) -> bytes | None:
    """The ELF file in a bzImage; None when it is compressed in a way Python cannot undo.

    Raises UserError for something that is no bzImage.
    """
    if (
        len(image) < 0x250
        or image[0x202:0x206] != b"HdrS"
        or struct.unpack_from("<H", image, 0x206)[0] < 0x208
    ):
        raise UserError("not a bzImage: no Linux boot header of protocol 2.08 or later")
    start = ((image[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset : start + offset + length]
    for magic, unpack in _FORMATS:
        if payload.startswith(magic):
            elf = _unpacked(payload, unpack)
            return elf if elf[:4] == b"\x7fELF" and _PVH_NOTE + b"Xen\0" in elf else None
    return None


def _unpacked(payload: bytes, unpack: Callable[[bytes], bytes]) -> bytes:
    try:
        return unpack(payload)
    except (EOFError, OSError, ValueError, RuntimeError, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"the kernel image is damaged: {error}") from error
