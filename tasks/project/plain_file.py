"""xcluster.yaml with nothing but lines as `mem: 256` -> its keys and values, without a parser of YAML.

Verbs that answer at once, and words that `tar` scripts ask many times, read it so. The values are those that
the parser would give, as texts.
"""

from __future__ import annotations

import os
import re
import stat

LARGEST = 1 << 16  # bytes
WORD = r"[\w./+][\w.,/+-]*"
LINE = re.compile(rf"(?:(\w+):[ \t]+({WORD}(?: {WORD})*))?(?:[ \t]+#.*|[ \t]*)|#.*", re.ASCII)
NULL = ("null", "Null", "NULL")  # with the parser it is no value


def read(path: str) -> dict[str, str] | None:
    """The keys and values; none where there is no file. None where it takes more to read it."""
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST:
            return None
        with open(path, encoding="utf-8") as file:
            lines = [LINE.fullmatch(line.rstrip("\n")) for line in file]
    except FileNotFoundError:
        return None if os.path.islink(path) else {}
    except (OSError, UnicodeDecodeError):
        return None
    pairs = [(line[1], line[2]) for line in lines if line and line[1]]
    values = dict(pairs)
    usual = all(lines) and len(values) == len(pairs) and not set(values.values()) & set(NULL)
    return values if usual else None
