"""Which tasks build what the nodes of a start are made from."""

import pytest

from tests.conftest import Checkout


@pytest.mark.parametrize(
    ("settings", "built", "spared"),
    [
        ("", {"kernel:debian", "image:base", "golden"}, {"rootfs:base"}),
        ("node: container", {"rootfs:base"}, {"kernel:debian", "image:base", "golden"}),
        ("node3: container", {"rootfs:base", "kernel:debian", "golden"}, set()),
        ("{node: container, node3: vm}", {"rootfs:base", "kernel:debian", "golden"}, set()),
        ("{node: container, nvm: 1, node3: vm}", {"rootfs:base"}, {"kernel:debian", "golden"}),
    ],
)
def test_what_a_start_builds(checkout: Checkout, settings: str, built: set[str], spared: set[str]) -> None:
    checkout.write("xcluster.yaml", f"{settings}\n")
    done = checkout.xc("info", "start")
    tasks = {line.strip(" -") for line in done.out.splitlines()}
    assert built <= tasks, done.out + done.err
    assert not spared & tasks
