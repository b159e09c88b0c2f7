"""A program of ours and its words -> the command that runs it in a Python of which nobody else decides.

A caller may have set PYTHONPATH, PYTHONWARNINGS, PYTHONHOME or a locale for other programs. Isolated mode
(-I) ignores all variables of Python and the packages of the user's home, and all text is UTF-8.
"""

import os
import sys

_TASKS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ISOLATED = ("-I", "-X", "utf8")


def command(script: str, *words: str) -> list[str]:
    """The command line for a script of ours. What Python compiles is kept where it is for this process."""
    cache = ["-X", f"pycache_prefix={sys.pycache_prefix}"] if sys.pycache_prefix else []
    return [sys.executable, *ISOLATED, *cache, script, *words]


def xc(*words: str) -> list[str]:
    """The command line for `xc WORDS`, where everything is set up."""
    interpreter, *rest = command(os.path.join(_TASKS, "__main__.py"), *words)
    return [interpreter, "-S", *rest]  # site-packages come when they are needed
