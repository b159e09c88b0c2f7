"""A kernel from its source: unpack, configure, check, compile.

The source and object trees are kept, so that a changed fragment compiles only what it touches.
"""

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.base import files, limits, proc
from tasks.base.errors import UserError
from tasks.base.progress import Bar
from tasks.build.kernel import kconfig
from tasks.formats import tree
from tasks.formats import unpack as unpack_archive

TOOLS = ("gcc", "make", "flex", "bison", "bc", "xz")
INCLUDES = (Path("/usr/include"), Path("/usr/include/x86_64-linux-gnu"))
HEADERS = {"libelf.h": "libelf-dev", "openssl/opensslv.h": "libssl-dev"}


def need_tools() -> None:
    """Raise UserError with everything that is missing to compile a kernel."""
    lacking = [proc.DEBIAN_PACKAGE[tool] for tool in TOOLS if not proc.find(tool)]
    lacking += [package for header, package in HEADERS.items() if not has(header)]
    if lacking:
        raise UserError(
            f"packages that are needed to compile a kernel are missing: {' '.join(lacking)}",
            f"apt-get install --no-install-recommends {' '.join(lacking)}",
        )


def has(header: str) -> bool:
    """Whether the compiler finds this header."""
    return any((place / header).is_file() for place in INCLUDES)


def unpack(tarball: Path, sha256: str, patches: Sequence[Path], source: Path) -> None:
    """Unpack the source once; a tree that is there and was unpacked from the same content is used again."""
    mark = source / ".xcluster"
    inputs = files.digest([sha256, *(files.sha256(patch) for patch in patches)])
    if mark.is_file() and mark.read_text() == inputs:
        return
    with files.atomic(source, directory=True) as temp:
        unpack_archive.source(tarball, temp)
        for patch in patches:
            proc.run(["patch", "-p1", "-s", "-i", patch], cwd=temp)
        tree.put_files({".xcluster": inputs.encode()}, temp)


class Tree:
    """A source tree and the object tree it is compiled in."""

    def __init__(self, source: Path, objects: Path, epoch: int, log: Path) -> None:
        self.source = source
        self.objects = objects
        self._log = log
        stamp = time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime(epoch))
        # What would otherwise carry the host, the user, the clock or the directory into the kernel.
        self._env = {
            "KBUILD_BUILD_TIMESTAMP": stamp,
            "KBUILD_BUILD_USER": "xcluster",
            "KBUILD_BUILD_HOST": "xcluster",
            "KBUILD_BUILD_VERSION": "1",
            "SOURCE_DATE_EPOCH": str(epoch),
            "LC_ALL": "C",
            "LOCALVERSION": "",
        }

    def configure(self, fragments: Mapping[str, Mapping[str, str]]) -> None:
        """allnoconfig with the fragments, olddefconfig, and the check that nothing asked for was lost."""
        self.objects.mkdir(parents=True, exist_ok=True)
        request = self.objects / "asked.config"
        request.write_text(kconfig.text(kconfig.merge(fragments)))
        old = self._config()
        self.make(["allnoconfig"], {"KCONFIG_ALLCONFIG": str(request)})
        self.make(["olddefconfig"])
        kconfig.check(fragments, self.objects / ".config")
        if self._config() == old:
            return
        # A .config of a later time makes everything look at it again, and nothing more.

    def compile(self) -> None:
        """bzImage, vmlinux and modules, with a bar that knows how much is left."""
        total = self._steps()
        with Bar("kernel", total, unit="file") as bar:
            self.make(
                ["bzImage", "modules"],
                on_line=lambda line: bar.add(1) if line.startswith("  ") else None,
                jobs=limits.processors(),
            )

    def version(self) -> str:
        """The release that modules belong to, e.g. 6.1.192."""
        return (
            proc.output(["make", "-s", f"O={self.objects}", "kernelrelease"], cwd=self.source, env=self._env)
            .decode()
            .strip()
        )

    def install_modules(self, root: Path) -> None:
        """lib/modules/<version> below `root`, with the dependency files made."""
        self.make(["modules_install"], {"INSTALL_MOD_PATH": str(root), "DEPMOD": proc.need("depmod")})
        for link in (*root.glob("lib/modules/*/build"), *root.glob("lib/modules/*/source")):
            link.unlink()

    def save(self, folder: Path) -> None:
        """Copy what a guest is started from."""
        for name, path in (
            ("bzImage", "arch/x86/boot/bzImage"),
            ("vmlinux", "vmlinux"),
            ("config", ".config"),
        ):
            shutil.copyfile(self.objects / path, folder / name)

    def make(
        self,
        targets: Sequence[str],
        env: Mapping[str, str] | None = None,
        on_line: object = None,
        jobs: int = 1,
    ) -> None:
        """Run make in the trees; all it says goes to the log."""
        words = ["make", f"O={self.objects}", f"-j{jobs}", *targets]
        hear = on_line if callable(on_line) else None
        proc.run(words, cwd=self.source, env={**self._env, **(env or {})}, log=self._log, on_line=hear)

    def _config(self) -> str:
        path = self.objects / ".config"
        return path.read_text() if path.is_file() else ""

    def _steps(self) -> int | None:
        """How many lines make will print: what a dry run says it would compile."""
        words = ["make", "-n", f"O={self.objects}", "bzImage", "modules"]
        try:
            log = proc.run(words, cwd=self.source, env=self._env)
        except UserError:
            return None
        return len(re.findall(r"^\s*(?:set -e; )?\s*echo '  (?:CC|AS|LD|AR|GEN)", log, re.M)) or None
