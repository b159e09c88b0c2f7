"""Commands of Go modules, built so that the same module and toolchain give the same bytes."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files, locks, odd_signs, proc
from tasks.base.errors import CommandError, UserError
from tasks.base.patience import Patience
from tasks.definitions.artifact_sources import GoModule
from tasks.project.site import Site

# What the toolchain would take from the host, or write where it stands.
FIXED = {
    "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1", "GOWORK": "off",
    "GOFLAGS": "-mod=mod -modcacherw", "GO111MODULE": "on", "GOENV": "off",
}  # fmt: skip
# What of Go's is the user's, by a variable or by `go env -w`: where modules come from, and who checks them.
USERS = (
    "GOPROXY", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOSUMDB", "GONOSUMDB", "GOAUTH",
    "GOMODCACHE", "GOCACHE", "GOPATH", "GOTOOLCHAIN",
)  # fmt: skip
FILE = "GOENV"  # names the file that `go env -w` writes


@dataclass(frozen=True)
class Module:
    """A module as the module proxy has it."""

    path: str
    version: str
    h1: str  # Go's own hash of the content


def module(program: GoModule, version: str, site: Site) -> Module:
    """Download a module (not what it needs) into Go's cache; `version` may be `latest`.

    Verified by Go's checksum database. Raises UserError when there is no such version.
    """
    name = f"{program.module}@{version}"
    try:
        text = proc.output(
            ["go", "mod", "download", "-json", name],
            env=environment(site),
            cwd=_place(site),
            wait=_wait(site),
        )
    except CommandError as error:
        raise _explained(name, str(error), site) from error
    facts = json.loads(text)
    return Module(facts["Path"], facts["Version"], facts["Sum"])


def build(program: GoModule, resolved: Module, out: Path, site: Site) -> str:
    """Compile the command to `out`; the digest of all modules in it, with their hashes."""
    with files.scratch(out.with_name(f"{out.name}.bin")) as folder:
        folder.mkdir()
        package = resolved.path if program.command == "." else f"{resolved.path}/{program.command}"
        command = ["go", "install", *_flags(program), f"{package}@{resolved.version}"]
        _compile(command, _place(site), site, {"GOBIN": str(folder)})
        (binary,) = folder.iterdir()
        os.replace(binary, out)
    return files.digest(_modules(out))


def build_own(program: GoModule, directory: Path, out: Path, site: Site) -> str:
    """Compile a command of the module in `directory` to `out`; the digest of all modules in it.

    The command is one of its directories, or a package of a module that it requires. Its go.sum says what
    those are; one that it does not name is an error. Commands that are one program under several names are
    compiled once.
    """
    content = {str(path.relative_to(directory)): files.sha256(path) for path in files.tree_files(directory)}
    facts = [content, program.command, program.variables, toolchain()]
    kept = site.workspace.go / "made" / files.digest(facts)
    with locks.locked(kept.with_suffix(".lock")):
        if not kept.is_file():
            with files.atomic(kept) as temp:
                mine = (directory / program.command).is_dir()
                package = f"./{program.command}" if mine else program.command
                command = ["go", "build", *_flags(program), "-mod=readonly", "-o", str(temp), package]
                _compile(command, directory, site, {})
    shutil.copyfile(kept, out)
    return files.digest(_modules(out))


def _flags(program: GoModule) -> list[str]:
    """What makes the bytes depend on nothing but the source."""
    names = [f"-X {name}={value}" for name, value in sorted(program.variables.items())]
    return ["-trimpath", "-buildvcs=false", " ".join(["-ldflags=-buildid= -s -w", *names])]


def _compile(command: list[str], place: Path, site: Site, own: Mapping[str, str]) -> None:
    name = command[-1] if "@" in command[-1] else str(place)
    log = site.workspace.log(f"go:{name.partition('@')[0].rpartition('/')[2]}")
    log.unlink(missing_ok=True)
    # Go leaves its scratch files, up to gigabytes, when it is ended by a signal: here they go with ours.
    with files.scratch(site.workspace.go / "tmp" / log.stem) as temp:
        temp.mkdir()
        environ = {**environment(site), "GOTMPDIR": str(temp), **own}
        try:
            proc.run(command, env=environ, cwd=place, log=log, wait=_wait(site))
        except CommandError as error:
            raise _explained(name, str(error), site) from error


def _wait(site: Site) -> Patience:
    """The wait for a module proxy: Go itself has no bound for it."""
    return Patience("the module proxy of Go", site.download_timeout)


def toolchain() -> str:
    """The version of the Go toolchain, as go1.22.3. Raises UserError where there is none."""
    own = {name: os.environ[name] for name in ("GOTOOLCHAIN", FILE) if name in os.environ}
    return proc.output(["go", "env", "GOVERSION"], env={"GOTOOLCHAIN": "local", **own}).decode().strip()


def environment(site: Site) -> dict[str, str]:
    """What Go is run with: its caches are ours unless the user has set them, proxies are the user's."""
    odd_signs.refuse(site.workspace.root, odd_signs.GO, "Go")
    own = {
        "GOMODCACHE": str(site.workspace.go / "mod"),
        "GOCACHE": str(site.workspace.go / "build"),
        "GOPATH": str(site.workspace.go / "path"),
        "GOTOOLCHAIN": "local",  # another toolchain would give other bytes
    }
    kept = {**own, **_chosen()}
    if not site.offline:
        return {**kept, **FIXED}
    # The cache is a module proxy too; what is in there was checked when it came.
    proxy = Path(kept["GOMODCACHE"], "cache", "download").absolute().as_uri()
    return {**kept, **FIXED, "GOPROXY": proxy, "GONOSUMDB": "*", "GOPRIVATE": ""}


