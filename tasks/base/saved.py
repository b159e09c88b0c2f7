"""The files of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from tasks.base.node_names import node_name


@dataclass(frozen=True)
class CheckpointDir:
    """The files of one checkpoint: its record, and by node memory, state of the machine and disk."""

    root: Path

    @property
    def record(self) -> Path:
        """What was saved, and what it needs."""
        return self.root / "checkpoint.json"

    def ram(self, number: int) -> Path:
        """The memory of a node, as a sparse file."""
        return self.root / f"{node_name(number)}.ram"

    def state(self, number: int) -> Path:
        """All of a node's machine but its memory and its disk."""
        return self.root / f"{node_name(number)}.state"

    def disk(self, number: int) -> Path:
        """A qcow2 of what a node has written, over the image."""
        return self.root / f"{node_name(number)}.qcow2"

    def stream(self, number: int) -> Path:
        """Machine and memory in one, as QEMU sends them; only while a checkpoint is saved."""
        return self.root / f"{node_name(number)}.stream"
