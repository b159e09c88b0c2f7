"""The words of the command line."""

import pytest

from tasks.base.errors import UsageError
from tasks.project import command_line
from tasks.project.command_line import JSON, Needs, Option, Reads, Takes, Verb, Words

VERBS = {
    verb.name: verb
    for verb in (
        Verb("start", "", "", needs=Needs.BUILDS, takes=Takes.SETTINGS),
        Verb("stop", "", ""),
        Verb("rsh", "", "", "N COMMAND...", (Option("bg", ""),), reads=Reads.COMMAND, least=2),
        Verb("scaleout", "", "", "N...", takes=Takes.RUNNING, least=1),
        Verb("rcp", "", "", "N REMOTE LOCAL", least=3, most=3),
        Verb("mkcdrom", "", "", "[OVL...]", (Option("label", "", "TEXT"),), needs=Needs.BUILDS),
        Verb("enter", "", "", "[COMMAND...]", reads=Reads.COMMAND),
        Verb("nsenter", "", "", "N [COMMAND...]", least=1, reads=Reads.COMMAND),
        Verb("status", "", "", options=(JSON, Option("all", ""))),
        Verb("test", "", "", "[WORD...]", reads=Reads.ALL),
        Verb("list", "", "", reads=Reads.DOIT),
        Verb("info", "", "", reads=Reads.DOIT),
        Verb("clean", "", "", reads=Reads.DOIT),
        Verb("help", "", "", "[VERB]", reads=Reads.DOIT),
    )
}


def parse(line: str) -> Words:
    return command_line.parse(line.split(), VERBS)


@pytest.mark.parametrize(
    "line", ["", "list", "list start", "info mkcdrom", "clean mkcdrom", "ovl:env", "help start", "-n 2 ovl:a"]
)
def test_no_verb(line: str) -> None:
    assert parse(line) == Words()


@pytest.mark.parametrize(
    "line",
    [
        "start --nvm=3 --nets-vm=0,1 --keep",
        "start --nvm 3 --nets-vm 0,1 --keep",
        "start --keep --nets_vm=0,1 --nvm=3",
    ],
)
def test_forms_of_options(line: str) -> None:
    assert parse(line).settings == {"nvm": "3", "nets_vm": "0,1", "keep": "yes"}


def test_values_keep_what_is_in_them() -> None:
    words = command_line.parse(["start", "--append=a=b c --d", "--mem201=384", "--keep=no"], VERBS)
    assert words.settings == {"append": "a=b c --d", "mem201": "384", "keep": "no"}


def test_own_options_and_settings_are_kept_apart() -> None:
    assert parse("mkcdrom --label=x --name=two a b") == Words(
        "mkcdrom", ("a", "b"), {"label": "x"}, {"name": "two"}
    )
    assert parse("mkcdrom a --label x b").args == ("a", "b")
    assert parse("status -o json --all").options == {"o": "json", "all": "yes"}
    assert parse("status -o=json").options == {"o": "json"}


@pytest.mark.parametrize(
    ("line", "args"),
    [
        ("rsh 1 ls -l --all", ("1", "ls", "-l", "--all")),
        ("rsh 1 env a=b --nvm=3 stop", ("1", "env", "a=b", "--nvm=3", "stop")),
        ("rsh 1 -- ls", ("1", "--", "ls")),
        ("rsh 1 --bg=1 --name=x", ("1", "--bg=1", "--name=x")),
    ],
)
def test_words_of_a_remote_command_are_its_own(line: str, args: tuple[str, ...]) -> None:
    words = parse(line)
    assert (words.args, words.options, words.settings) == (args, {}, {})


def test_options_before_a_remote_command() -> None:
    words = parse("rsh --bg --name=two 1 ls --bg")
    assert words.args == ("1", "ls", "--bg")
    assert (words.options, words.settings) == ({"bg": "yes"}, {"name": "two"})


def test_a_command_that_may_be_left_out() -> None:
    assert parse("enter") == Words("enter")
    words = parse("enter --name=two ip -br link --all")
    assert words.args == ("ip", "-br", "link", "--all") and words.settings == {"name": "two"}
    assert parse("nsenter 1 sh -c true").args == ("1", "sh", "-c", "true")
    with pytest.raises(UsageError):
        parse("nsenter")


def test_two_dashes_end_the_options() -> None:
    assert parse("mkcdrom -- --label=x").args == ("--label=x",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("start --nvn=3", ["'--nvn'", "--nvm", "Did you mean '--nvm'", "xc start"]),
        ("stop --nvm=3", ["'--nvm'", "--name"]),
        ("stop now", ["'stop'", "no arguments", "now"]),
        ("rsh 1", ["'rsh'", "N COMMAND", "1"]),
        ("rcp 1 2", ["'rcp'", "N REMOTE LOCAL"]),
        ("rcp 1 2 3 4", ["'rcp'"]),
        ("scaleout", ["'scaleout'", "nothing"]),
        ("start --nvm", ["--nvm", "value"]),
        ("mkcdrom --label", ["--label", "value"]),
        ("status -x", ["x"]),
        ("status -o yaml", ["-o", "yaml", "json"]),
        ("stop --progress=xml", ["--progress", "xml", "json"]),
    ],
)
def test_mistakes(line: str, says: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert caught.value.exit_code == 2
    for text in says:
        assert text in str(caught.value)


def test_usage() -> None:
    assert command_line.usage(VERBS["mkcdrom"]).startswith("xc mkcdrom [--label")
    assert "[SETTINGS]" in command_line.usage(VERBS["start"])


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("stop -q", {"quiet": "yes"}),
        ("-v stop --progress json", {"verbose": "yes", "progress": "json"}),
        ("--progress=json status -h", {"progress": "json", "help": "yes"}),
        ("rsh -h", {"help": "yes"}),
        ("rsh --help 1 ls -h", {"help": "yes"}),
        ("-q test -q", {"quiet": "yes"}),
    ],
)
def test_options_of_every_verb(line: str, options: dict[str, str]) -> None:
    assert parse(line).options == options


def test_common_options_among_tasks() -> None:
    line = "-v ovl:a --dry-run ovl:b --progress=json -n 2"
    assert command_line.common(line.split()) == (
        {"verbose": "yes", "dry_run": "yes", "progress": "json"},
        ["ovl:a", "ovl:b", "-n", "2"],
    )
