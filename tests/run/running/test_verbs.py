"""A damaged cluster through the door: `status` tells it, every other verb has an error, `stop` ends it."""

import json

import pytest

from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tests.conftest import Checkout
from tests.run.running.clusters import started

VERBS = (
    ["rsh", "1", "true"],
    ["rcp", "1", "/a", "b"],
    ["scaleout", "3"],
    ["link", "1"],
    ["netem", "1"],
    ["tcpdump", "1", "eth0", "--file=x"],
    ["enter", "true"],
    ["fakenet", "start"],
    ["kubeconfig", "--print"],
    ["checkpoint", "save", "x"],
    ["graph", "-o", "dot"],
    ["reset_vm", "1"],
)


@pytest.fixture
def damaged(checkout: Checkout) -> Checkout:
    """A cluster of two dead nodes, with files that were cut off."""
    directory = started(Workspace(checkout.workspace), Settings(nvm=2, nrouters=0, net="userspace"))
    directory.state.write_text("{")
    directory.node(1).state.write_text("")
    return checkout


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_a_verb_that_needs_the_cluster_has_an_error(damaged: Checkout, words: list[str]) -> None:
    damaged.bad(*words, code=1, says=("error: ",))


def test_the_error_says_what_to_do(damaged: Checkout) -> None:
    file = str(damaged.workspace / "run/xcluster/cluster.json")
    damaged.bad("rsh", "1", "true", code=1, says=(f"{file} is damaged: it is not a JSON object", "xc stop"))
    damaged.bad("scaleout", "3", "--offline", code=1, says=(f"{file} is damaged", "xc stop"))


def test_status_tells_and_stop_ends_it(damaged: Checkout) -> None:
    ran = damaged.good("status")
    assert "cluster.json: it is not a JSON object" in ran.out and "node.json: it is empty" in ran.out
    assert "vm-001" in ran.out and "xc stop --name=xcluster" in ran.out
    (shown,) = json.loads(damaged.good("status", "--all", "-o", "json").out)
    assert [each["why"] for each in shown["damaged"]] == ["it is not a JSON object", "it is empty"]
    assert damaged.xc("status", "--quiet").code == 0
    damaged.bad("clean", code=1, says=("running clusters: xcluster", "xc stop"))
    assert damaged.good("stop").err == ""
    assert list((damaged.workspace / "run").iterdir()) == []
    assert "not running" in damaged.good("status").err


def test_scalein_removes_a_damaged_node(damaged: Checkout) -> None:
    assert "vm-001 removed" in damaged.good("scalein", "1").err
    assert not (damaged.workspace / "run/xcluster/vm-001").exists()
