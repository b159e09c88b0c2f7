"""A NIC of a running container ──its cable's outer end──> plugged in or not, captures, a bad wire

All of it is done in the cluster's network namespace, where that end is, and nothing in the node. The programs
there end with the one that keeps the node.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.base import files, helper, proc, records
from tasks.base.errors import CommandError, UserError
from tasks.base.paths import NodeDir
from tasks.base.records import Damaged, ProcessRecord
from tasks.run.net import netem
from tasks.run.node.container_node import SPEC

PROGRAMS = Path(__file__).parent / "programs"
HEADER = 24  # bytes of a pcap without a frame


class ContainerCable:
    """What `protocol.Cable` is, done at the outer end of a pair of virtual ethernet devices."""

    def __init__(self, own: NodeDir, index: int, inside: Sequence[str]) -> None:
        self.own = own
        self.name = f"eth{index}"
        self.index = index
        self.inside = inside

    def plug(self, *, up: bool) -> None:
        """The node sees its carrier come or go, as the outer end does."""
        self._run("veth", str(self._row["name"]), "up" if up else "down")

    def dump(self, name: str, file: Path) -> None:
        """By a program that reads what passes the outer end."""
        mine = [name] if name.isdigit() else []  # the process that wants it
        words = [str(self._row["name"]), str(file), str(records.process(self.own.state) or 0), *mine]
        what = helper.Helper(
            f"{self.name} cannot be captured",
            self._command("veth_dump", *words),
            self._state(name),
            self.own.root / f"dump-{self.name}-{name}.log",
            self.own.root.parent,
        )
        helper.start(
            what,
            lambda _: file.is_file() and file.stat().st_size >= HEADER,
            lambda mark: ProcessRecord.at(mark),
            undo=lambda: self.end_dump(name),
        )

    def end_dump(self, name: str) -> None:
        """End the program, which writes what it has."""
        records.end(self._state(name))
        for path in (self._state(name), self.own.root / f"dump-{self.name}-{name}.log"):
            path.unlink(missing_ok=True)

    def dumps(self) -> Iterable[str]:
        """Those that were recorded."""
        prefix = f"dump-{self.name}-"
        return [path.stem.removeprefix(prefix) for path in self.own.root.glob(f"{prefix}*.helper")]

    def surplus(self) -> int:
        """Nothing: the program writes frames alone."""
        return 0

    def disturb(self, impairment: netem.Impairment, ways: Sequence[str]) -> None:
        """A program of ours stands between the outer end and its bridge."""
        self.relieve()
        row = {**self._row, "node": records.process(self.own.state) or 0}
        ready = self.own.root / f"netem-{self.name}.ready"
        words = [json.dumps(row), str(ready)]
        try:
            netem.start_between(
                self.own.root, self.name, (impairment, ways), self._command("veth_wire", *words), ready
            )
        except BaseException:
            self.relieve()
            raise

    def relieve(self) -> None:
        """The outer end is at its bridge again."""
        netem.end(self.own.root, self.name)
        self._run("veth_wire", json.dumps(self._row))

    @property
    def _row(self) -> Mapping[str, Any]:
        path = self.own.root / SPEC
        try:
            names = ("name", "bridge", "mac", "mtu", "wire")
            return dict(zip(names, files.read_json(path)["nics"][self.index], strict=True))
        except (KeyError, IndexError, TypeError, ValueError):
            raise Damaged(
                path, "it does not have the NICs of the node", "`xc stop` ends the cluster"
            ) from None

    def _state(self, name: str) -> Path:
        return self.own.root / f"dump-{self.name}-{name}.helper"

    def _command(self, program: str, *words: str) -> list[str]:
        return [*self.inside, sys.executable, "-I", "-S", str(PROGRAMS / f"{program}.py"), *words]

    def _run(self, program: str, *words: str) -> None:
        try:
            proc.output(self._command(program, *words))
        except CommandError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{self.name} of {self.own.root.name} cannot be changed: {reason}") from error
