"""python -m tasks VERB: as `xc VERB`, for an environment that is set up."""

import sys

from tasks.base import later

if __name__ == "__main__":
    later.install()

    from tasks.cli.door import main

    sys.exit(main(sys.argv[1:]))
