"""An overlay's `tar` script: what it is given, what it may say, and what becomes of its tar.

Upstream's scripts end well though a part of them failed. So what they print is held against their tar.
"""

import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.base import environment, files, odd_signs, proc, progress
from tasks.base.errors import CommandError, UserError
from tasks.base.paths import Workspace
from tasks.build.overlay import allowance, completeness, host_libraries, script_messages
from tasks.build.overlay.host_files import HOST_FILES
from tasks.definitions import iso_choice, upstream_names
from tasks.definitions.schema import Overlay
from tasks.formats import tree, unpack
from tasks.project.project import ROOT, source_date_epoch

CODE = (
    allowance,
    completeness,
    script_messages,
    host_libraries,
)  # what decides about a tar besides this module
HOST_WORDS = re.compile(r"\b(install_prog|cplib|cploader)\b")
# $XCLUSTER_WORKSPACE/bin/coredns, with braces and quotes or without.
WORKSPACE_PROGRAM = re.compile(r"""XCLUSTER_WORKSPACE[}"']*/bin/([\w.+-]+)""")
# The variables themselves, on lines that are no comment.
KERNEL_TREES = re.compile(r"^(?!\s*#).*\$\{?(KERNELDIR|__kobj)\b", re.MULTILINE)


def workspace_programs(overlay: Overlay) -> list[str]:
    """The programs in the workspace's bin/ that the script takes, as far as its text tells."""
    script = overlay.script
    return sorted(set(WORKSPACE_PROGRAM.findall(script.read_text(errors="replace")))) if script else []


def takes_host_programs(overlay: Overlay) -> bool:
    """Whether the script copies programs or libraries of the host: they have to fit the image's."""
    script = overlay.script
    return bool(script and HOST_WORDS.search(script.read_text(errors="replace")))


def compiles_modules(overlay: Overlay, env: Mapping[str, str], workspace: Workspace) -> bool:
    """Whether the script compiles modules against the trees that we make of a kernel."""
    return _reads_our_trees(overlay, env) and not odd_signs.are_in(workspace.root, odd_signs.KERNEL)


def _reads_our_trees(overlay: Overlay, env: Mapping[str, str]) -> bool:
    """Whether the script reads the trees of a kernel, and the user names none of his own."""
    script = overlay.script
    if not script or env.get("KERNELDIR") or env.get("__kobj"):
        return False
    return bool(KERNEL_TREES.search(script.read_text(errors="replace")))


def run(
    overlay: Overlay, key: str, raw: Path, env: Mapping[str, str], workspace: Workspace, base: str
) -> str:
    """Run the script as upstream does (`tar OUTFILE`) to write `raw`; what it printed, for `judge`.

    `base` is the image whose libraries programs of the host can count on; "" for none. Raises UserError when
    it fails or writes nothing.
    """
    script = overlay.directory / "tar"
    if not os.access(script, os.X_OK):
        raise UserError(f"{script} is not executable", f"chmod +x {script}")
    if _reads_our_trees(overlay, env) and odd_signs.are_in(workspace.root, odd_signs.KERNEL):
        progress.say(
            f"note: overlay '{overlay.name}' is packed without the kernel's trees (KERNELDIR, __kobj): "
            f"modules cannot be compiled in a directory with such signs in its path: {workspace.root}"
        )
    log = workspace.log(f"ovl:{key}")
    log.unlink(missing_ok=True)
    record = host_files(workspace, key)
    record.unlink(missing_ok=True)
    environ = variables(env, workspace)
    environ[HOST_FILES] = str(record)
    if base:
        environ.setdefault("__base_libs", str(workspace.image_libs(base)))
    try:
        printed = proc.run([str(script), str(raw)], env=environ, clean_env=True, log=log)
    except CommandError as error:
        text = f"the tar script of overlay '{overlay.name}' failed: {error}"
        raise UserError(text, _hint(str(error), workspace)) from error
    if not raw.is_file():
        raise UserError(no_tar(script, raw) + completeness.listed(printed.splitlines()), f"full log: {log}")
    return printed


def _hint(text: str, workspace: Workspace) -> str | None:
    """Which words make the programs of the workspace that a script speaks of and that are not there."""
    names = dict.fromkeys(re.findall(re.escape(f"{workspace.bin('x').parent}/") + r"([\w.+-]+)", text))
    words = [f"`xc artifact:{name}`" for name in names if not workspace.bin(name).exists()]
    if not words:
        return None
    return f"{', '.join(words)} makes what an overlay names as artifact; or put it there yourself"


