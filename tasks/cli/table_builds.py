"""Rows of the table of verbs: those that build, those for this host, and the words of doit."""

from __future__ import annotations

from tasks.definitions import setting_list
from tasks.project.command_line import DRY_RUN, JSON, Needs, Option, Reads, Takes, Verb

CONTAINERS = "tasks.build.containers"
SOURCES = ("suite", "mirror", "mirrors", "offline", "registry_mirrors", "registry_insecure")

VERBS = (
    Verb(
        "mkcdrom",
        "tasks.build.overlay.iso",
        "make the overlay ISO of these overlays; without words remove it",
        "[OVL|DIR|TARFILE...]",
        options=(
            Option("label", "volume id", "TEXT"),
            Option("cidata", "directory whose files go on the ISO too", "DIR"),
            Option("script", "file to put on it", "FILE"),
            DRY_RUN,
        ),
        examples=("xc mkcdrom env network-topology iperf", "xc mkcdrom --script=setup.sh env"),
        needs=Needs.BUILDS,
        kinds=("overlay",),
    ),
    Verb(
        "mkovl",
        "tasks.build.overlay.mkovl",
        "make a new overlay from a template",
        "NAME",
        options=(
            Option("template", "the overlay to copy [template]", "OVL", kind="overlay"),
            Option("ovldir", "where to put it [the first of XCLUSTER_OVLPATH]", "DIR"),
        ),
        examples=("xc mkovl mine", "xc mkovl --template=iperf --ovldir=$HOME/ovl mine"),
        needs=Needs.DEFINITIONS,
        heeds={"": ()},
        least=1,
        most=1,
    ),
    Verb(
        "menuconfig",
        "tasks.build.kernel.kernel",
        "look at a kernel's configuration; prints what you changed, for a fragment",
        "KERNEL",
        examples=("xc menuconfig linux-6.1", "xc menuconfig linux-6.1 >kernel/fragments/mine.config"),
        needs=Needs.BUILDS,
        least=1,
        most=1,
        kinds=("source-kernel",),
    ),
    Verb(
        "update",
        "tasks.build.sources.suite",
        "fetch newer package lists; the next build uses them",
        examples=("xc update", "xc update && xc start"),
        needs=Needs.DEFINITIONS,
        heeds={"": (*setting_list.names(), "mirrors")},
    ),
    Verb(
        "lock",
        "tasks.build.stock.lock",
        "pin all inputs in xcluster.lock, with which builds then compare",
        "[NAME...]",
        options=(
            Option("update", "accept what these (default: all) are now"),
            Option("check", "change nothing; fail if it would"),
            JSON,
        ),
        examples=("xc lock", "xc lock --check"),
        needs=Needs.BUILDS,
    ),
    Verb(
        "fetch",
        "tasks.build.stock.lock",
        "get every input into the cache, for work with --offline",
        options=(JSON,),
        examples=("xc fetch", "xc fetch && xc start --offline"),
        needs=Needs.BUILDS,
    ),
    Verb(
        "cache",
        "tasks.build.stock.cache",
        "manage downloads: ls, prune what nothing needs, export to or import from a tar",
        "ls|prune|export FILE|import FILE",
        options=(
            Option("o", "json (ls)", "FORMAT", ("json",)),
            Option("dry_run", "only say what would go (prune)"),
        ),
        examples=("xc cache prune --dry-run", "xc cache export downloads.tar"),
        needs=Needs.DEFINITIONS,
        least=1,
        most=2,
        upstream="tasks.cli.upstream.packing_words",
        heeds={"": None, "prune": (*setting_list.names(), "mirrors")},
        actions=("ls", "prune", "export", "import"),
    ),
    Verb(
        "images",
        f"{CONTAINERS}.images",
        "manage container images: list them, look for moved tags, make one",
        "[ls | check | update REF... | mkimage DIR|OVL|TAR | rm REF...]",
        options=(
            Option("o", "ls: json", "FORMAT", ("json",)),
            Option("tag", "mkimage: NAME:TAG", "NAME"),
            Option("entrypoint", "mkimage: the program it runs", "PROGRAM"),
            Option("command", "mkimage: the words of that, or the program", "WORDS"),
            Option("force", "mkimage: replace an image of this name"),
        ),
        examples=("xc images ls -o json", "xc images mkimage --tag=mine:1 mine"),
        needs=Needs.BUILDS,
        actions=("ls", "check", "update", "mkimage", "rm"),
    ),
    Verb(
        "registry",
        f"{CONTAINERS}.registry",
        "run a private registry on the host, from which guests pull",
        "start | stop | status | ls | cache REF... | rm REF...",
        options=(
            Option("port", "start: TCP port on 127.0.0.1 [5000]", "PORT"),
            Option("tls", "start: https, with a certificate made for it"),
            Option(
                "htpasswd", "start: file with users and bcrypt passwords; without one nobody logs in", "FILE"
            ),
            Option("o", "status, ls: json", "FORMAT", ("json",)),
        ),
        examples=("xc registry start --port=5001", "xc registry ls -o json"),
        least=1,
        heeds={"": (), "start": SOURCES, "cache": SOURCES},
        actions=("start", "stop", "status", "ls", "cache", "rm"),
    ),
    Verb(
        "inject",
        "tasks.run.cluster.machine",
        "unpack overlays on any machine, by ssh",
        "OVL...",
        options=(
            Option("addr", "USER@HOST", "ADDRESS"),
            Option("key", "private key of ssh", "FILE"),
            Option("sudo", "what runs tar there, as sudo", "WORDS"),
        ),
        examples=("xc inject --addr=root@192.0.2.7 iperf", "xc inject --addr=me@host:2222 --sudo=sudo iperf"),
        needs=Needs.BUILDS,
        least=1,
        kinds=("overlay",),
    ),
    Verb(
        "release",
        "tasks.build.release.release",
        "make archives that start a cluster elsewhere, without network; OVL: more overlays to bring along",
        "[OVL...]",
        options=(Option("version", "name of the release [what git describe says]", "NAME"), DRY_RUN),
        examples=("xc release", "xc release --version=1.2 iperf"),
        needs=Needs.BUILDS,
        takes=Takes.SETTINGS,
        shows=("kernel", "image", "ovls", "topology", "mem", "k8sver", "k8s_family", "name", *SOURCES),
        kinds=("overlay",),
    ),
    Verb(
        "diff",
        "tasks.build.release.diff",
        "show which files differ between two releases, archives, ISOs, disks or directories",
        "A B",
        options=(JSON,),
        examples=("xc diff 1.1 1.2", "xc diff old.iso workspace/iso/xcluster.iso -o json"),
        least=2,
        most=2,
        heeds={"": ()},
    ),
)

