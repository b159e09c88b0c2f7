"""The files of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from tasks.base.node_names import node_name


@dataclass(frozen=True)
class CheckpointDir:
    """The files of one checkpoint: its record, and for each node its memory, machine state and disk."""

    root: Path

    @property
    def record(self) -> Path:
        """What was saved, and what a restore needs."""
        return self.root / "checkpoint.json"

    def ram(self, number: int) -> Path:
        """The memory of a node, as a sparse file."""
        return self.root / f"{node_name(number)}.ram"

    def state(self, number: int) -> Path:
        """The state of a node's machine, except its memory and its disk."""
        return self.root / f"{node_name(number)}.state"

    def disk(self, number: int) -> Path:
        """A qcow2 with what a node has written; the image is its backing file."""
        return self.root / f"{node_name(number)}.qcow2"

    def stream(self, number: int) -> Path:
        """Machine state and memory in one file, as QEMU sends them; it exists only while saving."""
        return self.root / f"{node_name(number)}.stream"
