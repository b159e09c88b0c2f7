"""Rows of the table of verbs: network namespaces that root makes by number, as in xcluster."""

from __future__ import annotations

from tasks.project.command_line import Option, Reads, Verb

MAKING = "tasks.run.inspect.namespace_setup"
ENTERING = "tasks.run.inspect.namespaces"
BASE = (
    Option("ipv4_base", "addresses of the uplink [172.30.0.0/24]", "NET"),
    Option("ipv6_prefix", "the same for IPv6 [fd00:1723::]", "PREFIX"),
)

VERBS = (
    Verb(
        "nsadd",
        MAKING,
        "make network namespace N to run clusters in (root)",
        "N",
        options=BASE,
        heeds={"": ("prefix",)},
        examples=("xc nsadd 1", "xc nsadd 2 --ipv4-base=172.31.0.0/24"),
        least=1,
        most=1,
    ),
    Verb(
        "nsadd_docker",
        MAKING,
        "make network namespace N at the bridge of docker (root)",
        "N",
        heeds={"": ("prefix",)},
        examples=("xc nsadd_docker 1", "xc nsadd_docker 2"),
        least=1,
        most=1,
    ),
    Verb(
        "nssetup",
        MAKING,
        "the inner half of nsadd: addresses, NAT and bridges, in the namespace we are in (root)",
        "N",
        options=(
            *BASE,
            Option("docker", "addresses of docker's network"),
            Option("adr4", "the address of hostN, instead of one by number", "ADDRESS"),
            Option("gw4", "the host's address on the link", "ADDRESS"),
            Option("adr6", "the same for IPv6", "ADDRESS"),
            Option("gw6", "the same for IPv6", "ADDRESS"),
        ),
        heeds={"": ("prefix",)},
        examples=("ip netns exec mine xc nssetup 1", "xc nssetup 1 --adr4=10.9.0.2 --gw4=10.9.0.1"),
        least=1,
        most=1,
    ),
    Verb(
        "masq",
        MAKING,
        "the outer half of nsadd: let what comes from namespaces out, with the host's address (root)",
        options=(*BASE, Option("off", "remove these rules again")),
        heeds={"": ()},
        examples=("xc masq --ipv4-base=172.31.0.0/24", "xc masq --off"),
        most=0,
    ),
    Verb(
        "docker_net",
        MAKING,
        "print the addresses that nsadd_docker would give namespace N, for a shell",
        "N",
        heeds={"": ()},
        examples=("xc docker_net 1", 'eval "$(xc docker_net 1)"; echo $__adr4'),
        least=1,
        most=1,
    ),
    Verb(
        "nsenter",
        ENTERING,
        "run a shell or a command in network namespace N",
        "N [COMMAND...]",
        heeds={"": ()},
        examples=("xc nsenter 1", "xc nsenter 1 xc start"),
        reads=Reads.COMMAND,
        least=1,
    ),
    Verb(
        "br_setup",
        ENTERING,
        "make the bridge of net N in the namespace we are in",
        "N",
        options=(Option("mtu", "[1500]", "BYTES"),),
        heeds={"": ("prefix",)},
        examples=("xc br_setup 3", "xc br_setup 4 --mtu=9000"),
        least=1,
        most=1,
    ),
    Verb(
        "nsdel",
        MAKING,
        "remove network namespace N (root)",
        "N",
        heeds={"": ()},
        examples=("xc nsdel 1", "xc nsdel 2"),
        least=1,
        most=1,
    ),
)
