"""mconnect against servers that are slow, or silent."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

COUNT = 30
LIMIT = 1.0  # seconds without an answer


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, for this host."""
    path = tmp_path_factory.mktemp("mconnect") / "mconnect"
    subprocess.run(["go", "build", "-o", str(path), "."], cwd=ROOT / "ovl/mconnect/src", check=True)
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=COUNT) as server:
        yield server


def tried(program: Path, listener: socket.socket) -> tuple[int, Any, str]:
    """Many connections to the server: the exit code, the result, and what was said."""
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    words = ["-address", address, "-nconn", str(COUNT), "-timeout", f"{LIMIT}s", "-output", "json"]
    done = subprocess.run([str(program), *words], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_slow_server_gets_the_time_that_it_needs(program: Path, listener: socket.socket) -> None:
    """All connections together take longer than the limit, and each is answered within it."""

    def answer() -> None:
        for _ in range(COUNT):
            time.sleep(2.5 * LIMIT / COUNT)
            connection, _ = listener.accept()
            connection.sendall(b"slow")
            connection.close()

    server = threading.Thread(target=answer)
    server.start()
    code, result, _ = tried(program, listener)
    server.join()
    assert code == 0 and result["hosts"] == {"slow": COUNT}
    assert result["duration"] > 2 * LIMIT * 1e9


def test_a_silent_server_is_given_up(program: Path, listener: socket.socket) -> None:
    code, result, _ = tried(program, listener)
    assert code == 1 and result["failed_reads"] + result["failed_connects"] == COUNT


def test_the_first_failure_says_why(program: Path, listener: socket.socket) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    done = subprocess.run(
        [str(program), "-address", address, "-timeout", f"{LIMIT}s"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "nothing was answered for 1s" in done.stderr
