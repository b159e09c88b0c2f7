"""Settings: which of four places wins, and what a mistake is told."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.definitions import roles, settings
from tasks.definitions.setting_layers import SettingsLayer
from tasks.definitions.settings import Settings
from tasks.topology.choice import Named, named
from tests.conftest import ROOT


def load(
    words: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings that have to be right."""
    effective, problems = settings.load(words or {}, environ or {}, file or {})
    assert problems == []
    return effective


def wrong(
    words: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, Any] | None = None,
) -> list[str]:
    """What is wrong with settings that are not right."""
    return settings.load(words or {}, environ or {}, file or {})[1]


@pytest.mark.parametrize("name", ["mem201", "smp3", "nets1", "mem999"])
def test_after_a_wrong_value_for_one_node_all_nodes_can_be_read(name: str) -> None:
    """Other checks look at the nodes before the problem is told."""
    effective, problems = settings.load({}, {f"__{name}": "abc"}, {"nvm": 3})
    assert problems and problems[0].startswith(f"__{name}: ")
    assert len(effective.nodes()) == 5
    assert wrong(file={name: "abc"})[0].startswith(f"xcluster.yaml: {name}: ")


def test_defaults() -> None:
    effective = load()
    assert (effective.nvm, effective.nrouters, effective.ntesters) == (4, 2, 0)
    assert effective.kernel == "debian"
    assert [node.name for node in effective.nodes()] == [
        "vm-001",
        "vm-002",
        "vm-003",
        "vm-004",
        "vm-201",
        "vm-202",
    ]


def test_precedence() -> None:
    file, environ, words = {"nvm": 1, "mem": 64, "smp": 1}, {"__nvm": "2", "__mem": "256"}, {"nvm": "3"}
    effective = load(words, environ, file)
    assert (effective.nvm, effective.mem, effective.smp, effective.nrouters) == (3, 256, 1, 2)
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
        ({}, {"__nvm": "two"}, {}, ["__nvm", "'two'", "a whole number"]),
        ({"mem": "1"}, {}, {}, ["--mem", "32", "'1'"]),
        ({}, {}, {"keep": "perhaps"}, ["xcluster.yaml: keep", "perhaps"]),
        ({"accel": "magic"}, {}, {}, ["--accel", "auto", "kvm", "tcg", "magic"]),
        ({"net": "bridges"}, {}, {}, ["--net", "userspace"]),
        ({"name": "No Name"}, {}, {}, ["--name", "No Name"]),
        ({"name": "../x"}, {}, {}, ["--name"]),
        ({"nets_vm": "a,b"}, {}, {}, ["--nets-vm", "a,b"]),
        ({"mtu": "12"}, {}, {}, ["--mtu", "at least 1280", "IPv6"]),
        ({}, {}, {"mtu": 1279}, ["xcluster.yaml: mtu", "at least 1280", "'1279'"]),
        ({}, {"__mtu": "65536"}, {}, ["__mtu", "65535"]),
        ({"nvm": "300"}, {}, {}, ["--nvm", "200", "300"]),
        ({"nvm": "-1"}, {}, {}, ["--nvm", "0", "-1"]),
        ({}, {}, {"kernel": ["6.1"]}, ["kernel", "one value", "a list"]),
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
    effective = load(
        {"mem201": "384", "append1": "debug"},
        {"__smp3": "1", "__nets202": "0,1,2,3"},
        {"append": "all", "mem1": 64},
    )
    by_number = {node.number: node for node in effective.nodes()}
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
    by_number = {number: roles.role_of(number) for number in (1, 200, 201, 220, 221, 240)}
    assert list(by_number.values()) == ["vm", "vm", "router", "router", "tester", "tester"]
    for number in (0, 241, -1):
        with pytest.raises(ValueError, match="no node number"):
            roles.role_of(number)


TOPOLOGY = {"nrouters": 4, "nets_vm": "0,1,4", "mem201": 192, "mem202": 192, "nets201": "0,1,3", "smp": 3}


def with_topology(
    words: Mapping[str, str], environ: Mapping[str, str], file: Mapping[str, Any], above: bool
) -> Settings:
    """Settings of a cluster with a topology."""
    effective, problems = settings.load(words, environ, file, SettingsLayer("topology t: ", TOPOLOGY, above))
    assert problems == []
    return effective


