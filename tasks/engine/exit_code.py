"""The exit code of a run: doit itself knows only that a task failed."""

import dataclasses


@dataclasses.dataclass
class ExitCode:
    """The exit code that the tasks of a run ask for; 0 as long as none does."""

    code: int = 0
    again: bool = False  # something damaged was removed: a second run makes it anew
    _repeated: bool = False

    def may_repeat(self) -> bool:
        """A task met damaged content, which is gone now. Whether the run is going to be repeated for it."""
        self.again = not self._repeated
        return self.again

    def repeat(self) -> None:
        """The run begins a second time, and for the last time."""
        self.code, self.again, self._repeated = 0, False, True

    def fail(self, code: int) -> None:
        """A task failed with this exit code; of several the highest counts."""
        self.code = max(self.code, code)

    def end_with(self, code: int) -> None:
        """No task failed, and the run ends with this exit code nevertheless."""
        self.code = code


EXIT = ExitCode()  # of this process: doit makes a task's action where no other object of ours is at hand
