"""A disk image of 1 GiB from a server on loopback, against its bare limits: curl, and xz alone.

    python -m benchmarks.fetch [MIB]

Half of the image are holes, half is data that packs as programs do. Downloading, unpacking, verifying and
writing the qcow2 is to take at most 1.15 times the slower of both. A second build fetches nothing.
"""

import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmarks.build import scratch
from benchmarks.measure import row, seconds
from tasks.base import files
from tasks.base.paths import Workspace
from tasks.build.image import disk
from tasks.definitions.artifact_sources import Source
from tasks.definitions.schema import Disk
from tasks.project.site import Site

MIB = 1 << 20
SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 1024  # MiB
ROUNDS = 3


def picture(path: Path) -> None:
    """1 GiB: each second 16 MiB is a hole, of the rest a third is noise and the others are repeated words."""
    noise = random.Random(1)
    words = [noise.randbytes(24) for _ in range(4096)]
    with path.open("wb") as file:
        file.truncate(SIZE * MIB)
        for at in range(0, SIZE * MIB, 32 * MIB):
            file.seek(at)
            for _ in range(16):
                file.write(noise.randbytes(MIB // 3) + b"".join(noise.choices(words, k=MIB * 2 // 3 // 24)))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server of these files, in a process of its own so that it takes none of our time."""
    words = [sys.executable, "-c", SERVER, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


SERVER = """
import functools, http.server, os, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def copyfile(self, source, outputfile):
        self.wfile.flush()
        while os.sendfile(self.connection.fileno(), source.fileno(), None, 1 << 20): pass
handler = functools.partial(Quiet, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def measure(folder: Path, url: str, archive: Path) -> None:
    """Ours, curl and xz in turn."""
    definition = Disk(sources=(Source(url=url),), sha256=files.sha256(archive))
    want = disk.DiskRequest("bench", definition, folder, {})
    site = Site(Workspace(folder / "workspace"), "bookworm")
    ours, curl, xz, again = [], [], [], []
    for _ in range(ROUNDS + 1):
        files.remove(site.workspace.root)
        ours.append(seconds(lambda: disk.build(want, site)))
        again.append(seconds(lambda: disk.build(want, site)))
        curl.append(
            seconds(lambda: subprocess.run(["curl", "-sf", "-o", folder / "curl.out", url], check=True))
        )
        with (folder / "xz.out").open("wb") as out:
            xz.append(seconds(lambda out=out: unpack(archive, out)))  # type: ignore[misc]
    slower = max(curl[1:], xz[1:], key=statistics.median)
    row(f"image of {SIZE} MiB against curl", ours[1:], curl[1:])
    row(f"image of {SIZE} MiB against xz -T0 -d", ours[1:], xz[1:])
    row(f"image of {SIZE} MiB against the slower of both", ours[1:], slower, 1.15)
    row("the same from the cache, against xz", again[1:], xz[1:])


def unpack(archive: Path, out: IO[bytes]) -> None:
    """xz alone."""
    subprocess.run(["xz", "-dc", "-T0", str(archive)], check=True, stdout=out)


def main() -> None:
    """Everything."""
    with scratch() as folder:
        (folder / "web").mkdir()
        raw = folder / "web" / "hd.img"
        picture(raw)
        subprocess.run(["xz", "-0", "-T0", str(raw)], check=True)
        archive = raw.with_name("hd.img.xz")
        sys.stdout.write(f"the archive has {archive.stat().st_size / MIB:.0f} MiB\n")
        with serving(folder / "web") as server:
            measure(folder, f"{server}/hd.img.xz", archive)


if __name__ == "__main__":
    main()
