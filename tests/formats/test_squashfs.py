"""The file system that is made of a tar stream."""

import io
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tasks.formats import squashfs

# Reads to the end mark of the tar and no further, from a pipe that cannot hold the padding behind the mark.
HASTY = """#!{python}
import fcntl, os, subprocess, sys
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 4096)
open({ready!r}, "w").close()
content = b""
while content[-1024:] != bytes(1024):
    content += os.read(0, 512)
os.close(0)
sys.exit(subprocess.run([{real!r}, *sys.argv[1:]], input=content).returncode)
"""


def test_a_reader_that_leaves_the_padding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, ready = shutil.which("sqfstar"), tmp_path / "ready"
    if real is None:
        pytest.skip("sqfstar is not installed")
    program = tmp_path / "sqfstar"
    program.write_text(HASTY.format(python=sys.executable, ready=str(ready), real=real))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def fill(tar: tarfile.TarFile) -> None:
        while not ready.exists():
            time.sleep(0.01)
        member = tarfile.TarInfo("file")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))

    squashfs.write(tmp_path / "disk", fill, 7)
    assert (tmp_path / "disk").read_bytes()[:4] == b"hsqs"
