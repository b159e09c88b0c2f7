"""Who may import whom, which module alone may use a library, and how large things may grow.

dodo -> tasks/* -> {net, node, lib};  node -> {net, lib};  net -> lib;  lib -> lib.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = {
    "top": {"top", "net", "node", "lib"},
    "node": {"node", "net", "lib"},
    "net": {"net", "lib"},
    "lib": {"lib"},
}
ONLY_IMPORTERS = {
    "doit": {"tasks/lib/kit.py", "tasks/lib/record.py"},
    "yaml": {"tasks/lib/defs.py", "tasks/lib/kubeconfig.py"},
    "cryptography": {"tasks/lib/pki.py"},
    "pycdlib": {"tasks/lib/iso9660.py"},
    "requests": {"tasks/lib/fetch.py", "tasks/lib/registry_api.py"},
    "zstandard": {"tasks/lib/layers.py"},
    "tqdm": {"tasks/lib/progress.py"},
    "qemu": {"tasks/lib/qmp.py"},
    "pyroute2": {"tasks/net/links.py"},
    # Programs are run by lib/proc.py; the others connect two programs, or look after processes of their own.
    "subprocess": {
        "tasks/artifact.py", "tasks/image.py", "tasks/lib/proc.py", "tasks/lib/squashfs.py",
        "tasks/lib/stream.py", "tasks/lib/tree.py", "tasks/machine.py", "tasks/net/holder.py",
        "tasks/net/outside.py",
        "tasks/node/__init__.py", "tasks/node/accel.py", "tasks/node/checkpoint.py",
    },
}  # fmt: skip
LINES, FUNCTION, NESTING, PARAMETERS = 300, 40, 4, 6
WAIVERS: set[str] = {
    "tasks/lib/proc.py:run",  # parameters: each is one of subprocess's, by keyword
}
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.AsyncFor, ast.AsyncWith, ast.Match)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> Iterator[tuple[str, str]]:
    """Our modules: path and text."""
    for path in (*sorted((ROOT / "tasks").rglob("*.py")), ROOT / "dodo.py"):
        yield str(path.relative_to(ROOT)), path.read_text()


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module a module imports, also inside functions; `from a import b` may mean a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(parts: list[str]) -> str:
    """The layer of a module by its dotted name."""
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "top"


def wrong_imports(path: str, text: str) -> list[str]:
    """Imports that go up a layer, and of libraries that another module has for itself."""
    own = layer(path.removesuffix(".py").split("/"))
    problems = []
    for name in imported(ast.parse(text)):
        parts = name.split(".")
        if parts[0] == "tasks" and layer(parts) not in LAYERS[own]:
            problems.append(f"{path}: {own} may not import {name}")
        if parts[0] == "dodo" and path != "tasks/__main__.py":
            problems.append(f"{path}: only __main__ may import dodo")
        if path not in ONLY_IMPORTERS.get(parts[0], {path}):
            problems.append(f"{path}: only {sorted(ONLY_IMPORTERS[parts[0]])} may import {parts[0]}")
    return problems


def depth(node: ast.AST, inside: int = 0) -> int:
    """How deep blocks are nested below `node`; an `elif` is as deep as its `if`."""
    deepest = inside
    for field, value in ast.iter_fields(node):
        children = [
            child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
        ]
        chained = (
            isinstance(node, ast.If)
            and field == "orelse"
            and len(children) == 1
            and isinstance(children[0], ast.If)
        )
        for child in children:
            deepest = max(deepest, depth(child, inside + (isinstance(child, BLOCKS) and not chained)))
    return deepest


def over_budget(path: str, text: str) -> list[str]:
    """What is too large: the module, or a function of it."""
    problems = [f"{path}: {len(text.splitlines())} lines"] if len(text.splitlines()) > LINES else []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, Function):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
        where = f"{path}:{node.name}"
        problems += [f"{where}: {length} lines"] if length > FUNCTION else []
        problems += [f"{where}: nested {depth(node)} deep"] if depth(node) > NESTING else []
        problems += [f"{where}: {count} parameters"] if count > PARAMETERS else []
    return problems


def test_imports() -> None:
    assert [problem for path, text in sources() for problem in wrong_imports(path, text)] == []


def test_budgets() -> None:
    problems = [problem for path, text in sources() for problem in over_budget(path, text)]
    assert [problem for problem in problems if problem.rsplit(":", 1)[0] not in WAIVERS] == []
    assert {problem.rsplit(":", 1)[0] for problem in problems} >= WAIVERS, "a waiver that is not needed"


def test_every_module_says_what_it_is() -> None:
    assert [path for path, text in sources() if not ast.get_docstring(ast.parse(text))] == []


def test_public_functions_are_documented() -> None:
    bare = [
        f"{path}:{node.name}"
        for path, text in sources()
        for node in ast.parse(text).body
        if isinstance(node, Function | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tasks/lib/x.py", "from tasks.net import Nic"),
        ("tasks/lib/x.py", "import tasks.iso"),
        ("tasks/lib/x.py", "def f():\n    from tasks import image"),
        ("tasks/net/x.py", "from tasks.node import qemu"),
        ("tasks/node/x.py", "from tasks import launch"),
        ("tasks/x.py", "import yaml"),
        ("tasks/x.py", "from doit.tools import config_changed"),
        ("tasks/lib/x.py", "import subprocess as s"),
        ("tasks/x.py", "import dodo"),
    ],
)
def test_a_wrong_import_is_found(path: str, text: str) -> None:
    assert len(wrong_imports(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dodo.py", "from tasks import image"),
        ("tasks/x.py", "from tasks.node import qemu"),
        ("tasks/node/x.py", "from tasks.net import Nic"),
        ("tasks/node/x.py", "from tasks.lib import files"),
    ],
)
def test_right_imports_are_not(path: str, text: str) -> None:
    assert wrong_imports(path, text) == []


DEEP = """
def f():
  for a in b:
    if a:
      with c:
        while d:
          try:
            pass
          finally:
            e()
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n" * 301, "301 lines"),
        ("def f():\n" + "    x = 1\n" * 40, "f: 41 lines"),
        (DEEP, "f: nested 5 deep"),
        ("class C:\n    def f(self, a, b, c, *, d, e, f, g): ...", "f: 7 parameters"),
    ],
)
def test_what_is_too_large_is_found(text: str, says: str) -> None:
    (problem,) = over_budget("tasks/x.py", text)
    assert says in problem


def test_what_is_just_right_is_not() -> None:
    chain = "def f(a):\n    if a == 1:\n        b()\n" + "".join(
        f"    elif a == {i}:\n        b()\n" for i in range(9)
    )
    assert over_budget("tasks/x.py", chain) == []


def test_no_process_ends_from_within() -> None:
    """Only the doors may end the process: under doit a SystemExit would end the whole run."""
    allowed = {"dodo.py", "tasks/__main__.py", "tasks/quick.py", "tasks/lib/kit.py"}
    assert [path for path, text in sources() if "sys.exit" in text and path not in allowed] == []


def test_every_module_is_in_a_known_place() -> None:
    assert {Path(path).parent.as_posix() for path, _ in sources()} == {
        ".",
        "tasks",
        "tasks/lib",
        "tasks/net",
        "tasks/node",
    }
