"""python -m tasks VERB: as `xc VERB`, for an environment that is set up."""

import sys

from tasks.cli.door import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
