"""A node ──> what QEMU itself says against options that the user sets, before anything that runs is touched

Only QEMU knows its options. So it is started with them as for a node, with a processor that stands still, and
told to quit as soon as it listens.
"""

import contextlib
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tasks.base import environment, proc
from tasks.base.paths import NodeDir
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.node import qemu
from tasks.run.node.protocol import Boot
from tasks.run.node.qemu_options import usual_machine, wrong

SECONDS = 20.0  # QEMU needs a third of one
# What a cluster that runs may hold until it is ended, and what exists only in the namespace of one.
HELD = re.compile(r"lock|in use|busy|host forwarding|could not (configure|open) .*tun|bridge helper", re.I)


def complaints(boot: Boot, settings: Settings, node: Node, *, replaces: bool) -> list[str]:
    """What QEMU says; nothing where the user set no options of it. Takes half a second.

    With `replaces` there is a cluster that ends before the node starts: what that may hold is no complaint.
    """
    usual = usual_machine(settings)
    if (usual and not boot.extra.strip()) or wrong(settings):
        return []
    if not proc.find(qemu.QEMU) or not boot.image.is_file():
        return []
    reason = _tried(boot, node)
    if reason is None or (replaces and HELD.search(reason)):
        return []
    options = [f"--kvm-opt={boot.extra}"] * bool(boot.extra) + [f"--machine={settings.machine}"] * (not usual)
    return [f"QEMU does not start with {' '.join(options)}: {reason}"]


def _tried(boot: Boot, node: Node) -> str | None:
    """Why QEMU ended before it was told to; None if it did not."""
    plain = replace(boot, frozen=None, iso=None, modules=None, containers=None, inside=())
    with tempfile.TemporaryDirectory(prefix="xcluster-") as folder, socket.socket(socket.AF_UNIX) as listener:
        own, monitor = NodeDir(Path(folder, node.name)), Path(folder, "trial")
        own.root.mkdir()
        qemu.make_disk(boot.image, own.disk, Path(folder))
        listener.bind(str(monitor))
        listener.listen()
        words = qemu.sandboxed(qemu.argv(plain, node, (), own))
        trial = ["-S", "-chardev", f"socket,id=xctrial,path={monitor}", "-mon", "chardev=xctrial"]
        with subprocess.Popen(
            [proc.need(words[0]), *words[1:], *trial], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=environment.of_programs(), start_new_session=True,
        ) as process:  # fmt: skip
            try:
                return _ended(process, listener)
            finally:
                process.kill()


def _ended(process: "subprocess.Popen[bytes]", listener: socket.socket) -> str | None:
    """Tell QEMU to quit when it has connected with its monitor; the reason if it ends before that."""
    until = time.monotonic() + SECONDS
    listener.settimeout(0.05)
    link = None
    while not link and process.poll() is None:
        if time.monotonic() > until:
            return None  # it runs: nothing is wrong with its options
        with contextlib.suppress(TimeoutError):
            link, _ = listener.accept()
    try:
        if link:
            link.sendall(b"quit\n")
        output = process.communicate(timeout=SECONDS)[0].decode(errors="replace")
    except (subprocess.TimeoutExpired, OSError):
        return None
    finally:
        if link:
            link.close()
    if process.returncode == 0:
        return None
    lines = [line.strip() for line in output.splitlines() if line.strip() and "warning:" not in line]
    own = [line.partition(": ")[2] for line in lines if line.startswith(f"{qemu.QEMU}: ")]
    return (own or lines or [f"exit code {process.returncode}"])[0]