def test_a_topology_asks_for_counts_nets_and_sizes() -> None:
    effective = with_topology({}, {}, {}, above=True)
    assert (effective.nrouters, effective.nets_vm, effective.smp) == (4, "0,1,4", 3)
    assert (effective.node_of(201).mem, effective.node_of(203).mem) == (192, 128)
    assert (effective.node_of(201).nets, effective.node_of(202).nets) == ((0, 1, 3), (0, 1, 2))


def test_where_a_topology_stands_among_settings() -> None:
    file = {"nrouters": 1, "mem201": 64, "nvm": 3}
    above, below = (with_topology({}, {}, file, above=each) for each in (True, False))
    assert (above.nrouters, above.node_of(201).mem, above.nvm) == (4, 192, 3)
    assert (below.nrouters, below.node_of(201).mem, below.nvm) == (1, 64, 3)
    environ = {"__nrouters": "5", "__mem201": "256", "__nets201": "0,9"}
    effective = with_topology({"nrouters": "6"}, environ, file, above=True)
    assert (effective.nrouters, effective.node_of(201).mem, effective.node_of(201).nets) == (6, 256, (0, 9))


def test_a_setting_for_all_nodes_counts_more_than_a_topology_for_one() -> None:
    effective = with_topology({"mem": "512"}, {}, {}, above=True)
    assert (effective.node_of(201).mem, effective.node_of(1).mem) == (512, 512)
    effective = with_topology({}, {"__nets_router": "0,7"}, {}, above=True)
    assert (effective.node_of(201).nets, effective.node_of(1).nets) == ((0, 7), (0, 1, 4))
    effective = with_topology({"nets_vm": "0"}, {}, {"mem": 96}, above=True)
    assert (effective.node_of(201).nets, effective.node_of(1).nets) == ((0, 1, 3), (0,))
    assert (effective.node_of(201).mem, effective.node_of(1).mem) == (192, 96)
    effective = with_topology({"mem": "512", "mem202": "64"}, {}, {}, above=True)
    assert (effective.node_of(201).mem, effective.node_of(202).mem) == (512, 64)


def test_who_names_the_topology() -> None:
    environ = {"TOPOLOGY": "b", "__topology": "c", "xcluster_TOPOLOGY": "d"}
    file, packed = {"topology": "f"}, {"xcluster_TOPOLOGY": "e"}
    assert named({"topology": "a"}, environ, file, packed).name == "a"
    for expected in ("b", "c", "d"):
        assert named({}, environ, file, packed).name == expected
        environ.pop(next(iter(environ)))
    assert named({}, {}, file, packed).name == "e"
    assert named({}, {}, file, {}) == Named("f", "xcluster.yaml")
    assert named({}, {"TOPOLOGY": "default"}, {}, {}).name == "xnet"
    assert named({}, {"TOPOLOGY": ""}, {}, {}) == Named("xnet", "")
    names = [named({"topology": "a"}, {}, {}, {}), named({}, {}, file, {}), named({}, {}, {}, {})]
    assert [one.above_file for one in names] == [True, False, False]


def test_the_second_name_of_the_default() -> None:
    assert load({"topology": "default"}).topology == load().topology == "xnet"


def test_every_setting_has_a_description() -> None:
    assert all(Settings.model_fields[name].description for name in settings.names())


def test_every_setting_is_in_the_documents() -> None:
    text = (ROOT / "docs/adding.md").read_text()
    assert [name for name in settings.names() if f"| `{name}` |" not in text] == []


def test_mirrors_are_for_the_file_alone() -> None:
    text = {"https://a/": ["http://b/", "file:///c/"], "https://d/": "http://e/"}
    effective, problems = settings.load({}, {}, {"mirrors": text})
    assert problems == []
    assert effective.mirrors == {"https://a/": ("http://b/", "file:///c/"), "https://d/": ("http://e/",)}
    for wrong in ({"https://a": ["http://b/"]}, {"https://a/": ["b"]}, {"https://a/": 1}, "http://b/", ["x"]):
        assert settings.load({}, {}, {"mirrors": wrong})[1], wrong
    assert settings.load({"mirrors": "x"}, {}, {})[1]
