"""What a word of xcluster comes to: verbs and tasks of ours, with the options that are left."""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence

from tasks.base import interpreter
from tasks.cli.upstream.contract import Environ, Refused
from tasks.definitions.upstream_names import TYPED

# Options that a word has used up: they are no settings of what it comes to.
SPENT = (
    "__list", "__clear", "__menuconfig", "__version", "__format", "__size", "__bootable", "__kver", "__dest",
    "__clean", "__workspace", "__mark_file", "__tmp", TYPED,
)  # fmt: skip


def plain(environ: Environ) -> Mapping[str, str]:
    """The environment without options that upstream's word has consumed."""
    return {key: value for key, value in environ.items() if key not in SPENT or key in os.environ}


def _told(environ: Environ) -> dict[str, str]:
    """The same for words of ours, whose messages tell of the word that was typed."""
    return {**plain(environ), TYPED: environ.get(TYPED, "")}


def become(words: Sequence[str], environ: Environ) -> None:
    """Do these words of ours instead, in this process."""
    sys.stdout.flush()
    os.execve(sys.executable, interpreter.xc(*words), _told(environ))


def build(words: Sequence[str], environ: Environ) -> None:
    """Do these words of ours, and come back. Refused when they fail."""
    sys.stdout.flush()
    if os.spawnve(os.P_WAIT, sys.executable, interpreter.xc(*words), _told(environ)):
        raise Refused(f"{' '.join(words)} was not built")


def answer(words: Sequence[str], environ: Environ) -> tuple[int, bytes]:
    """The exit code and stdout of these words of ours; their stderr goes where ours goes."""
    argv = interpreter.xc(*words)
    with tempfile.TemporaryFile() as out:
        stdout = (os.POSIX_SPAWN_DUP2, out.fileno(), 1)
        pid = os.posix_spawn(sys.executable, argv, _told(environ), file_actions=[stdout])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        return code, out.read()
