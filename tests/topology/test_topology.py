"""The eleven topologies: what each node is given, against a list made by hand; and who reaches whom."""

import json
import re
from pathlib import Path

import pytest

from tasks.formats import yaml_core
from tasks.project import definition_files
from tasks.topology import check, netplan, reachability
from tasks.topology.netplan import ClusterShape, NodePlan, Way
from tasks.topology.schema import Topology
from tests.conftest import ROOT, Checkout

TOPOLOGIES = definition_files.load(ROOT).topologies
ECMP1, ECMP2 = "default via 1.201 1.202", "default via 2.201 2.202"
UP = "default via 0.250 (4)"
# By node: interfaces with their net, F for forwarding, NAT(nets); routes as `net via net.node`.
FACTS = {
    "xnet": {
        1: f"eth1=1; {ECMP1}",
        4: f"eth1=1; {ECMP1}",
        201: f"eth1=1 eth2=2 F NAT(1 2); {UP}",
        202: f"eth1=1 eth2=2 F NAT(1 2); {UP}",
        221: f"eth1=2; {ECMP2}",
    },
    "dual-path": {
        1: "eth1=1 eth2=4; default via 1.201; default via 4.202 oif eth2 table 300; 6 via 4.202",
        201: f"eth1=1 eth2=3 F NAT(1); 2 via 3.203; 6 via 3.203; {UP}",
        202: f"eth1=4 eth2=5 F; 6 via 5.204; 2 via 5.204; {UP}",
        203: f"eth1=3 eth2=2 F NAT(2); 1 via 3.201; 4 via 3.201; {UP}",
        204: f"eth1=5 eth2=6 F; 4 via 5.202; 1 via 5.202; {UP}",
        221: "eth1=2 eth2=6; default via 2.203; default via 6.204 oif eth2 table 300; 4 via 6.204",
        222: "eth1=2 eth2=6; default via 2.203; default via 6.204 oif eth2 table 300; 4 via 6.204",
    },
    "multihop": {
        1: "eth1=1; default via 1.201",
        201: f"eth1=1 eth2=3 F NAT(1); 2 via 3.202; {UP}",
        202: f"eth1=3 eth2=4 F; 1 via 3.201; 2 via 4.203; {UP}",
        203: f"eth1=4 eth2=2 F NAT(2); 1 via 4.202; {UP}",
        221: "eth1=2; default via 2.203",
    },
    "zones": {
        1: "eth1=1; default via 1.201",
        10: "eth1=3; default via 3.201",
        19: "eth1=3; default via 3.201",
        20: "eth1=4; default via 4.201",
        30: "eth1=1; default via 1.201",
        201: f"eth1=1 eth2=2 eth3=3 eth4=4 F NAT(1 2 3 4); {UP}",
        221: "eth1=2; default via 2.201",
    },
    "backend": {
        1: "eth1=1 eth2=3; default via 3.201",
        201: f"eth1=3 eth2=2 F NAT(3 2); {UP}",
        202: f"eth1=3 eth2=2 F NAT(3 2); {UP}",
        221: "eth1=2; default via 2.201",
    },
    "bridge": {
        1: "eth1=1; default dev eth1",
        201: f"eth1:br1 eth2:br1 br1=1 F NAT(1); {UP}",
        221: "eth1=1; default dev eth1",
    },
    "multilan": {
        1: f"eth1=1 eth2 eth3 eth4; {ECMP1}",
        201: f"eth1=1 eth2=2 F NAT(1 2); {UP}",
        221: f"eth1=2; {ECMP2}",
    },
    "multilan-router": {
        1: f"eth1=1 eth2 eth3 eth4; {ECMP1}",
        201: f"eth1=1 eth2=2 F NAT(1 2); {UP}",
        202: f"eth1=1 eth2=2 eth3=3 eth4=4 eth5=5 F NAT(1 2); {UP}",
        221: f"eth1=2; {ECMP2}",
    },
    "evil_tester": {
        1: f"eth1=1; {ECMP1}",
        201: f"eth1=1 eth2=3 F NAT(1 2); 2 via 3.222; {UP}",
        202: f"eth1=1 eth2=3 F NAT(1 2); 2 via 3.222; {UP}",
        221: "eth1=2; default via 2.222",
        222: "eth1=3 eth2=2 F; default via 3.201 3.202",
    },
    "diamond": {
        1: "eth1=1; default via 1.201",
        201: f"eth1=1 eth2=3 eth3=4 F NAT(1); 2 via 3.203 4.204; {UP}",
        202: f"eth1=2 eth2=5 eth3=6 F NAT(2); 1 via 5.203 6.204; {UP}",
        203: "eth1=3 eth2=5 F; 1 via 3.201; 2 via 5.202",
        204: "eth1=4 eth2=6 F; 1 via 4.201; 2 via 6.202",
        221: "eth1=2; default via 2.202",
    },
    "x-diamond": {
        1: "eth1=1; default via 1.201",
        201: f"eth1=1 eth2=3 eth3=4 F NAT(1); 2 via 3.203 4.204; {UP}",
        202: f"eth1=2 eth2=7 eth3=8 F NAT(2); 1 via 7.205 8.206; {UP}",
        203: "eth1=3 eth2=5 eth3=9 eth4=11 F; 1 via 3.201; 2 via 5.205",
        204: "eth1=4 eth2=6 eth3=9 eth4=12 F; 1 via 4.201; 2 via 6.206",
        205: "eth1=5 eth2=7 eth3=10 eth4=12 F; 1 via 5.203; 2 via 7.202",
        206: "eth1=6 eth2=8 eth3=10 eth4=11 F; 1 via 6.204; 2 via 8.202",
        221: "eth1=2; default via 2.202",
    },
}
# nvm, nrouters, ntesters where nothing else is said.
COUNTS = {
    "xnet": (None, 2, None), "dual-path": (None, 4, 2), "multihop": (None, 3, None), "zones": (None, 2, None),
    "backend": (None, 2, None), "bridge": (None, 1, None), "multilan": (None, 2, None),
    "multilan-router": (None, 2, None), "evil_tester": (None, 2, 2), "diamond": (None, 4, 1),
    "x-diamond": (None, 6, 1),
}  # fmt: skip


