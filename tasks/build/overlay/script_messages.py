"""What a `tar` script printed ──> the messages that are about its content, each with its weight.

A script goes on after an error and ends with 0, so its messages are all that there is. Which program says
something counts more than its words: `cp: cannot stat` is a file that is not in the tar, `rm: cannot remove`
is one that nobody wants there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """What a message means for the content of the tar."""

    LOSS = "loss"  # something that was to be copied or made is not there
    PROGRAM = "program"  # install_prog did not find a program of the host
    DOUBT = "doubt"  # something went wrong, and nobody can say whether that matters


@dataclass(frozen=True)
class Message:
    """A line that a script printed. `thing` is the file or program that it is about, "" if it names none."""

    line: str
    weight: Weight
    thing: str = ""
    replaceable: bool = False  # a file of that name from another place would do as well


# Programs that copy, make or change content, and are silent unless they failed.
MAKERS = set(
    """7z ar awk base64 bunzip2 bzcat bzip2 cat cp cpio curl cut dd dpkg dpkg-deb env envsubst gawk gunzip
    gzip head install jq ln lzma m4 make mawk mkdir mkfifo mknod mksquashfs msgfmt mv objcopy patch patchelf
    pigz ranlib rsync scp sed sort split strip sudo tail tar tee timeout touch tr truncate unsquashfs unxz
    unzip unzstd wget xargs xz xzcat zcat zstd zstdcat""".split()
)
# Programs that remove something or ask for something. Scripts use their exit code, and it may well be no.
ASKERS = set(
    """[ basename cmp command date df diff dirname du egrep expr fgrep file fuser getent grep hostname id ip
    kill killall ldd ls lsmod lsof modinfo mountpoint netstat nm objdump pgrep pidof ping pkill ps pwd readelf
    readlink realpath rm rmdir seq sleep ss stat stty sync test tput trap tty type ulimit umount uname unlink
    unset wait wc which zgrep export local shift printf""".split()
)
COMPILERS = re.compile(
    r"(.*-)?(gcc|g\+\+|cc|c\+\+|clang|clang\+\+|ld|ld\.\w+|collect2|cc1|cc1plus|as)(-[\d.]+)?$"
)
# Those whose missing file may still be in the tar, from another place. What others read has gone elsewhere.
COPIERS = {"cp", "mv", "ln", "install", "strip", "touch", "cpio", "rsync", "scp"}
MOVES = {"cd", "pushd", ".", "source"}  # what follows such a failure works at the wrong place

# What makers say besides: owners and times become ours anyway, and what is there need not be made again.
HARMLESS = re.compile(
    r"^[Ww]arning\b|\bwarning:|File exists$|preserving|preserve ownership|[Cc]hang\w* ownership"
    r"|Broken pipe|are the same file|newer or same age|already has|specified more than once"
)
TALK_OF = {
    "tar": r"^Removing leading|time stamp .* in the future|implausibly old|socket ignored"
    r"|unknown extended header|^Record size|file changed as we read it|lone zero block|file is unchanged",
    "strip": r"not recogni[sz]ed|[Uu]nable to recogni[sz]e",
    "make": r"^(?!.*\*\*\* )|\(ignored\)$",
    "sudo": r"^unable to resolve host",
    "cpio": r"^File .* grew|^\d+ blocks",
    "go": r"^(downloading|finding|extracting|creating new|added|upgraded|downgraded|removed|found|copying|to"
    r" add|warning)\b",
}
LINKED = re.compile(
    r"\berror: |cannot find|undefined reference|No such file|not recognized|cannot open|^error:"
)
# Failures of those that do not put their name before them.
FAILED = re.compile(
    r"^ERROR\b|\bERROR \d{3}: |^error(\[\w+\])?: |^[^\s:]+:\d+:(\d+:)? (fatal )?error: "
    r"|^[^\s:]+\.go:\d+(:\d+)?: |undefined reference to|^CMake Error|^configure: error:"
    r"|^Traceback \(most recent|^Segmentation fault|^ninja: (build stopped|error)"
    r"|^FATA\[|^E: |^fatal: |^package \S+ is not in |No space left on device|bad interpreter"
    r"|^(build \S+: )?cannot load |^no Go files in|^no required module provides|^rsync error: |Syntax error:"
    r"|: syntax error"
)
ASKED_GIT = re.compile(
    r"^fatal: (not a git repository|No names found|No tags can|cannot describe|detected dubious"
    r"|destination path .* already exists)"
)
DOUBTFUL = re.compile(
    r"No such file or directory|[Nn]ot found$|Permission denied|Not a directory|omitting directory"
    r"|[Cc](annot|an't) (open|create|access|copy|read|stat|find|load|execute)|^Error: | [Ff]ailed(:|$)"
)
NOT_FOUND = re.compile(r"^WARNING: Program not found \[(?P<name>.*)\]$")
OF_SHELL = re.compile(r"^\S*?(?:tar|sh|[^\s:]*/[^\s:]+|[^\s:]+\.\w+): (?:line )?\d+: (?P<text>.+)$")
BUILTIN = re.compile(r"^(?P<name>\[|\.|\w+): (?P<text>.+)$")
MISSING = re.compile(r"^(?P<name>\S+): (command not found|not found)$")
OF_PROGRAM = re.compile(r"^(?:\S*/)?(?P<name>[A-Za-z][\w.+-]*|\[)(?:\[\d+\])?: (?P<text>.+)$")
QUOTED = re.compile(r"""(?:^|[\s(])['‘"`](?P<thing>[^'’"`]+)['’"]""")
NAMED = re.compile(r"^(?:can't (?:open|read|stat) |cannot (?:open|create) )?(?P<thing>[^\s:]+): ")
STRIKING = re.compile(
    r"warning|error|fail|missing|not? (found|there|included|such)|skip|without", re.IGNORECASE
)
KERNELS = ("/proc/", "/sys/")  # what is asked for there is no content


def read(printed: str) -> list[Message]:
    """The messages in a script's output that tell, or may tell, that something is missing."""
    messages = (_message(line.rstrip()) for line in printed.splitlines() if line.strip())
    return [message for message in messages if message and not message.thing.startswith(KERNELS)]


def remarks(printed: str) -> list[str]:
    """The lines that no program is known to print and that are no message: what the script itself says."""
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    return [line for line in lines if not _of_somebody(line) and not _message(line)]


def striking_first(lines: Sequence[str], most: int) -> list[str]:
    """At most so many of `lines`, in their order: before all others those that sound like trouble."""
    ranked = sorted(range(len(lines)), key=lambda index: not STRIKING.search(lines[index]))
    return [lines[index] for index in sorted(ranked[:most])]


def _of_somebody(line: str) -> bool:
    """Whether a shell or a known program says this line."""
    match = OF_PROGRAM.match(line)
    name = match["name"] if match else ""
    is_known = name in ASKERS | MAKERS | MOVES or name in TALK_OF or COMPILERS.match(name)
    return bool(line.startswith("+ ") or OF_SHELL.match(line) or ASKED_GIT.match(line) or is_known)


def _message(line: str) -> Message | None:
    program = NOT_FOUND.match(line)
    if line.startswith("+ "):  # a shell that tells its commands
        return None
    if program:
        return Message(line, Weight.PROGRAM, program["name"], True)
    if FAILED.search(line):
        return None if ASKED_GIT.match(line) else Message(line, Weight.LOSS)
    for pattern, judge in ((OF_SHELL, _of_shell), (OF_PROGRAM, _of_program)):
        match = pattern.match(line)
        if match:
            return judge(line, match)
    return Message(line, Weight.DOUBT, _thing(line)) if DOUBTFUL.search(line) else None


def _of_shell(line: str, match: re.Match[str]) -> Message | None:
    """A message of the shell itself, such as `./tar: 12: foo: not found`."""
    text = match["text"].removeprefix("eval: ")
    builtin, missing = BUILTIN.match(text), MISSING.match(text)
    if missing:
        name = missing["name"].rpartition("/")[2]
        return None if name in ASKERS or name == "strip" else Message(line, Weight.LOSS)
    if builtin and builtin["name"] in ASKERS:
        return None
    if builtin and builtin["name"] in MOVES:
        return Message(line, Weight.LOSS)
    if DOUBTFUL.search(text) or "nonexistent" in text:
        return Message(line, Weight.LOSS, _thing(text))
    return None


def _of_program(line: str, match: re.Match[str]) -> Message | None:
    name, text = match["name"], match["text"]
    if name in ASKERS or HARMLESS.search(text):
        return None
    talk = TALK_OF.get(name)
    if talk and re.search(talk, text):
        return None
    if COMPILERS.match(name):
        return Message(line, Weight.LOSS) if LINKED.search(text) else None
    if name == "go" or (name in MAKERS and "omitting directory" not in text):
        replaceable = name in COPIERS and not text.startswith(("target ", "missing "))
        return Message(line, Weight.LOSS, _thing(text), replaceable)
    return Message(line, Weight.DOUBT, _thing(text)) if DOUBTFUL.search(line) else None


def _thing(text: str) -> str:
    """The file that a message names, if any: the first in quotes, or what stands before the reason."""
    named = QUOTED.search(text) or NAMED.match(text)
    return named["thing"] if named else ""
