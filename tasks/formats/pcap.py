"""Files of captured frames (pcap) that are read while they grow."""

import struct
import sys
from typing import IO

READ = 1 << 20  # bytes at a time
HEADER = 24  # bytes before the first frame
FRAME = struct.Struct("=IIII")  # before each: seconds, microseconds, bytes here, bytes on the wire


class Copy:
    """Copies whole frames of a growing pcap, at most `most` of them (0: all).

    The first `surplus` bytes of each frame are left out.
    """

    def __init__(self, source: IO[bytes], sink: IO[bytes], most: int, surplus: int = 0) -> None:
        self.source = source
        self.sink = sink
        self.left = most or sys.maxsize
        self.got = 0
        self.surplus = surplus
        self._waiting = bytearray()
        self._begun = False

    def more(self) -> None:
        """Copy what has come. Raises BrokenPipeError when nobody reads any more."""
        while data := self.source.read(READ):
            self._waiting += data
            frames = self._frames()
            if frames:
                self.sink.write(frames)
                self.sink.flush()

    def _frames(self) -> bytes:
        """Take the complete frames out of the waiting bytes, at most as many as are left to copy."""
        at, frames = 0, bytearray()
        if not self._begun and len(self._waiting) >= HEADER:
            self._begun, at = True, HEADER
            frames += self._waiting[:HEADER]
        while self._begun and self.left and len(self._waiting) - at >= FRAME.size:
            seconds, micros, length, on_wire = FRAME.unpack_from(self._waiting, at)
            start, end = at + FRAME.size, at + FRAME.size + length
            if len(self._waiting) < end:
                break
            less = min(self.surplus, length)
            frames += (
                FRAME.pack(seconds, micros, length - less, on_wire - less) + self._waiting[start + less : end]
            )
            at = end
            self.left -= 1
            self.got += 1
        del self._waiting[:at]
        return bytes(frames)