def short(node: NodePlan) -> str:
    """A plan in the words of FACTS."""
    words = [
        f"{dev.name}={dev.subnet}"
        if dev.addresses
        else f"{dev.name}:{dev.bridge}"
        if dev.bridge
        else dev.name
        for dev in node.interfaces[1:]
    ]
    words += ["F"] if node.forward else []
    words += [f"NAT({' '.join(map(str, node.nat))})"] if node.nat else []
    return "; ".join([" ".join(words), *(_short_route(way) for way in node.routes)])


def _short_route(way: Way) -> str:
    to = "default" if way.to4 == "0.0.0.0/0" else way.to4.removeprefix("192.168.").removesuffix(".0/24")
    via = " ".join(hop.address.v4.removeprefix("192.168.") for hop in way.hops if hop.address)
    text = f"{to} via {via}" if via else f"{to} dev {way.hops[0].dev}"
    text += f" oif {way.bound_to} table {way.table}" if way.bound_to else ""
    return text + (" (4)" if way.to6 is None else "")


def test_all_eleven_are_there() -> None:
    assert set(TOPOLOGIES) == set(FACTS) == set(COUNTS)


@pytest.mark.parametrize("name", FACTS)
def test_facts(name: str) -> None:
    topology = TOPOLOGIES[name]
    shape = check.as_defined(topology)
    assert {number: short(netplan.plan(topology, number, shape)) for number in FACTS[name]} == FACTS[name]
    counts = topology.counts
    assert (counts.nvm, counts.nrouters, counts.ntesters) == COUNTS[name]


