"""The script `xc` of an installed package: the tree of a checkout lies in `xcluster/`, and works from there.

Only this module is imported as a part of `xcluster`; the others are `tasks`, as in a checkout.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run `xc`; what is built is below the user's state directory unless XCLUSTER_WORKSPACE says where."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    os.environ.setdefault("XCLUSTER_WORKSPACE", os.path.join(state, "xcluster", "workspace"))
    os.environ["XCLUSTER_PYTHON"] = sys.executable  # for `xc` in that tree, which scripts call as $XCLUSTER
    sys.path.insert(0, str(ROOT))
    if not sys.flags.isolated:
        from tasks.base import interpreter

        os.execv(sys.executable, interpreter.command(__file__, *sys.argv[1:]))
    sys.path.append(str(ROOT.parent))  # it may have been found by PYTHONPATH, and its libraries too
    from tasks.base import later, output, signals

    signals.install(output.last_line)
    later.install()
    from tasks.cli.door import main as door

    sys.exit(signals.ending(lambda: door(sys.argv[1:])))


if __name__ == "__main__":
    main()
