"""python -m tasks VERB: as `xc VERB`, for an environment that is set up."""

import _signal  # type: ignore[import-not-found]  # it is there at once, `signal` is not
import sys

if __name__ == "__main__":
    # HUP, INT, QUIT and TERM wait until somebody handles them; Python itself would show a traceback.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (1, 2, 3, 15))

    from tasks.base import output, signals

    signals.install(output.last_line)

    from tasks.base import later

    later.install()

    def main() -> int:
        """Past the imports, which take most of the time of a short verb."""
        from tasks.cli import door

        return door.main(sys.argv[1:])

    sys.exit(signals.ending(main))
