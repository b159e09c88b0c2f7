"""The words of the command line, read once, before anything else is loaded.

doit cannot let positional words of a task change its dependencies, and `doit mkcdrom a b` must: so the words
after a verb are read here and are values that task creators use. This module imports nothing large: verbs
that build nothing have to answer at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from tasks.base.errors import UsageError, unknown
from tasks.definitions import setting_list


class Needs(Enum):
    """What has to be read before a verb can act."""

    NOTHING = "nothing"  # neither definitions nor doit
    DEFINITIONS = "definitions"  # it looks at them, right or wrong
    BUILDS = "builds"  # they have to be right, and doit builds what is missing


class Takes(Enum):
    """Which settings a verb takes as options."""

    NAME = "name"  # those of EVERYWHERE
    SETTINGS = "settings"  # all
    RUNNING = "running"  # all; where none is given, it is as the running cluster was started


class Reads(Enum):
    """How the words behind a verb are read."""

    OPTIONS = "options"  # options and args, in any order
    COMMAND = "command"  # behind the first arg all words are those of a command
    ALL = "all"  # every word is an arg, dashes or not
    DOIT = "doit"  # a word of doit, which reads the rest itself


@dataclass(frozen=True, eq=False, repr=False)
class Option:
    """An option of a verb: `name` with _ for -, one letter for a short one; `value` "" for one without."""

    name: str
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    kind: str = ""  # of names that may be its value, for completion: overlay, node ...

    @property
    def dashed(self) -> str:
        """The option as it is typed, with its value."""
        joint = "" if not self.value else " " if len(self.name) == 1 else "="
        return f"{dashes(self.name)}{joint}{self.value}"


@dataclass(frozen=True, eq=False, repr=False)
class Verb:
    """A word that acts and is never cached: one row of the table in cli/table.py."""

    name: str
    module: str  # that does it
    summary: str
    args: str = ""  # as shown to the user; "" takes none
    options: tuple[Option, ...] = ()
    examples: tuple[str, ...] = ()
    needs: Needs = Needs.NOTHING
    takes: Takes = Takes.NAME
    shows: tuple[str, ...] = ()  # the settings that help lists, of all that it takes; () for all
    reads: Reads = Reads.OPTIONS
    # With this option, words behind so many args are passed on as they are.
    passes: tuple[str, int] | None = None
    least: int = 0  # how many args at least
    most: int | None = None  # and at most; None: any number, where `args` is set
    defaults: Mapping[str, str] = field(default_factory=dict)  # settings that it has unless words differ
    # The settings that count for a verb that takes only the name, by its first arg; "" is any other, and None
    # stands for all of them, right or wrong. Whatever else is wrong with xcluster.yaml stops no such verb.
    heeds: Mapping[str, tuple[str, ...] | None] = field(default_factory=lambda: {"": ("name",)})
    kinds: tuple[str, ...] = ()  # of names that its args are, for completion; the last one repeats
    upstream: str = ""  # the module that answers it as upstream's word
    at_once: str = ""  # the module that answers in the ordinary case, without settings and definitions
    actions: tuple[str, ...] = ()  # first words; of an upstream word, those that are ours
    typed: Verb | None = None  # xcluster's word that comes to this verb, where it was typed in its place

    @property
    def told(self) -> Verb:
        """The word of which usage and errors tell: the one that was typed."""
        return self.typed or self

    def option(self, name: str) -> Option | None:
        """The verb's own option of this name."""
        return next((each for each in self.options if each.name == name), None)


@dataclass(frozen=True)
class Words:
    """What the command line says, apart from doit's own words."""

    verb: str | None = None
    args: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)  # the verb's own, and those of COMMON
    settings: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()  # options that were given without a value
    row: Verb | None = field(default=None, compare=False, repr=False)

    @property
    def needs(self) -> Needs:
        """What has to be read; without a verb, tasks are built."""
        return self.row.needs if self.row else Needs.BUILDS

    @property
    def heeds(self) -> tuple[str, ...] | None:
        """The settings that count; None for all."""
        if self.row is None or self.row.needs is Needs.BUILDS or self.row.takes is not Takes.NAME:
            return None
        heeds = self.row.heeds
        own = heeds.get(self.args[0] if self.args else "", heeds[""])
        return own if own is None else (*own, *self.settings)

    @property
    def takes(self) -> Takes | None:
        """Which settings the verb takes; None without a verb."""
        return self.row.takes if self.row else None

    @property
    def usage(self) -> str:
        """How the verb is used, in one line."""
        return usage(self.row) if self.row else "xc VERB [OPTIONS] [WORDS]"

    @property
    def json(self) -> bool:
        """Whether `-o json` is asked for."""
        return self.options.get("o") == "json"

    def doit_params(self) -> list[dict[str, object]]:
        """The options of the verb as doit declares them: it accepts what was read before."""
        own = [option.name for option in (*self.row.options, *COMMON)] if self.row else []
        names = dict.fromkeys([*own, *SHORT, *EVERYWHERE, *self.options, *self.settings])
        return [
            {
                "name": f"opt_{name}",
                "short" if len(name) == 1 else "long": name.replace("_", "-"),
                "type": bool if SHORT.get(name, name) in self.flags else str,
                "default": False if SHORT.get(name, name) in self.flags else "",
                "help": "",
            }
            for name in names
        ]


