"""Rows: words that were mistyped."""

from tests.faults.case import Case

CASES = [
    Case("an overlay with letters swapped", "$xc ovl:aa", code=2, says=("Did you mean 'ovl:a'",)),
]
