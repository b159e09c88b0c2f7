"""Names and network namespaces. Every name outside is one of `xc fakenet start`, so no internet is needed."""

from tests.seeds.line import Line

OUTSIDE_ADDRESS = r"203\.0\.113\.80"  # of every name of the pretended internet
ROOT = "typed as root, without sudo"

MAKES = (
    Line("000", "xc nsadd 1", "host", r"namespace \w+_xcluster1: 172\.30\.0\.2 and fd00:1723::ac1e:2"),
    Line("003", "xc nsadd 1", "host", "already exists", "the second time it says so, and changes nothing", 1),
)
ENTERS = (Line("000", "xc nsenter 1", "namespace", ""),)

# What netfilter has on the host, and in the namespace. The column `prot` is 0 or all, as iptables has it.
OUTER_RULES = tuple(
    Line(
        seed,
        "sudo iptables -t nat -L POSTROUTING -nv",
        "host",
        r"\d+ +\d+ MASQUERADE +(all|0) +-- +\* +\* +172\.30\.0\.0/24 +0\.0\.0\.0/0",
        f"the net is a /24 unless --ipv4-base says /22; {ROOT}",
        instead="iptables -t nat -L POSTROUTING -nv",
    )
    for seed in ("002", "003")
)
INNER_RULES = tuple(
    Line(
        seed,
        "sudo iptables -t nat -L POSTROUTING -nv",
        "namespace",
        r"\d+ +\d+ MASQUERADE +(all|0) +-- +\* +host1 +192\.168\.0\.0/24 +0\.0\.0\.0/0",
        ROOT,
        instead="iptables -t nat -L POSTROUTING -nv",
    )
    for seed in ("002", "003")
)

# In the network of a cluster with bridges. With --net=userspace the server is on the host's loopback alone:
# `grep :10053` finds it there, as 127.0.0.1:10053 and ::1:10053.
SERVER = tuple(
    line
    for seed in ("002", "003")
    for line in (
        Line(
            seed,
            "netstat -lputan | grep :::10053",
            "namespace",
            r"tcp6 +0 +0 :::10053 .*LISTEN +\d+/(coredns|dnsmasq)[^\n]*\n"
            r"udp6 +0 +0 :::10053 .*\d+/(coredns|dnsmasq)",
            "`start` starts it, not Envsettings.k8s; it is dnsmasq where there is no CoreDNS",
        ),
        Line(
            seed,
            "dig -4 @127.0.0.1 -t A -p 10053 www.google.se",
            "namespace",
            rf"(?s)status: NOERROR.*^www\.google\.se\.\s+\d+\s+IN\s+A\s+{OUTSIDE_ADDRESS}",
        ),
        Line(
            seed,
            "dig -6 @::1 -t AAAA -p 10053 www.google.se",
            "namespace",
            r"(?s)status: NOERROR.*SERVER: ::1#10053",
            "names of the pretended internet have no IPv6",
        ),
        Line(
            seed,
            "nslookup www.google.se",
            "namespace",
            rf"Address: {OUTSIDE_ADDRESS}",
            "/etc/resolv.conf of the host may name a server that nobody reaches from a namespace",
            instead="nslookup -port=10053 www.google.se 127.0.0.1",
        ),
    )
)
GUESTS = tuple(
    line
    for seed in ("002", "003")
    for line in (
        Line(
            seed,
            "nslookup www.google.se 192.168.0.250:10053",
            "node",
            rf"Address: {OUTSIDE_ADDRESS}",
        ),
        Line(
            seed,
            "nslookup www.google.se [1000::1:192.168.0.250]:10053",
            "node",
            rf"Address: {OUTSIDE_ADDRESS}",
            "the prefix is fd00: today; with `--prefix=1000::1` it is right as it stands",
            instead="nslookup www.google.se [fd00::192.168.0.250]:10053",
        ),
        Line(seed, "nslookup www.google.se", "node", rf"Address: {OUTSIDE_ADDRESS}"),
    )
)

NETWORK_LINES = (*MAKES, *ENTERS, *OUTER_RULES, *INNER_RULES, *SERVER, *GUESTS)
