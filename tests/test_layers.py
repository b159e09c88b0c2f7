"""Who may import whom, which module alone may use a library, and how large things may grow.

The order of the folders is one line, ORDER; tests/test_architecture.py compares it with the documents.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# A folder may import those to its right; within build/ and run/ a room may import those to its left.
ORDER = "cli -> run -> build -> engine -> project -> topology -> definitions -> formats -> base"
WITHIN = {
    "build": "sources kernel credentials overlay containers image stock release",
    "run": "net node running inspect services kubernetes cluster verify",
}
# Programs of their own, started and never imported by the rest; and what they may import of us.
PROGRAMS = ("tasks.run.net.programs", "tasks.run.node.programs")
ONLY_IMPORTERS = {
    "doit": {
        f"tasks/engine/{name}.py"
        for name in ("doit_words", "fresh", "kit", "loader", "preview", "record", "reporter", "run")
    },
    "yaml": {"tasks/formats/yaml_core.py", "tasks/build/credentials/kubeconfig.py"},
    "cryptography": {"tasks/build/credentials/certificates.py"},
    "pycdlib": {"tasks/formats/iso9660.py"},
    "requests": {"tasks/build/sources/web.py"},
    "backports": {"tasks/formats/compressed.py"},
    "compression": {"tasks/formats/compressed.py"},
    "tqdm": {"tasks/base/progress.py"},
    "qemu": {"tasks/run/node/qmp.py"},
    "pyroute2": {"tasks/run/net/programs/links.py"},
    # Programs are run by base/proc.py; the others connect two programs, or look after processes of their own.
    "subprocess": {
        "tasks/base/bounded.py", "tasks/base/proc.py", "tasks/formats/decompress.py",
        "tasks/formats/squashfs.py",
        "tasks/formats/unpack.py", "tasks/build/sources/origins.py", "tasks/build/image/compose.py",
        "tasks/run/cluster/machine.py", "tasks/run/net/programs/holder.py",
        "tasks/run/net/programs/outside.py", "tasks/run/node/protocol.py", "tasks/run/node/accel.py",
        "tasks/run/node/checkpoint.py", "tasks/run/node/qemu_trial.py",
    },
}  # fmt: skip
LINES, FUNCTION, NESTING, PARAMETERS = 300, 40, 4, 6
WAIVERS: set[str] = {
    "tasks/base/proc.py:run",  # parameters: each is one of subprocess's, by keyword
}
# A variable is called what the thing is, a noun, and not by one of these:
VERBAL = {"made", "said", "told", "known", "found", "wanted"}
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


def rank(name: str) -> tuple[int, int]:
    """How high a module of ours stands: its folder, and its room in build/ or run/."""
    parts = name.split(".")
    order = list(reversed(ORDER.split(" -> ")))
    if len(parts) < 2 or parts[1] not in order:
        return (len(order), 0)
    rooms = WITHIN.get(parts[1], "").split()
    return (order.index(parts[1]), rooms.index(parts[2]) if len(parts) > 2 and parts[2] in rooms else 0)


def mentioned(tree: ast.Module) -> Iterator[str]:
    """Names of modules in strings: what `import_module` or `-m` is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (name.rstrip(".") for name in re.findall(r"^tasks(?:\.\w+)+\.?", node.value))


def wrong_imports(path: str, text: str) -> list[str]:
    """Imports that go up, and of libraries that another module has for itself."""
    own = path.removesuffix(".py").replace("/", ".")
    tree = ast.parse(text)
    problems = []
    for name in dict.fromkeys([*imported(tree), *mentioned(tree)]):
        top = name.split(".")[0]
        if top == "tasks" and rank(name) > rank(own):
            problems.append(f"{path}: {own} may not import {name}, which is above it")
        if top == "tasks" and name.startswith(PROGRAMS) and not own.startswith(PROGRAMS):
            problems.append(f"{path}: {name} is a program of its own, not to be imported")
        if top == "dodo":
            problems.append(f"{path}: nobody imports dodo")
        if path not in ONLY_IMPORTERS.get(top, {path}):
            problems.append(f"{path}: only {sorted(ONLY_IMPORTERS[top])} may import {top}")
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