# Options every verb takes: which cluster, and where to write nothing; they are settings.
EVERYWHERE = ("name", "offline")
# Options every verb takes that are no settings.
COMMON = (
    Option("help", "show the help of the verb"),
    Option("verbose", "tell more: why each task runs, and every command"),
    Option("quiet", "tell nothing but errors"),
    Option("progress", "events on stderr, one JSON object a line", "FORMAT", ("json",)),
)
SHORT = {"h": "help", "v": "verbose", "q": "quiet"}


def parse(argv: Sequence[str], verbs: Mapping[str, Verb]) -> Words:
    """Find the verb and read what follows it: options and args.

    `--nvm=4`, `--nvm 4`, and `--keep` alone for yes; behind the first word of a command all are its own.
    Raises UsageError for an unknown option or a wrong number of args.
    """
    at = next((i for i, word in enumerate(argv) if word in verbs), None)
    if at is None or any(word in verbs and verbs[word].reads is Reads.DOIT for word in argv[: at + 1]):
        return Words()
    verb = verbs[argv[at]]
    front = common(argv[:at])[0]
    if verb.reads is Reads.ALL:
        return Words(verb.name, tuple(argv[at + 1 :]), front, row=verb)
    args, options, flags = _split(verb, list(argv[at + 1 :]))
    if "help" not in options:
        _check_args(verb, args)
    own = {option.name for option in (*verb.options, *COMMON)}
    return Words(
        verb.name,
        tuple(args),
        {**front, **{k: v for k, v in options.items() if k in own}},
        {**verb.defaults, **{k: v for k, v in options.items() if k not in own}},
        frozenset(flags),
        verb,
    )


def common(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The options of COMMON in words that belong to no verb, and the other words.

    Raises UsageError for a value that is not among the choices.
    """
    options: dict[str, str] = {}
    others: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, joint, value = word.lstrip("-").partition("=")
        name = SHORT.get(name, name.replace("-", "_")) if word.startswith("-") else ""
        option = next((each for each in (*COMMON, DRY_RUN) if each.name == name), None)
        if option is None or (joint and not option.value):
            others.append(word)
        else:
            value = value if joint or not option.value else rest.pop(0) if rest else ""
            options[name] = _checked(option, value) if option.value else "yes"
    return options, others


def _split(verb: Verb, rest: list[str]) -> tuple[list[str], dict[str, str], set[str]]:
    """The args, the options with their values, and the names of options without one."""
    args: list[str] = []
    options: dict[str, str] = {}
    flags: set[str] = set()
    while rest:
        word = rest.pop(0)
        if word == "--" or (verb.reads is Reads.COMMAND and not word.startswith("-")):
            return args + (rest if word == "--" else [word, *rest]), options, flags
        if not word.startswith("-"):
            args.append(word)
            if verb.passes and verb.passes[0] in options and len(args) == verb.passes[1]:
                return args + rest, options, flags
            continue
        left = len(rest)
        name, value = _option(verb, word, rest)
        options[name] = value
        if "=" not in word and len(rest) == left:
            flags.add(name)
    return args, options, flags


def _option(verb: Verb, word: str, rest: list[str]) -> tuple[str, str]:
    """Name and value of an option; a value that stands by itself is taken from `rest`."""
    name, joint, value = word.lstrip("-").partition("=")
    name = name.replace("-", "_")
    short = verb.option(word[1:2])
    if not word.startswith("--") and short and short.value and len(word) > 2 and not verb.option(name):
        return short.name, _checked(short, word[2:].removeprefix("="))
    if not word.startswith("--"):
        name = name if verb.option(name) else SHORT.get(name, name)
    option = verb.option(name) or next((each for each in COMMON if each.name == name), None)
    if option is None:
        _check_setting(verb, name)
    if joint:
        return name, _checked(option, value)
    if not (option.value if option else not setting_list.is_switch(name)):
        return name, "yes"
    if not rest:
        raise UsageError(f"the option {word} needs a value", usage(verb))
    return name, _checked(option, rest.pop(0))


def _checked(option: Option | None, value: str) -> str:
    """The value, if it is one of the choices."""
    if option and option.choices and value not in option.choices:
        kind = "format" if option.name == "o" else option.name
        raise UsageError(f"{dashes(option.name)}: {unknown(kind, value, option.choices)}")
    return value


def with_options(words: Words, **options: str) -> Words:
    """The same words with these options besides."""
    return replace(words, options={**words.options, **options})


def usage(verb: Verb) -> str:
    """One line: the verb with its options and args."""
    verb = verb.told
    own = [f"[{option.dashed}]" for option in verb.options]
    all_settings = ["[SETTINGS]"] if verb.takes is not Takes.NAME else []
    return " ".join(["xc", verb.name, *own, *all_settings, verb.args]).strip()


def dashes(name: str) -> str:
    """An option as it is typed."""
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def _check_setting(verb: Verb, name: str) -> None:
    every = verb.takes is not Takes.NAME
    if setting_list.is_setting(name) and (every or name in EVERYWHERE):
        return
    names = [option.name for option in (*verb.options, *COMMON)]
    names += setting_list.names() if every else EVERYWHERE
    raise UsageError(unknown("option", dashes(name), map(dashes, names)), usage(verb))


def _check_args(verb: Verb, args: Sequence[str]) -> None:
    most = (0 if not verb.args else len(args)) if verb.most is None else verb.most
    if not verb.least <= len(args) <= most:
        row, got = verb.told, " ".join(args) or "nothing"
        raise UsageError(f"'{row.name}' takes {row.args or 'no arguments'}, but got: {got}", usage(verb))


JSON = Option("o", "the same as JSON, for programs", "FORMAT", ("json",))
DRY_RUN = Option("dry_run", "only tell what would be done, and why")
