"""What leaves a network has the address of the link it leaves by: the rules, made and removed.

    iptables is there   nat POSTROUTING, where `iptables -t nat -L POSTROUTING` shows them, with our comment;
                        and FORWARD lets them pass where it does not let everything pass
    only nft is there   the table `inet NAME`

Rules of others are not touched. `Run` runs a command as root where the rules are to be, and gives its output.
"""

import ipaddress
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tasks.base import programs
from tasks.base.errors import CommandError

Run = Callable[[Sequence[str]], str]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TABLES = {"iptables": "ip", "ip6tables": "ip6"}  # each program, and what nft calls its tables
MADE = ", with the table"  # of a comment: the table was not there before


@dataclass(frozen=True)
class Masquerade:
    """The rules of one maker."""

    name: str  # their comment, or their table
    sources: tuple[Network, ...]  # one of IPv4, one of IPv6
    out: str | None = None  # only what leaves by this link
    forward: bool = False  # let it pass FORWARD, too


def make(what: Masquerade, run: Run) -> None:
    """Make the rules, once; those of the same name are replaced. Raises CommandError."""
    remove(what.name, run)
    for source in what.sources:
        program = "ip6tables" if source.version == 6 else "iptables"
        try:
            if programs.find(program):
                _make(program, source, what, run)
                continue
        except CommandError:  # the kernel may lack what iptables needs
            _remove(program, what.name, run)
        for command in nft_rules(what, source):
            run(["nft", *command])


def remove(name: str, run: Run) -> None:
    """Remove the rules of that name: all of them, and no others."""
    for program in TABLES:
        if programs.find(program):
            _remove(program, name, run)
    if programs.find("nft"):
        _maybe(["nft", "delete", "table", "inet", name], run)


def nft_rules(what: Masquerade, source: Network) -> list[list[str]]:
    """The commands for nft, where there is no iptables."""
    kind = "ip6" if source.version == 6 else "ip"
    chain = ["inet", what.name, "out"]
    out = ["oifname", what.out] if what.out else []
    return [
        ["add", "table", "inet", what.name],
        ["add", "chain", *chain, "{ type nat hook postrouting priority srcnat; }"],
        ["add", "rule", *chain, *out, kind, "saddr", str(source), "counter", "masquerade"],
    ]


def _make(program: str, source: Network, what: Masquerade, run: Run) -> None:
    wait = [program, "-w"]
    comment = ["-m", "comment", "--comment"]
    tail = MADE if _is_new(program, run) else ""
    out = ["-o", what.out] if what.out else []
    nat = ["-t", "nat", "-A", "POSTROUTING", "-s", str(source), *out]
    run([*wait, *nat, *comment, what.name + tail, "-j", "MASQUERADE"])
    if what.forward and _maybe([*wait, "-S", "FORWARD"], run).split() != ["-P", "FORWARD", "ACCEPT"]:
        for side in ("-d", "-s"):
            run([*wait, "-I", "FORWARD", side, str(source), *comment, what.name, "-j", "ACCEPT"])


def _is_new(program: str, run: Run) -> bool:
    """Whether the table is there because of us."""
    if MADE in _maybe([program, "-w", "-t", "nat", "-S", "POSTROUTING"], run):
        return True
    return not _maybe(["nft", "list", "table", TABLES[program], "nat"], run)


def _remove(program: str, name: str, run: Run) -> None:
    ours = False  # the table
    for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        for words in _ours(_maybe([program, "-w", "-t", table, "-S", chain], run), name):
            run([program, "-w", "-t", table, *words])
            ours = ours or any(word.endswith(MADE) for word in words)
    if ours and not _has_rules(TABLES[program], run):
        _maybe(["nft", "delete", "table", TABLES[program], "nat"], run)


def _ours(listed: str, name: str) -> Iterator[list[str]]:
    """For each rule with our comment, the words that delete it."""
    for line in listed.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and {name, name + MADE} & set(words):
            yield ["-D", *words[1:]]


def _has_rules(family: str, run: Run) -> bool:
    listed = _maybe(["nft", "-j", "list", "table", family, "nat"], run)
    return any("rule" in each for each in json.loads(listed or "{}").get("nftables", ()))


def _maybe(command: Sequence[str], run: Run) -> str:
    """What it says; nothing if it fails: there is no such table or chain."""
    try:
        return run(command)
    except CommandError:
        return ""
