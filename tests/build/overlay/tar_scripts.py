"""Bodies of `tar` scripts in upstream's manner, and what has to become of each: fine, warned or refused.

$dir is the overlay's directory, with default/etc/own and an empty directory hollow/; $tmp is what becomes the
tar; $src is a place outside, with bin/tool, lib/libx.so.1 and notes; $none is a directory that is not there.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A script's body; the outcome, and words that have to be in the warning or in the error."""

    body: str
    outcome: str  # fine, warned, refused
    says: str = ""
    overlay: str = "s"  # its name
    setup: tuple[str, ...] = ()  # the variants that SETUP names


OWN = "cp -R $dir/default/* $tmp\n"
INSTALL = "$XCLUSTER install_prog --dest=$tmp --base-libs=/dev/null"
GO = "mkdir -p $tmp/go; cd $tmp/go; echo 'module m' > go.mod; echo 'package main' > main.go\n"

FINE = {
    "its own tree": OWN,
    "a file that it makes": "mkdir $tmp/etc; echo x > $tmp/etc/x",
    "rm of what is not there": OWN + "rm $tmp/etc/absent",
    "rmdir of what is full": OWN + "rmdir $tmp/etc",
    "rm after grep": OWN + "grep -q x $none/file || rm $none/file",
    "grep in a file that is not there": OWN + "grep x /no/such/file && echo y > $tmp/etc/y",
    "ls of a directory that is not there": OWN + "for f in $(ls $none); do cp $f $tmp; done",
    "which without an answer": OWN + "which no-such-program",
    "the shell's test on two words": OWN + "a='x y'; test $a -gt 1",
    "kill of a process that has ended": OWN + "kill 4194303",
    "ldd of a script": OWN + "ldd $dir/tar; ldd /no/such",
    "diff and cmp": OWN + "cmp $none/a $none/b; diff $none/a $none/b",
    "readlink and stat": OWN + "stat $none; readlink -e $none",
    "mkdir of what is there": OWN + "mkdir $tmp/etc",
    "strip of a script": OWN + "mkdir $tmp/bin; cp $src/bin/tool $tmp/bin; strip $tmp/bin/tool",
    "strip that is not installed": OWN + "(PATH=/nowhere; strip $tmp/etc/own)",
    "one of two places": OWN + "mkdir $tmp/bin; cp $none/tool $tmp/bin || cp $src/bin/tool $tmp/bin",
    "a library of one place": "mkdir $tmp/lib; for d in $none $src; do cp $d/lib/libx.so.1 $tmp/lib; done",
    "all files of an empty directory of its own": OWN + "cp -R $dir/hollow/* $tmp",
    "git describe outside of a repository": OWN + "cd $src; git describe --tags > /dev/null",
    "tar with leading /": OWN + "tar cf - $src/notes | tar -C $tmp -xf -",
    "make that goes on": OWN + "cd $tmp; printf 'all:\\n\\t-@false\\n' > etc/mk; make -f etc/mk",
    "make with nothing to do": OWN + "cd $tmp; printf 'all:\\n' > etc/mk; make -f etc/mk",
    "a compiler's warning": "mkdir $tmp/bin; echo 'int main(){int x;return 0;}' > $tmp/x.c; "
    "gcc -Wall -o $tmp/bin/x $tmp/x.c",
    "chown by nobody": OWN + "chmod 755 $tmp; setpriv --reuid=65534 --clear-groups chown root $tmp/etc/own",
    "a link that is there": OWN + "ln -s own $tmp/etc/alias; ln -s own $tmp/etc/alias",
    "a kernel file that cannot be read": OWN + "v=$(cat /proc/no_such_file)",
    "directories for later beside files": OWN + "mkdir -p $tmp/var/lib/x $tmp/run $tmp/opt/x",
    "a notice of its own": OWN + "echo 'not found in cache, building' >&2; echo '0 errors'",
    "a shell that tells its commands": OWN + "(set -x; grep -q 'No such file or directory' $dir/tar)",
    "a pipe that ends early": OWN + "(trap '' PIPE; seq 100000; cat $dir/tar) | head -1 > $tmp/etc/first",
    "a clone that is there": OWN + "git init -q $src/r; git init -q $src/c; touch $src/c/x; "
    "git clone -q $src/r $src/c",
    "a host that sudo does not know": OWN + "echo 'sudo: unable to resolve host x: Name not known' >&2",
    "a silenced copy": OWN + "cp $none/extra $tmp 2>/dev/null",
}
WARNED = {
    "an optional program": (OWN + f"{INSTALL} sh no-such-program", "no-such-program"),
    "the only program, beside a tree": (OWN + f"{INSTALL} no-such-program", "no-such-program"),
    "optional programs beside one that was compiled": (
        "mkdir $tmp/bin; echo 'int main(){return 0;}' > $tmp/x.c; gcc -o $tmp/bin/x $tmp/x.c\n"
        f"{INSTALL} no-such-one no-such-two", "no-such-one, no-such-two"),
    "a warning of its own": (OWN + "echo 'WARNING: ipvsadm not found' >&2", "ipvsadm"),
    "an unknown program that missed something": (
        OWN + "python3 -c 'import sys; sys.exit(\"probe: /x: No such file or directory\")'", "probe"),
    "a directory that cp leaves out": ("mkdir $tmp/bin; mkdir $src/bin/sub; cp $src/bin/* $tmp/bin", "sub"),
    "chmod of what is not there": (OWN + "chmod 755 $tmp/bin/absent", "absent"),
    "find in a directory that is not there": (OWN + "find $none -name '*.md'", "none"),
}  # fmt: skip
REFUSED = {
    "cp of a missing file": (OWN + "cp $none/tool $tmp", "cannot stat"),
    "cp of one file of two": ("mkdir $tmp/bin; cp $src/bin/tool $none/tool2 $tmp/bin", "tool2"),
    "cp -r of a missing directory": (OWN + "cp -r $none $tmp", "cannot stat"),
    "cp of a glob": (OWN + "cp $none/*.so $tmp", "*.so"),
    "cp of all files of an empty place": (OWN + "mkdir $src/sys; cp $src/sys/* $tmp", "cannot stat"),
    "cp of a file whose name is in its own tree": (OWN + "cp $none/own $tmp/etc/other", "own"),
    "cp to a directory that is not there": (OWN + "cp $src/bin/tool $src/notes $tmp/bin/", "target"),
    "cp without a file": (OWN + "cp $(find $src -name none) $tmp", "operand"),
    "install and mv": (OWN + "install -D $none/a $tmp/bin/a; mv $none/b $tmp", "mv: cannot stat"),
    "a missing archive": (OWN + "tar -C $tmp -xf $none/etcd.tar.gz", "Cannot open"),
    "an archive without that member": (
        OWN + "tar -C $src -cf $src/a.tar notes; tar -C $tmp -xf $src/a.tar etcd", "Not found in archive"),
    "an archive in a pipe": (OWN + "xz -dc $none/x.xz > $tmp/etc/x", "x.xz"),
    "gzip of what is not gzip": (OWN + "zcat $src/notes > $tmp/etc/x", "not in gzip format"),
    "cat of a missing file": (OWN + "cat $none/conf > $tmp/etc/conf", "conf"),
    "sed of a missing file": (OWN + "sed 's,x,y,' $none/conf > $tmp/etc/conf", "can't read"),
    "cpio of missing files": (OWN + "echo $none/x | cpio -pd $tmp", "Cannot stat"),
    "strip and go": (
        "mkdir $tmp/bin\n" + GO.replace("$tmp/go", "$src/go") +
        "echo 'require example.invalid/x v1.0.0' >>go.mod; echo 'import _ \"example.invalid/x\"' >> main.go\n"
        "GOFLAGS=-mod=readonly GOPROXY=off go build -o $tmp/bin/prog .; strip $tmp/bin/prog", "strip"),
    "strip alone": ("mkdir $tmp/bin; strip $tmp/bin/prog", "prog"),
    "strip of what was to be made, with a tree": (OWN + "strip $tmp/bin/prog", "prog"),
    "a compiler that fails": (
        OWN + "echo '#include <no-such.h>' > $src/x.c; gcc -o $tmp/x $src/x.c", "no-such.h"),
    "a library that is not there": (
        OWN + "echo 'int main(){}' > $src/x.c; gcc -o $tmp/x $src/x.c -lno_such", "-lno_such"),
    "make without a makefile": (OWN + "make -C $src", "***"),
    "make in a missing directory": (OWN + "make -C $none", "***"),
    "a missing program that makes something": (OWN + "no-such-builder $tmp", "not found"),
    "a missing script": (OWN + "$none/build.sh $tmp", "build.sh"),
    "a file that cannot be written": (OWN + "echo x > $none/x", "cannot create"),
    "a file that cannot be opened": (OWN + "while read x; do echo $x; done <$none/list >$tmp/etc/l", "list"),
    "cd to nowhere": (OWN + "(cd $none; ls >$tmp/etc/list)", "can't cd"),
    "a copied overlay that is not there": (
        OWN + "cp -R $($XCLUSTER ovld no-such)/default/* $tmp", "Ovl not found"),
    "an error of its own": (OWN + "(echo 'ERROR: no binaries' >&2; exit 1)", "no binaries"),
    "a repository that is not there": (OWN + "git clone -q $none $src/clone", "does not exist"),
    "git that cannot check out": (OWN + "git init -q $src/r; cd $src/r; git checkout -q v9", "pathspec"),
    "Python that fails": (OWN + "python3 -c 'import no_such'", "Traceback"),
    "nothing": (":", "the tar is empty"),
    "nothing but directories": ("mkdir -p $tmp/bin $tmp/usr/lib", "only directories"),
    "an empty place, and somebody who missed something": (
        OWN + "mkdir -p $tmp/lib; find $none -name '*.so' -exec cp {} $tmp/lib ';'", "lib/"),
    "none of its programs": (OWN + f"{INSTALL} no-such-one no-such-two", "none of its programs"),
    "an unreadable list": (OWN + "$XCLUSTER cplib --dest=$tmp --base-libs=$none /bin/sh", "Not readable"),
    "curl from nowhere": (OWN + "curl -sS -o $tmp/etc/x file://$none/x", "curl"),
    "a Debian package that is not there": (
        OWN + "echo 'E: Unable to locate package no-such' >&2", "Unable to locate"),
    "objcopy and ar": (OWN + "objcopy -O binary $none/x $tmp/etc/x", "objcopy"),
}  # fmt: skip
CASES = {
    **{name: Case(body, "fine") for name, body in FINE.items()},
    **{name: Case(body, "warned", says) for name, (body, says) in WARNED.items()},
    **{name: Case(body, "refused", says) for name, (body, says) in REFUSED.items()},
    "the program that it is named for": Case(
        OWN + f"{INSTALL} no-such-tool", "refused", "not on this host", overlay="no-such-tool"
    ),
    "a variant of other overlays": Case(
        OWN + "for n in $(echo $SETUP | tr , ' '); do cp -R $dir/$n/* $tmp; done",
        "fine",
        setup=("ipv6", "test"),
    ),
    "a variant that nobody asked for": Case(OWN + "cp -R $dir/ipv6/* $tmp", "refused", "cannot stat"),
}
