"""Rows: words that were mistyped."""

from tests.faults.case import Bench, Case


def two_runs(bench: Bench) -> None:
    """Something of a cluster named two is there."""
    (bench.workspace / "run" / "two").mkdir(parents=True)


def overlay_that_breaks(bench: Bench) -> None:
    """An overlay that cannot be packed."""
    bench.write("ovl/bad/tar", "#! /bin/sh\necho no luck >&2\nexit 3\n", 0o755)


def image_of_ours(bench: Bench) -> None:
    """And an image that ximage made before, of another overlay."""
    overlay_that_breaks(bench)
    bench.write("images/mine/image.yaml", IMAGE)


def no_image_left(bench: Bench) -> None:
    """Nothing is there of the image that could not be built."""
    assert not (bench.root / "images/mine").exists()


def image_as_before(bench: Bench) -> None:
    """The definition of the image says what it said."""
    assert [each.name for each in (bench.root / "images/mine").iterdir()] == ["image.yaml"]
    assert (bench.root / "images/mine/image.yaml").read_text() == IMAGE


def overlay_of_bare(bench: Bench) -> None:
    """An overlay that needs another one."""
    bench.write("ovl/c/ovl.yaml", "needs: [bare]\n")


BARE = "ovl/bare is not an overlay: it has no ovl.yaml, no tar and no default/"
IMAGE = "# Made by `xc ximage`; see docs/adding.md.\nsummary: base with a\nextends: base\noverlays: [a]\n"
MISTYPED = {
    "kernel:debain": "'kernel:debian'",
    "info image:bse": "'image:base'",
    "ignore kernal": "'kernel'",
    "reset-dep ovl:aa": "'ovl:a'",
    "list kernl": "'kernel'",
    "stauts": "'status'",
    "status --nmae=x": "'--name'",
    "start --nvn=3": "'--nvm'",
    "start --accel=kmv": "'kvm'",
    "start --image=bse": "'base'",
    "status -ojsn": "'json'",
    "graph -o sgv": "'svg'",
    "netem 1 eth1 --direction=inn": "'in'",
    "mkcdrom aa": "'a'",
    "mkovl x --template=aa": "'a'",
    "checkpoint sav x": "'save'",
    "dns strat": "'start'",
    "registry strat": "'start'",
    "images chek": "'check'",
    "verify al": "'all'",
    "test quik": "'quick'",
    "list --statsu": "'--status'",
    "clean --froget": "'--forget'",
}
ELSEWHERE = {
    "mkcdrom crio": "use 'containerd'",
    "mkcdrom a podsec": "use 'ipsec'",
    "release crio": "use 'containerd'",
}
UPSTREAM = {
    "geometry --foo 1 1": "ERROR: geometry: unknown option '--foo'",
    "geometry 0 0": "ERROR: geometry takes two numbers: column and row, counted from 1",
    "busybox_build foo": "ERROR: busybox_build takes no words [foo]",
    "base_archives x": "ERROR: base_archives takes no words [x]",
    "ovlindex --src=/nosuch": "ERROR: Not a directory [/nosuch]",
    "ovld aa": "Ovl not found [aa]; did you mean 'a'?",
    "ximage --image=mine aa": "Ovl not found [aa]; did you mean 'a'?",
    "k8s_test aa": "did you mean 'a'?",
    "cache aa": "Ovl not found [aa]",
    "mkimage --image=bse": "no image [bse]; did you mean 'base'?",
    "kernel_build --kver=debain": "did you mean 'debian'?",
}
OTHER_KINDS = {
    "mkcdrom base": "for the image of that name, use --image=base",
    "start --topology=base": "for the image of that name, use --image=base",
    "start --image=a": "for the overlay of that name, use `xc mkcdrom a`",
    "start --kernel=base": "for the image of that name",
    "release debian": "for the kernel of that name",
}
OTHER_FOLDERS = {
    "images/": "--image=NAME",
    "./images/base": "--image=base",
    "./kernel": "--kernel=NAME",
    "./ovl": "XCLUSTER_OVLPATH",
}
ABSENT = ("status", "stop", "scalein 4", "checkpoint save x", "kubeconfig", "enter true")

