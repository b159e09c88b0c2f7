"""Rows of the table of verbs: the words of xcluster, which scripts ask as $XCLUSTER.

`cache` is a verb of ours too, and stands in table_builds.
"""

from __future__ import annotations

from tasks.project.command_line import Reads, Verb

HERE = "tasks.cli.upstream"
ANY = "[--OPTION=VALUE...] [WORD...]"


def _word(
    module: str, name: str, summary: str, args: str, *examples: str, kinds: tuple[str, ...] = ()
) -> Verb:
    place = f"{HERE}.{module}"
    return Verb(name, place, summary, args, examples=examples, reads=Reads.ALL, kinds=kinds, upstream=place)


VERBS = (
    _word("contract", "env", "Print the settings, to be evaluated by a shell", "",
          'eval "$(xc env)"', "xc env --name=two"),
    _word("contract", "ovld", "Print the directory of an overlay", "OVL",
          "xc ovld iperf", "ls $(xc ovld iperf)", kinds=("overlay",)),
    _word("contract", "cached_tar",
          "Print the packed tar of an overlay, of a variant in SETUP before the default one", "OVL",
          "xc cached_tar iperf", "SETUP=test xc cached_tar iperf", kinds=("overlay",)),
    _word("contract", "geometry", "Print xterm's option for the place of a window: column and row, from 1",
          "X Y", "xc geometry 1 2", "xterm $(xc geometry 1 1)"),
    _word("contract", "ovlindex",
          "Print an index of the overlays below --src in Markdown: the first paragraph of each README.md",
          "[--src=DIR]", "xc ovlindex --src=ovl", "cd ovl && xc ovlindex"),
    _word("host_programs", "install_prog",
          "Copy programs, by path or from PATH, to --dest/bin, and their libraries to --dest", ANY,
          "xc install_prog --dest=$tmp lspci", "xc install_prog --dest=$tmp --base-libs=/dev/null jq"),
    _word("host_programs", "cplib", "Copy the libraries of programs and libraries to --dest", ANY,
          "xc cplib --dest=$tmp /usr/bin/jq", "xc cplib --dest=$tmp libmine.so"),
    _word("host_programs", "libs", "Print the libraries of programs and libraries, less what the image has",
          ANY, "xc libs /usr/bin/jq", "xc libs --base-libs=/dev/null /usr/bin/jq"),
    _word("host_programs", "cploader", "Copy the loader to --dest", ANY,
          "xc cploader --dest=$tmp", "xc cploader --dest=$tmp --loader=/lib/ld-musl-x86_64.so.1"),
    _word("workspace_words", "completion",
          "Print the words that begin with the prefix, or a shell's completion",
          "[PREFIX|bash|zsh|fish]", "xc completion sta", '. <(xc completion bash)', kinds=("shell",)),
    _word("image_words", "mkimage",
          "Build the disk image that --image names; a path outside of the workspace gets a copy of it", ANY,
          "xc mkimage --image=base", "xc mkimage --image=/tmp/hd.img --format=raw"),
    _word("image_words", "ximage",
          "Extend an image with overlays: write or complete its definition, and build it", ANY,
          "xc ximage --image=mine iperf", "xc ximage --image=mine env iperf", kinds=("overlay",)),
    _word("image_words", "kernel_build",
          "Build the kernel that --kver names, or look at its configuration with --menuconfig", ANY,
          "xc kernel_build --kver=linux-6.1", "xc kernel_build --kver=linux-6.1 --menuconfig"),
    _word("workspace_words", "build_base", "Build kernel, image and the base overlays in a new workspace",
          ANY, "xc build_base /tmp/workspace", "xc build_base --version=1.2"),
    _word("kubernetes_words", "k8s_build_images", "Build the image for Kubernetes", ANY,
          "xc k8s_build_images", "xc k8s_build_images && xc k8s"),
    _word("kubernetes_words", "k8s_test",
          "Run the test script of an overlay, OVL/OVL.sh, for clusters of the image k8s",
          "[--cni=NAME] [--list] [--no-start] [--no-stop] OVL [CASE...]",
          "xc k8s_test kubernetes", "xc k8s_test --cni=mine kubernetes basic", kinds=("overlay",)),
    _word("kubernetes_words", "k8s_workspace", "Put kubectl into bin/ of the workspace", "[--workspace=DIR]",
          "xc k8s_workspace", "xc k8s_workspace --workspace=/tmp/workspace"),
    _word("packing_words", "collect_tar",
          "Pack overlays as mkcdrom does, and write the tars to --dest: NN<name>.tar, in order",
          "--dest=DIR OVL|DIR|TARFILE...",
          "xc collect_tar --dest=/tmp/tars env iptools", "xc collect_tar --dest=$tmp .", kinds=("overlay",)),
    _word("packing_words", "cat_tar",
          "Pack overlays as mkcdrom does, and write all of them as one tar to stdout",
          "OVL|DIR|TARFILE...",
          "xc cat_tar env iptools > all.tar", "xc cat_tar iptools | tar -C / -x", kinds=("overlay",)),
    _word("packing_words", "cpio_list",
          "Print a list of what is in a directory, for the kernel's gen_init_cpio",
          "DIR...", "xc cpio_list initfs > cpio_list", "gen_init_cpio <(xc cpio_list initfs) > initrd.cpio"),
    _word("packing_words", "emit_cpio_list",
          "Print a list of what is in a directory, for the kernel's gen_init_cpio, as cpio_list does",
          "DIR...",
          "xc emit_cpio_list initfs", "xc emit_cpio_list modules > cpio_list"),
    _word("workspace_words", "busybox_build", "Tell which Debian package of the image has busybox", "",
          "xc busybox_build", "__image=k8s xc busybox_build"),
    _word("workspace_words", "dropbear_build", "Tell which Debian package of the image has dropbear", "",
          "xc dropbear_build", "__image=k8s xc dropbear_build"),
    _word("workspace_words", "iproute2_build", "Tell which Debian package of the image has ip and tc", "",
          "xc iproute2_build", "__image=k8s xc iproute2_build"),
    _word("workspace_words", "base_archives",
          "Print what the base build takes from outside: kernel, image and overlays of the settings", "",
          "xc base_archives", "__kernel=linux-6.1 xc base_archives"),
    _word("workspace_words", "env_check",
          "Check this host as doctor does, and print only what is missing", "",
          "xc env_check", "xc env_check && xc start"),
    _word("workspace_words", "mark",
          "Note the time since the first mark and since the last one; `mark clean` begins anew",
          "[--mark-file=FILE] [clean|TEXT...]", "xc mark kernel", "xc mark clean"),
)  # fmt: skip
