"""Answers the words of xcluster: options before the first word are variables, errors look as upstream's."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

from tasks.base.errors import UserError
from tasks.cli.upstream import contract
from tasks.cli.upstream.contract import Refused
from tasks.definitions.setting_list import is_setting
from tasks.definitions.upstream_names import TYPED, own


def options(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Upstream's rule: words with -- before the first without are variables, `--a-b=c` is __a_b=c."""
    rest = list(argv)
    variables = {}
    while rest and rest[0].startswith("--"):
        name, joint, value = rest.pop(0)[2:].partition("=")
        variables[f"__{name.replace('-', '_')}"] = value if joint else "yes"
    return variables, rest


# Words that no `tar` script types: what they do not know is a mistake. Word -> its options, if it has words.
STRICT: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "geometry": ((), True),
    "ovlindex": (("src",), False),
    "base_archives": ((), False),
    "busybox_build": (("menuconfig", "clean"), False),
    "dropbear_build": (("menuconfig", "clean"), False),
    "iproute2_build": (("menuconfig", "clean"), False),
}


def _refuse_unknown(word: str, variables: Mapping[str, str], args: Sequence[str]) -> None:
    """Raise Refused for an option or a word that is not known; every setting is."""
    if word not in STRICT:
        return
    own_options, has_words = STRICT[word]
    for name in variables:
        if name[2:] not in own_options and name not in contract.NAMES and not is_setting(name[2:]):
            raise Refused(f"{word}: unknown option '--{name[2:].replace('_', '-')}'")
    if args and not has_words:
        raise Refused(f"{word} takes no words [{' '.join(args)}]")


def answer(module: str, argv: Sequence[str]) -> int:
    """Do the word `argv[0]` of a module; the exit code is 0, or 1 with the reason on stderr."""
    from importlib import import_module

    variables, args = options(argv[1:])
    less = {own(name[2:]) for name in variables}  # what is typed counts more
    kept = {name: value for name, value in os.environ.items() if name not in less}
    environ = {**kept, **variables, TYPED: argv[0]}
    try:
        _refuse_unknown(argv[0], variables, args)
        if argv[0] != "env":
            with contextlib.suppress(OSError):  # a word that only asks works in anybody's workspace
                contract.home(environ)
        import_module(module).WORDS[argv[0]](environ, args)
        sys.stdout.flush()
    except (Refused, UserError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    except OSError as error:
        if error.filename is None:  # it is about stdout; the door knows what to do
            raise
        sys.stderr.write(f"ERROR: {error.filename}: {error.strerror}\n")
        return 1
    return 0
