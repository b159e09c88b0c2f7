"""Talks to QEMU's monitors, many at once. The only importer of qemu.qmp."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.base import signals, unix_sockets
from tasks.base.errors import UserError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

T = TypeVar("T")
CONNECT = 5.0  # seconds for a new virtual machine to open its monitor
HANDLE = "state"  # the name of the file that a state is written to or read from
PATIENCE = 60.0  # seconds for one virtual machine to save its state


class Monitor:
    """The monitor of one virtual machine."""

    def __init__(self, client: "QMPClient") -> None:
        self._client = client

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command; UserError with QEMU's reason when it refuses."""
        from qemu.qmp import ExecuteError, QMPError

        try:
            return await self._client.execute(command, arguments or None)
        except ExecuteError as error:
            raise UserError(f"QEMU refuses '{command}': {error}") from error
        except QMPError as error:
            raise UserError(f"{self.name}: QEMU ended during '{command}': {error}") from error

    @property
    def name(self) -> str:
        """The name of the machine's directory."""
        return str(self._client.name)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The events of these names since we are connected, each with `data` and `at`, in seconds."""
        events: list[dict[str, Any]] = [dict(event) for event in self._client.events.history]
        stamps = [event["timestamp"] for event in events]
        return [
            {"data": event.get("data", {}), "at": stamp["seconds"] + stamp["microseconds"] / 1e6}
            for event, stamp in zip(events, stamps, strict=True)
            if event["event"] in names
        ]

    async def save(self, target: Path, *, shared_ram: bool) -> None:
        """Write the state of the stopped machine to `target`; with `shared_ram`, without its RAM file."""
        capabilities = [{"capability": "x-ignore-shared", "state": shared_ram}]
        await self.execute("migrate-set-capabilities", capabilities=capabilities)
        await self.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        with target.open("wb") as file:
            await self._give(file.fileno())
            await self.execute("migrate", uri=f"fd:{HANDLE}")
            await self.until_migrated()

    async def load(self, source: Path, *, shared_ram: bool) -> None:
        """Take the state from `source`, in a machine started with `-incoming defer`; it stays stopped."""
        capabilities = [{"capability": "x-ignore-shared", "state": shared_ram}]
        await self.execute("migrate-set-capabilities", capabilities=capabilities)
        # A guest would tell its neighbours that it has moved, though it is not the one that it was.
        await self.execute("migrate-set-parameters", **{"announce-rounds": 0})
        with source.open("rb") as file:
            await self._give(file.fileno())
            await self.execute("migrate-incoming", uri=f"fd:{HANDLE}")
            await self.until_migrated()

    async def _give(self, handle: int) -> None:
        """Give QEMU an open file under the name HANDLE: in its sandbox it starts no program to read one."""
        self._client.send_fd_scm(handle)
        await self.execute("getfd", fdname=HANDLE)

    async def until_migrated(self) -> None:
        """Wait for the end of an outgoing or incoming migration."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            status = (await self.execute("query-migrate")).get("status")
            if status == "completed":
                return
            if status in ("failed", "cancelled") or asyncio.get_running_loop().time() > deadline:
                raise UserError(f"QEMU could not save or load its state: {status}")
            await asyncio.sleep(0.005)


def each(sockets: Sequence[Path], action: Callable[[int, Monitor], Awaitable[T]]) -> list[T]:
    """Run `action(index, monitor)` on all monitors at once; the results in order."""

    async def all_of_them() -> list[T]:
        return list(await asyncio.gather(*(_one(i, path, action) for i, path in enumerate(sockets))))

    return signals.run(all_of_them())


async def _one(index: int, path: Path, action: Callable[[int, Monitor], Awaitable[T]]) -> T:
    from qemu.qmp import QMPClient
    from qemu.qmp.protocol import ConnectError

    client = QMPClient(path.parent.name)
    deadline = asyncio.get_running_loop().time() + CONNECT
    while True:
        try:
            with unix_sockets.reachable(path) as short:
                await client.connect(short)
            break
        except (ConnectError, FileNotFoundError) as error:
            # The socket may not be there yet, or nobody listens on it yet.
            if asyncio.get_running_loop().time() > deadline:
                raise UserError(f"the monitor of {path.parent.name} does not answer: {error}") from error
            await asyncio.sleep(0.005)
    try:
        return await action(index, Monitor(client))
    finally:
        with contextlib.suppress(EOFError, OSError):  # QEMU has ended, which the action's own error says
            await client.disconnect()
