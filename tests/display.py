"""A display without a screen: an X server of our own, whose windows and pixels a test can look at."""

import os
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import eventually

WINDOW = re.compile(r'0x\w+ "([^"]+)": \("xterm" "XTerm"\) +(\d+)x(\d+)\+.* \+(-?\d+)\+(-?\d+)$', re.M)


@dataclass(frozen=True)
class Rectangle:
    """Where a window is, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def overlaps(self, other: "Rectangle") -> bool:
        """Whether they have a pixel in common."""
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height


@dataclass(frozen=True)
class Display:
    """A running X server."""

    name: str  # as in DISPLAY
    screen: Path  # its pixels, as an X window dump

    def windows(self) -> dict[str, Rectangle]:
        """The xterm windows by title."""
        env = {**os.environ, "DISPLAY": self.name}
        tree = subprocess.run(
            ["xwininfo", "-root", "-tree"], env=env, capture_output=True, text=True, check=True
        )
        found = WINDOW.findall(tree.stdout)
        return {title: Rectangle(int(x), int(y), int(w), int(h)) for title, w, h, x, y in found}

    def colours(self, place: Rectangle) -> dict[int, int]:
        """The colours (0xRRGGBB) of a part of the screen, and how many pixels have each."""
        dump = self.screen.read_bytes()
        header = struct.unpack(">25I", dump[:100])
        start, line = header[0] + header[19] * 12, header[12]
        counts: dict[int, int] = {}
        for row in range(place.y, place.y + place.height):
            at = start + row * line + place.x * 4
            end = min(at + place.width * 4, start + (row + 1) * line)  # the edge of the screen
            for (pixel,) in struct.iter_unpack("<I", dump[at:end]):
                counts[pixel & 0xFFFFFF] = counts.get(pixel & 0xFFFFFF, 0) + 1
        return counts


@contextmanager
def display(folder: Path) -> Iterator[Display]:
    """An X server with a screen of 1920x1080 that listens on a unix socket only."""
    read, write = os.pipe()
    argv = [
        "Xvfb",
        "-displayfd",
        str(write),
        "-nolisten",
        "tcp",
        "-screen",
        "0",
        "1920x1080x24",
        "-fbdir",
        str(folder),
    ]
    with (folder / "Xvfb.log").open("wb") as log:
        server = subprocess.Popen(argv, pass_fds=[write], stdout=log, stderr=log, start_new_session=True)
    try:
        os.close(write)
        with open(read, encoding="ascii") as answer:
            number = answer.readline().strip()
        assert number, (folder / "Xvfb.log").read_text()
        eventually((folder / "Xvfb_screen0").is_file)
        yield Display(f":{number}", folder / "Xvfb_screen0")
    finally:
        server.terminate()
        server.wait()
