"""Filters of system calls for containers, as BPF programs of seccomp(2).

Where a user namespace has a single id, a program that changes ids or owners would fail, though it only gives
up rights, as an ssh server does. There such calls do nothing, and say that they have succeeded.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
X86_64 = 0xC000003E
UNCHANGED = 0xFFFFFFFF
# System calls of x86-64, and which of their arguments are ids; None: all of them are pretended.
IDS: dict[int, Sequence[int] | None] = {
    92: (1, 2),  # chown
    93: (1, 2),  # fchown
    94: (1, 2),  # lchown
    260: (2, 3),  # fchownat
    105: (0,),  # setuid
    106: (0,),  # setgid
    113: (0, 1),  # setreuid
    114: (0, 1),  # setregid
    117: (0, 1, 2),  # setresuid
    119: (0, 1, 2),  # setresgid
    122: (0,),  # setfsuid
    123: (0,),  # setfsgid
    116: None,  # setgroups
}


def pretend_ids(libc: ctypes.CDLL) -> None:
    """Let this process and its children change to ids that there are not, without effect. Raises OSError."""
    install(libc, pretending())


def pretending() -> list[bytes]:
    """The program: calls with ids other than 0 succeed without effect, all else is the kernel's."""
    if platform.machine() != "x86_64":
        return [_step(RETURN, ALLOW)]
    program = [_step(LOAD, ARCH), _step(EQUAL, X86_64, 1, 0), _step(RETURN, ALLOW), _step(LOAD, NUMBER)]
    for number, arguments in IDS.items():
        body = _of_call(arguments)
        program += [_step(EQUAL, number, 0, len(body)), *body]
    return [*program, _step(RETURN, ALLOW)]


def _of_call(arguments: Sequence[int] | None) -> list[bytes]:
    """What is returned for a call: pretended as soon as one of its ids is neither 0 nor left as it is."""
    if arguments is None:
        return [_step(RETURN, ERRNO)]
    steps = []
    for place in arguments:
        steps += [
            _step(LOAD, ARGUMENTS + 8 * place),
            _step(EQUAL, 0, 2, 0),
            _step(EQUAL, UNCHANGED, 1, 0),
            _step(RETURN, ERRNO),
        ]
    return [*steps, _step(RETURN, ALLOW)]


def install(libc: ctypes.CDLL, program: Sequence[bytes]) -> None:
    """Put a filter on this process and its children. Raises OSError."""
    code = b"".join(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, header, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"the filter of system calls: {os.strerror(number)}")


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)
