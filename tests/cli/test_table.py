"""The table of verbs, and all that is derived from it."""

import os
import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from tasks.cli import complete, door, reference, table
from tasks.cli.completion_scripts import SCRIPTS
from tasks.definitions import setting_list, settings
from tasks.project import command_line
from tasks.project.command_line import Needs, Reads, Verb
from tests.conftest import ROOT

ROWS = list(table.VERBS.values())
OURS = [row for row in ROWS if row.reads is not Reads.DOIT]


def test_no_name_stands_twice() -> None:
    assert len(ROWS) == sum(len(verbs) for verbs in table.GROUPS.values())
    assert not set(table.VERBS) & set(table.NOUNS)


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)
def test_the_module_of_a_row_does_it(row: Verb) -> None:
    if row.name in (*table.MADE, "help", "version"):
        return
    module = import_module(row.module)
    assert callable((module.WORDS if row.upstream == row.module else module.DOES)[row.name])
    if row.at_once:
        assert callable(import_module(row.at_once).VERBS[row.name])
    if row.upstream:
        assert callable(import_module(row.upstream).WORDS[row.name])


def test_every_verb_of_a_module_is_in_the_table() -> None:
    for name in {row.module for row in OURS if row.upstream != row.module}:
        does = getattr(import_module(name), "DOES", {})
        assert {verb for verb in does if table.VERBS[verb].module != name} == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_help_of_every_verb(row: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(["help", row.name]) == 0
    text = capsys.readouterr().out
    for flag in ("--help", "-h"):
        assert door.main([row.name, flag]) == 0
        assert capsys.readouterr().out == text
    assert text.startswith(f"xc {row.name}")
    assert row.summary in text
    assert all(option.dashed in text for option in row.options)
    examples = text[text.index("Examples:") :]
    assert len(re.findall(rf"^  .*\b(xc )?{row.name}\b", examples, re.MULTILINE)) >= 2


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)
def test_examples_are_right(row: Verb) -> None:
    """Each is read without complaint, as far as it is one command of ours."""
    for example in row.examples:
        words = shlex.split(example)
        if row.name != "help" and words[0] == "xc" and not set("|&$<>;(") & set(example) and not row.upstream:
            assert command_line.parse(words[1:], table.VERBS).verb == row.name, example


def test_the_overview_has_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(["help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {row.name} " in text for row in ROWS)
    for argv in ([], ["-h"], ["--help"]):
        assert door.main(argv) == 0
        assert capsys.readouterr().out == text


def test_what_is_written_from_the_table_is_up_to_date() -> None:
    stale = [path.name for path, text in reference.texts().items() if path.read_text() != text]
    assert stale == [], "run: python -m tasks.cli.reference"


def test_settings_are_those_of_the_model() -> None:
    assert setting_list.names() == settings.names()
    for name in (
        *settings.Settings.model_fields,
        "mem201",
        "nets3",
        "mem",
        "mem0",
        "memo1",
        "append2000",
        "x",
    ):
        assert setting_list.is_setting(name) == settings.is_setting(name), name
    for name in ("mem", "mem05", "mem1234", "5", ""):
        assert setting_list.per_node(name) is None


def test_man_page_is_in_order() -> None:
    text = (ROOT / "man/xc.1").read_text()
    assert all(f"xc {row.name}".replace("-", "\\-") in text for row in ROWS)
    groff = shutil.which("groff") or shutil.which("mandoc")
    if groff is None:
        pytest.skip("there is neither groff nor mandoc")
    words = ["-man", "-Tutf8", "-ww", "-z"] if groff.endswith("groff") else ["-Tlint"]
    done = subprocess.run(
        [groff, *words, str(ROOT / "man/xc.1")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)
def test_only_what_builds_needs_doit(row: Verb) -> None:
    assert (row.needs is Needs.BUILDS) <= (row.upstream == "")


def candidates(line: str) -> set[str]:
    *before, last = line.split(" ")
    return {name for name in complete.candidates(before, last) if name.startswith(last)}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("stat", {"status"}),
        ("help stop", {"stop", "stop_vm"}),
        ("start --kern", {"--kernel="}),
        ("start --kernel=", {"--kernel=debian", "--kernel=linux-6.1", "--kernel=small"}),
        ("start --net ", {"auto", "userspace", "bridge", "custom"}),
        ("start --ke", {"--kernel=", "--keep"}),
        ("status -o ", {"json"}),
        ("graph -o m", {"mermaid"}),
        ("kernel:d", {"kernel:debian"}),
        ("info image:k8s-", {"image:k8s-prebuilt"}),
        ("mkcdrom env iperf3", {"iperf3"}),
        ("graph dual", {"dual-path"}),
        ("checkpoint s", {"save"}),
        ("netem 1 eth1 o", {"off"}),
        ("netem 1 eth1 --direction=", {f"--direction={way}" for way in ("out", "in", "both")}),
        ("menuconfig ", {"linux-6.1", "small"}),
        ("completion z", {"zsh"}),
        ("dns start ", set()),
        ("rsh 1 ", set()),
        ("start --nvm=", set()),
    ],
)
def test_completion(line: str, names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XCLUSTER_OVLPATH", "XCLUSTER_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    assert candidates(line) == names


def test_completion_of_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XCLUSTER_WORKSPACE", str(tmp_path))
    for path in ("run/xcluster/vm-001", "run/xcluster/vm-201", "run/two/vm-010", "checkpoint/saved"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "run/two.lock").touch()
    assert candidates("rsh ") == {"1", "201"}
    assert candidates("logs --name=two ") == candidates("logs --name two ") == {"10"}
    assert candidates("stop --name=") == {"--name=xcluster", "--name=two"}
    assert candidates("checkpoint restore s") == {"saved"}
    assert candidates("scalein 1 2") == {"201"}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_of_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(["completion", shell]) == 0
    assert capsys.readouterr().out == SCRIPTS[shell]
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n"], input=SCRIPTS[shell], text=True, check=True)


def test_completion_in_bash(tmp_path: Path) -> None:
    script = f"""
        . {ROOT}/completion/xc.bash
        COMP_LINE="{ROOT}/xc start --kernel=deb" COMP_POINT=${{#COMP_LINE}} COMP_CWORD=4
        COMP_POINT=$((${{#COMP_LINE}}))
        COMP_WORDS=({ROOT}/xc start --kernel = deb)
        _xc {ROOT}/xc
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "XCLUSTER_WORKSPACE": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "debian\n"
