"""A number, a size or a duration as people write it -> an int. The same everywhere."""

import re
from collections.abc import Mapping

MIB = 1 << 20
UNITS = {"k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40}  # of 1024, as QEMU reads them
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BASES: Mapping[str, int] = {"0x": 16, "0o": 8}
LONGEST = 30  # characters; nobody writes a longer number
_WHOLE = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kmgt])(?:i?b|i)?", re.IGNORECASE)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


def whole(text: str) -> int:
    """`256`, `0256` and `0x100` are 256, as in YAML. Raises ValueError with one sentence."""
    digits = text.strip()
    if len(digits) > LONGEST or not _WHOLE.fullmatch(digits):
        raise ValueError("expected a whole number")
    return int(digits, BASES.get(digits[:2], 10))


def mebibytes(text: str) -> int:
    """`512`, `512M`, `512MiB` and `0.5G` are 512. Raises ValueError with one sentence."""
    stripped = text.strip()
    size = _SIZE.fullmatch(stripped) if len(stripped) <= LONGEST else None
    if not size:
        return _or(stripped, "expected MiB as a whole number, or a size such as 512M or 1.5G")
    exact = float(size[1]) * UNITS[size[2].lower()] / MIB
    if not exact.is_integer():
        raise ValueError("expected a size of whole MiB, such as 512M or 1.5G")
    return int(exact)


def seconds(text: str) -> int:
    """`90`, `90s`, `1.5m` and `1m30s` are 90. Raises ValueError with one sentence."""
    stripped = text.strip()
    parts = _PART.findall(stripped) if len(stripped) <= LONGEST else []
    if not parts or "".join(map("".join, parts)) != stripped:
        return _or(stripped, "expected seconds as a whole number, or a duration such as 90s, 5m or 1h30m")
    exact = sum((float(number) * SECONDS[unit] for number, unit in parts), 0.0)
    if not exact.is_integer():
        raise ValueError("expected a duration of whole seconds, such as 90s, 5m or 1h30m")
    return int(exact)


def disk_size(text: str) -> str:
    """A size of a disk, in the shortest form that mke2fs reads: `1.5G` is 1536M. Raises ValueError."""
    if text.strip().isdecimal() or not _SIZE.fullmatch(text.strip()):
        raise ValueError("expected a size, such as 512M, 2G or 1.5GiB")
    size = mebibytes(text)
    if size < 1:
        raise ValueError("expected a size of at least 1M")
    return f"{size // 1024}G" if size % 1024 == 0 else f"{size}M"


def _or(text: str, problem: str) -> int:
    try:
        return whole(text)
    except ValueError:
        raise ValueError(problem) from None
