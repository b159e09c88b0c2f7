"""Rows: what verbs tell of a running cluster, with stdout and stderr in other states."""

from tests.faults.case import Case

VERBS = (
    "status", "status -o json", "status --all", "logs 1", "logs 1 --events", "link 1", "netem 1 -o json",
    "graph -o json", "graph -o mermaid", "dns status", "fakenet status", "checkpoint list -o json",
)  # fmt: skip
START = "$xc starts --nvm=1 --nrouters=0 >&- 2>/dev/full </dev/null || exit 91"
EACH = "; ".join(
    f"$xc {words} >/dev/null 2>/dev/full || exit {number}; $xc {words} 2>&- <&- | true;"
    f" $xc {words} >/dev/full && exit {number + 30}"
    for number, words in enumerate(VERBS, 1)
)

CASES = [
    Case(
        "verbs on a running cluster, and streams that take nothing",
        f"{START}; {EACH}; $xc status | grep -q alive || exit 92; "
        "$xc stop -o json >/dev/full && exit 93; $xc status -o json",
        shows=("null",),
        seconds=400,
    ),
    Case(
        "a broken xcluster.yaml, and a cluster that runs",
        "cp xcluster.yaml $outside/../kept 2>/dev/null; $xc starts --nvm=1 --nrouters=0 &&"
        " printf 'mem: a: b\\n' >xcluster.yaml;"
        " $xc rsh 1 hostname; $xc status; $xc stop; code=$?; rm -f xcluster.yaml;"
        " [ ! -f $outside/../kept ] || cp $outside/../kept xcluster.yaml; exit $code",
        shows=("vm-001", "alive"),
        seconds=400,
    ),
]
