"""Clusters without Kubernetes: overlays, consoles, options, hooks. After `. ./Envsettings`."""

from tests.seeds.line import Line

UP = r"\b\d+ nodes? in "
WORDS = r"^  (\d\d[a-z0-9-]+\.tar ?)+$"  # what mkcdrom has put on the ISO
SYSTEMD = "systemd is init, and the rc scripts run in a unit of it"
SEVERAL = "`start` comes back when all nodes answer; without a display there are no windows"

STARTS = (
    Line("000", "xc mkcdrom systemd etcd; xc start", "host", UP, SYSTEMD),
    Line("000", "xc start", "host", UP, SEVERAL),
    Line("000", "xc mkcdrom externalip; xc start", "host", UP),
    Line("001", "xc mkcdrom; xc start", "host", UP, SEVERAL),
    Line(
        "001",
        "xc mkcdrom; xc starts",
        "host",
        UP,
        "there is no GNU screen: `console N` and `logs N` show them",
    ),
    Line("002", "xc mkcdrom iptools; xc starts", "host", UP),
    Line("003", "xc mkcdrom iptools; xc starts", "host", UP),
    Line("003", "xc mkcdrom network-topology iptools; xc start --ntesters=1", "host", UP),
)
ENDS = (
    Line("000", "xc stop", "host", ""),
    Line("001", "xc stop", "host", ""),
)
# A terminal on a node. Without a display it is the one at which `vm` is typed.
TERMINALS = (
    Line("000", "vm 1", "node", "", "without a display the node is at this terminal, not in a window"),
    Line("001", "vm 1", "node", "", "without a display the node is at this terminal, not in a window"),
    Line("000", "vm 4", "node", "", "without a display the node is at this terminal, not in a window"),
    Line("000", "vm 201", "router", "", "without a display the node is at this terminal, not in a window"),
)
# In a namespace of `xc nsadd 1`. $CONFIG is a file for ssh, with a key that nodes know.
FROM_OUTSIDE = (
    Line(
        "000",
        "ssh root@2000::3",
        "namespace",
        "^vm-003",
        "the prefix is fd00:, and net 0 is in it; keys are needed, and nodes know those in ~/.ssh",
        0,
        "ssh -F $CONFIG root@fd00::192.168.0.3 hostname",
    ),
)
OPTIONS = (
    Line("002", "--nets-vm", "host", "nets 0, 1, 3", "", 0, "xc start --dry-run --nets-vm=0,1,3"),
    Line(
        "002", "--nets_router", "host", "nets 0, 1, 2, 3", "", 0, "xc start --dry-run --nets_router=0,1,2,3"
    ),
    Line("003", "--nets-vm", "host", "nets 0, 1, 3", "", 0, "xc start --dry-run --nets-vm=0,1,3"),
    Line(
        "003", "--nets_router", "host", "nets 0, 1, 2, 3", "", 0, "xc start --dry-run --nets_router=0,1,2,3"
    ),
)
# $MY_EXPERIMENT_DIR has a file xcluster.hook with the verb `mystart`; __net_setup prints options.
CUSTOM = tuple(
    line
    for seed in ("002", "003")
    for line in (
        Line(seed, "$__net_setup <node> <net>", "host", "^-netdev ", "", 0, "$__net_setup 3 1"),
        Line(seed, "$__net_setup 3 1", "host", "^-netdev "),
        Line(seed, "export XCLUSTER_HOOK=$MY_EXPERIMENT_DIR/xcluster.hook", "host", "^$"),
        Line(seed, "xc mystart", "host", "^mystart: "),
    )
)
RANDOMNESS = tuple(
    Line(
        "001",
        text,
        "host",
        "^$",
        "all nodes have such a device anyway; this is a second one",
    )
    for text in (
        '__kvm_opt+=" -object rng-random,filename=/dev/urandom,id=rng0"',
        '__kvm_opt+=" -device virtio-rng-pci,rng=rng0,max-bytes=1024,period=80000"',
        "export __kvm_opt",
    )
)
CLUSTER_LINES = (*STARTS, *ENDS, *TERMINALS, *FROM_OUTSIDE, *OPTIONS, *CUSTOM, *RANDOMNESS)
