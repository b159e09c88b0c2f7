"""python -m tasks VERB: as `xc VERB`, for an environment that is set up."""

import _signal  # type: ignore[import-not-found]  # it is there at once, `signal` is not
import os
import sys

if __name__ == "__main__":
    # HUP, INT, QUIT and TERM wait until somebody handles them; Python itself would show a traceback.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (1, 2, 3, 15))
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    if not sys.flags.isolated:
        from tasks.base import interpreter

        os.execv(sys.executable, interpreter.xc(*sys.argv[1:]))

    from tasks.base import output, signals

    signals.install(output.last_line)

    from tasks.base import later

    later.install()

    def main() -> int:
        """Past the imports, which take most of the time of a short verb."""
        from tasks.cli import door

        return door.main(sys.argv[1:])

    sys.exit(signals.ending(main))
