"""The guest's own scripts, run here below a root of their own, do what the plans of the topologies say."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tasks.project import definition_files
from tasks.topology import check, guest_script, netplan
from tasks.topology.netplan import ClusterShape, NodePlan, Way
from tests.conftest import ROOT

OVERLAY = ROOT / "ovl/network-topology"
TOPOLOGIES = definition_files.load(ROOT).topologies
SCRIPTS = {name: guest_script.script(topology) for name, topology in TOPOLOGIES.items()}
ABSOLUTE = ("/etc/", "/usr/", "/proc/", "/sys/", "/run/", "/sbin/", "/bin/")
SYSCTLS = (
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "ipv4/fib_multipath_hash_policy",
    "ipv6/fib_multipath_hash_policy",
)


@dataclass(frozen=True)
class Guest:
    """A node's files, with programs that note what they are asked."""

    root: Path

    def put(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def moved(self, text: str) -> str:
        """A script with its absolute paths below our root."""
        for path in ABSOLUTE:
            for before in (" ", "\n", '"', "=", "<", ">", "'"):
                text = text.replace(f"{before}{path}", f"{before}{self.root}{path}")
        return text

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the rc scripts."""
        name = f"etc/init.d/{script}"
        text = (OVERLAY / "default" / name).read_text()
        return subprocess.run(
            ["sh", str(self.put(name, self.moved(text))), "start"], capture_output=True, text=True,
            env={"PATH": f"{self.root}/fakes:/usr/bin:/bin"}, timeout=20,
        )  # fmt: skip

    def lines(self, name: str) -> list[str]:
        """What a fake program was given on stdin."""
        file = self.root / name
        return [line for line in file.read_text().splitlines() if line] if file.is_file() else []

    def sysctl(self, name: str) -> str:
        """The content of a file below /proc/sys/net."""
        return (self.root / "proc/sys/net" / name).read_text().strip()


def set_up(folder: Path, topology: str, number: int, shape: ClusterShape, devices: int = 8) -> Guest:
    """A guest that knows what real ones are told."""
    guest = Guest(folder)
    counts = f"__nvm={shape.nvm}\n__nrouters={shape.nrouters}\n__ntesters={shape.ntesters}\n"
    told = "".join(f"{name}='{value}'\n" for name, value in shape.variables.items())
    guest.put("etc/profile", f"{counts}PREFIX={shape.prefix}\nTOPOLOGY={topology}\n{told}")
    guest.put("proc/sys/kernel/hostname", f"vm-{number:03d}\n")
    mtus = " ".join(f"mtu{net}={shape.mtu}" for net in range(13)) if shape.mtu != 1500 else ""
    guest.put("proc/cmdline", f"root=/dev/vda {mtus}\n")
    for name in SYSCTLS:
        guest.put(f"proc/sys/net/{name}", "0\n")
    for index in range(devices):
        guest.put(f"sys/class/net/eth{index}/address", "")
        guest.put(f"proc/sys/net/ipv6/conf/eth{index}/accept_dad", "1\n")
    (folder / "run").mkdir()
    guest.put("usr/sbin/ip", f'#!/bin/sh\necho "$*" >>{folder}/ip.calls\ncat >>{folder}/ip\n', 0o755)
    guest.put("fakes/nft", f"#!/bin/sh\ncat >>{folder}/nft\n", 0o755)
    library = (OVERLAY / "default/usr/lib/network-topology.sh").read_text()
    guest.put("usr/lib/network-topology.sh", guest.moved(library))
    for each in {topology or "xnet", "xnet"} & set(SCRIPTS):
        guest.put(f"usr/lib/network-topology/{each}.sh", SCRIPTS[each])
    return guest


def expected(plan: NodePlan, shape: ClusterShape) -> list[str]:
    """The commands of iproute2 that make a plan true."""
    mtu = f" mtu {shape.mtu}" if shape.mtu != 1500 else ""
    lines = []
    for dev in plan.interfaces[1:]:
        if dev.name in plan.bridges:
            mac = f"00:00:01:01:{dev.subnet:02x}:{plan.number:02x}"
            lines.append(f"link add name {dev.name} address {mac} type bridge")
        if dev.bridge:
            lines.append(f"link set dev {dev.name}{mtu} master {dev.bridge} up")
        elif dev.addresses:
            lines.append(f"link set dev {dev.name}{mtu} up")
        for own in dev.addresses:
            lines.append(f"address replace {own.interface(4)} broadcast + dev {dev.name}")
            lines.append(f"address replace {own.interface(6)} dev {dev.name} nodad")
    for dev_name, table in {way.bound_to: way.table for way in plan.routes if way.bound_to}.items():
        lines += [f"rule add oif {dev_name} table {table}", f"-6 rule add oif {dev_name} table {table + 1}"]  # type: ignore[operator]
    return lines + [line for way in plan.routes for line in route(way)]


def route(way: Way) -> list[str]:
    """The commands of one route."""
    lines = []
    for family, to in ((4, way.to4), (6, way.to6)):
        if to is None:
            continue
        hops = [f"via {hop.address.text(family)}" if hop.address else f"dev {hop.dev}" for hop in way.hops]
        word = "nexthop " if len(hops) > 1 else ""
        table = f" table {way.table + family // 6}" if way.table else ""
        lines.append(f"route replace {to} " + " ".join(word + hop for hop in hops) + table)
    return lines


def shapes(name: str) -> list[ClusterShape]:
    """Clusters to try: as defined; with the topology's variables, another prefix and MTU."""
    plain = check.as_defined(TOPOLOGIES[name])
    other = replace(plain, prefix="2001:db8:", mtu=9000, variables=TOPOLOGIES[name].variables)
    return [plain, other]


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_guests_do_what_is_planned(name: str, tmp_path: Path) -> None:
    for i, shape in enumerate(shapes(name)):
        for number, plan in netplan.plans(TOPOLOGIES[name], shape).items():
            guest = set_up(tmp_path / f"{i}-{number}", name, number, shape)
            done = guest.run("11xnet.rc")
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), plan.name
            assert sorted(guest.lines("ip")) == sorted(expected(plan, shape)), plan.name
            assert len(guest.lines("ip.calls")) == (1 if len(plan.interfaces) > 1 else 0)
            nat = [line.split()[4] for line in guest.lines("nft") if "saddr" in line]
            assert nat == [f"192.168.{net}.0/24" for net in plan.nat]
            for sysctl in SYSCTLS:
                assert guest.sysctl(sysctl) == plan.sysctls.get(sysctl, "0"), (plan.name, sysctl)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_names_lead_to_addresses_that_nodes_have(name: str, tmp_path: Path) -> None:
    shape = check.as_defined(TOPOLOGIES[name])
    plans = netplan.plans(TOPOLOGIES[name], shape)
    number = max(plans)
    guest = set_up(tmp_path / "guest", name, number, shape)
    assert guest.run("11hosts.rc").returncode == 0
    rows = [line.split() for line in guest.lines("etc/hosts") if " vm-" in line]
    own = {
        (one.text(family), plan.name)
        for plan in plans.values() for dev in plan.interfaces for one in dev.addresses for family in (4, 6)
    }  # fmt: skip
    assert {(row[0], row[1]) for row in rows} <= own
    assert sorted(row[1] for row in rows) == sorted(2 * [plan.name for plan in plans.values()])


