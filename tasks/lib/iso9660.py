"""The overlay ISO: Rock Ridge and Joliet, the same bytes for the same files. The only importer of pycdlib."""

import time
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

STEP = 1 << 20  # bytes; every ISO is a multiple, so that a changed overlay rarely changes the disk's size
LABEL_LENGTH = 32


def write(out: Path, files: Mapping[str, Path], label: str, epoch: int) -> None:
    """Write an ISO with `files` (name in the root directory -> file) and volume id `label`."""
    from pycdlib import PyCdlib

    # pycdlib takes the volume's times from the clock and in the host's time zone.
    with (
        mock.patch.object(time, "time", lambda: float(epoch)),
        mock.patch.object(time, "localtime", time.gmtime),
    ):
        iso = PyCdlib()
        iso.new(interchange_level=4, vol_ident=label, rock_ridge="1.09", joliet=3)
        for name, path in files.items():
            iso.add_file(
                str(path), iso_path=f"/{name}", rr_name=name, joliet_path=f"/{name}", file_mode=0o100444
            )
        iso.write(str(out))
        iso.close()
    size = out.stat().st_size
    with out.open("ab") as file:
        file.truncate(-(-size // STEP) * STEP)


def names(path: Path) -> list[str]:
    """The names in the root directory of an ISO, sorted."""
    from pycdlib import PyCdlib

    iso = PyCdlib()
    iso.open(str(path))
    try:
        found = [
            child.rock_ridge.name().decode() for child in iso.list_children(iso_path="/") if child.rock_ridge
        ]
    finally:
        iso.close()
    return sorted(name for name in found if name not in ("", ".", ".."))
