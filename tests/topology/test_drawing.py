"""Pictures: what is in them, and that those in docs/ are up to date."""

import re
import subprocess
from dataclasses import replace

import pytest

from tasks.project import definition_files
from tasks.topology import check, drawing, netplan, web_page
from tasks.topology.drawing import State
from tasks.topology.netplan import ClusterShape
from tasks.topology.schema import Group
from tests.conftest import ROOT, Checkout, Fakes

TOPOLOGIES = definition_files.load(ROOT).topologies
TINY = 'summary: "x"\nnets: {1: the "first"}\ngroups: {vm: {nodes: vm, links: [1]}}\n'


def drawn(name: str, shape: ClusterShape | None = None, state: State | None = None) -> drawing.Drawing:
    """A drawing of one of our topologies."""
    topology = TOPOLOGIES[name]
    shape = shape or check.as_defined(topology)
    return drawing.drawing(topology, shape, netplan.plans(topology, shape), state)


def whole(word: str, line: str) -> bool:
    """Whether a line has the word, and not only as a part of another one: 192.168.1.2 is in 192.168.1.201."""
    return re.search(rf"(?<![\w.:-]){re.escape(word)}(?![\w.:-])", line) is not None


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
@pytest.mark.parametrize("text", [drawing.dot, drawing.mermaid])
def test_every_node_net_and_address_is_there(name: str, text: object) -> None:
    picture = drawn(name)
    written = text(picture)  # type: ignore[operator]
    shape = check.as_defined(TOPOLOGIES[name])
    for node in netplan.plans(TOPOLOGIES[name], shape).values():
        assert node.name in written
        for dev in node.interfaces[1:]:
            wire = [dev.name, *(own.v4 for own in dev.addresses)]
            ends = (node.name, node.name.replace("-", ""))
            assert any(
                any(whole(end, line) for end in ends) and all(whole(word, line) for word in wire)
                for line in written.replace("\\n", " ").splitlines()
            ), (node.name, wire)
    for net, what in TOPOLOGIES[name].nets.items():
        assert f"net {net}: {what}" in written


def test_the_lines_go_from_nodes_to_testers() -> None:
    assert drawn("multihop", ClusterShape(1, 3, 1)).order == [
        "vm-001", "net1", "vm-201", "net3", "vm-202", "net4", "vm-203", "net2", "vm-221",
    ]  # fmt: skip
    assert drawn("multihop", ClusterShape(1, 3, 1)).nets == [1, 3, 4, 2]
    assert drawn("xnet", ClusterShape(0, 1, 1)).order == ["vm-201", "net1", "net2", "vm-221"]


def test_dot_is_understood_by_graphviz() -> None:
    for name in TOPOLOGIES:
        source = drawing.dot(drawn(name))
        plain = subprocess.run(["dot", "-Tplain"], input=source, capture_output=True, text=True, check=True)
        assert plain.stderr == ""
        kinds = [line.split()[0] for line in plain.stdout.splitlines()]
        picture = drawn(name)
        assert kinds.count("node") == len(picture.boxes) + len(picture.nets)
        assert kinds.count("edge") == sum(len(list(drawing.wired(box.first))) for box in picture.boxes)


def test_many_nodes_are_one_box() -> None:
    written = drawing.dot(drawn("xnet", ClusterShape(50, 2, 1)))
    assert "vm-001 ... vm-050\\n50 nodes" in written
    assert '"vm-002"' not in written
    assert "192.168.1.1 ..." in written


def test_planned_dead_and_cut() -> None:
    zones = drawing.dot(drawn("zones"))
    assert re.search(r'"vm-010" \[.*dashed', zones) and not re.search(r'"vm-001" \[.*dashed', zones)
    state = State(frozenset({1, 201, 202, 203, 221}), {(201, "eth2"): False, (201, "eth3"): True})
    picture = drawn("diamond", ClusterShape(1, 4, 1), state)
    written = drawing.dot(picture)
    assert "vm-204\\ndead" in written and drawing.DEAD in written
    (down,) = [line for line in written.replace("\\n", " ").splitlines() if "(down)" in line]
    assert down.startswith('  "vm-201" -- "net3"') and drawing.DOWN in down
    text = drawing.mermaid(picture)
    assert 'vm204["vm-204<br/>dead"]:::dead' in text
    assert 'vm201 -.-|"eth2 (down)<br/>192.168.3.201"| net3' in text
    many = drawing.dot(drawn("xnet", ClusterShape(10, 1, 0), State(frozenset({1, 2}), {})))
    assert "2 of 10 alive" in many


def test_containers_are_told() -> None:
    few = replace(drawn("diamond", ClusterShape(1, 4, 1)), containers=frozenset({201}))
    assert re.search(r'"vm-201" \[label="vm-201\\n.*container"', drawing.dot(few))
    assert drawing.dot(few).count("container") == 1
    many = replace(drawn("xnet", ClusterShape(50, 2, 1)), containers=frozenset({1, 2}))
    assert "50 nodes\\n2 containers" in drawing.dot(many)
    every = replace(many, containers=frozenset(range(1, 51)))
    assert "50 nodes<br/>containers" in drawing.mermaid(every)