def test_nodes_beyond_the_counts(tmp_path: Path) -> None:
    shape = ClusterShape(nvm=1, nrouters=2)
    guest = set_up(tmp_path / "g", "xnet", 77, shape)
    assert guest.run("11xnet.rc").returncode == 0
    assert guest.run("11hosts.rc").returncode == 0
    assert "address replace 192.168.1.77/24 broadcast + dev eth1" in guest.lines("ip")
    assert "192.168.1.77 vm-077" in guest.lines("etc/hosts")
    assert "192.168.1.2 vm-002" not in guest.lines("etc/hosts")


def test_no_routers_no_default_route(tmp_path: Path) -> None:
    guest = set_up(tmp_path / "g", "xnet", 1, ClusterShape(nrouters=0))
    assert guest.run("11xnet.rc").returncode == 0
    assert not [line for line in guest.lines("ip") if line.startswith("route")]


@pytest.mark.parametrize("name", ["", "default"])
def test_the_default_topology(name: str, tmp_path: Path) -> None:
    guest = set_up(tmp_path / "g", name, 221, ClusterShape())
    assert guest.run("11xnet.rc").returncode == 0
    assert "address replace 192.168.2.221/24 broadcast + dev eth1" in guest.lines("ip")


def settings(guest: Guest, **values: str) -> None:
    """Add to a guest's /etc/profile."""
    profile = guest.root / "etc/profile"
    profile.write_text(profile.read_text() + "".join(f"{k}='{v}'\n" for k, v in values.items()))


