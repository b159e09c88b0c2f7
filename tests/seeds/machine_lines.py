"""A whole cluster in one machine, as the Ciao project has it: what does the same here, and what does not."""

from tests.seeds.line import Line

NO_CIAO = "Ciao is not packaged here: a cluster here is one of nodes, not of Ciao's controllers and launchers"
MACHINE = (
    "a machine in which the whole tool runs is not there yet; `xc start` needs none, as it leaves no mark"
)
CLUSTER = "the cluster is started, checked and ended by `start`, `verify` and `stop`"
FORWARDING = "forwarding and NAT are inside of the cluster's namespace; the host's are left alone"
FIREWALL = "forwarded ports are on the loopback of the host, so that no rule of its firewall is concerned"
SOURCE = "the tool is a checkout that needs no compiling"
HERE = (
    Line("004", "go get github.com/intel/ccloudvm/...", "machine", "", MACHINE, later=True),
    Line("004", "$(go env GOPATH)/bin/ccloudvm setup", "machine", "^ok ", MACHINE, instead="./xc doctor"),
    Line("004", "$(go env GOPATH)/bin/ccloudvm create ciao", "machine", "", MACHINE, later=True),
    Line("004", "$GOPATH/bin/ccloudvm connect", "machine", "", MACHINE, later=True),
    Line(
        "004",
        "swupd bundle-add cloud-control go-basic os-core-dev kvm-host os-installer",
        "machine",
        "^ok ",
        "`xc` installs what is missing with apt; `doctor` lists what there is",
        instead="./xc doctor",
    ),
    Line(
        "004",
        "iptables -t nat -A POSTROUTING -o $device -j MASQUERADE",
        "machine",
        "^ok +net ",
        FORWARDING,
        instead="./xc doctor",
    ),
    Line(
        "004",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "machine",
        "^ok +net ",
        FORWARDING,
        instead="./xc doctor",
    ),
    Line("004", "cd $GOPATH/src", "machine", "", SOURCE, later=True),
    Line(
        "004", "go get -v -u -tags debug github.com/ciao-project/ciao/...", "machine", "", NO_CIAO, later=True
    ),
    Line(
        "004",
        "cd $GOPATH/src/github.com/ciao-project/ciao/testutil/singlevm",
        "machine",
        "",
        NO_CIAO,
        later=True,
    ),
    Line(
        "004",
        ". ~/local/demo.sh",
        "machine",
        "^__mem='128'",
        "settings are printed by `env`",
        instead="./xc env",
    ),
    Line("004", "./setup.sh", "machine", "^nodes:", CLUSTER, instead="./xc start --name=seeds --dry-run"),
    Line("004", "./verify.sh", "machine", "^xc verify ", CLUSTER, instead="./xc verify --help"),
    Line("004", "./cleanup.sh", "machine", "is not running", CLUSTER, instead="./xc stop --name=seeds"),
    Line("004", "ciao list workloads", "machine", "is not running", CLUSTER, 0, "./xc status --name=seeds"),
    Line(
        "004", "cd $GOPATH/src/github.com/ciao-project/ciao/_release/bat", "machine", "", NO_CIAO, later=True
    ),
    Line(
        "004",
        "test-cases -v ./...",
        "machine",
        "^xc test ",
        "the tests of the project",
        instead="./xc test --help",
    ),
)
OPENED = (
    "INPUT 1 -p tcp -m tcp --dport 8888",
    "INPUT 1 -p 47",
    "OUTPUT 1 -p 47",
    "INPUT 1 -p tcp --dport 22 -m conntrack --ctstate NEW,ESTABLISHED",
    "OUTPUT 1 -p tcp --sport 22 -m conntrack --ctstate ESTABLISHED",
    "FORWARD 1 -p tcp --dport 22 -m conntrack --ctstate NEW,ESTABLISHED",
    "FORWARD 1 -p tcp --sport 22 -m conntrack --ctstate ESTABLISHED",
    "FORWARD 1 -p udp -m udp --dport 67:68",
    "FORWARD 1 -p udp -m udp --dport 123",
    "FORWARD 1 -p udp -m udp --dport 53",
    "FORWARD 1 -p udp -m udp --dport 5355",
    "FORWARD 1 -p icmp",
)
MACHINE_LINES = (
    *HERE,
    *(
        Line("004", f"iptables -I {rule} -j ACCEPT", "machine", "^ok +net ", FIREWALL, instead="./xc doctor")
        for rule in OPENED
    ),
    *(
        Line(
            "004",
            f"iptables -D {rule.replace(' 1 ', ' ', 1)} -j ACCEPT",
            "machine",
            "^ok +net ",
            FIREWALL,
            instead="./xc doctor",
        )
        for rule in OPENED
    ),
)
