"""Rows: definitions of a stranger. Nothing in them runs on the host before something of theirs is built."""

from tests.faults.case import Bench, Case

# What asks, looks or plans; each must leave a stranger's programs alone.
ASKING = (
    "help", "help start", "version", "list", "list --all", "info ovl:evil", "status", "env", "doctor",
    "cache ls", "images ls", "stop", "__complete xc mkcdrom ev", "__complete xc ovl:",
    "mkcdrom evil --dry-run",
    "ovld evil", "clean ovl:evil", "lock --help",
)  # fmt: skip


def stranger(bench: Bench) -> None:
    """An overlay and an xcluster.yaml of somebody else: every program in them leaves a mark outside."""
    mark = f"echo ran >>'{bench.outside}/canary'\n"
    bench.write("ovl/evil/ovl.yaml", "summary: looks harmless\n")
    bench.write("ovl/evil/tar", f"#!/bin/sh\n{mark}", 0o755)
    bench.write("ovl/evil/default/bin/sh", f"#!/bin/sh\n{mark}", 0o755)
    bench.write("evil.sh", f"#!/bin/sh\n{mark}", 0o755)
    bench.write("xcluster.yaml", f"ovls: a evil\nnet: custom\nnet_setup: {bench.root}/evil.sh\n")
    for name in ("sitecustomize", "yaml", "json"):  # beside where one stands, not beside our own code
        bench.write(f"ovl/{name}.py", f"open('{bench.outside}/canary', 'a').write('ran')\n")
    bench.write("Envsettings", mark)
    bench.write("Envsettings.local", mark)
    bench.write(".xcluster", mark)
    bench.shell(f"git init -q && git config core.fsmonitor {bench.root}/evil.sh && git add xcluster.yaml")


CASES = [
    Case(
        f"a stranger's checkout: xc {words}", f"cd ovl; $xc {words} >/dev/null 2>&1; true", prepare=stranger,
    )
    for words in ASKING
]  # fmt: skip
