"""The words of the command line."""

import pytest

from tasks.base.errors import UsageError
from tasks.project import command_line
from tasks.project.command_line import Verb, Words

VERBS = {
    verb.name: verb
    for verb in (
        Verb("start", "", settings=True, builds=True),
        Verb("stop", ""),
        Verb("rsh", "", "N COMMAND...", {"bg": ""}, least=2),
        Verb("scaleout", "", "N...", settings=True, least=1),
        Verb("rcp", "", "N REMOTE LOCAL", least=3, most=3),
        Verb("mkcdrom", "", "[OVL...]", {"label=": ""}, builds=True),
        Verb("enter", "", "[COMMAND...]", command=True),
        Verb("nsenter", "", "N [COMMAND...]", least=1, command=True),
        Verb("status", "", options={"o=": "", "all": ""}),
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
    said = command_line.parse(["start", "--append=a=b c --d", "--mem201=384", "--keep=no"], VERBS)
    assert said.settings == {"append": "a=b c --d", "mem201": "384", "keep": "no"}


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
    said = parse(line)
    assert (said.args, said.options, said.settings) == (args, {}, {})


def test_options_before_a_remote_command() -> None:
    said = parse("rsh --bg --name=two 1 ls --bg")
    assert said.args == ("1", "ls", "--bg")
    assert (said.options, said.settings) == ({"bg": "yes"}, {"name": "two"})


def test_a_command_that_may_be_left_out() -> None:
    assert parse("enter") == Words("enter")
    said = parse("enter --name=two ip -br link --all")
    assert said.args == ("ip", "-br", "link", "--all") and said.settings == {"name": "two"}
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
        ("stop now", ["'stop'", "no words", "now"]),
        ("rsh 1", ["'rsh'", "N COMMAND", "1"]),
        ("rcp 1 2", ["'rcp'", "N REMOTE LOCAL"]),
        ("rcp 1 2 3 4", ["'rcp'"]),
        ("scaleout", ["'scaleout'", "nothing"]),
        ("start --nvm", ["--nvm", "value"]),
        ("mkcdrom --label", ["--label", "value"]),
        ("status -x", ["x"]),
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
