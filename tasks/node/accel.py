"""Does KVM work? A device that exists proves nothing: a tiny guest has to reach its first process and say so.

The verdict holds until the host boots again.
"""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tasks.lib import cpio, files, proc
from tasks.lib.paths import Workspace

SECONDS = 4.0  # a working KVM needs well below one
MARK = b"xcluster: a guest is alive"


@dataclass(frozen=True)
class Verdict:
    """Which accelerator, and why, in words for the summary."""

    accel: str
    why: str


def choose(wanted: str, workspace: Workspace, kernel: Path) -> Verdict:
    """The accelerator to use: `wanted`, or for `auto` what the probe found in this boot of the host."""
    if wanted != "auto":
        return Verdict(wanted, "as asked for")
    known = recall(workspace)
    if known:
        return known
    verdict = probe(workspace, kernel)
    files.write_json(workspace.accel, {"boot": boot_id(), "accel": verdict.accel, "why": verdict.why})
    return verdict


def recall(workspace: Workspace) -> Verdict | None:
    """The verdict of an earlier probe, if the host has not booted since."""
    saved = files.read_json(workspace.accel)
    return Verdict(saved["accel"], saved["why"]) if saved.get("boot") == boot_id() else None


def boot_id() -> str:
    """The kernel's name for this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def probe(workspace: Workspace, kernel: Path) -> Verdict:
    """Boot the tiny guest with KVM."""
    if not Path("/dev/kvm").exists():
        return Verdict("tcg", "there is no /dev/kvm")
    try:
        Path("/dev/kvm").open("r+b").close()
    except OSError as error:
        return Verdict("tcg", f"/dev/kvm: {error.strerror}; is the user in group kvm?")
    tiny_initramfs(workspace.probe_guest)
    command = [
        proc.need("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-machine", "pc", "-accel", "kvm",
        "-cpu", "host", "-m", "128", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", str(kernel), "-initrd", str(workspace.probe_guest),
        "-append", "console=ttyS0 panic=-1 quiet",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        if MARK in (error.stdout or b""):
            return Verdict("kvm", "a probe guest came up")
        return Verdict("tcg", f"KVM does not work: a probe guest did not come up in {SECONDS:.0f} s")
    if MARK in done.stdout:
        return Verdict("kvm", "a probe guest came up")
    how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else "did not come up"
    return Verdict("tcg", f"KVM does not work: a probe guest {how}")


def tiny_initramfs(path: Path) -> None:
    """An initramfs with nothing but an init that says MARK and powers off."""
    console = cpio.Entry("dev/console", cpio.CHAR, device=(5, 1))
    with files.atomic(path) as temp:
        cpio.write(temp, [cpio.Entry("init", 0o100755, tiny_init(MARK + b"\n")), console])


def tiny_init(text: bytes) -> bytes:
    """A static x86-64 ELF program: write(1, text); reboot(POWER_OFF); loop. Small enough to be read here."""
    base, header = 0x400000, 64 + 56

    def code(address: int) -> bytes:
        return b"".join([
            b"\xb8\x01\x00\x00\x00", b"\xbf\x01\x00\x00\x00",  # eax = write, edi = stdout
            b"\xbe" + struct.pack("<I", address),  # esi = text
            b"\xba" + struct.pack("<I", len(text)),  # edx = its length
            b"\x0f\x05",  # syscall
            b"\xb8\xa9\x00\x00\x00", b"\xbf\xad\xde\xe1\xfe",  # eax = reboot, edi = LINUX_REBOOT_MAGIC1
            b"\xbe\x69\x19\x12\x28", b"\xba\xdc\xfe\x21\x43",  # esi = MAGIC2, edx = POWER_OFF
            b"\x0f\x05",  # syscall
            b"\xeb\xfe",  # loop
        ])  # fmt: skip

    start = base + header
    program = code(start + len(code(0)))
    size = header + len(program) + len(text)
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return elf + segment + program + text