def test_both_families_have_the_same_addresses_and_routes() -> None:
    for topology in TOPOLOGIES.values():
        shape = ClusterShape(**{**vars(check.as_defined(topology)), "prefix": "2001:db8::"})
        for node in netplan.plans(topology, shape).values():
            for dev in node.interfaces:
                for own in dev.addresses:
                    assert own.v6 == f"2001:db8:::{own.v4}" and own.bits6 == own.bits4 + 96
            for way in node.routes:
                assert way.to6 in (None, "::/0") or way.to6 == _six(way.to4)


def _six(to4: str) -> str:
    address, bits = to4.split("/")
    return f"2001:db8:::{address}/{int(bits) + 96}"


def test_crossroute_adds_a_route_to_each_node() -> None:
    shape = ClusterShape(nvm=2, nrouters=4, ntesters=2, variables={"CROSSROUTE": "yes"})
    plans = netplan.plans(TOPOLOGIES["dual-path"], shape)
    assert "4.1/32 via 1.1; 4.2/32 via 1.2" in short(plans[201])
    assert "1.1/32 via 4.1; 1.2/32 via 4.2" in short(plans[202])
    assert "6.221/32 via 2.221; 6.222/32 via 2.222" in short(plans[203])
    assert "2.221/32 via 6.221; 2.222/32 via 6.222" in short(plans[204])


def test_templates() -> None:
    shape = ClusterShape(variables={"XLAN_TEMPLATE": "169.254.0.0/20/24"})
    node = netplan.plan(TOPOLOGIES["multilan-router"], 3, shape)
    assert [one.interface(4) for one in node.interfaces[3].addresses] == ["169.254.4.3/24"]
    assert node.interfaces[3].addresses[0].interface(6) == "fd00::169.254.4.3/120"
    assert netplan.from_template("192.168.7.9/16/24", 5, 2, "fd00:").v4 == "192.168.5.2"
    assert netplan.from_template("10.0.0.0/8/16", 3, 200, "fd00:").interface(6) == "fd00::10.3.0.200/112"
    for wrong in ("10.0.0.0/24", "10.0.0.0/24/16", "10.0.0.0/24/31", "x/1/2", "fd00::/64/96"):
        with pytest.raises(ValueError):
            netplan.from_template(wrong, 1, 1, "fd00:")


@pytest.mark.parametrize("name", FACTS)
def test_what_is_promised_is_reached(name: str) -> None:
    topology = TOPOLOGIES[name]
    for variables in ({}, dict(topology.variables)):
        shape = ClusterShape(**{**vars(check.as_defined(topology)), "variables": variables})
        plans = netplan.plans(topology, shape)
        fabric = reachability.fabric(plans)
        pairs = reachability.promised(topology, plans, shape)
        assert {(1, 221), (221, 1)} <= {(pair.source, pair.to) for pair in pairs}
        for pair in pairs:
            assert reachability.reaches(fabric, 4, pair.source, pair.v4) is None
            assert reachability.reaches(fabric, 6, pair.source, pair.v6) is None


def test_what_is_not_reached_is_told() -> None:
    """In dual-path a node's second address is behind the second path only; without a router nothing is."""
    topology = TOPOLOGIES["diamond"]
    shape = ClusterShape(nvm=1, nrouters=3, ntesters=1)
    problems = check.in_cluster(topology, shape)
    assert problems == [
        "groups.vm-201.routes.0.via: no node has 192.168.4.204 on net 4, the next hop of vm-201",
        "groups.vm-202.routes.0.via: no node has 192.168.6.204 on net 6, the next hop of vm-202",
    ]
    plans = netplan.plans(topology, ClusterShape(nvm=1, nrouters=4, ntesters=1))
    fabric = reachability.fabric(plans)
    assert "vm-203 has no route" in str(reachability.reaches(fabric, 4, 203, "10.0.0.1"))
    deaf = {**plans, 204: NodePlan(**{**vars(plans[204]), "forward": False})}
    assert "vm-204 does not forward" in str(
        reachability.reaches(reachability.fabric(deaf), 6, 1, "fd00::192.168.2.221")
    )


