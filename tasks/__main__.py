"""python -m tasks VERB: as `xc VERB`, for an environment that is set up."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    if not sys.flags.isolated:
        from tasks.base import interpreter

        os.execv(sys.executable, interpreter.xc(*sys.argv[1:]))

    from tasks.base import later

    later.install()

    from tasks.cli.door import main

    sys.exit(main(sys.argv[1:]))