def no_tar(script: Path, raw: Path) -> str:
    """What a script did that ended well, though no file is at `raw`."""
    kind = files.odd_kind(raw)
    return f"{script} ended with 0 but " + (f"left {kind} in place of the tar" if kind else "wrote no tar")


def judge(overlay: Overlay, printed: str, tar: Path, setup: Sequence[str], log: Path) -> bool:
    """Raise UserError if a tar is not complete; warn, where the overlay may leave it so.

    Returns whether nothing but the user's environment allows it.
    """
    content, own = completeness.content(tar), allowance.of_overlay(overlay)
    strict = completeness.judge(overlay, printed, content, setup, own)
    allow = own | allowance.of_environment(overlay, os.environ)
    verdict = completeness.judge(overlay, printed, content, setup, allow)
    if verdict.refusal:
        yaml = overlay.directory / "ovl.yaml"
        allowing = (
            f"or, if nothing is, put `allow: [{verdict.leave}]` into {yaml}, or set "
            f"XC_OVL_ALLOW={overlay.name}:{verdict.leave}"
        )
        raise UserError(
            f"the tar script of overlay '{overlay.name}' ended with 0, but {verdict.refusal}",
            f"get what is missing; {allowing if verdict.leave else f'or change {yaml}'} (full log: {log})",
        )
    for warning in verdict.warnings:
        progress.say(f"warning: {warning}")
    if strict.refusal and not verdict.warnings:
        progress.say(
            f"warning: the tar script of overlay '{overlay.name}' ended with 0, but {strict.refusal}"
        )
    _tell(overlay, script_messages.remarks(printed), log)
    return bool(strict.refusal)


def _tell(overlay: Overlay, remarks: Sequence[str], log: Path) -> None:
    """Show what the script itself said, which may be that it left something out."""
    if not remarks:
        return
    shown = script_messages.striking_first(remarks, completeness.LISTED)
    progress.say(f"  overlay '{overlay.name}' said:")
    for line in shown:
        progress.say(f"    {line}")
    if len(remarks) > len(shown):
        progress.say(f"    ... and {len(remarks) - len(shown)} more lines: {log}")


def fit(overlay: Overlay, tar: Path, workspace: Workspace, base: str, epoch: int) -> None:
    """Make the host's programs in a tar run in guests of the image `base`."""
    listed = workspace.image_libs(base)
    if not host_libraries.is_foreign(listed):
        return
    with files.scratch(tar.with_name(f"{tar.name}.fit")) as root:
        root.mkdir()
        try:
            devices = unpack.tar(tar, root)
        except (tarfile.TarError, OSError) as error:
            raise UserError(f"overlay '{overlay.name}': its programs cannot be completed: {error}") from error
        names = host_libraries.adapt(root, listed)
        if names:
            progress.say(
                f"  overlay '{overlay.name}': {len(names)} programs need the host's C library, which is "
                f"added (host {host_libraries.host_glibc()}, guest {host_libraries.guest_glibc(listed)})"
            )
            tree.write_tar(root, tar, epoch, devices)


def host_files(workspace: Workspace, key: str) -> Path:
    """The record of what a script asked our words to copy: a path or the name of a program a line.

    When the tar is there, `mark` adds what each was like, so that it is packed again when one has changed, or
    a program that was missing has come.
    """
    return workspace.ovl(key).with_suffix(".host")


def mark(workspace: Workspace, key: str) -> None:
    """Complete the record with what its files are like now."""
    record = host_files(workspace, key)
    if record.is_file():
        names = sorted(set(record.read_text().splitlines()))
        files.write_json(record, {name: _state(name) for name in names})


def unchanged(workspace: Workspace, key: str) -> bool:
    """Whether the host's files that were copied are still the same."""
    return all(
        _state(name) == list(state) for name, state in files.read_json(host_files(workspace, key)).items()
    )


def _state(name: str) -> list[int]:
    try:
        info = os.stat(name if "/" in name else proc.find(name) or "")
    except OSError:
        return []
    return [info.st_size, info.st_mtime_ns]


def variables(env: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
    """The environment of a `tar` script: the user's, with what the contract promises, and what was chosen."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "root"
    promised = {
        "XCLUSTER": str(ROOT / "xc"),
        "XCLUSTER_WORKSPACE": str(workspace.root),
        "USER": user.replace("/", "_"),
        "HOME": os.path.expanduser("~"),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(source_date_epoch()),
    }
    defaults = {"ARCHIVE": os.path.join(promised["HOME"], "Downloads"), "GOPATH": ""}
    users = upstream_names.as_upstream(environment.of_scripts())
    return {**iso_choice.without(users), **defaults, **promised, **env}
