"""Rows: xcluster.yaml and definitions as people write them, and files that are something else."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.faults.case import Bench, Case

# It reads all settings and definitions, and shows what the nodes would have.
SEEN = "XCLUSTER_WORKSPACE=$root/../w __name=t-yaml $xc start --dry-run"
Prepare = Callable[[Bench], None]


def file(path: str, content: str | bytes) -> Prepare:
    """A file of the checkout is so."""

    def prepare(bench: Bench) -> None:
        bench.write(path, content)

    return prepare


def settings(text: str | bytes) -> Prepare:
    """xcluster.yaml is so; as text it has the overlays of the checkout too."""
    content = f"ovls: a b\n{text}\n" if isinstance(text, str) else text
    return file("xcluster.yaml", content)


def overlay(text: str | bytes) -> Prepare:
    """The definition of overlay a is so."""
    return file("ovl/a/ovl.yaml", text)


def instead(path: str, make: Callable[[Path], object]) -> Prepare:
    """Something else is in the place of a file."""

    def prepare(bench: Bench) -> None:
        (bench.root / path).unlink()
        make(bench.root / path)

    return prepare


def every_file_is_odd(bench: Bench) -> None:
    """A date, a text that looks like a number, and a mode, each where a text belongs."""
    bench.write("ovl/a/ovl.yaml", "summary: 2024-02-30\nsuite: 1.30\nneeds:\n")
    bench.write("ovl/b/ovl.yaml", "summary: 1:30\nallow_empty: no\npackages: ~\n")
    bench.write("kernel/debian.yaml", "summary: 0x10\nprebuilt: {package: 6tunnel}\nmem: 64M\n")
    bench.write(
        "images/base/image.yaml", "summary: yes\npackages: [libc6]\nsize: 1.5GiB\nmodes: {bin/x: 0755}\n"
    )


def broken_beside_good(bench: Bench) -> None:
    """Mistakes in each kind of file."""
    bench.write("xcluster.yaml", "ovls: a b\nmem: lots\ntimeout: 1:30\nwait: no\nnvm: [1]\n")
    bench.write("ovl/a/ovl.yaml", "sumary: x\nsummary: y\nsummary: z\n")
    bench.write("ovl/b/ovl.yaml", "needs: [c]\n")
    bench.write("kernel/debian.yaml", "summary: x\nprebuilt: {package: 'a b'}\n")
    bench.write("images/base/image.yaml", "summary: x\npackages: [libc6]\nsize: 12\n")


def twice(bench: Bench) -> None:
    """A cluster of another name is named by a file that cannot be read."""
    bench.write("xcluster.yaml", "name: two\nprefix: fd00:\n")


# Each of these is one row; the lines of a row are settings that go together.
GOOD = {
    "dns: off\nk8sver: 1.30\nnets_vm: [0, 1, 2]\nmem: 0256\ntelnet: On\ntimeout: 1h30m": (
        ": 256 MiB",
        "nets 0, 1, 2",
    ),
    "nets_vm: 0, 2\nmem: 0x100\nmem201: 512MiB\ntelnet: off\nappend: 2024-02-30": (
        "256 MiB, 2 processors, nets 0, 2, ",
        ": 512 MiB",
    ),
    "mem: ~\nnvm:\nnets_vm: 0\nappend: [quiet, debug]\nsuite: 12\nwait: null": (
        "128 MiB, 2 processors, nets 0, ",
        "vm-004",
    ),
    '"mem": "1.5G"\nappend: 0777\nmachine: pc\nsmp: 1': ("1536 MiB, 1 processor, ",),
    "<<: {mem: 256, smp: 1}\nmem: 300": ("300 MiB, 1 processor, ",),
}
WRONG = {
    "wait": ("no", "expected 'nodes' or 'ready', got 'no'"),
    "timeout": ("1:30", "expected seconds as a whole number, or a duration"),
    "mem": ("1_000", "expected MiB as a whole number, or a size such as 512M or 1.5G, got '1_000'"),
    "mem1": ("1e3", "expected MiB"),
    "mem2": (".inf", "expected MiB"),
    "mem3": ("2T", "must be at most 65536"),
    "mem4": ("9" * 5000, "expected MiB"),
    "nvm": ("true", "expected a whole number, got 'true'"),
    "smp": ("1.0", "expected a whole number, got '1.0'"),
    "mtu": ("1_500", "expected a whole number, got '1_500'"),
    "nets_vm": ("[0, 0]", "0 is there twice"),
    "nets_router": ("01,1", "1 is there twice"),
    "nets2": ("2024-02-30", "expected nets"),
    "kernel": ("[debian]", "expected one value, got a list"),
    "image": ("{a: b}", "expected one value, got keys and values"),
    "telnet": ("perhaps", "expected yes or no, got 'perhaps'"),
    "accel": ("kmv", "did you mean 'kvm'"),
    "prefix": ("0xfd", "expected the beginning of an IPv6 address"),
    "mirrors": ("5", "expected keys and values"),
}
NO_YAML = {
    "prefix: fd00:": ("line 2: a value with", "in quotes", "prefix: fd00:"),
    "mem: 128\nmem: 256\nsmp: 1\nsmp: 2": ("line 3: the key 'mem' is there twice", "line 5: the key 'smp'"),
    "mem: 128\n---\nmem: 256": ("line 3: only one document",),
    "mem:\n\t256": ("line 3: indent with blanks",),
    "mem: !!python/object/apply:os.system [id]\nsmp: !!binary aGk=": (
        "line 2: the tag '!!python/",
        "line 3: the tag",
    ),
    f"mem: {'[' * 5000}": ("line 2: at most 50 levels",),
    "a: &a [*a]": ("line 2: at most 50 levels",),
    "kernal:": ("unknown setting 'kernal'", "'kernel'"),
}
ENCODED = {
    "a byte order mark": b"\xef\xbb\xbfovls: a b\nmem: 256\n",
    "UTF-16": "\ufeffovls: a b\nmem: 256\n".encode("utf-16-le"),
    "CRLF": b"ovls: a b\r\nmem: 256\r\n",
}
NO_TEXT = {
    "NUL": (b"ovls: a b\nmem: \0\n", "line 2: the character 0x00"),
    "latin-1": (b"ovls: a b\nappend: \xe9 x\n", "line 2: this is not utf-8"),
    "a list": (b"- a\n", "expected keys and values, got a list"),
    "a word": (b"hello\n", "expected keys and values, got a single value"),
    "of 2 MiB": (b"# x\n" * (1 << 19), "it is too large"),
}
BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 8)}]\n" for n in range(12)
)

CASES = [
    *(
        Case(f"settings {text[:30]!r}", SEEN, prepare=settings(text), shows=shown)
        for text, shown in GOOD.items()
    ),
    Case(
        "every setting is wrong",
        SEEN,
        2,
        tuple(
            f"xcluster.yaml: {name}: {says}" if "did" not in says and "twice" not in says else says
            for name, (_, says) in WRONG.items()
        ),
        prepare=settings("\n".join(f"{name}: {value}" for name, (value, _) in WRONG.items())),
    ),
    *(
        Case(
            f"settings that are no YAML {text[:30]!r}",
            SEEN,
            2,
            ("xcluster.yaml: ", *says),
            prepare=settings(text),
        )
        for text, says in NO_YAML.items()
    ),
    *(
        Case(f"settings with {name}", SEEN, prepare=settings(data), shows=(": 256 MiB",))
        for name, data in ENCODED.items()
    ),
    *(
        Case(f"settings as {name}", SEEN, 2, ("xcluster.yaml: ", says), prepare=settings(data), seconds=20)
        for name, (data, says) in NO_TEXT.items()
    ),
    Case("empty settings", "$xc mkcdrom a", prepare=settings(b"")),
    Case("settings of comments only", "$xc mkcdrom a", prepare=settings(b"---\n# nothing\n")),
    Case(
        "aliases of aliases",
        SEEN,
        2,
        ("ovl/a/ovl.yaml: ", "more than 100000"),
        prepare=overlay(BOMB),
        seconds=20,
    ),
    Case(
        "a size on the command line",
        f"{SEEN} --mem=1.5G --mem201=512MiB --timeout=5m",
        shows=(": 1536 MiB", ": 512 MiB"),
    ),
    Case("a size in the environment", f"__mem=1G __mem201=2g {SEEN}", shows=(": 1024 MiB", ": 2048 MiB")),
    Case("no duration in the environment", f"XC_TIMEOUT=1:30 {SEEN}", 2, ("XC_TIMEOUT: expected seconds",)),
    Case("no size for one node", f"{SEEN} --mem201=1e3", 2, ("--mem201: expected MiB",)),
    Case("a net twice on the command line", f"{SEEN} --nets-vm=0,1,1", 2, ("--nets-vm:", "1 is there twice")),
    Case("a size that scripts ask", "__mem=1G $xc env", shows=("__mem='1024'",)),
    Case(
        "a list that scripts ask", "$xc env", prepare=settings("nets_vm: [0, 3]"), shows=("__nets_vm='0,3'",)
    ),
    Case(
        "scripts ask for broken settings", "$xc env", 1, ("xcluster.yaml: line 2",), prepare=settings("a: b:")
    ),
    Case("texts that look like something else", "$xc mkcdrom a b", prepare=every_file_is_odd),
    Case(
        "mistakes in every file",
        SEEN,
        2,
        prepare=broken_beside_good,
        says=(
            "xcluster.yaml: mem: ",
            "xcluster.yaml: timeout: ",
            "xcluster.yaml: wait: ",
            "xcluster.yaml: nvm: ",
            "ovl/a/ovl.yaml: line 3: ",
            "ovl/b/ovl.yaml: unknown overlay 'c'",
            "kernel/debian.yaml: prebuilt",
            "images/base/image.yaml: size: ",
        ),
    ),
    *(
        Case(f"{path} is {name}", SEEN, 2, (f"{path}: {says}",), prepare=instead(path, make), seconds=20)
        for path in ("xcluster.yaml", "ovl/a/ovl.yaml", "kernel/debian.yaml")
        for name, make, says in (
            ("a directory", Path.mkdir, "it is a directory"),
            ("a pipe", os.mkfifo, "it is a pipe"),
            ("a link to nothing", lambda path: path.symlink_to("nowhere"), "it is a link to nowhere"),
        )
    ),
    *(
        Case(
            f"{verb} and settings that are a pipe",
            f"$xc {verb}",
            code,
            prepare=instead("xcluster.yaml", os.mkfifo),
            says=says,
            seconds=20,
        )
        for verb, code, says in (
            ("status --name=t-yaml", 0, ("not running",)),
            ("status", 2, ("xcluster.yaml: it is a pipe", "--name=NAME")),
            ("env", 1, ("it is a pipe",)),
            ("ovld a", 0, ()),
        )
    ),
    *(
        Case(
            f"{verb} and a file that may name the cluster",
            f"$xc {verb}",
            2,
            ("line 2", "'name'", "--name=NAME"),
            prepare=twice,
        )
        for verb in ("status", "stop", "rsh 1 true", "checkpoint save x", "kubeconfig")
    ),
    *(
        Case(f"{line} and broken settings", line, code, prepare=settings("mem: a: b"))
        for line, code in (
            ("$xc status", 0),
            ("$xc stop", 0),
            ("$xc stop --name=two", 0),
            ("__name=two $xc status", 0),
            ("$xc checkpoint list", 0),
            ("$xc registry status", 0),
            ("$xc version", 0),
            ("$xc cache ls", 0),
            ("$xc mkovl mine --template=a", 0),
            ("$xc rsh 1 true", 1),
        )
    ),
    *(
        Case(
            f"{line} and wrong settings",
            line,
            code,
            prepare=settings("name: two\nmem: lots\nwait: no"),
            says=says,
        )
        for line, code, says in (
            ("$xc status", 0, ("'two' is not running",)),
            ("$xc stop", 0, ("'two' is not running",)),
            ("__mem=lots $xc status", 0, ()),
            ("$xc mkcdrom a", 2, ("mem: ", "wait: ")),
        )
    ),
    Case(
        "a wrong name in the settings",
        "$xc status",
        2,
        ("xcluster.yaml: name: ",),
        prepare=settings("name: No"),
    ),
    Case(
        "an overlay with a name of two words",
        "$xc mkcdrom 'c d'",
        2,
        ("  ovl/c d: name: ",),
        never=("c d/ovl.yaml",),
        prepare=file("ovl/c d/default/x", ""),
    ),
    Case(
        "a plan has a line for each node",
        SEEN + " --nvm=2",
        shows=("nodes:\n  vm-001: 128 MiB, ", "\n  vm-002: 128 MiB, "),
    ),
    Case(
        "doctor and broken settings",
        "$xc doctor",
        1,
        shows=("xcluster.yaml: line 2",),
        prepare=settings("a: b:"),
    ),
    Case(
        "update and settings that may name a mirror",
        "$xc update",
        2,
        ("'mirror'",),
        prepare=settings("mirror: http://x/\na: b:"),
    ),
]
