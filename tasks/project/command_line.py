"""The words of the command line, read once, before the graph is made.

doit cannot let positional words of a task change its dependencies, and `doit mkcdrom a b` must: so the words
after a verb are read here and are values that task creators use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.base.errors import UsageError, unknown
from tasks.definitions import settings


@dataclass(frozen=True)
class Verb:
    """A word that acts and is never cached."""

    name: str
    doc: str
    args: str = ""  # shown in messages; "" takes none
    # Own options: name -> help; a trailing = takes a value.
    options: Mapping[str, str] = field(default_factory=dict)
    settings: bool = False  # takes every setting as an option too
    builds: bool = False  # needs correct definitions
    definitions: bool = False  # looks at definitions, right or wrong
    running: bool = False  # goes by the settings that the running cluster was started with
    least: int = 0  # how many args at least
    raw: bool = False  # all words behind it are args, dashes or not
    command: bool = False  # behind the first word all are those of a command
    defaults: Mapping[str, str] = field(default_factory=dict)  # settings that it has unless words say other
    most: int | None = None  # how many args at most; None = any number where `args` is set


@dataclass(frozen=True)
class Action:
    """One of the things a verb does, named by its first word."""

    least: int = 0  # how many words at least
    most: int | None = 0  # and at most; None: any number
    options: tuple[str, ...] = ()  # those of the verb that it takes


@dataclass(frozen=True)
class Words:
    """What the command line says, apart from doit's own words."""

    verb: str | None = None
    args: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)  # the verb's own
    settings: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()  # options that were given without a value

    def accepted(self, verb: Verb) -> dict[str, bool]:
        """The options that doit has to accept for `verb`, and whether each takes a value as written."""
        names = [option.rstrip("=") for option in verb.options] + list(EVERYWHERE)
        if self.verb == verb.name:
            names += [*self.options, *self.settings]
        return {name: name not in self.flags for name in names}


DOIT_WORDS = (
    "help",
    "list",
    "info",
    "clean",
    "forget",
    "ignore",
    "tabcompletion",
    "run",
    "dumpdb",
    "reset-dep",
)
# Options every verb takes: which cluster, and where to write nothing.
EVERYWHERE = ("name", "offline")


def parse(argv: Sequence[str], verbs: Mapping[str, Verb]) -> Words:
    """Find the verb and read what follows it: options and args.

    `--nvm=4`, `--nvm 4`, and `--keep` alone for yes; behind the first word of a command all are its own.
    Raises UsageError for an unknown option or a wrong number of args.
    """
    at = next((i for i, word in enumerate(argv) if word in verbs), None)
    if at is None or (at and argv[0] in DOIT_WORDS):
        return Words()
    verb = verbs[argv[at]]
    if verb.raw:
        return Words(verb.name, tuple(argv[at + 1 :]))
    args, options, flags = _split(verb, list(argv[at + 1 :]))
    _check_args(verb, args)
    own = {option.rstrip("=") for option in verb.options}
    return Words(
        verb.name,
        tuple(args),
        {k: v for k, v in options.items() if k in own},
        {**verb.defaults, **{k: v for k, v in options.items() if k not in own}},
        frozenset(flags),
    )


def _split(verb: Verb, rest: list[str]) -> tuple[list[str], dict[str, str], set[str]]:
    """The args, the options with their values, and the names of options without one."""
    # A command's words are its own.
    free = verb.command or (bool(verb.args) and verb.most is None and verb.least > 1)
    args: list[str] = []
    options: dict[str, str] = {}
    flags: set[str] = set()
    while rest:
        word = rest.pop(0)
        if word == "--" or (free and not word.startswith("-")):
            return args + (rest if word == "--" else [word, *rest]), options, flags
        if not word.startswith("-"):
            args.append(word)
            continue
        left = len(rest)
        name, value = _option(verb, word, rest)
        options[name] = value
        if "=" not in word and len(rest) == left:
            flags.add(name)
    return args, options, flags


def _option(verb: Verb, word: str, rest: list[str]) -> tuple[str, str]:
    """Name and value of an option; a value that stands by itself is taken from `rest`."""
    name, given, value = word.lstrip("-").partition("=")
    name = name.replace("-", "_")
    own = name in verb.options or f"{name}=" in verb.options
    if not own:
        _check_setting(verb, name)
    if given:
        return name, value
    if not _takes_value(verb, name):
        return name, "yes"
    if not rest:
        raise UsageError(f"{word} needs a value", usage(verb))
    return name, rest.pop(0)


def action(
    verb: Verb, said: Words, actions: Mapping[str, Action], default: str = ""
) -> tuple[str, list[str]]:
    """The action that the verb's first word names, and its own words. UsageError for what makes no sense."""
    name, *rest = said.args or (default,)
    if name not in actions:
        raise UsageError(unknown("action", name, actions), usage(verb))
    wanted = actions[name]
    if not wanted.least <= len(rest) <= (len(rest) if wanted.most is None else wanted.most):
        raise UsageError(f"{name}: got {' '.join(rest) or 'nothing'}", usage(verb))
    for option in said.options:
        if option not in wanted.options:
            raise UsageError(f"{dashes(option)} is not for '{verb.name} {name}'", usage(verb))
    if "o" in wanted.options:
        wants_json(said)
    return name, rest


def wants_json(said: Words) -> bool:
    """Whether `-o json` is asked for. UsageError for another form."""
    form = said.options.get("o", "json")
    if form != "json":
        raise UsageError(f"-o: '{form}' is not known (known: json)")
    return "o" in said.options


def usage(verb: Verb) -> str:
    """One line: the verb with its options and args."""
    own = [f"[{dashes(name)}{'VALUE' if name.endswith('=') else ''}]" for name in verb.options]
    return " ".join(["xc", verb.name, *own, *(["[SETTINGS]"] if verb.settings else []), verb.args]).strip()


def dashes(name: str) -> str:
    """An option as it is typed."""
    return f"-{name.replace('=', ' ')}" if len(name.rstrip("=")) == 1 else f"--{name.replace('_', '-')}"


def _takes_value(verb: Verb, name: str) -> bool:
    if f"{name}=" in verb.options:
        return True
    field_ = settings.Settings.model_fields.get(name)
    return name not in verb.options and not (field_ is not None and field_.annotation is bool)


def _check_setting(verb: Verb, name: str) -> None:
    if settings.is_setting(name) and (verb.settings or name in EVERYWHERE):
        return
    known = [dashes(option.rstrip("=")) for option in verb.options]
    known += [dashes(each.replace("_", "-")) for each in (settings.names() if verb.settings else EVERYWHERE)]
    raise UsageError(unknown("option", dashes(name.replace("_", "-")), known), usage(verb))


def _check_args(verb: Verb, args: Sequence[str]) -> None:
    most = (0 if not verb.args else len(args)) if verb.most is None else verb.most
    if not verb.least <= len(args) <= most:
        raise UsageError(
            f"'{verb.name}' takes {verb.args or 'no words'}, got: {' '.join(args) or 'nothing'}", usage(verb)
        )
