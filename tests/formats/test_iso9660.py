"""The overlay ISO: the same bytes for the same files, and readable by others."""

import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.formats import iso9660

EPOCH = 1735689600
NAMES = ["00env.tar", "01network-topology@test,x.tar", "Upper.Case", "user-data", "no_ending", "a.b.c.d"]


def some(folder: Path, names: list[str]) -> dict[str, Path]:
    """Files whose content is their name."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return {name: folder / name for name in names}


def test_names(tmp_path: Path) -> None:
    iso9660.write(tmp_path / "x.iso", some(tmp_path / "in", NAMES), "label", EPOCH)
    assert iso9660.names(tmp_path / "x.iso") == sorted(NAMES)
    assert (tmp_path / "x.iso").stat().st_size % iso9660.STEP == 0


def test_the_same_bytes_at_another_time_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        content = some(tmp_path / name, NAMES)
        for path in content.values():
            os.utime(path, (int(name), int(name)))
        iso9660.write(tmp_path / f"{name}.iso", content, "label", EPOCH)
        time.sleep(1.01 if name == "1" else 0)
    monkeypatch.undo()
    time.tzset()
    assert (tmp_path / "1.iso").read_bytes() == (tmp_path / "2.iso").read_bytes()


def test_the_clock_is_ours_again(tmp_path: Path) -> None:
    iso9660.write(tmp_path / "x.iso", {}, "label", EPOCH)
    assert abs(time.time() - EPOCH) > 1000
    assert iso9660.names(tmp_path / "x.iso") == []


def test_the_label(tmp_path: Path) -> None:
    iso9660.write(tmp_path / "x.iso", {}, "cidata", EPOCH)
    assert (tmp_path / "x.iso").read_bytes()[0x8028:0x8048] == b"cidata".ljust(32)


def test_large_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5 << 20))
    (tmp_path / "empty").touch()
    iso9660.write(tmp_path / "x.iso", {"large": tmp_path / "large", "empty": tmp_path / "empty"}, "x", EPOCH)
    assert iso9660.names(tmp_path / "x.iso") == ["empty", "large"]
    assert (tmp_path / "x.iso").stat().st_size >= 5 << 20


@pytest.mark.parametrize("names", [["x" * 63, "y" * 64], ["z" * 65 + ".tar"], ["w" * 120]])
def test_long_names(tmp_path: Path, names: list[str]) -> None:
    """Joliet ends at 64 characters; what the guest reads is Rock Ridge."""
    iso9660.write(tmp_path / "x.iso", some(tmp_path / "in", names), "x", EPOCH)
    assert iso9660.names(tmp_path / "x.iso") == names


def test_many_files(tmp_path: Path) -> None:
    names = [f"{number:03d}overlay-{number}.tar" for number in range(150)]
    iso9660.write(tmp_path / "x.iso", some(tmp_path / "in", names), "x", EPOCH)
    assert iso9660.names(tmp_path / "x.iso") == names


def test_xorriso_reads_it(tmp_path: Path) -> None:
    if not proc.find("xorriso"):
        pytest.skip("xorriso is not installed")
    iso9660.write(tmp_path / "x.iso", some(tmp_path / "in", NAMES), "my-label", EPOCH)
    command = [
        "xorriso",
        "-osirrox",
        "on",
        "-indev",
        str(tmp_path / "x.iso"),
        "-extract",
        "/",
        str(tmp_path / "out"),
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert "my-label" in said
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        name: name for name in NAMES
    }
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o444}


def extents(path: Path, name: str) -> list[tuple[int, int]]:
    """Where a file is on an ISO: (first byte, length) of each extent, as the root directory says."""
    found = []
    with path.open("rb") as iso:
        iso.seek(16 * 2048 + 156)
        root = iso.read(34)
        lba, size = struct.unpack_from("<I", root, 2)[0], struct.unpack_from("<I", root, 10)[0]
        iso.seek(lba * 2048)
        records = iso.read(size)
    at = 0
    while at < size:
        length = records[at]
        if not length:
            at = (at // 2048 + 1) * 2048
            continue
        if records[at + 33 : at + 33 + len(name)] == name.encode():
            where, count = (struct.unpack_from("<I", records, at + offset)[0] for offset in (2, 10))
            found.append((where * 2048, count))
        at += length
    return found


def test_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    """In several extents, one behind the other; what is a hole stays one."""
    big, total = tmp_path / "big", (4 << 30) + 12_345
    marks = {0: b"begin", (4 << 30) - 3: b"border", total - 3: b"end"}
    with big.open("wb") as file:
        for at, mark in marks.items():
            file.seek(at)
            file.write(mark)
    small = some(tmp_path / "in", ["01small.tar"])
    iso9660.write(tmp_path / "x.iso", {"00big.tar": big, **small}, "x", EPOCH)
    places = extents(tmp_path / "x.iso", "00big.tar")
    assert sum(count for _, count in places) == total and len(places) > 1
    assert all(first + count == after for (first, count), (after, _) in zip(places, places[1:], strict=False))
    with (tmp_path / "x.iso").open("rb") as iso:
        for at, mark in marks.items():
            iso.seek(places[0][0] + at)
            assert iso.read(len(mark)) == mark
    assert (tmp_path / "x.iso").stat().st_blocks * 512 < 64 << 20
    assert iso9660.names(tmp_path / "x.iso") == ["00big.tar", "01small.tar"]


def test_a_file_with_holes_is_the_same_as_one_without(tmp_path: Path) -> None:
    """Data in the middle of what is copied at a time, and a hole at the end."""
    for name, filling in (("holes", False), ("plain", True)):
        with (tmp_path / name).open("wb") as file:
            if filling:
                file.write(bytes(9 << 20))
            for at in (0, 100_001, (3 << 20) - 1, 5 << 20):
                file.seek(at)
                file.write(b"data")
            file.truncate(9 << 20)
        iso9660.write(
            tmp_path / f"{name}.iso", {"a.tar": tmp_path / name, "b.tar": tmp_path / name}, "x", EPOCH
        )
    assert (tmp_path / "holes").stat().st_blocks < (tmp_path / "plain").stat().st_blocks
    assert (tmp_path / "holes.iso").read_bytes() == (tmp_path / "plain.iso").read_bytes()


def test_more_than_guests_can_see(tmp_path: Path) -> None:
    """The disk that guests know is 8 GiB; a larger ISO would end in the middle of a tar."""
    paths = {}
    for name in ("a", "b"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(4 << 30)
        paths[name] = tmp_path / name
    with pytest.raises(UserError, match="8.0 GiB") as caught:
        iso9660.write(tmp_path / "x.iso", paths, "x", EPOCH)
    assert "extends" in str(caught.value)
    assert not (tmp_path / "x.iso").exists()
