"""Numbers, sizes and durations as people write them."""

import pytest

from tasks.definitions import quantities


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("512M", 512),
        ("512MiB", 512),
        ("512MB", 512),
        ("512Mi", 512),
        ("512m", 512),
        (" 1G ", 1024),
        ("1.5G", 1536),
        ("0.5g", 512),
        ("1 GiB", 1024),
        ("1T", 1 << 20),
        ("2048K", 2),
        ("0256", 256),
        ("0x100", 256),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert quantities.mebibytes(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "G", "1.5", "1e3", "1_000", "1,5G", "-1G", "1P", "1.3G", "100K", "1G1M", "inf", "9" * 5000 + "G"],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="^expected "):
        quantities.mebibytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1.5m", 90), ("1h30m", 5400), ("1d", 86400), ("1m30s", 90)],
)
def test_durations(text: str, seconds: int) -> None:
    assert quantities.seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "1:30", "500ms", "0.5s", "1h 30", "5M", "1e3", "-1s", "9" * 5000 + "s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="^expected "):
        quantities.seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", "2G"), ("512M", "512M"), ("1.5GiB", "1536M"), ("2048M", "2G"), ("1t", "1024G"), ("4096k", "4M")],
)
def test_sizes_of_disks(text: str, size: str) -> None:
    assert quantities.disk_size(text) == size


@pytest.mark.parametrize("text", ["2048", "big", "0G", "100K", "", "1.0001G"])
def test_no_sizes_of_disks(text: str) -> None:
    with pytest.raises(ValueError, match="^expected "):
        quantities.disk_size(text)
