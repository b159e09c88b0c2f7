"""Kubernetes: after `. ./Envsettings.k8s`, on a cluster that was started with those settings."""

from tests.seeds.line import Line, Where

ARMURL = "images are made here; a file that somebody else serves can be taken as well"
NAMED = "the pod has the name that `kubectl get pods` shows"
MANY = "kubectl of today wants `--` before the command"
LOCAL = "the container image is localhost/alpine, made of busybox, and every node has it"
CERTIFICATES = (
    "they are never in git: each cluster has a secret of its own, which this makes anew for the next start"
)
EXTERNAL = r"^mconnect .*10\.0\.0\.2,1000::2"
EXTERNAL6 = r"^mconnect .*1000::2"
CONNECTED = r"^Failed connects; 0\s+Failed reads; 0$"

PLACES: tuple[Where, ...] = ("node", "pod")
IMAGE = (
    Line(
        "001",
        "armurl=http://artifactory.nordix.org/artifactory/cloud-native",
        "host",
        "^$",
        ARMURL,
        0,
        "armurl=$SERVER",
    ),
    Line("001", "curl -L $armurl/xcluster/images/hd-k8s.img.xz | xz -d > $__image", "host", ""),
)
CERTIFIED = (Line("001", "./kubernetes.sh ca", "host", "gets other authorities", CERTIFICATES),)
# `xc start` as in the first document after `. ./Envsettings.k8s`, or as in the second one.
STARTED = (Line("001", "xc mkcdrom; xc start", "host", r"\b\d+ nodes? in "),)
LOOK = (
    Line("000", "kubectl version", "node", r"^Server Version: v1\."),
    Line("000", "kubectl get nodes", "node", r"^vm-001 +Ready"),
    Line("001", "kubectl get nodes", "node", r"^vm-001 +Ready"),
    Line("001", "kubectl get pods -A", "node", r"^kube-system +coredns-"),
    Line("001", "kubectl wait -A --timeout=150s --for condition=Ready --all pods", "node", "condition met"),
    Line("000", "images", "node", "^localhost/mconnect:1"),
)
PODS = (
    Line(
        "000",
        "kubectl apply -f /etc/kubernetes/mconnect.yaml",
        "node",
        "^service/mconnect (created|unchanged)",
    ),
    Line(
        "001",
        "kubectl apply -f /etc/kubernetes/mconnect.yaml",
        "node",
        "^service/mconnect (created|unchanged)",
    ),
    Line("000", "kubectl get pods", "node", "^mconnect-deployment-"),
    Line("001", "kubectl get pods", "node", "^mconnect-deployment-"),
    Line("000", "kubectl get svc", "node", EXTERNAL),
    Line("001", "kubectl get svc", "node", EXTERNAL),
    Line("000", "mconnect -address mconnect.default.svc.xcluster:5001 -nconn 1000", "node", CONNECTED),
    Line("001", "mconnect -address mconnect.default.svc.xcluster:5001 -nconn 100", "node", CONNECTED),
    Line(
        "000",
        "kubectl apply -f /etc/kubernetes/alpine.yaml",
        "node",
        "^deployment.apps/alpine-deployment ",
        LOCAL,
    ),
    Line(
        "001",
        "kubectl apply -f /etc/kubernetes/alpine.yaml",
        "node",
        "^deployment.apps/alpine-deployment ",
        LOCAL,
    ),
    Line(
        "002",
        "kubectl apply -f /etc/kubernetes/alpine.yaml",
        "node",
        "^deployment.apps/alpine-deployment ",
        LOCAL,
    ),
    Line(
        "003",
        "kubectl apply -f /etc/kubernetes/alpine.yaml",
        "node",
        "^deployment.apps/alpine-deployment ",
        LOCAL,
    ),
    Line("002", "kubectl get pods", "node", "^alpine-deployment-"),
    Line("003", "kubectl get pods", "node", "^alpine-deployment-"),
    Line("000", "images   # docker.io/library/alpine should appear", "node", "^localhost/alpine:1", LOCAL),
    Line("001", "kubectl top pods", "node", r"^mconnect-deployment-\S+ +\d+m +\d+Mi"),
)
# On nodes, and in pods.
NAMED_BY = tuple(
    Line(
        seed,
        "nslookup kubernetes.default.svc.xcluster",
        where,
        r"^Name:\s+kubernetes\.default\.svc\.xcluster",
    )
    for seed in ("002", "003")
    for where in PLACES
)
# $POD is a pod of alpine. What is typed after the first of these is typed in the pod.
IN_A_POD = (
    Line(
        "001",
        "kubectl exec -it (an-alpine-pod) sh",
        "pod",
        "",
        f"{NAMED}; {MANY}",
        0,
        "kubectl exec -it $POD -- sh",
    ),
    Line(
        "002",
        "kubectl exec -it alpine-deployment-... -- sh",
        "pod",
        "",
        NAMED,
        0,
        "kubectl exec -it $POD -- sh",
    ),
    Line(
        "003",
        "kubectl exec -it alpine-deployment-... -- sh",
        "pod",
        "",
        NAMED,
        0,
        "kubectl exec -it $POD -- sh",
    ),
)

# After the overlays externalip and k8s-config, with SETUP=ipv6.
IPV6_START = (
    Line(
        "000",
        "SETUP=ipv6 xc mkcdrom etcd coredns k8s-config externalip; xc start",
        "host",
        r"\b\d+ nodes? in ",
    ),
)
IPV6_NODE = (
    Line(
        "000",
        "kubectl get nodes -o wide",
        "node",
        r"^vm-001 +Ready .* fd00:",
    ),
    Line(
        "000",
        "kubectl apply -f /etc/kubernetes/mconnect.yaml",
        "node",
        "^service/mconnect (created|unchanged)",
    ),
    Line("000", "kubectl get svc", "node", EXTERNAL6),
)
IPV6_ROUTER = (Line("000", "mconnect -address [1000::2]:5001 -nconn 1000", "router", CONNECTED),)
# Where there is an outside; a pretended one counts.
OUTSIDE = (
    Line("000", "nslookup www.google.com", "node", "^Name:"),
    Line("000", "ping -c 1 www.google.com", "node", "1 packets received"),
)
KUBERNETES_LINES = (
    *IMAGE,
    *CERTIFIED,
    *STARTED,
    *LOOK,
    *PODS,
    *NAMED_BY,
    *IN_A_POD,
    *IPV6_START,
    *IPV6_NODE,
    *IPV6_ROUTER,
    *OUTSIDE,
)
