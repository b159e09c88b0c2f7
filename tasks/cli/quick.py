"""The first thing behind `xc`: a user's hook, then words that need no doit, then everything else."""

import contextlib
import os
import sys
from collections.abc import Sequence

from tasks.base.errors import UserError
from tasks.cli.upstream import contract
from tasks.cli.upstream.contract import Refused

# Which module answers a word; only that one is imported.
WORDS = {
    **dict.fromkeys(contract.WORDS, "contract"),
    **dict.fromkeys(("install_prog", "cplib", "libs", "cploader"), "host_programs"),
    **dict.fromkeys(("completion", "cache", "mkimage", "ximage"), "build_words"),
    **dict.fromkeys(("kernel_build", "build_base", "k8s_build_images", "k8s_test"), "build_words"),
}
OTHERS = {"cache": ("ls", "prune", "export", "import")}  # sub-words that are not ours


def takes(argv: Sequence[str]) -> bool:
    """Whether the words are answered here."""
    return bool(argv) and argv[0] in WORDS and not set(argv[1:2]) & set(OTHERS.get(argv[0], ()))


def options(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Upstream's rule: words with -- before the first without are variables, `--a-b=c` is __a_b=c."""
    rest = list(argv)
    found = {}
    while rest and rest[0].startswith("--"):
        name, given, value = rest.pop(0)[2:].partition("=")
        found[f"__{name.replace('-', '_')}"] = value if given else "yes"
    return found, rest


def answer(argv: Sequence[str]) -> int:
    """Do one of WORDS; the exit code is 0, or 1 with the reason on stderr."""
    from importlib import import_module

    said, args = options(argv[1:])
    environ = {**os.environ, **said}
    try:
        if argv[0] != "env":
            with contextlib.suppress(OSError):  # a word that only asks works in anybody's workspace
                contract.home(environ)
        import_module(f"tasks.cli.upstream.{WORDS[argv[0]]}").WORDS[argv[0]](environ, args)
        sys.stdout.flush()
    except (Refused, UserError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.stderr.write(f"ERROR: {error.filename}: {error.strerror}\n")
        return 1
    return 0


def main(argv: Sequence[str]) -> int:
    """Run `xc ARGV`."""
    if os.environ.get("XCLUSTER_HOOK"):
        from tasks.cli import hook

        code = hook.run(argv)
        if code is not None:
            return code
    if takes(argv):
        return answer(argv)
    from tasks.cli import main as door

    return door.main(list(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