CASES = [
    Case("an overlay with letters swapped", "$xc ovl:aa", code=2, says=("Did you mean 'ovl:a'",)),
    *(
        Case(f"mistyped: {words}", f"$xc {words}", 2, ("id you mean", near))
        for words, near in MISTYPED.items()
    ),
    Case("no number of a node", "$xc svm x", 2, ("svm: 'x' is not the number of a node",)),
    Case("a window without a display", "env -u DISPLAY $xc xvm 8", 1, ("xc svm 8, and then xc console 8",)),
    Case("a program of upstream that is not here", "$xc diskim", 2, ("mkimage", "ximage")),
    *(
        Case(f"an overlay that only xcluster has: {words}", f"$xc {words}", 2, ("unknown overlay", near))
        for words, near in ELSEWHERE.items()
    ),
    *(Case(f"mistyped for scripts: {words}", f"$xc {words}", 1, (says,)) for words, says in UPSTREAM.items()),
    *(
        Case(
            f"a mistyped cluster: {words}",
            f"$xc {words.split()[0]} --name=tow {' '.join(words.split()[1:])}",
            0 if words in ("status", "stop") else 1,
            ("two",),
            prepare=two_runs,
        )
        for words in ABSENT
    ),
    Case(
        "a tar that is not cached", "$xc ovl:a; $xc cached_tar aa", 1, ("Not cached [aa]; did you mean 'a'?",)
    ),
    Case("a word that is a task without work", "$xc store", 0, ("has no container images",)),
    Case("a pattern that no task has", "$xc 'ovl:*z'", 2, ("'ovl:*z'",)),
    Case("an option behind a task", "$xc ovl:a --foo", 2, ("unknown option '--foo'",)),
    Case(
        "an option that a word of doit does not have",
        "$xc list --foo",
        2,
        ("unknown option '--foo'", "--all"),
    ),
    Case("a number of processes that is none", "$xc run -n x ovl:a", 2, ("--process: ", "'x'")),
    Case("a word of doit without what it needs", "$xc info", 2, ("'info' takes one task",)),
    Case("nothing to ignore", "$xc ignore", 2, ("'ignore' takes tasks",)),
    Case("what doit recorded", "$xc ovl:a && $xc dumpdb", shows=("ovl:a ->",)),
    Case("JSON without a blank", "$xc status -ojson", shows=("null",)),
    Case("wrong words with JSON without a blank", "$xc status -ojson --foo", 2, ('{"error": ',)),
    Case(
        "differences as JSON are told once",
        "$xc diff ovl/a ovl/b -ojson",
        1,
        shows=("only in A",),
        never=("error",),
    ),
    Case("differences are told", "$xc diff ovl/a ovl/b", 1, ("differ in",)),
    Case(
        "a release that is not there",
        "$xc diff 1.0 1.1",
        2,
        ("no file and no release '1.0'",),
        never=("diff: diff",),
    ),
    Case("help of a verb with few settings", "$xc help graph", shows=("--topology=",), never=("--kvm-opt",)),
    *(
        Case(f"a directory that is no overlay: {words}", f"mkdir ovl/bare; $xc {words}", 2, (BARE,))
        for words in ("mkcdrom bare", "mkcdrom a ./ovl/bare", "mkovl --template=bare x", "start --ovls=bare")
    ),
    *(
        Case(f"no overlay, but something else: {words}", f"$xc {words}", 2, ("'; for", near))
        for words, near in OTHER_KINDS.items()
    ),
    *(
        Case(
            f"a directory of something else: {word}",
            f"mkdir -p kernel/fragments/x; $xc mkcdrom {word}",
            2,
            ("not an overlay: ", near),
        )
        for word, near in OTHER_FOLDERS.items()
    ),
    Case(
        "an overlay that needs a directory which is none",
        "mkdir ovl/bare; $xc mkcdrom c",
        2,
        ("ovl/c/ovl.yaml: ", BARE),
        prepare=overlay_of_bare,
    ),
    Case(
        "an image of an overlay that cannot be packed",
        "$xc ximage --image=mine bad",
        1,
        ("ERROR: image:mine was not built",),
        prepare=overlay_that_breaks,
        left=no_image_left,
    ),
    Case(
        "an image with one more overlay that cannot be packed",
        "$xc ximage --image=mine bad",
        1,
        ("ERROR: image:mine was not built",),
        prepare=image_of_ours,
        left=image_as_before,
    ),
]
