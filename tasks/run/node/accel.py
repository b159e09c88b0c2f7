"""Does KVM work? A device that exists proves nothing: a tiny guest has to reach its first process and say so.

The verdict holds until the host boots again.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tasks.base import environment, files, proc
from tasks.base.paths import Workspace
from tasks.formats import cpio, tiny_programs

SECONDS = 4.0  # a working KVM needs well below one
MARK = b"xcluster: a guest is alive"


@dataclass(frozen=True)
class Verdict:
    """Which accelerator, and why, in words for the summary."""

    accel: str
    why: str


def choose(setting: str, workspace: Workspace, kernel: Path) -> Verdict:
    """The accelerator to use: the `setting`, or for `auto` what the probe found in this boot of the host."""
    if setting != "auto":
        return Verdict(setting, "as asked for")
    earlier = recall(workspace)
    if earlier:
        return earlier
    verdict = without_kvm()
    if verdict:  # looked up in no time, and may change while the host runs
        return verdict
    return _remembered(workspace, probe(workspace, kernel))


def unusable(workspace: Workspace, kernel: Path | None) -> str | None:
    """Why a demanded KVM cannot be used; None if it can, or if there is no kernel yet for a probe.

    An earlier verdict against KVM is checked again: a user who demands KVM may know better.
    """
    earlier, verdict = recall(workspace), without_kvm()
    if verdict is None and kernel and not (earlier and earlier.accel == "kvm"):
        verdict = _remembered(workspace, probe(workspace, kernel))
    return verdict.why if verdict and verdict.accel != "kvm" else None


def _remembered(workspace: Workspace, verdict: Verdict) -> Verdict:
    files.write_json(workspace.accel, {"boot": boot_id(), "accel": verdict.accel, "why": verdict.why})
    return verdict


def recall(workspace: Workspace) -> Verdict | None:
    """The verdict of an earlier probe, if the host has not booted since."""
    saved = files.read_json(workspace.accel)
    return Verdict(saved["accel"], saved["why"]) if saved.get("boot") == boot_id() else None


def boot_id() -> str:
    """The kernel's name for this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def without_kvm() -> Verdict | None:
    """Why KVM is out of the question; None when it may work."""
    if not Path("/dev/kvm").exists():
        return Verdict("tcg", "there is no /dev/kvm")
    try:
        Path("/dev/kvm").open("r+b", buffering=0).close()
    except OSError as error:
        return Verdict("tcg", f"/dev/kvm: {error.strerror}; is the user in group kvm?")
    return None


def probe(workspace: Workspace, kernel: Path) -> Verdict:
    """Boot the tiny guest with KVM."""
    tiny_initramfs(workspace.probe_guest)
    command = [
        proc.need("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-machine", "pc", "-accel", "kvm",
        "-cpu", "host", "-m", "128", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", str(kernel), "-initrd", str(workspace.probe_guest),
        "-append", "console=ttyS0 panic=-1 quiet",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
            env=environment.of_programs(),
        )  # fmt: skip
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
        cpio.write(
            temp, [cpio.Entry("init", 0o100755, tiny_programs.say_and_power_off(MARK + b"\n")), console]
        )
