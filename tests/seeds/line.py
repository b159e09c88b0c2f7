"""One command of xcluster's documents, and what comes of it here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Where = Literal["host", "namespace", "node", "router", "pod", "machine"]
"""The shell in which a line is typed: on the host, in the cluster's own network namespace, on a
cluster node, on a router, in a pod, or in the machine that holds a whole cluster."""


@dataclass(frozen=True)
class Line:
    """A row of the tables. `text` is typed as it stands."""

    seed: str
    """The document's number, of three digits."""
    text: str
    where: Where
    expects: str
    """A regular expression that is found in what the line prints, on either stream. An empty one
    asks for nothing but the exit status."""
    differs: str = ""
    """What is not as in the document, and why; empty when nothing differs."""
    status: int = 0
    """The exit status that is right here."""
    instead: str = ""
    """What is typed here, where the document has a place to fill in, or a word that is not here."""
    later: bool = False
    """Nothing does this here yet, so nothing is typed."""

    @property
    def typed(self) -> str:
        """The text to type."""
        return self.instead or self.text

    def fault(self, status: int, output: str) -> str:
        """Say what is wrong with this outcome; empty when nothing is."""
        if status != self.status:
            return f"`{self.typed}` ended with {status}, not {self.status}:\n{output}"
        if not re.search(self.expects, output, re.MULTILINE):
            return f"`{self.typed}` printed nothing like {self.expects!r}:\n{output}"
        return ""
