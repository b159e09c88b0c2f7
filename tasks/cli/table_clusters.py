"""Rows of the table of verbs: those that start, change and end clusters."""

from __future__ import annotations

from tasks.project.command_line import DRY_RUN, JSON, Needs, Option, Takes, Verb

CLUSTER = "tasks.run.cluster"
INSPECT = "tasks.run.inspect"
AT_ONCE = f"{INSPECT}.at_once"
FROM = Option("from", "a checkpoint to start from, instead of a boot", "NAME", kind="checkpoint")
# Upstream looks for nodes up to these numbers; this project knows which nodes there are.
COUNTS = tuple(
    Option(name, "not needed; for scripts of xcluster", "COUNT") for name in ("nvm", "nrouters", "ntesters")
)
# Settings of nodes that are added to a cluster.
ADDED = (
    "mem", "smp", "nets_vm", "nets_router", "nets_tester", "append", "cold", "timeout", "keep",
    "name", "offline",
)  # fmt: skip

VERBS = (
    Verb(
        "start",
        f"{CLUSTER}.lifecycle",
        "start a cluster, replacing a running one",
        options=(FROM, JSON, DRY_RUN),
        examples=("xc start --nvm=2 --nrouters=1", "xc start --kernel=linux-6.1 --mem201=384 --dry-run"),
        needs=Needs.BUILDS,
        takes=Takes.SETTINGS,
    ),
    Verb(
        "starts",
        f"{CLUSTER}.lifecycle",
        "start a cluster, never with console windows",
        options=(FROM, JSON, DRY_RUN),
        examples=("xc starts --topology=dual-path", "xc starts --name=two --nvm=1 --nrouters=0"),
        needs=Needs.BUILDS,
        takes=Takes.SETTINGS,
    ),
    Verb(
        "k8s",
        f"{CLUSTER}.lifecycle",
        "start a cluster of the image k8s, and wait until Kubernetes is ready",
        options=(FROM, JSON, DRY_RUN),
        examples=("xc k8s --nvm=2", "xc k8s --k8s-proxy-mode=nftables --timeout=600"),
        needs=Needs.BUILDS,
        takes=Takes.SETTINGS,
        defaults={"image": "k8s", "wait": "ready"},
    ),
    Verb(
        "stop",
        f"{CLUSTER}.ending",
        "stop the cluster and leave nothing behind",
        options=(JSON, DRY_RUN, Option("all", "every cluster of this workspace"), *COUNTS),
        at_once=AT_ONCE,
        examples=("xc stop", "xc stop --name=two", "xc stop --all"),
    ),
    Verb(
        "status",
        f"{INSPECT}.status",
        "show the running nodes",
        options=(
            JSON,
            Option("all", "of every cluster"),
            Option("quiet", "print nothing; the exit code is how many nodes run"),
            *COUNTS,
        ),
        at_once=AT_ONCE,
        examples=("xc status --all", "xc status -o json"),
    ),
    Verb(
        "scaleout",
        f"{CLUSTER}.lifecycle",
        "add nodes to the running cluster",
        "N...",
        options=(JSON, DRY_RUN),
        examples=("xc scaleout 5 6", "xc scaleout 221 --mem=256"),
        needs=Needs.BUILDS,
        takes=Takes.RUNNING,
        shows=ADDED,
        least=1,
    ),
    Verb(
        "scalein",
        f"{CLUSTER}.lifecycle",
        "remove nodes from the running cluster",
        "N...",
        options=(JSON, DRY_RUN),
        examples=("xc scalein 4", "xc scalein 3 4 202"),
        least=1,
        kinds=("node",),
    ),
    Verb(
        "checkpoint",
        f"{CLUSTER}.checkpoints",
        "save the running cluster as it is, and bring it back",
        "save NAME | restore NAME [--as OTHER] | list | rm NAME...",
        options=(
            Option("as", "restore: the name of a second cluster, beside the first", "CLUSTER"),
            Option("o", "save, restore, list: json", "FORMAT", ("json",)),
        ),
        examples=("xc checkpoint save before-the-test", "xc checkpoint restore before-the-test --as=two"),
        least=1,
        kinds=("", "checkpoint"),
        heeds={"": ("name",), "list": (), "rm": ()},
        actions=("save", "restore", "list", "rm"),
    ),
    Verb(
        "kubeconfig",
        "tasks.run.kubernetes.kube_context",
        "put the running cluster into your kubeconfig; `stop` takes it out again",
        options=(
            Option("file", "another kubeconfig [the first of KUBECONFIG, ~/.kube/config]", "FILE"),
            Option("print", "only print it"),
        ),
        examples=("xc kubeconfig", "xc kubeconfig --print >cluster.yaml"),
    ),
    Verb(
        "boot_vm",
        f"{CLUSTER}.machine",
        "boot one node with its console in this terminal; the node ends when you leave it",
        "N [APPEND...]",
        options=(Option("nets", "nets of this node", "LIST"),),
        examples=("xc boot_vm 1", "xc boot_vm 3 --nets=0,4 debug"),
        needs=Needs.BUILDS,
        takes=Takes.SETTINGS,
        least=1,
        kinds=("node", ""),
    ),
    *(
        Verb(
            name,
            f"{CLUSTER}.machine",
            f"boot one node, in the running cluster if there is one, {how}",
            "N",
            examples=(f"xc {name} 1", f"xc {name} 202 --mem=256"),
            needs=Needs.BUILDS,
            takes=Takes.RUNNING,
            shows=ADDED,
            least=1,
            most=1,
            kinds=("node",),
        )
        for name, how in (("xvm", "with its console in a window"), ("svm", "without a window"))
    ),
    Verb(
        "stop_vm",
        f"{CLUSTER}.machine",
        "halt the CPUs of a node",
        "N",
        examples=("xc stop_vm 1", "xc stop_vm vm-201"),
        least=1,
        most=1,
        kinds=("node",),
    ),
    Verb(
        "reset_vm",
        f"{CLUSTER}.machine",
        "reset a node as its button would",
        "N",
        examples=("xc reset_vm 1", "xc reset_vm 2 --name=two"),
        least=1,
        most=1,
        kinds=("node",),
    ),
)
