"""docs/architecture.md draws what the imports are, and each folder's page lists its modules.

`python -m tests.test_architecture` writes the picture again.
"""

import ast
import re

import pytest

from tests.conftest import ROOT
from tests.test_layers import ORDER, WITHIN, imported, sources

PAGE = ROOT / "docs/architecture.md"
PAGE_LINES = 150
BEGIN, END = "<!-- written by `python -m tests.test_architecture` -->", "<!-- end -->"


def folder_of(name: str) -> tuple[str, str]:
    """The folder of a module of ours, and its room in build/ or run/; "" where there is none."""
    parts = [*name.split("."), "", ""]
    room = parts[2] if parts[2] in WITHIN.get(parts[1], "").split() else ""
    return parts[1], room


def arrows() -> tuple[dict[str, set[str]], dict[str, dict[str, set[str]]]]:
    """Who imports whom: folder -> folders, and for build and run room -> rooms of the same folder."""
    folders: dict[str, set[str]] = {name: set() for name in ORDER.split(" -> ")}
    rooms = {top: {room: set[str]() for room in line.split()} for top, line in WITHIN.items()}
    for path, text in sources():
        top, room = folder_of(path.removesuffix(".py").replace("/", "."))
        for name in imported(ast.parse(text)) if top in folders else ():
            to, other = folder_of(name)
            if name.startswith("tasks.") and to in folders and to != top:
                folders[top].add(to)
            elif name.startswith("tasks.") and to == top and room and other and other != room:
                rooms[top][room].add(other)
    return folders, rooms


def picture() -> str:
    """The arrows as lines of text, the highest folder first; what it imports in the same order."""
    folders, rooms = arrows()
    order = ORDER.split(" -> ")
    lines = [f"    {name:<13}--> {' '.join(to for to in order if to in folders[name])}" for name in order]
    for top in ("run", "build"):
        names = list(reversed(WITHIN[top].split()))
        lines += ["", f"    in {top}:"]
        lines += [
            f"    {name:<13}--> {' '.join(to for to in names if to in rooms[top][name])}" for name in names
        ]
    return "\n".join(line.removesuffix("--> ").rstrip() for line in lines) + "\n"


def with_picture(page: str) -> str:
    """The page with the lines between the marks replaced by the picture of now."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{picture()}\n{END}{rest.partition(END)[2]}"


def listed(page: str) -> list[str]:
    """The modules in the tables of a folder's page: the first cell of each row, in backquotes."""
    return [
        name for row in re.findall(r"^\| (`.*?`) \|", page, re.M) for name in re.findall(r"`([\w/]+)`", row)
    ]


def test_the_picture_is_what_the_imports_are() -> None:
    assert ORDER in PAGE.read_text()
    assert all(" ".join(line.split()) in PAGE.read_text() for line in WITHIN.values())
    assert with_picture(PAGE.read_text()) == PAGE.read_text(), "run: python -m tests.test_architecture"
    assert len(PAGE.read_text().splitlines()) <= PAGE_LINES


def test_the_readme_has_every_folder() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in ORDER.split(" -> ") if f"tasks/{name}/" not in text] == []


def test_the_picture_shows_an_import() -> None:
    folders, rooms = arrows()
    assert {"doit", "formats"}.isdisjoint(folders["base"]) and "base" in folders["formats"]
    assert "net" in rooms["run"]["node"] and "node" not in rooms["run"]["net"]


@pytest.mark.parametrize("folder", ORDER.split(" -> "))
def test_each_module_is_on_its_folders_page(folder: str) -> None:
    """Every module of the folder is in a table of docs/architecture/FOLDER.md, and nothing else is."""
    names = {path.removeprefix(f"tasks/{folder}/").removesuffix(".py") for path, _ in sources()
             if path.startswith(f"tasks/{folder}/") and not path.endswith("__init__.py")}  # fmt: skip
    page = (ROOT / f"docs/architecture/{folder}.md").read_text()
    assert names - set(listed(page)) == set(), f"modules without a row in docs/architecture/{folder}.md"
    assert set(listed(page)) - names == set(), f"rows of docs/architecture/{folder}.md without a module"
    assert len(listed(page)) == len(names), "a module has two rows"


def test_a_row_of_a_table_is_read() -> None:
    page = "| module | x |\n|---|---|\n| `a`, `b/c` | takes `d` |\ntext `e`\n"
    assert listed(page) == ["a", "b/c"]


if __name__ == "__main__":
    PAGE.write_text(with_picture(PAGE.read_text()))
