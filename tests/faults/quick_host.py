"""Rows: what the host is like, and what is asked of its networks."""

from tests.faults.case import Case

LITTLE = ("at least 1280", "IPv6")

CASES = [
    Case("an MTU without room for IPv6, bridges", "$xc start --mtu=1000 --net=bridge", code=2, says=LITTLE),
    Case("an MTU without room for IPv6, user space", "__mtu=1279 $xc start --net=userspace", 2, LITTLE),
    Case(
        "an MTU in a superscript",
        "$xc br_setup --mtu=²²²² 1; a=$?; $xc br_setup --mtu=1000 1; b=$?; $xc br_setup ² && :; exit $a$b$?",
        code=222,
        says=("--mtu 1280 to 65521",),
    ),
]
