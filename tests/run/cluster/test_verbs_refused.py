"""The verbs that start something, refused: nothing is built for it, and the cluster that runs lives on."""

import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tests.conftest import Checkout, content
from tests.run.cluster.fakes import PORTS, Sleepers

SETTINGS = Settings(nvm=2, nrouters=0, net="userspace", accel="tcg", dns="off", ovls="a b")
START = ("--net=userspace", "--nvm=2", "--nrouters=0")


@dataclass(frozen=True)
class Place:
    """A checkout, and a workspace with a path that is short enough for sockets."""

    checkout: Checkout
    workspace: Workspace

    @property
    def env(self) -> dict[str, str]:
        """What makes a verb use it."""
        return {"XCLUSTER_WORKSPACE": str(self.workspace.root)}

    def refuses(self, *words: str, status: int, says: tuple[str, ...], **env: str) -> None:
        """The verb must end with this status and say all of this, and nothing may be built for it."""
        self.checkout.bad(*words, code=status, says=says, env={**self.env, **env})
        built = {path.name for path in self.workspace.root.iterdir()} - {"run", "doit.db", "checkpoint"}
        assert built == set()


@pytest.fixture
def place(checkout: Checkout) -> Iterator[Place]:
    """Nothing runs in it."""
    with tempfile.TemporaryDirectory(prefix="xc-", dir="/tmp") as folder:
        yield Place(checkout, Workspace(Path(folder)))


@pytest.fixture
def running(place: Place, old: Sleepers) -> Iterator[Place]:
    """A cluster runs in it that must live on, every file of it."""
    directory = old.cluster(place.workspace, SETTINGS)
    before = content(directory.root)
    yield place
    assert old.alive and content(directory.root) == before


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--dns-hosts=not/there"], 1, "dns_hosts: cannot read not/there"),
        (["--wait=ready"], 2, "needs a cluster with Kubernetes"),
        (["--net=custom", "--net-setup=/not/there"], 1, "'/not/there' is no program"),
        (["--net=custom"], 1, "--net-setup=PROGRAM"),
        (["--net-setup=/not/there"], 1, "'/not/there' is no program"),
        (["--net-setup=/etc/passwd"], 1, "'/etc/passwd' is no program"),
        (["--kvm-opt='"], 1, "kvm_opt cannot be split"),
        (["--mem=65536", "--nvm=200"], 1, "use --mem"),
        (["--topology=not-there"], 2, "unknown topology 'not-there'"),
        (["--prefix=xyz"], 2, "--prefix"),
        (["--mtu=70000"], 2, "--mtu"),
        (["--kernel=none"], 2, "unknown kernel 'none'"),
        (["--image=none"], 2, "unknown image 'none'"),
        (["--from=nothing"], 1, "unknown checkpoint 'nothing'"),
    ],
)
def test_a_start(running: Place, words: list[str], status: int, says: str) -> None:
    base = () if words[0].startswith("--from") else START
    running.refuses("starts", *base, *words, status=status, says=(says,))


def test_a_start_at_a_port_of_a_third_program(running: Place) -> None:
    with socket.create_server(("127.0.0.1", PORTS.ssh + 201)):
        words = ("starts", "--net=userspace", "--nvm=1", "--nrouters=1")
        running.refuses(*words, status=1, says=(f"127.0.0.1:{PORTS.ssh + 201}", "vm-201"))


def test_a_start_without_qemu(running: Place) -> None:
    says = ("'qemu-system-x86_64' is missing", "'qemu-img' is missing", "'ssh' is missing")
    running.refuses("starts", *START, status=1, says=says, PATH=str(running.checkout.root))


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["scaleout", "3", "--wait=ready"], 2, "needs a cluster with Kubernetes"),
        (["scaleout", "1"], 1, "vm-001 is running already"),
        (["scaleout", "999"], 2, "999 is no node number"),
        (["scaleout", "3", "--dns=auto", "--dns-hosts=not/there"], 1, "dns_hosts: cannot read"),
        (["scaleout", "3", "--kvm-opt='"], 1, "kvm_opt cannot be split"),
        (["boot_vm", "1"], 1, "vm-001 is running already"),
        (["boot_vm", "999"], 2, "999 is no node number"),
        (["boot_vm", "5", "--nets=x"], 2, "'x' is not a list of nets"),
        (["boot_vm", "5", "--kvm-opt='"], 1, "kvm_opt cannot be split"),
        (["checkpoint", "restore", "nothing"], 1, "unknown checkpoint 'nothing'"),
    ],
)
def test_nodes_that_are_added_and_restored(running: Place, words: list[str], status: int, says: str) -> None:
    running.refuses(*words, status=status, says=(says,))


def test_an_added_node_at_a_port_of_another_program(running: Place) -> None:
    with socket.create_server(("127.0.0.1", PORTS.ssh + 7)):
        running.refuses("scaleout", "7", status=1, says=(f"127.0.0.1:{PORTS.ssh + 7}", "vm-007"))


def test_nodes_for_a_cluster_that_does_not_run(place: Place) -> None:
    place.refuses("scaleout", "3", status=1, says=("cluster 'xcluster' is not running",))
    place.refuses("scaleout", "999", status=1, says=("cluster 'xcluster' is not running",))


def test_a_look_at_the_task_refuses_nothing(place: Place) -> None:
    """Only a start is checked."""
    shown = place.checkout.xc("info", "start", env=place.env)
    assert "replacing a running one" in shown.out and shown.err == ""


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_file_where_the_directory_of_the_cluster_has_to_be(place: Place, verb: str) -> None:
    path = place.workspace.cluster("newa").root
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    words = START if verb == "start" else ()
    place.refuses(verb, "--name=newa", *words, status=1, says=(f"{path} is in the way", "rm "))
    assert path.read_text() == "mine"


@pytest.mark.parametrize("verb", ["mkcdrom", "images ls"])
def test_a_workspace_that_cannot_be_made(checkout: Checkout, verb: str) -> None:
    says = ("cannot make /proc/nope", "XCLUSTER_WORKSPACE")
    checkout.bad(*verb.split(), code=1, says=says, env={"XCLUSTER_WORKSPACE": "/proc/nope"})


@pytest.mark.parametrize("verb", ["status", "stop"])
def test_a_workspace_that_cannot_be_made_is_nothing_to_who_only_looks(checkout: Checkout, verb: str) -> None:
    ran = checkout.good(verb, env={"XCLUSTER_WORKSPACE": "/proc/nope"})
    assert "is not running" in ran.out + ran.err
