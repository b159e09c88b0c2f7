"""A NIC of a running virtual machine ──QEMU's monitor──> its cable plugged in or not, captures, a bad wire"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from tasks.base.paths import NodeDir
from tasks.run.net import netem
from tasks.run.node import filters, qmp

T = TypeVar("T")


class MachineCable:
    """What `protocol.Cable` is, done by QEMU."""

    def __init__(self, own: NodeDir, index: int) -> None:
        self.own = own
        self.name = f"eth{index}"
        self.netdev = f"net{index}"

    def _ask(self, action: Callable[[qmp.Monitor], Awaitable[T]]) -> T:
        return qmp.each([self.own.qmp], lambda _, monitor: action(monitor))[0]

    def plug(self, *, up: bool) -> None:
        """The guest sees its carrier come or go."""

        async def change(monitor: qmp.Monitor) -> None:
            await monitor.execute("set_link", name=self.netdev, up=up)

        self._ask(change)

    def dump(self, name: str, file: Path) -> None:
        """By a filter of QEMU's."""
        self._ask(lambda monitor: filters.dump(monitor, self._filter(name), self.netdev, file))

    def end_dump(self, name: str) -> None:
        """Remove the filter."""
        self._ask(lambda monitor: filters.remove(monitor, self._filter(name)))

    def dumps(self) -> Iterable[str]:
        """Those that are filters of this NIC."""
        prefix = self._filter("")
        names = self._ask(filters.names)
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def surplus(self) -> int:
        """What some versions of QEMU write for a tap."""
        return self._ask(lambda monitor: filters.surplus(monitor, self.netdev))

    def disturb(self, impairment: netem.Impairment, ways: Sequence[str]) -> None:
        """QEMU sends the frames through a program of ours."""
        self.relieve()
        netem.start(self.own.root, self.name, impairment, ways)
        doors = netem.doors(self.own.root, self.name)
        try:
            self._ask(lambda m: filters.redirect(m, f"netem-{self.netdev}", self.netdev, doors, ways))
        except BaseException:
            self.relieve()
            raise

    def relieve(self) -> None:
        """QEMU keeps the frames to itself."""
        self._ask(lambda monitor: filters.remove(monitor, f"netem-{self.netdev}"))
        netem.end(self.own.root, self.name)

    def _filter(self, name: str) -> str:
        return f"dump-{self.netdev}-{name}"
