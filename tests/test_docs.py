"""The documents: links lead somewhere, files that they name exist, and their Python example works."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.run.net.protocol import NetBackend
from tests.conftest import ROOT

PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md", "ovl/*/README.md") for path in ROOT.glob(pattern))
FENCED = re.compile(r"^(?: {4,}|\t).*$", re.M)  # indented examples
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:tasks|tests|docs|benchmarks|completion)/[\w./-]+)`")
# Names that stand for any name, and files that a reader makes.
EXAMPLES = ("NAME", "tasks/run/net/unplugged.py", "tasks/run/inspect/uptime.py", "tests/overlays/test_")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Markdown viewers make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def dead_links(page: Path, text: str) -> Iterator[str]:
    """The links of a page to files or headings that are not there."""
    for link in LINK.findall(FENCED.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: {link}: there is no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"{page.relative_to(ROOT)}: {link}: there is no such heading"


def missing_files(page: Path, text: str) -> Iterator[str]:
    """The files of the project that a page names and that are not there."""
    for name in NAMED.findall(text):
        if any(example in name for example in EXAMPLES) or (ROOT / name).exists():
            continue
        yield f"{page.relative_to(ROOT)}: there is no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(dead_links(page, page.read_text())) == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"])
def test_files_that_are_named_exist(page: Path) -> None:
    assert list(missing_files(page, page.read_text())) == []


def test_a_dead_link_is_noticed() -> None:
    page = ROOT / "docs/dns.md"
    text = "# A b\n[1](#a-b) [2](#settings) [3](links.md#netem) [4](links.md#gone) [5](gone.md) [6](https://x/)\n"
    assert [problem.split(": ")[1] for problem in dead_links(page, text)] == [
        "#a-b", "links.md#gone", "gone.md",
    ]  # fmt: skip
    assert list(missing_files(page, "`tasks/gone.py` `tasks/base/errors.py` `tasks/run/net/NAME.py`")) == [
        "docs/dns.md: there is no tasks/gone.py"
    ]


def example(name: str) -> dict[str, object]:
    """The names that a module in docs/adding.md has, once it is executed."""
    text = (ROOT / "docs/adding.md").read_text()
    (code,) = re.findall(rf"    # {re.escape(name)}\n((?:    .*\n|\n)+)", text)
    names: dict[str, object] = {}
    exec(compile(re.sub(r"^ {4}", "", code, flags=re.M), name, "exec"), names)
    return names


def test_the_example_of_a_verb_is_what_its_row_names() -> None:
    text = (ROOT / "docs/adding.md").read_text()
    (row,) = re.findall(r'    Verb\(\n        "(\w+)",\n        "tasks\.run\.inspect\.\w+"', text)
    names = example("tasks/run/inspect/uptime.py")
    assert list(names["DOES"]) == [row]  # type: ignore[call-overload]
    used = re.findall(r"\b(proc|reach|Running)\.(\w+)", text.partition("uptime.py\n")[2].partition("DOES")[0])
    assert used and [pair for pair in used if not hasattr(names[pair[0]], pair[1])] == []


def test_the_example_of_a_backend_has_all_that_a_backend_needs() -> None:
    text = (ROOT / "docs/adding.md").read_text()
    names = example("tasks/run/net/unplugged.py")
    methods = {name for name in vars(NetBackend) if not name.startswith("_")}
    assert methods and not [name for name in methods if not callable(getattr(names["BACKEND"], name, None))]
    (listed,) = re.findall(r"`tasks/run/net/protocol\.py`:\n([^.]*)\.", text)
    assert set(re.findall(r"`(\w+)`", listed)) == methods


def test_the_number_of_overlays_is_right() -> None:
    text = (ROOT / "docs/comparison.md").read_text()
    (told,) = re.findall(r"^\| \d+ overlays \| yes \| (\d+), ", text, re.MULTILINE)
    assert int(told) == len(list(ROOT.glob("ovl/*/ovl.yaml")))
