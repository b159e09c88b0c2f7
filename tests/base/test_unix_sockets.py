"""Sockets whose paths the kernel would not take."""

import socket
import subprocess
from pathlib import Path

import pytest

from tasks.base import unix_sockets

NAMES = ("x" * 250, "b %\",'$`\\:=#?*[];&~é", "-n", "a\nb\tc")


@pytest.mark.parametrize("name", NAMES)
def test_a_socket_is_reached_from_here_and_by_a_program_beside_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as door:
        with unix_sockets.reachable(folder / "door") as path:
            door.bind(path)
        door.listen()
        with unix_sockets.reachable(folder / "door") as path, socket.socket(socket.AF_UNIX) as link:
            link.connect(path)
            link.sendall(b"from here\n")
        assert door.accept()[0].recv(99) == b"from here\n"
        words = ["socat", "STDIO", f"UNIX-CONNECT:{unix_sockets.HERE / 'door'}"]
        subprocess.run(unix_sockets.beside(folder, words), input=b"beside\n", check=True)
        assert door.accept()[0].recv(99) == b"beside\n"


def test_a_directory_that_is_gone_is_an_error_as_a_socket_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), unix_sockets.reachable(tmp_path / "gone" / "door"):
        pass
