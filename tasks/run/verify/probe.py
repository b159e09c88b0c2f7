"""Checks that a node does for us: a shell script for the guest, and what its answers mean.

All probes of one node are in one script, since a login takes longer than the probes.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TRIES = 3
PATIENCE = 2  # seconds for an answer
HEADERS = {4: 28, 6: 48}  # bytes of IP and ICMP in an echo request

FUNCTIONS = f"""
again() {{ for t in {" ".join("x" * TRIES)}; do "$@" >/dev/null 2>&1 && return; done; return 1; }}
echoed() {{ ping -$1 -c1 -W{PATIENCE} -s $2 $3; }}
ping_() {{ if again echoed $2 $3 $4; then echo "$1 ok"
	elif echoed $2 8 $4 >/dev/null 2>&1; then echo "$1 answers small packets only"
	else echo "$1 no answer"; fi; }}
greets() {{ case $(nc -w{PATIENCE} $1 22 </dev/null) in SSH-*) ;; *) false;; esac; }}
ssh_() {{ if again greets $2; then echo "$1 ok"; else echo "$1 no ssh server"; fi; }}
resolves() {{ nslookup $1 | grep -qiF "$2"; }}
name_() {{ if again resolves $2 $3; then echo "$1 ok"; else echo "$1 $(nslookup $2 2>&1 | tail -n1)"; fi; }}
# Not wget -T: Debian's busybox 1.35 ends with a segmentation fault there.
gets() {{ [ "$(timeout {PATIENCE} wget -q -O- $1)" = "$2" ]; }}
http_() {{ if again gets $2 $3; then echo "$1 ok"
	else echo "$1 $(timeout {PATIENCE} wget -q -O- $2 2>&1 | tail -n1)"; fi; }}
"""
# How many packets were cut into pieces: each was larger than the MTU of a link, which must not happen.
PIECES = "grep -h ^Ip: /proc/net/snmp; grep -h ^Ip6Frag /proc/net/snmp6"


@dataclass(frozen=True)
class Probe:
    """One check that a node carries out."""

    kind: Literal["ping", "ssh", "name", "http"]
    target: str  # an address, a name, a URL
    family: int = 4
    size: int = 1500  # bytes of the whole packet (ping)
    want: str = ""  # the address (name), the content (http)
    label: str = ""

    @property
    def text(self) -> str:
        """What is checked, for people."""
        if self.label:
            return self.label
        if self.kind == "ping":
            return f"{self.target}, {self.size} bytes"
        return f"{self.kind} {self.target}"

    def words(self, index: int) -> str:
        """The line of the script that checks it."""
        words = [f"{self.kind}_", str(index)]
        if self.kind == "ping":
            words += [str(self.family), str(self.size - HEADERS[self.family]), self.target]
        elif self.kind == "ssh":
            words += [self.target]
        else:
            words += [self.target, self.want]
        return shlex.join(words)


def script(probes: Sequence[Probe]) -> str:
    """The script for a guest."""
    lines = [probe.words(index) for index, probe in enumerate(probes)]
    return "\n".join([FUNCTIONS, *lines, PIECES]) + "\n"


def outcomes(probes: Sequence[Probe], output: str) -> list[str]:
    """The outcome of each probe: "" if it succeeded, else the reason why not."""
    answers = dict(re.findall(r"^(\d+) (.*)$", output, re.M))
    texts = [answers.get(str(index), "the node ended the check") for index in range(len(probes))]
    return ["" if answer == "ok" else answer or "no answer" for answer in texts]


def pieces(output: str) -> int:
    """How many packets this node cut into pieces, or put together from pieces, since it booted."""
    lines = re.findall(r"^Ip: (.*)$", output, re.M)
    v4 = dict(zip(lines[0].split(), lines[1].split(), strict=False)) if len(lines) == 2 else {}  # noqa: PLR2004
    own = sum(int(v4.get(key, 0)) for key in ("FragCreates", "ReasmReqds"))
    return own + sum(int(count) for count in re.findall(r"^Ip6FragCreates\s+(\d+)", output, re.M))
