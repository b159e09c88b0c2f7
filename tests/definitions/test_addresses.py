"""Addresses of nodes, and that they are written in one place."""

import ast
import ipaddress
import re

import pytest

from tasks.definitions import addresses, roles
from tests.test_layers import sources

OWN = "tasks/definitions/addresses.py"
WRITTEN = re.compile(r"192\.168\.|10\.0\.2\.[23]\b")


def test_addresses_of_nodes_and_of_the_host() -> None:
    assert addresses.v4(2, 201) == "192.168.2.201"
    assert addresses.v6("fd00:", 2, 201) == "fd00::192.168.2.201"
    assert addresses.v4(0, addresses.HOST) == "192.168.0.250"
    assert addresses.subnet4(3) == "192.168.3.0/24"


@pytest.mark.parametrize("net", [0, 1, 99])
def test_every_node_is_inside_its_subnets(net: int) -> None:
    subnet4 = ipaddress.ip_network(addresses.subnet4(net))
    subnet6 = ipaddress.ip_network(addresses.subnet6("fd00:", net))
    for number in (1, roles.LAST, addresses.QEMU_DNS, addresses.HOST):
        assert ipaddress.ip_address(addresses.v4(net, number)) in subnet4
        assert ipaddress.ip_address(addresses.v6("fd00:", net, number)) in subnet6


def test_no_node_has_an_address_that_is_taken() -> None:
    assert roles.LAST < min(addresses.HOST, addresses.QEMU_DNS)


def _in_code(text: str) -> list[str]:
    """The strings of a module that are no docstrings, with addresses in them."""
    tree = ast.parse(text)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docs
        and WRITTEN.search(node.value)
        and "<net>" not in node.value
    ]


def test_addresses_are_made_in_one_place() -> None:
    written = {path: found for path, text in sources() if path != OWN and (found := _in_code(text))}
    assert written == {}
    assert _in_code('"""192.168.0.1"""\nx = f"192.168.{net}.1"') == ["192.168."]