TOOL = (
    Verb(
        "doctor",
        "tasks.cli.doctor",
        "show what works on this host, what is missing, and how to get it",
        options=(
            JSON,
            Option("leftovers", "show what no cluster owns: of killed ones, here and in lost workspaces"),
            Option("remove", "with --leftovers: end and remove it"),
        ),
        examples=("xc doctor", "xc doctor -o json", "xc doctor --leftovers"),
        heeds={"": None},
        needs=Needs.DEFINITIONS,
    ),
    Verb(
        "test",
        "tasks.cli.selftest",
        "run what CI runs, which boots virtual machines; `test quick` runs what boots none, `test overlays`, "
        "`test kernels`, `test k8s` and `test faults` all overlays, all kernels, Kubernetes "
        "and odd inputs, `test all` everything",
        "[quick|overlays|kernels|k8s|faults|all] [PYTEST WORDS...]",
        examples=("xc test tests/cli", "xc test overlays -k iperf"),
        reads=Reads.ALL,
        actions=("quick", "overlays", "kernels", "k8s", "faults", "all"),
    ),
)


def _doit(name: str, summary: str, args: str, *examples: str, kinds: tuple[str, ...] = ("task",)) -> Verb:
    return Verb(name, "", summary, args, (), examples, Needs.BUILDS, reads=Reads.DOIT, kinds=kinds)


DOIT = (
    _doit("list", "list the tasks that build; --all lists those in groups too", "[OPTIONS] [GROUP...]",
          "xc list", "xc list --all ovl"),
    _doit("info", "show what a task needs, what it makes, and whether it would run", "TASK",
          "xc info image:base", "xc info mkcdrom"),
    _doit("clean", "remove what tasks made", "[OPTIONS] [TASK...]", "xc clean image:base", "xc clean -n"),
    _doit("forget", "have tasks run again, though nothing changed", "[TASK...]",
          "xc forget image:base", "xc forget ovl"),
    _doit("ignore", "leave a task out from now on, until it is forgotten", "TASK...",
          "xc ignore kernel:linux-6.1", "xc ignore ovl:iperf"),
    _doit("run", "build tasks, with doit's own options", "[OPTIONS] [TASK...]",
          "xc run --continue ovl", "xc run -n 2 ovl"),
    _doit("dumpdb", "print what doit recorded", "", "xc dumpdb", "xc dumpdb | less", kinds=()),
    _doit("reset-dep", "record all inputs as they are now, without a build", "[TASK...]",
          "xc reset-dep", "xc reset-dep ovl:env"),
    _doit("tabcompletion", "doit's own completion; `xc completion` knows more", "[OPTIONS]",
          "xc tabcompletion --shell bash", "xc tabcompletion --shell zsh", kinds=()),
)  # fmt: skip