def bound(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a module gives to a parameter, a variable or a field, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest, node.lineno


def verbal_names(path: str, text: str) -> list[str]:
    """Variables, parameters and fields that are called after what was done to them."""
    return [f"{path}:{line}: '{name}' is no noun" for name, line in bound(ast.parse(text)) if name in VERBAL]


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
        ("tasks/base/x.py", "from tasks.formats import tree"),
        ("tasks/definitions/x.py", "import tasks.build.overlay.iso"),
        ("tasks/base/x.py", "def f():\n    from tasks.build.image import compose"),
        ("tasks/engine/x.py", "from tasks.build.kernel import kernel"),
        ("tasks/build/x.py", "from tasks.run.cluster.launch import start"),
        ("tasks/build/kernel/x.py", "from tasks.build.image.compose import tasks"),
        ("tasks/run/net/x.py", "from tasks.run.node import qemu"),
        ("tasks/run/node/x.py", "from tasks.run.cluster import launch"),
        ("tasks/run/x.py", "import_module('tasks.cli.door')"),
        ("tasks/run/net/x.py", "import_module(f'tasks.run.node.{name}')"),
        ("tasks/run/net/x.py", "from tasks.run.net.programs import switch"),
        ("tasks/base/x.py", "import yaml"),
        ("tasks/build/x.py", "from doit.tools import config_changed"),
        ("tasks/formats/x.py", "import subprocess as s"),
        ("tasks/cli/x.py", "import dodo"),
    ],
)
def test_a_wrong_import_is_found(path: str, text: str) -> None:
    assert len(wrong_imports(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dodo.py", "from tasks.build.image import compose"),
        ("tasks/__main__.py", "from tasks.cli.door import main"),
        ("tasks/cli/x.py", "from tasks.run.cluster import launch"),
        ("tasks/build/image/x.py", "from tasks.build.kernel import kernel"),
        ("tasks/run/node/x.py", "from tasks.run.net.protocol import Nic"),
        ("tasks/run/node/x.py", "from tasks.base import files"),
        ("tasks/run/net/programs/pretend.py", "from tasks.run.net.programs.wire import Wire"),
    ],
)
def test_right_imports_are_not(path: str, text: str) -> None:
    assert wrong_imports(path, text) == []


def test_names_are_nouns() -> None:
    assert [problem for path, text in sources() for problem in verbal_names(path, text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "said = 1",
        "def f(made): ...",
        "def f(*, told=1): ...",
        "def f(*known): ...",
        "def f(**wanted): ...",
        "f = lambda found: 1",
        "a = [x for x, said in y]",
        "for said in a: ...",
        "with a as made: ...",
        "if found := a: ...",
        "(a, *told) = b",
        "told += 1",
        "class C:\n    known: int",
        "class C:\n    def f(self):\n        self.wanted = 1",
        "try: ...\nexcept E as told: ...",
        "match a:\n    case [*found]: ...",
        "match a:\n    case {'a': 1, **made}: ...",
        "match a:\n    case 1 as said: ...",
    ],
)
def test_a_name_that_is_no_noun_is_found(text: str) -> None:
    (problem,) = verbal_names("tasks/x.py", text)
    assert problem.startswith("tasks/x.py:")


def test_a_word_elsewhere_is_not() -> None:
    assert verbal_names("x.py", "def told(): ...\nmade_here = said.found(known=1)['wanted']") == []


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
    allowed = {
        "dodo.py",
        "tasks/__main__.py",
        "tasks/cli/installed.py",
        "tasks/cli/verb_tasks.py",
        "tasks/engine/run.py",
    }
    assert [path for path, text in sources() if "sys.exit" in text and path not in allowed] == []


def test_every_module_is_in_a_known_place() -> None:
    """A new folder has a place in the order, or a room in the list of its folder."""
    folders = {Path(path).parent.parts for path, _ in sources()}
    folders_in_order = ORDER.split(" -> ")
    assert {parts[1] for parts in folders if len(parts) > 1} == set(folders_in_order)
    for top, rooms in WITHIN.items():
        assert {parts[2] for parts in folders if parts[1:2] == (top,) and len(parts) > 2} == set(
            rooms.split()
        )


def test_no_two_modules_have_one_name() -> None:
    """But for what a folder's keys and its interface are called."""
    names = Counter(Path(path).stem for path, _ in sources())
    assert {name for name, count in names.items() if count > 1} == {"__init__", "schema", "protocol"}


def classes(path: str, text: str) -> Iterator[tuple[str, str]]:
    """The public classes of a module, also those inside of others: name and where."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, path


def twice(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The names that stand for more than one thing, and where."""
    places: dict[str, list[str]] = {}
    for name, path in named:
        places.setdefault(name, []).append(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def test_no_two_classes_have_one_name() -> None:
    """Whoever reads a name knows which thing it is."""
    assert twice(each for path, text in sources() for each in classes(path, text)) == {}


def test_a_class_name_that_stands_twice_is_found() -> None:
    texts = {
        "tasks/a.py": "class A:\n    class B: ...",
        "tasks/b.py": "class B: ...\nclass _C: ...\nclass _C: ...",
    }
    places = twice(each for path, text in texts.items() for each in classes(path, text))
    assert places == {"B": ["tasks/a.py", "tasks/b.py"]}