def test_a_segment_goes_through_bridges() -> None:
    plans = netplan.plans(TOPOLOGIES["bridge"], ClusterShape(nrouters=1, ntesters=1))
    assert reachability.segments(plans) == {1: 1, 2: 1}
    assert reachability.reaches(reachability.fabric(plans), 4, 1, "192.168.1.221") is None
    without = {number: node for number, node in plans.items() if number != 201}
    assert "no node on the net of" in str(
        reachability.reaches(reachability.fabric(without), 4, 1, "192.168.1.221")
    )


def test_chains_of_bridges_are_one_segment() -> None:
    file = Path("bridges.yaml")
    text = "\n".join(
        f"  n{n}: {{nodes: {n}, links: [{a}, {b}], bridges: {{br0: {{links: [{a}, {b}], address: 1}}}}}}"
        for n, a, b in ((1, 1, 2), (2, 3, 4), (3, 2, 3))
    )
    topology = _parsed(file, f"summary: x\nnets: {{1: a, 2: b, 3: c, 4: d}}\ngroups:\n{text}\n")
    plans = netplan.plans(topology, ClusterShape(nvm=3, nrouters=0))
    assert set(reachability.segments(plans).values()) == {1}
    assert reachability.reaches(reachability.fabric(plans), 4, 1, "192.168.1.2") is None


def _parsed(file: Path, text: str) -> Topology:
    return Topology(name=file.stem, directory=ROOT, **yaml_core.read(text.encode()))


def test_many_nodes_are_checked_by_a_sample() -> None:
    shape = ClusterShape(nvm=200, nrouters=20, ntesters=20)
    assert check.in_cluster(TOPOLOGIES["xnet"], shape) == []


def test_topologies_of_other_overlays(tmp_path: Path) -> None:
    folder = tmp_path / "mine/net/topology"
    folder.mkdir(parents=True)
    (tmp_path / "mine/net/default").mkdir()
    (folder / "tiny.yaml").write_text("summary: x\nnets: {1: a}\ngroups: {vm: {nodes: vm, links: [1]}}\n")
    definitions = definition_files.load(ROOT, f"{tmp_path}/mine:{ROOT}/ovl")
    assert definitions.problems == ()
    assert {"tiny", "diamond"} <= set(definitions.topologies)


def test_the_example_in_the_documentation_is_right(tmp_path: Path) -> None:
    page = (ROOT / "docs/topologies.md").read_text()
    (example,) = re.findall(r"    # ovl/mine/topology/triangle.yaml\n(.*?)\n\n    \./xc", page, re.S)
    folder = tmp_path / "ovl/mine/topology"
    folder.mkdir(parents=True)
    (tmp_path / "ovl/mine/default").mkdir()
    text = "".join(f"{line[4:]}\n" for line in example.splitlines())
    (folder / "triangle.yaml").write_text(text)
    assert definition_files.load(tmp_path).problems == ()
    (folder / "triangle.yaml").write_text(text.replace("[201@1]", "[202@1]"))
    (problem,) = definition_files.load(tmp_path).problems
    assert problem in page


TINY = "summary: x\nnets: {1: a}\ngroups: {vm: {nodes: vm, links: [1]}}\n"


def test_an_overlay_packs_its_topologies(checkout: Checkout) -> None:
    """A new topology is one file; what guests read is made from it, and made again when it changes."""
    checkout.write("ovl/a/topology/tiny.yaml", TINY)
    assert "ovl:a" in checkout.good("mkcdrom", "a", "b").tasks
    assert checkout.good("mkcdrom", "a", "b").tasks == set()
    checkout.write("ovl/a/topology/tiny.yaml", f"# a comment\n{TINY}")
    assert checkout.good("mkcdrom", "a", "b").tasks == set()
    checkout.write("ovl/a/topology/tiny.yaml", TINY.replace("nodes: vm", "nodes: 1-9"))
    assert "ovl:a" in checkout.good("mkcdrom", "a", "b").tasks


