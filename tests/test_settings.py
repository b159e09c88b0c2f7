"""Settings: which of four places wins, and what a mistake is told."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.lib import settings
from tasks.lib.settings import Settings


def load(
    words: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings that have to be right."""
    made, problems = settings.load(words or {}, environ or {}, file or {})
    assert problems == []
    return made


def wrong(
    words: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, Any] | None = None,
) -> list[str]:
    """What is wrong with settings that are not right."""
    return settings.load(words or {}, environ or {}, file or {})[1]


def test_defaults() -> None:
    made = load()
    assert (made.nvm, made.nrouters, made.ntesters) == (4, 2, 0)
    assert made.kernel == "debian"
    assert [node.name for node in made.nodes()] == [
        "vm-001",
        "vm-002",
        "vm-003",
        "vm-004",
        "vm-201",
        "vm-202",
    ]


def test_precedence() -> None:
    file, environ, words = {"nvm": 1, "mem": 64, "smp": 1}, {"__nvm": "2", "__mem": "256"}, {"nvm": "3"}
    made = load(words, environ, file)
    assert (made.nvm, made.mem, made.smp, made.nrouters) == (3, 256, 1, 2)
    assert load({}, environ, file).nvm == 2
    assert load({}, {}, file).nvm == 1


def test_names_with_dashes_and_underscores_are_the_same() -> None:
    assert (
        load({"nets-vm": "0"}).nets_vm
        == load({"nets_vm": "0"}).nets_vm
        == load({}, {"__nets_vm": "0"}).nets_vm
        == "0"
    )


def test_environment_names_of_overlays_are_left_alone() -> None:
    assert load({}, {"__hugo": "1", "xcluster_X": "2", "nvm": "9", "PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("words", "environ", "file", "says"),
    [
        ({"nvn": "3"}, {}, {}, ["--", "unknown setting 'nvn'", "Did you mean 'nvm'"]),
        ({}, {}, {"kernal": "x"}, ["xcluster.yaml", "'kernal'", "Did you mean 'kernel'"]),
        ({}, {}, {"per_node": {"mem1": "64"}}, ["xcluster.yaml", "'per_node'"]),
        ({}, {"__nvm": "two"}, {}, ["__nvm", "'two'", "integer"]),
        ({"mem": "1"}, {}, {}, ["--mem", "32", "'1'"]),
        ({}, {}, {"keep": "perhaps"}, ["xcluster.yaml: keep", "perhaps"]),
        ({"accel": "magic"}, {}, {}, ["--accel", "auto", "kvm", "tcg", "magic"]),
        ({"net": "bridges"}, {}, {}, ["--net", "userspace"]),
        ({"name": "No Name"}, {}, {}, ["--name", "No Name"]),
        ({"name": "../x"}, {}, {}, ["--name"]),
        ({"nets_vm": "a,b"}, {}, {}, ["--nets_vm", "a,b"]),
        ({"mtu": "12"}, {}, {}, ["--mtu", "576"]),
        ({"nvm": "300"}, {}, {}, ["--nvm", "200", "300"]),
        ({"nvm": "-1"}, {}, {}, ["--nvm", "0", "-1"]),
        ({}, {}, {"kernel": 6.1}, ["kernel", "string", "6.1"]),
    ],
)  # fmt: skip
def test_mistakes(
    words: dict[str, str], environ: dict[str, str], file: dict[str, Any], says: list[str]
) -> None:
    problems = wrong(words, environ, file)
    assert len(problems) == 1
    for text in says:
        assert text in problems[0]


def test_all_problems_at_once() -> None:
    problems = wrong({"mem": "x", "hugo": "1"}, {"__smp": "99"}, {"kernal": "k", "mtu": 1})
    assert len(problems) == 5


def test_zero_nodes() -> None:
    (problem,) = wrong({"nvm": "0", "nrouters": "0"})
    assert "0 nodes" in problem and "nvm" in problem
    assert [node.name for node in load({"nvm": "0"}).nodes()] == ["vm-201", "vm-202"]


def test_as_many_as_there_are_numbers() -> None:
    nodes = load({"nvm": "200", "nrouters": "20", "ntesters": "20"}).nodes()
    assert [node.number for node in nodes] == list(range(1, 241))
    assert len({node.mac(1) for node in nodes}) == 240


def test_per_node() -> None:
    made = load(
        {"mem201": "384", "append1": "debug"},
        {"__smp3": "1", "__nets202": "0,1,2,3"},
        {"append": "all", "mem1": 64},
    )
    by_number = {node.number: node for node in made.nodes()}
    assert (by_number[201].mem, by_number[202].mem, by_number[1].mem) == (384, 128, 64)
    assert (by_number[3].smp, by_number[2].smp) == (1, 2)
    assert by_number[202].nets == (0, 1, 2, 3)
    assert (by_number[1].append, by_number[2].append) == ("all debug", "all")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mem1", "lots"),
        ("nets2", "0;1"),
        ("mem250", "64"),
        ("smp3", "0"),
        ("smp3", "64"),
        ("mem4", "1"),
        ("mem5", "9999999"),
    ],
)
def test_per_node_mistakes(name: str, value: str) -> None:
    (problem,) = wrong({name: value})
    assert problem.startswith(f"--{name}")


@pytest.mark.parametrize("name", ["mem0", "mem1000", "kernel3", "nvm1"])
def test_what_is_no_per_node_setting(name: str) -> None:
    assert not settings.is_setting(name)
    assert "unknown setting" in wrong({name: "1"})[0]


def test_roles() -> None:
    roles = {number: settings.role_of(number) for number in (1, 200, 201, 220, 221, 240)}
    assert list(roles.values()) == ["vm", "vm", "router", "router", "tester", "tester"]
    for number in (0, 241, -1):
        with pytest.raises(ValueError, match="no node number"):
            settings.role_of(number)


def test_every_setting_has_a_description() -> None:
    assert all(Settings.model_fields[name].description for name in settings.names())


def test_mirrors_are_for_the_file_alone() -> None:
    text = {"https://a/": ["http://b/", "file:///c/"], "https://d/": "http://e/"}
    said, problems = settings.load({}, {}, {"mirrors": text})
    assert problems == []
    assert said.mirrors == {"https://a/": ("http://b/", "file:///c/"), "https://d/": ("http://e/",)}
    for wrong in ({"https://a": ["http://b/"]}, {"https://a/": ["b"]}, {"https://a/": 1}, "http://b/", ["x"]):
        assert settings.load({}, {}, {"mirrors": wrong})[1], wrong
    assert settings.load({"mirrors": "x"}, {}, {})[1]