def _chosen() -> dict[str, str]:
    """What the user has set of USERS: in the environment, or in the file that `go env -w` writes."""
    name = os.environ.get(FILE) or os.path.join(_config(), "go", "env")
    written = {}
    with contextlib.suppress(OSError, ValueError):
        lines = Path(name).read_text().splitlines()
        written = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    values = {key: os.environ.get(key) or written.get(key, "") for key in USERS}
    return {key: value for key, value in values.items() if value}


def _config() -> str:
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")


def _place(site: Site) -> Path:
    """A directory that is in no module."""
    site.workspace.go.mkdir(parents=True, exist_ok=True)
    return site.workspace.go


def _modules(binary: Path) -> list[str]:
    """Every module in a binary with version and hash, as Go has written them into it."""
    lines = proc.output(["go", "version", "-m", str(binary)]).decode().splitlines()
    words = [line.split() for line in lines]
    return [" ".join(line[1:]) for line in words if line and line[0] in ("mod", "dep", "=>")]


def _explained(name: str, output: str, site: Site) -> UserError:
    """Go's words, and what to do about them."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reasons = [
        line for line in lines[1:] if not line.startswith(("go: downloading", "hint:", "{", "}", '"Path'))
    ]
    error = re.search(r'"Error": "(.*)"', output)
    text = str(json.loads(f'"{error.group(1)}"')) if error else "; ".join(reasons[-4:]) or output
    hints: Mapping[str, str] = {
        "requires go >=": "install a newer Go toolchain, and put it first in PATH",
        "reading file://": "run once with a network: `xc fetch`",
        "dial tcp": "is there a network? GOPROXY names the module proxy",
        "no matching versions": f"which there are: go list -m -versions {name.partition('@')[0]}",
        "unknown revision": f"which there are: go list -m -versions {name.partition('@')[0]}",
        "404": f"which there are: go list -m -versions {name.partition('@')[0]}",
        "403": "the module proxy does not give it; GOPROXY names another, GOPROXY=direct goes to its source",
    }
    hint = next((hint for words, hint in hints.items() if words in output + text), None)
    offline = "; --offline is set" if site.offline else ""
    return UserError(f"Go cannot build {name}{offline}: {text}", hint)