def test_nodes_on_no_net_are_drawn_too() -> None:
    """As one that a topology has no place for."""
    topology = TOPOLOGIES["bridge"]
    shape = ClusterShape(1, 2, 1)
    picture = drawing.drawing(topology, shape, netplan.plans(topology, shape))
    assert picture.order == ["vm-001", "net1", "vm-201", "net2", "vm-221", "vm-202"]
    assert '"vm-202"' in drawing.dot(picture)
    lonely = topology.model_copy(update={"groups": {"vm": Group(nodes="vm")}})
    picture = drawing.drawing(lonely, shape, netplan.plans(lonely, ClusterShape(2, 0, 0)))
    assert picture.order == ["vm-001", "vm-002"] and picture.nets == []


def test_quotes_in_words() -> None:
    topology = TOPOLOGIES["xnet"].model_copy(update={"nets": {1: 'a "b" \\c', 2: "d"}})
    shape = ClusterShape(1, 1, 0)
    picture = drawing.drawing(topology, shape, netplan.plans(topology, shape))
    assert 'net 1: a \\"b\\" \\\\c\\n' in drawing.dot(picture)
    assert "net 1: a #quot;b#quot;" in drawing.mermaid(picture)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_pictures_are_up_to_date(name: str) -> None:
    """`./xc graph --docs docs` makes them. Where letters are placed is Graphviz's and the fonts' business."""
    source = drawing.dot(web_page.drawn(TOPOLOGIES[name]))
    svg = (ROOT / f"docs/topologies/{name}.svg").read_text()
    assert web_page.source_mark(source) in svg
    again = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, text=True, check=True).stdout
    assert texts(web_page.marked(again, source)) == texts(svg)


def texts(svg: str) -> list[str]:
    """The words in a picture, in order."""
    return re.findall(r"<t(?:ext|itle)[^>]*>([^<]*)<", svg)


def test_no_picture_too_many() -> None:
    assert {path.stem for path in (ROOT / "docs/topologies").iterdir()} == set(TOPOLOGIES)


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/topologies.md").read_text()
    shown = sorted(TOPOLOGIES.values(), key=lambda topology: topology.name)
    assert web_page.page(page, shown) == page


def test_graph_writes_what_is_asked_for(checkout: Checkout) -> None:
    checkout.write("ovl/a/topology/tiny.yaml", TINY)
    assert checkout.good("graph", "tiny", "-o", "dot").out.startswith('graph "tiny" {')
    assert checkout.good("graph", "-o", "mermaid", "--topology=tiny").out.startswith("flowchart TD")
    assert checkout.good("graph", "-o", "mermaid", env={"TOPOLOGY": "tiny"}).out.startswith("flowchart TD")
    svg = checkout.good("graph", "tiny", "--nvm=3").out
    assert svg.startswith("<?xml") and "192.168.1.3<" in svg and "192.168.1.4<" not in svg
    checkout.good("graph", "tiny", "-o", "png", "--file", str(checkout.root / "x.png"))
    assert (checkout.root / "x.png").read_bytes().startswith(b"\x89PNG")
    checkout.bad("graph", "tinny", code=2, says=("unknown topology 'tinny'", "tiny"))
    checkout.bad("graph", "tiny", "-o", "gif", code=2, says=("'gif'", "mermaid"))
    checkout.bad("graph", "tiny", "more", code=2, says=("[TOPOLOGY]",))
    checkout.bad("graph", "--docs", str(checkout.root), code=1, says=("topologies.md has no line",))


def test_a_variable_that_is_no_template(checkout: Checkout) -> None:
    links = "links: [{net: 1, template: LAN}]"
    text = TINY.replace("links: [1]", links) + "variables: {LAN: 10.0.0.0/8/24}\n"
    checkout.write("ovl/a/topology/tiny.yaml", text)
    assert (
        "10.0.1.4" in checkout.good("graph", "tiny", "-o", "dot", env={"xcluster_LAN": "10.0.0.0/8/24"}).out
    )
    checkout.bad(
        "graph", "tiny", code=2, says=("'nonsense' is no NET/N/H",), env={"xcluster_LAN": "nonsense"}
    )


def test_without_graphviz(checkout: Checkout, fakes: Fakes) -> None:
    checkout.write("ovl/a/topology/tiny.yaml", TINY)
    only = {"PATH": str(fakes.folder)}
    checkout.bad("graph", "tiny", code=1, says=("'dot'", "graphviz", "mermaid"), env=only)
    assert "flowchart" in checkout.good("graph", "tiny", "-o", "mermaid", env=only).out


def test_pages_are_made(checkout: Checkout) -> None:
    checkout.write("ovl/a/topology/tiny.yaml", TINY)
    checkout.write("docs/topologies.md", f"# By hand\n{web_page.MARK}\nold\n")
    checkout.good("graph", "--docs", str(checkout.root / "docs"))
    page = (checkout.root / "docs/topologies.md").read_text()
    assert page.startswith("# By hand\n") and "## tiny" in page and "old" not in page
    assert "eth1: 192.168.1.N/24" in page
    source = checkout.good("graph", "tiny", "-o", "dot").out
    assert web_page.source_mark(source) in (checkout.root / "docs/topologies/tiny.svg").read_text()
