"""Programs of a few instructions as static x86-64 ELF files: too small to need a compiler on the host.

The source of each is in tiny/; a test assembles it and compares.
"""

import struct
from collections.abc import Callable

_BASE, _HEADER = 0x400000, 64 + 56
_SYSCALL = b"\x0f\x05"


def _eax(value: int) -> bytes:
    return b"\xb8" + struct.pack("<I", value)


def _edi(value: int) -> bytes:
    return b"\xbf" + struct.pack("<I", value)


def _esi(value: int) -> bytes:
    return b"\xbe" + struct.pack("<I", value)


def _edx(value: int) -> bytes:
    return b"\xba" + struct.pack("<I", value)


def say_and_power_off(text: bytes) -> bytes:
    """An init: write(1, text); reboot(LINUX_REBOOT_CMD_POWER_OFF); loop."""

    def code(data: int) -> bytes:
        return b"".join([
            _eax(1), _edi(1), _esi(data), _edx(len(text)), _SYSCALL,
            _eax(169), _edi(0xFEE1DEAD), _esi(0x28121969), _edx(0x4321FEDC), _SYSCALL,
            b"\xeb\xfe",
        ])  # fmt: skip

    return _elf(code, text)


def reseed() -> bytes:
    """Credits 64 bytes of stdin to the kernel's random pool and makes it draw a new key from there at once.

    With an argument it first sets the clock to that many seconds since 1970 (clock_settime); then read(0,
    bytes, 64); open("/dev/urandom", O_RDWR); ioctl(RNDADDENTROPY); ioctl(RNDRESEEDCRNG); exit(0). Writing to
    /dev/urandom alone would leave the key as it is for up to a minute: see random(4).
    """
    path = b"/dev/urandom\0\0\0\0"
    pool = struct.pack("<ii", 64 * 8, 64) + bytes(64)  # struct rand_pool_info: bits, bytes, content
    clock = bytes(16)  # struct timespec

    def code(data: int) -> bytes:
        info, when = data + len(path), data + len(path) + len(pool)
        set_clock = b"\x48\x89\x06" + _eax(227) + _edi(0) + _SYSCALL  # [rsi] = rax
        number = b"".join([
            b"\x31\xc0",  # eax = 0
            b"\x0f\xb6\x0f",  # digit: ecx = byte [rdi]
            b"\x83\xe9\x30",  # ecx -= '0'
            b"\x72\x0c",  # below: done
            b"\x48\x6b\xc0\x0a", b"\x48\x01\xc8",  # rax = rax * 10 + rcx
            b"\x48\xff\xc7", b"\xeb\xec",  # rdi += 1; next digit
            _esi(when), set_clock,
        ])  # fmt: skip
        return b"".join([
            b"\x48\x8b\x7c\x24\x10",  # rdi = argv[1]
            b"\x48\x85\xff", b"\x74", struct.pack("<B", len(number)), number,  # if there is one
            _eax(0), _edi(0), _esi(info + 8), _edx(64), _SYSCALL,
            _eax(2), _edi(data), _esi(2), _edx(0), _SYSCALL,
            b"\x89\xc3",  # ebx = the file
            b"\x89\xdf", _eax(16), _esi(0x40085203), _edx(info), _SYSCALL,
            b"\x89\xdf", _eax(16), _esi(0x5207), _edx(0), _SYSCALL,
            _eax(60), _edi(0), _SYSCALL,
        ])  # fmt: skip

    return _elf(code, path + pool + clock)


def set_capability() -> bytes:
    """Sets the file capabilities of argv[1] to what comes on stdin; ends with 0 when that went well."""
    size, name = 64, b"security.capability\0"

    def code(data: int) -> bytes:
        return b"".join([
            _eax(0), _edi(0), _esi(data), _edx(size), _SYSCALL,
            b"\x41\x89\xc2",  # r10d = how many bytes came
            b"\x48\x8b\x7c\x24\x10",  # rdi = argv[1]
            b"\x45\x31\xc0",  # r8d = 0, no flags
            _eax(188), _esi(data + size), _edx(data), _SYSCALL,
            b"\x89\xc7",  # edi = -errno
            _eax(60), _SYSCALL,
        ])  # fmt: skip

    return _elf(code, bytes(size) + name)


def _elf(code: Callable[[int], bytes], data: bytes) -> bytes:
    """One segment with all permissions: headers, code, data. `code` takes the address of the data."""
    start = _BASE + _HEADER
    program = code(start + len(code(0)))
    size = _HEADER + len(program) + len(data)
    ident = b"\x7fELF\x02\x01\x01"
    elf = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, _BASE, _BASE, size, size, 0x1000)
    return elf + segment + program + data
