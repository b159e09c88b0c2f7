"""Rows: variables and files for a caller's own Python, and a `.venv` that was made, or fell, to pieces."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.case import Bench, Case

RAISES = "raise RuntimeError('of the caller')\n"
VENV = Path(sys.prefix)


def prepared(bench: Bench) -> None:
    """The script `xc` finds a .venv that is ready: its packages are those of the tests."""
    own = bench.root / ".venv"
    (own / "bin").mkdir(parents=True)
    (own / "bin" / "python").symlink_to(sys.executable)
    (own / "lib").symlink_to(VENV / "lib")
    shutil.copy(VENV / "pyvenv.cfg", own)
    (own / "requirements.txt").touch()
    (own / "packages").touch()
    stamps = """
        cp -p pyproject.toml .venv/ready
        touch -r .venv/bin/python .venv/made-by
        for lib in .venv/lib/python3*; do touch -r $lib/site-packages .venv/made-of-${lib##*/}; done
    """
    subprocess.run(["sh", "-e", "-c", stamps], cwd=bench.root, check=True)
    for name in ("yaml", "json", "doit", "os", "sitecustomize", "usercustomize", "tasks"):
        bench.write(f"mine/{name}.py", RAISES)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("usercustomize", "sitecustomize", "yaml"):
        bench.write(f"home/.local/lib/{version}/site-packages/{name}.py", RAISES)
    bench.write("ovl/a/default/etc/\xe9\u20ac", "text\n")


def ready(name: str, variables: str) -> Case:
    """A verb that answers at once, and one that loads all and builds."""
    line = f"export {variables}; ./xc status && ./xc ovl:a"
    return Case(name, line, prepare=prepared, says=("ovl:a", "is not running"))


# Each row compiles all of our modules, so a few are together that disturb in different ways.
VARIABLES = {
    "modules that raise in PYTHONPATH and in the user's home": "PYTHONPATH=$root/mine HOME=$root/home",
    "PYTHONHOME of another Python": "PYTHONHOME=/nowhere PYTHONPLATLIBDIR=lib32",
    "PYTHONEXECUTABLE of another Python": "PYTHONEXECUTABLE=/nowhere PYTHONUSERBASE=$root/home/.local",
    "PYTHONOPTIMIZE, and warnings that are errors": "PYTHONOPTIMIZE=2 PYTHONWARNINGS=error PYTHONDEVMODE=1",
    "PYTHONSTARTUP and PYTHONINSPECT": "PYTHONSTARTUP=$root/mine/yaml.py PYTHONINSPECT=1",
    "PYTHONSAFEPATH and other switches": "PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONVERBOSE=2",
    "PYTHONMALLOC and PYTHONTRACEMALLOC": "PYTHONMALLOC=nothing PYTHONTRACEMALLOC=many PYTHONHASHSEED=x",
    "the locale C": "LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 PYTHONIOENCODING=x",
    "a Latin locale that is not there": "LC_ALL=de_DE.ISO-8859-1 LANG=nonsense PYTHONUTF8=0",
    "CDPATH, IFS and GREP_OPTIONS": "CDPATH=/ IFS=/ GREP_OPTIONS=-v",
}

CASES = [
    *(ready(name, variables) for name, variables in VARIABLES.items()),
    Case(
        "modules that raise in the current directory",
        "cd mine && ../xc status && ../xc list",
        prepare=prepared, shows=("suite",), says=("is not running",),
    ),
    Case(
        "PYTHONPATH for python -m tasks, and doit",
        f"PYTHONPATH=$root PYTHONWARNINGS=error {sys.executable} -m tasks list && "
        f"PYTHONPATH=$root {sys.executable} -m doit status",
        prepare=prepared, shows=("suite",), says=("is not running",),
    ),
]  # fmt: skip
