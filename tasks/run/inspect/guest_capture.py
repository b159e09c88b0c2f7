"""An interface of a node, with a filter ──tcpdump in the guest──> a pcap

Captures of whole NICs are made by QEMU (capture.py). Filters, options of tcpdump and interfaces that are no
NICs take the guest's own tcpdump. It runs there until `--get`, and is found by the file that it writes.
"""

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.node_names import node_name
from tasks.project.project import Project
from tasks.run.running import reach

# Sets `pid` to the tcpdump that writes to $f.
FIND = """pid=
for p in /proc/[0-9]*; do
	[ "$(cat $p/comm 2>/dev/null)" = tcpdump ] || continue
	tr '\\0' '\\n' <$p/cmdline | grep -qxF -- "$f" && pid=${p#/proc/}
done
"""
BEGIN = """command -v tcpdump >/dev/null || { echo 'the guest has no tcpdump' >&2; exit 1; }
[ -z "$pid" ] || exit 3
tcpdump -ni "$i" -w "$f" "$@" </dev/null >"$f.log" 2>&1 &
pid=$!
until grep -q '^tcpdump: listening\\|, link-type ' "$f.log"; do
	kill -0 $pid 2>/dev/null || { cat "$f.log" >&2; rm -f "$f" "$f.log"; exit 1; }
	sleep 0.1
done
"""
END = """[ -f "$f" ] || exit 3
if [ -n "$pid" ]; then
	sleep 1.2 # the kernel gives tcpdump what it has every second
	kill $pid
	n=0
	while [ -d /proc/$pid ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
fi
cat "$f" && rm -f "$f" "$f.log"
"""
ALREADY = 3


def start(project: Project, number: int, interface: str, words: Sequence[str]) -> None:
    """Begin to capture; the words are a filter, or options of tcpdump. UserError if tcpdump refuses them."""
    with tempfile.TemporaryFile() as sink:
        code, errors = _run(project, (number, interface), (BEGIN, *words), sink)
    if code == ALREADY:
        raise UserError(
            f"{interface} of {node_name(number)} is being captured already",
            f"end that capture: xc tcpdump --get {number} {interface}",
        )
    _check(code, errors, f"{interface} of {node_name(number)}")


def get(project: Project, number: int, interface: str, target: Path) -> bool:
    """End the capture of an interface and write it to `target`; False if there is none."""
    with tempfile.TemporaryFile() as sink:
        code, errors = _run(project, (number, interface), (END,), sink)
        if code == ALREADY:
            return False
        _check(code, errors, f"{interface} of {node_name(number)}")
        sink.seek(0)
        with files.atomic(target) as temp, temp.open("wb") as out:
            shutil.copyfileobj(sink, out)
    return True


def _run(project: Project, where: tuple[int, str], script: Sequence[str], sink: IO[bytes]) -> tuple[int, str]:
    """Run a script, with arguments, on a node. Its stdout goes to `sink`; the exit code, and its stderr."""
    number, interface = where
    values = {"f": f"/tmp/{node_name(number)}-{interface}.pcap", "i": interface}
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    text = "\n".join([*lines, f"set -- {shlex.join(script[1:])}", FIND + script[0]])
    return proc.finish(proc.pipe(reach.to_node(project, number, [text]), stdout=sink))


def _check(code: int, errors: str, what: str) -> None:
    if code:
        raise UserError(f"{what}: {errors.strip() or code}")
