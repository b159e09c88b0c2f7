"""What was checked, and what came out: as text, JSON and JUnit's XML."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal
from xml.etree import ElementTree

Outcome = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Result:
    """One check."""

    suite: str  # what was checked together: a topology
    name: str
    outcome: Outcome
    text: str = ""  # why it failed or was skipped
    seconds: float = 0.0


@dataclass(frozen=True)
class ResultCounts:
    """How many checks ended how."""

    ok: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.ok} ok, {self.failed} failed{skipped}"


def counts(results: Iterable[Result]) -> ResultCounts:
    """The results, counted."""
    outcomes = [each.outcome for each in results]
    return ResultCounts(*(outcomes.count(kind) for kind in ("ok", "failed", "skipped")))


def as_json(results: Iterable[Result]) -> str:
    """A list of objects with the fields of a result."""
    return json.dumps([asdict(each) for each in results], indent=1) + "\n"


def as_junit(results: Iterable[Result]) -> bytes:
    """The XML that CI systems read: a testsuite for each suite, a testcase for each check."""
    root = ElementTree.Element("testsuites")
    by_suite: dict[str, list[Result]] = {}
    for each in results:
        by_suite.setdefault(each.suite, []).append(each)
    for suite, own in by_suite.items():
        total = counts(own)
        numbers = {"tests": len(own), "failures": total.failed, "skipped": total.skipped}
        attributes = {"name": suite, **{key: str(value) for key, value in numbers.items()}}
        attributes["time"] = f"{sum(each.seconds for each in own):.3f}"
        element = ElementTree.SubElement(root, "testsuite", attributes)
        for each in own:
            case = {"classname": suite, "name": each.name, "time": f"{each.seconds:.3f}"}
            entry = ElementTree.SubElement(element, "testcase", case)
            if each.outcome != "ok":
                kind = "failure" if each.outcome == "failed" else "skipped"
                ElementTree.SubElement(entry, kind, {"message": _allowed(each.text)})
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _allowed(text: str) -> str:
    """The text without the control characters that XML forbids."""
    return "".join(char if char >= " " or char in "\n\t" else "?" for char in text)