def test_dhcp_and_no_masquerade(tmp_path: Path) -> None:
    guest = set_up(tmp_path / "g", "xnet", 201, ClusterShape())
    settings(guest, DHCP_eth0="yes", DISABLE_MASQUERADE="yes")
    assert guest.run("11xnet.rc").returncode == 0
    assert not [line for line in guest.lines("ip") if line.startswith("route")]
    assert guest.lines("nft") == []


def test_failures_are_loud(tmp_path: Path) -> None:
    unknown = set_up(tmp_path / "unknown", "nonsense", 1, ClusterShape())
    done = unknown.run("11xnet.rc")
    assert done.returncode == 1
    assert "ERROR" in done.stdout and "nonsense.sh" in done.stdout and "xnet.sh" in done.stdout
    homeless = set_up(tmp_path / "homeless", "bridge", 202, ClusterShape())
    done = homeless.run("11xnet.rc")
    assert done.returncode == 1
    assert "bridge has no place for vm-202" in done.stdout
    broken = set_up(tmp_path / "broken", "diamond", 201, ClusterShape())
    broken.put("usr/sbin/ip", "#!/bin/sh\ncat >/dev/null\nexit 1\n", 0o755)
    done = broken.run("11xnet.rc")
    assert done.returncode == 1 and "ip failed" in done.stdout
    numbers = set_up(tmp_path / "numbers", "xnet", 1, ClusterShape())
    settings(numbers, __nrouters="two")
    done = numbers.run("11xnet.rc")
    assert done.returncode == 1 and "__nrouters" in done.stdout
    assert "address replace 192.168.1.1/24 broadcast + dev eth1" in numbers.lines("ip")


@pytest.mark.parametrize("template", ["lan", "10.0.0.0/8", "10.0.0/8/24", "10.0.0.0/8/24/28", "fd00::/8/16"])
def test_a_template_that_is_none(template: str, tmp_path: Path) -> None:
    guest = set_up(tmp_path / "g", "multilan-router", 1, ClusterShape(variables={"XLAN_TEMPLATE": template}))
    done = guest.run("11xnet.rc")
    assert done.returncode == 1 and template in done.stdout and done.stderr == ""
    assert "address replace 192.168.1.1/24 broadcast + dev eth1" in guest.lines("ip")


def test_a_missing_interface_is_left_out_and_its_routes_too(tmp_path: Path) -> None:
    guest = set_up(tmp_path / "g", "dual-path", 1, ClusterShape(nrouters=4), devices=2)
    done = guest.run("11xnet.rc")
    assert done.returncode == 0
    assert "no eth2, net 4 is left out" in done.stdout
    assert not [line for line in guest.lines("ip") if "192.168.4" in line or "eth2" in line]


def test_a_second_run_makes_no_second_rule_or_bridge(tmp_path: Path) -> None:
    guest = set_up(tmp_path / "rule", "dual-path", 1, ClusterShape(nrouters=4))
    guest.run("11xnet.rc")
    guest.run("11xnet.rc")
    assert len([line for line in guest.lines("ip") if line.startswith("rule add")]) == 1
    guest = set_up(tmp_path / "bridge", "bridge", 201, ClusterShape(nrouters=1))
    guest.run("11xnet.rc")
    guest.put("sys/class/net/br1/address", "")
    guest.run("11xnet.rc")
    assert len([line for line in guest.lines("ip") if line.startswith("link add")]) == 1
