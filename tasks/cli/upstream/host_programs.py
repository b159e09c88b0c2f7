"""Programs of the host ──install_prog, cplib──> an overlay's tree. Words that `tar` scripts ask `$XCLUSTER`.

Libraries land at their absolute path on the host, but for those that the image has. What of this does not
fit the guest's C library, tasks/build/overlay/host_libraries.py mends when the overlay is packed.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tasks.base import proc
from tasks.build.overlay.host_files import HOST_FILES
from tasks.cli.upstream.contract import Does, Environ, Refused, values
from tasks.formats import elf


def install_prog(environ: Environ, args: Sequence[str]) -> None:
    """Copy programs, by path or from PATH, to --dest/bin, and their libraries to --dest."""
    dest = _dest(environ)
    if not args:
        raise Refused("No programs")
    pattern = _left_out(environ)
    installed = []
    for word in args:
        program = _find(word)
        if program is None:
            sys.stderr.write(f"WARNING: Program not found [{word}]\n")
            _note([word if "/" not in word else os.path.abspath(word)], environ)
            continue
        target = os.path.join(dest, "bin", os.path.basename(word))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _copy(program, target)
        installed.append(program)
    _take(installed, dest, pattern, environ)


def cplib(environ: Environ, args: Sequence[str]) -> None:
    """Copy the libraries of programs and libraries to --dest."""
    _take(args, _dest(environ), _left_out(environ), environ)


def libs(environ: Environ, args: Sequence[str]) -> None:
    """Print the libraries of programs and libraries, less what the image has."""
    libraries = _libraries(args, _left_out(environ), values(environ)["XCLUSTER_WORKSPACE"])
    sys.stdout.write("".join(f"{path}\n" for path in libraries))


def cploader(environ: Environ, args: Sequence[str]) -> None:
    """Copy the loader to --dest."""
    loader = values(environ)["__loader"]
    if not os.path.isfile(loader):
        raise Refused(f"Not readable [{loader}]")
    _copy(loader, _place(_dest(environ), loader))
    _record([loader], environ)


def _dest(environ: Environ) -> str:
    dest = environ.get("__dest") or environ.get("__root") or ""
    if not dest:
        raise Refused("No --dest")
    os.makedirs(dest, exist_ok=True)
    return dest


def _find(word: str) -> str | None:
    """A program by its path, or its name in PATH; a directory of that name is nothing."""
    if "/" in word:
        return word if os.path.isfile(word) else None
    return proc.find(word) or (word if os.path.isfile(word) else None)


def _left_out(environ: Environ) -> re.Pattern[str] | None:
    """What the libraries of the image look like: a match anywhere in a path, as with `grep -f`."""
    path = values(environ)["__base_libs"]
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line for line in file.read().splitlines() if line and not line.startswith("#")]
    except OSError:
        raise Refused(
            f"Not readable [{path}]: which libraries the image has is not known; "
            f"'xc mkimage' makes that list, --base-libs=/dev/null takes all libraries"
        ) from None
    try:
        return re.compile("|".join(f"(?:{line})" for line in lines)) if lines else None
    except re.error:
        return re.compile("|".join(map(re.escape, lines)))


def _libraries(words: Iterable[str], left_out: re.Pattern[str] | None, workspace: str) -> list[str]:
    search = {key: value for key, value in os.environ.items() if key == "LD_LIBRARY_PATH"}  # a script's own
    libraries = [path for word in words if os.path.isfile(word) for path in elf.libraries(Path(word), search)]
    own = [path for path in dict.fromkeys(libraries) if f"{workspace}/" not in path]
    return [path for path in own if not (left_out and left_out.search(path))]


def _take(
    words: Sequence[str], dest: str, left_out: re.Pattern[str] | None, environ: Mapping[str, str]
) -> None:
    libraries = _libraries(words, left_out, values(environ)["XCLUSTER_WORKSPACE"])
    for path in libraries:
        _copy(path, _place(dest, path))
    inside = os.path.abspath(dest) + os.sep
    _record([word for word in words if not os.path.abspath(word).startswith(inside)] + libraries, environ)


def _place(dest: str, path: str) -> str:
    target = os.path.join(dest, path.lstrip("/"))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    return target


def _copy(source: str, target: str) -> None:
    """Copy the file that a link leads to. A file or link at the target is replaced, never written through."""
    fresh = f"{target}.{os.getpid()}.tmp"
    shutil.copy(source, fresh)
    os.replace(fresh, target)


def _record(paths: Iterable[str], environ: Environ) -> None:
    """Tell the build which files of the host it depends on."""
    _note([os.path.abspath(path) for path in paths if os.path.isfile(path)], environ)


def _note(names: Iterable[str], environ: Environ) -> None:
    """Write paths, or names of programs that are not there yet, into the build's record."""
    if environ.get(HOST_FILES):
        with open(environ[HOST_FILES], "a", encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in names))


WORDS: Mapping[str, Does] = {
    "install_prog": install_prog,
    "cplib": cplib,
    "libs": libs,
    "cploader": cploader,
}
