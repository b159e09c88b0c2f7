"""A checkpoint: what was saved of a running cluster, what it needs to be restored, and its nodes.

    checkpoint/NAME/checkpoint.json        the record; the directory is renamed into place when all is there
                    vm-NNN.{ram,state,qcow2}  memory and machine in the form of a golden snapshot; the disk
                    *.iso                  the overlay ISO as the nodes have it
                    *.squashfs             the disk of container images, if they have one

Nothing here is written again: restored nodes map the memory privately and write to disks of their own.
"""

import concurrent.futures
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.base import environment, files, seals
from tasks.base.checkpoint_paths import CheckpointDir
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net.protocol import loose
from tasks.run.node import boot, identity, qemu, snapshot
from tasks.run.node.protocol import Boot, Frozen, NodeRun

FORMAT: Literal[1] = 1
WAKE_TRIES = 3  # of ssh, which a busy guest may drop


class SavedNode(BaseModel):
    """A node of a checkpoint, and the names of the disks that it has besides its own."""

    model_config = ConfigDict(frozen=True)

    node: Node
    iso: str | None
    containers: str | None = None
    iso_disk: bool  # it sees the ISO through a qcow2


class CheckpointRecord(BaseModel):
    """What checkpoint.json holds."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = FORMAT
    saved: int  # seconds since 1970
    settings: Mapping[str, Any]  # as the version that saved them knew them
    accel: str
    needs: Mapping[str, str]  # what has to be as it was, by hash
    host_keys: Mapping[str, str]
    choice: Mapping[str, Any] | None  # of overlays on the ISO, for nodes that are added
    secret: Mapping[str, Any] | None = None  # of a cluster with Kubernetes
    nodes: tuple[SavedNode, ...]
    files: Mapping[str, tuple[int, int, str]] = {}  # size, mtime (ns) and seals.sparse_digest of each

    def is_as_saved(self, path: Path) -> bool:
        """Whether a file that is there has the content that was saved; hashed if size or time differ."""
        if path.name not in self.files:
            return True  # saved by a version that noted nothing
        size, mtime_ns, digest = self.files[path.name]
        info = path.stat()
        if (size, mtime_ns) == (info.st_size, info.st_mtime_ns):
            return True
        return size == info.st_size and digest == seals.sparse_digest(path)


def refuse_containers(nodes: Iterable[Node]) -> None:
    """Raise UserError when one of these is a container: what is in its memory is the host kernel's."""
    names = [node.name for node in nodes if node.kind == "container"]
    if names:
        raise UserError(
            f"a checkpoint has virtual machines only, and these are containers: {', '.join(names)}",
            "start it with --node=vm to save it; containers start in a second, so they need none",
        )


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    place: CheckpointDir
    record: CheckpointRecord

    @property
    def name(self) -> str:
        """The name that the user gave it."""
        return self.place.root.name

    @property
    def cluster(self) -> str:
        """The cluster that was saved."""
        return str(self.record.settings["name"])

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that were saved."""
        return tuple(saved.node for saved in self.record.nodes)

    def settings(self, name: str) -> Settings:
        """What a cluster `name` restored from this runs with.

        UserError when this version does not know a setting.
        """
        own = {"name": name, "accel": self.record.accel, "keep": False}
        try:
            return Settings(**{**self.record.settings, **own})
        except ValidationError as error:
            keys = ", ".join(str(detail["loc"][0]) for detail in error.errors())
            raise UserError(
                f"checkpoint '{self.name}' has settings that this version does not know: {keys}",
                "use the version that it was saved with, or save a new one",
            ) from error

    def boot(self, plain: Boot, node: Node, directory: Path) -> Boot:
        """`plain` for this node, in the directory of its cluster, which holds all it needs by itself."""
        place, number = self.place, node.number
        saved = next(saved for saved in self.record.nodes if saved.node.number == number)
        iso = files.held(place.root / saved.iso, directory) if saved.iso else None
        shown = snapshot.iso_disk(directory, iso) if saved.iso_disk else iso
        disk = files.held(place.disk(number), directory)
        frozen = Frozen(place.ram(number), place.state(number), booted=True)
        containers = files.held(place.root / saved.containers, directory) if saved.containers else None
        return replace(plain, image=disk, iso=shown, frozen=frozen, containers=containers)

    def sizes(self) -> tuple[int, int]:
        """Bytes of all files, and what they take on the disk."""
        infos = [path.stat() for path in self.place.root.iterdir()]
        return sum(info.st_size for info in infos), sum(info.st_blocks * 512 for info in infos)

    def damage(self) -> list[str]:
        """The files of it that are not there, or not as they were saved, and what to do."""
        disks = {name: None for saved in self.record.nodes for name in (saved.iso, saved.containers) if name}
        paths = [self.place.root / name for name in disks]
        for node in self.nodes:
            of_node = (self.place.ram, self.place.state, self.place.disk)
            paths += [place(node.number) for place in of_node]
        lost = {path: "is missing" for path in paths if not path.is_file()}
        there = [path for path in paths if path not in lost]
        lost |= {path: "changed on the disk" for path in there if not self.record.is_as_saved(path)}
        return [
            f"checkpoint '{self.name}' is not whole, {path.name} {why}: xc checkpoint rm {self.name}"
            for path, why in lost.items()
        ]

    def differs(self, workspace: Workspace) -> dict[str, str]:
        """The artifacts that have changed: name -> what to do. Empty if the checkpoint can be restored."""
        try:
            settings = self.settings(self.cluster)
        except UserError as error:
            return {"settings": str(error).splitlines()[0]}
        saved, now = self.record.needs, requirements(settings, workspace, self.nodes)
        advice = {
            "kernel": f"`xc kernel:{settings.kernel}` builds it, from the definition and packages it had",
            "image": f"`xc image:{settings.image}` builds it, from the definition and packages it had",
            "qemu": "install the version of QEMU that it was saved with",
            "devices": "use the version of this project that it was saved with",
            "key": f"put back {identity.key_file(workspace)}, the ssh key that its nodes know",
        }
        return {name: advice[name] for name in advice if saved.get(name) != now[name]}


def contents(place: CheckpointDir) -> dict[str, tuple[int, int, str]]:
    """Size, mtime (ns) and digest of each file of a checkpoint that has no record yet."""
    paths = sorted(path for path in place.root.iterdir() if path.is_file())
    with concurrent.futures.ThreadPoolExecutor() as pool:  # hashing leaves Python's lock to others
        digests = list(pool.map(seals.sparse_digest, paths))
    infos = [path.stat() for path in paths]
    return {
        path.name: (info.st_size, info.st_mtime_ns, digest)
        for path, info, digest in zip(paths, infos, digests, strict=True)
    }


def find(workspace: Workspace, name: str) -> Checkpoint | None:
    """The checkpoint of this name, if there is a complete one that this version can read."""
    place = CheckpointDir(workspace.checkpoints / name)
    try:
        return Checkpoint(place, CheckpointRecord.model_validate(files.read_json(place.record), strict=False))
    except ValidationError:
        return None


def every(workspace: Workspace) -> list[Checkpoint]:
    """All that are complete, by name."""
    names = sorted(path.parent.name for path in workspace.checkpoints.glob("[!.]*/checkpoint.json"))
    return [checkpoint for name in names if (checkpoint := find(workspace, name))]


def damaged(workspace: Workspace) -> list[str]:
    """The names of those whose record is missing, or cannot be read by this version."""
    names = sorted(path.name for path in workspace.checkpoints.glob("[!.]*") if path.is_dir())
    return [name for name in names if find(workspace, name) is None]


def requirements(settings: Settings, workspace: Workspace, nodes: Sequence[Node]) -> dict[str, str]:
    """What a checkpoint needs to be there, by hash: artifacts, QEMU, the form of its machines, our key."""
    plain = Boot(
        Path("kernel"), Path("initramfs"), Path("modules"), "", Path("image"), Path("iso.iso"),
        settings.accel, settings.machine, settings.kvm_opt,
    )  # fmt: skip
    tap = settings.net == "bridge"
    machines = [
        qemu.argv(
            plain, node, [loose(net, node.mac(net), tap=tap) for net in node.nets], NodeDir(Path("node"))
        )
        for node in nodes
    ]
    public = identity.key_file(workspace).with_suffix(".pub")
    key = public.read_text() if public.is_file() else ""
    return {
        **boot.artifact_hashes(settings, workspace),
        "devices": files.digest([[*words, snapshot.ISO_SIZE] for words in machines]),
        "key": files.digest(key),
    }


def wake(runs: Sequence[NodeRun], ssh: Callable[[NodeRun, str], Sequence[str]]) -> None:
    """Let restored nodes go on with new randomness and with the present time, all at once.

    A node that is restored twice would otherwise draw the same random numbers. `ssh` gives the command line
    that runs a command on a node. Raises UserError for nodes that cannot be reached.
    """
    with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
        faults = list(pool.map(lambda run: _wake_one(run, ssh), runs))
    failed = [f"  {run.node.name}: {fault}" for run, fault in zip(runs, faults, strict=True) if fault]
    if failed:
        raise UserError(
            "these restored nodes could not be given the time and new randomness:\n" + "\n".join(failed[:4])
        )


def _wake_one(run: NodeRun, ssh: Callable[[NodeRun, str], Sequence[str]]) -> str:
    """Wake one node; returns what went wrong, or "". The seed goes by stdin: command lines are public."""
    fault = ""
    for _ in range(WAKE_TRIES):
        seed = secrets.token_bytes(64)
        done = subprocess.run(
            ssh(run, _wake_command()), input=seed, capture_output=True, check=False,
            env=environment.of_programs(),
        )  # fmt: skip
        if done.returncode == 0:
            return ""
        fault = done.stderr.decode(errors="replace").strip() or f"ssh ended with {done.returncode}"
    return fault


def _wake_command() -> str:
    now = round(time.time())
    tell = (
        f"if [ -x /usr/sbin/xc-reseed ]; then xc-reseed {now}; else cat >/dev/urandom && date -s @{now}; fi"
    )
    return f"export PATH=/usr/sbin:/usr/bin:/sbin:/bin; {tell} >/dev/null"