def test_unknown_names_and_broken_topologies_end_before_anything_is_made(checkout: Checkout) -> None:
    checkout.write("ovl/a/topology/tiny.yaml", TINY)
    for env, words in (
        ({"TOPOLOGY": "tinny"}, ()),
        ({"xcluster_TOPOLOGY": "tinny"}, ()),
        ({"__topology": "tinny"}, ()),
        ({}, ("--topology=tinny",)),
    ):
        says = ("unknown topology 'tinny'", "known: tiny", "Did you mean 'tiny'")
        checkout.bad("start", *words, code=2, says=says, env=env)
    checkout.write("xcluster.yaml", "ovls: a b\ntopology: tinny\n")
    checkout.bad("start", code=2, says=("xcluster.yaml: unknown topology 'tinny'",))
    checkout.write("xcluster.yaml", "ovls: a b\n")
    checkout.write("ovl/a/topology/other.yaml", "summary: x\nnets: {1: a}\ngroups: {vm: {nodes: vms}}\n")
    wrong = ("ovl/a/topology/other.yaml: groups.vm.nodes", "'vms'")
    checkout.bad("start", "--topology=other", code=2, says=wrong)
    assert not checkout.iso.exists()


WIDE = """summary: x
nets: {1: a, 2: b}
groups:
  vm: {nodes: vm, links: [1, 2]}
  router: {nodes: 201-202, links: [2], mem: 256}
"""


def test_a_topology_named_by_mkcdrom_is_kept(checkout: Checkout) -> None:
    """So is one that stands in xcluster.yaml; what is said at the moment counts more."""
    checkout.write("ovl/a/topology/wide.yaml", WIDE)
    checkout.write("ovl/a/topology/tiny.yaml", TINY)
    checkout.good("mkcdrom", "a", env={"xcluster_TOPOLOGY": "wide"})
    assert 'graph "wide"' in checkout.good("graph", "-o", "dot").out
    assert 'graph "tiny"' in checkout.good("graph", "-o", "dot", env={"TOPOLOGY": "tiny"}).out
    checkout.good("mkcdrom", "a")
    checkout.write("xcluster.yaml", "ovls: a b\ntopology: wide\n")
    assert 'graph "wide"' in checkout.good("graph", "-o", "dot").out


def test_a_node_without_a_place(checkout: Checkout) -> None:
    checkout.write("ovl/a/topology/wide.yaml", WIDE)
    says = ("topology wide has no place for vm-203", "--nets203=")
    checkout.bad("graph", "wide", "--nrouters=3", code=2, says=says)
    assert '"vm-203"' not in checkout.good("graph", "wide", "--nrouters=3", "--nets203=0,1", "-o", "dot").out


def test_another_topology_makes_no_other_iso(checkout: Checkout) -> None:
    """Its name is told to guests at the start."""
    checkout.write("ovl/a/topology/wide.yaml", WIDE)
    checkout.good("mkcdrom", "a")
    assert checkout.good("run", "mkcdrom", env={"TOPOLOGY": "wide"}).tasks == set()
    checkout.write(
        "ovl/a/topology/wide.yaml", WIDE.replace("256", "512")
    )  # guests need not know of their memory
    assert "mkcdrom" not in checkout.good("run", "mkcdrom", env={"TOPOLOGY": "wide"}).tasks


def test_plans_as_json(checkout: Checkout) -> None:
    checkout.write("ovl/a/topology/tiny.yaml", TINY + "reachable: [{from: vm, to: vm}]\n")
    document = json.loads(checkout.good("graph", "tiny", "--nvm=2", "--nrouters=0", "-o", "json").out)
    assert [node["name"] for node in document["nodes"]] == ["vm-001", "vm-002"]
    assert document["reachable"][0] == {
        "source": 1, "to": 2, "v4": "192.168.1.2", "v6": "fd00::192.168.1.2", "net": 1, "key": "reachable.0",
    }  # fmt: skip
