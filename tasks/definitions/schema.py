"""The keys of definitions. A field's comment is its documentation; unknown keys are errors."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    model_validator,
)

from tasks.base.node_names import node_name
from tasks.definitions import image_reference, quantities, written
from tasks.definitions.artifact_sources import Artifact, Definition, Name, Sha256, Source, Value
from tasks.definitions.roles import Role

Fragment = Name
NodeKind = Literal["vm", "container"]  # a virtual machine with a kernel of its own, or a container
Mode = Annotated[str, StringConstraints(pattern=r"^[0-7]{3,4}$")]
# Of memory; 512, 512M and 0.5G are the same. No text: a file's number in quotes is one too.
Mebibytes = Annotated[
    int, BeforeValidator(lambda value: quantities.mebibytes(value) if isinstance(value, str) else value)
]
Size = Annotated[str, AfterValidator(quantities.disk_size)]  # 512M, 2G, 1.5GiB


class Prebuilt(Definition):
    """A kernel as a Debian package."""

    package: Name  # e.g. linux-image-cloud-amd64; of a metapackage, the package that it depends on
    suite: Name | None = None  # default: the settings' suite


class Kernel(Definition):
    """kernel/<name>.yaml: either `prebuilt` or `source` with `fragments`."""

    name: Name
    summary: str
    prebuilt: Prebuilt | None = None
    source: Artifact | None = None  # a tarball of the source
    fragments: Annotated[tuple[Fragment, ...], Field(strict=False)] = ()  # kernel/fragments/<f>.config
    patches: Annotated[tuple[str, ...], Field(strict=False)] = ()  # files beside the definition, patch -p1
    # Loaded before the root disk is mounted.
    initramfs_modules: Annotated[tuple[str, ...], Field(strict=False)] = ()
    cmdline: str = ""  # added to the kernel command line
    # MiB that a node must have for this kernel to come up. The build does not use it, so it is no input.
    mem: Annotated[Mebibytes, Field(ge=1, exclude=True)] = 1

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.prebuilt is None) == (self.source is None):
            raise ValueError("exactly one of 'prebuilt' and 'source' is needed")
        if self.source and not self.fragments:
            raise ValueError("a kernel built from source needs 'fragments'")
        return self


def _full_name(text: str) -> str:
    return image_reference.parse(text).text


def _by_name(value: object) -> object:
    return {"ref": value} if isinstance(value, str) else value


class ContainerImage(Definition):
    """A container image. It is pulled by name, or made here if it has `packages`, `overlay` or `tree`."""

    ref: Annotated[str, AfterValidator(_full_name)]  # e.g. registry.k8s.io/pause:3.9@sha256:...
    suite: Name | None = None  # of `packages`; default: the settings' suite
    packages: Annotated[tuple[Name, ...], Field(strict=False)] = ()  # Debian packages, with what they need
    exclude: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    drop: Annotated[tuple[str, ...], Field(strict=False)] = ()
    overlay: Name | None = None  # unpacked over them
    tree: str | None = None  # directory beside the definition; its files come last
    entrypoint: Annotated[tuple[str, ...], Field(strict=False)] = ()
    command: Annotated[tuple[str, ...], Field(strict=False)] = ()
    env: dict[str, str] = {}
    workdir: str = ""
    user: str = ""

    @property
    def is_made_here(self) -> bool:
        """Whether the image is made here, from parts that the definition names."""
        return bool(self.packages or self.overlay or self.tree)

    @property
    def reference(self) -> image_reference.Reference:
        """Its name, in parts."""
        return image_reference.parse(self.ref)

    @model_validator(mode="after")
    def _pulled_or_made(self) -> Self:
        if self.is_made_here and (not self.reference.local or self.reference.digest):
            raise ValueError(
                f"an image made here is called {image_reference.LOCAL}/NAME:TAG, not '{self.ref}'"
            )
        own = sorted(self.model_fields_set - {"ref"})
        if own and not self.is_made_here:
            raise ValueError(
                f"'{own[0]}' is only for images made here, which need 'packages', 'overlay' or 'tree'"
            )
        return self


ContainerImages = Annotated[
    tuple[Annotated[ContainerImage, BeforeValidator(_by_name)], ...], Field(strict=False)
]


class Disk(Definition):
    """A finished disk image from outside: raw or qcow2, plain or packed with xz, zstd or gzip."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1, strict=False)]  # `url` and `file`
    sha256: Sha256 | None = None  # of what is downloaded; without it xcluster.lock must have it
    unpacked: Sha256 | None = None  # of the image in it
    member: str | None = None  # path of the image where the download is a tar
    root: Annotated[str, StringConstraints(pattern=r"^/dev/vda[0-9]*$")] = "/dev/vda"  # the root file system

    @model_validator(mode="after")
    def _whole_files(self) -> Self:
        odd = [source.text for source in self.sources if not (source.url or source.file)]
        if odd:
            raise ValueError(f"the sources of a disk are 'url' and 'file', not {', '.join(odd)}")
        if any(source.member or source.sha256 for source in self.sources):
            raise ValueError(
                "'member' and 'sha256' stand beside 'sources', not in one: all sources give the same file"
            )
        return self


class Kubernetes(Definition):
    """The memory that nodes with Kubernetes must have. The build does not use it, so it is no input."""

    mem: Annotated[Mebibytes, Field(ge=1)] = 384  # MiB of a cluster node
    control: Annotated[Mebibytes, Field(ge=1)] = 640  # MiB of vm-001, which has the control plane


def _as_usual(value: object) -> object:
    value = written.truth(value)
    return ({} if value else None) if isinstance(value, bool) else value


class Image(Definition):
    """images/<name>/image.yaml; images/<name>/rootfs/ is copied over the packages."""

    name: Name
    directory: Path
    summary: str
    extends: Name | None = None  # another image, to install `overlays` in
    disk: Disk | None = None  # a finished image from outside, instead of `packages`
    overlays: Annotated[tuple[Name, ...], Field(strict=False)] = ()  # unpacked in this order
    suite: Name | None = None  # default: the settings' suite
    packages: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    exclude: Annotated[tuple[Name, ...], Field(strict=False)] = ()  # packages never taken as a dependency
    drop: Annotated[tuple[str, ...], Field(strict=False)] = ()  # globs of paths left out
    pick: dict[
        Name, dict[str, str]
    ] = {}  # single files of packages: package -> path in it -> path in the image
    dirs: dict[str, Mode] = {}  # directories that must be there, empty ones too
    links: dict[str, str] = {}  # symbolic links, where nothing of that name is yet
    modes: dict[str, Mode] = {}  # of files that are neither 644 nor 755
    devices: dict[str, Annotated[tuple[Literal["c", "b"], int, int, Mode], Field(strict=False)]] = {}
    owners: dict[
        str, Annotated[tuple[int, int], Field(strict=False)]
    ] = {}  # [uid, gid] of what is not root's
    no_applets: Annotated[tuple[str, ...], Field(strict=False)] = ()  # busybox applets without a link
    images: ContainerImages = ()  # container images that its nodes have before the start
    # The container images of its overlays are in the image itself, not on the cluster's disk of them. This is
    # for an image that others download.
    self_contained: bool = False
    size: Size = "2G"  # of the disk, sparse
    # Its nodes run Kubernetes: true, or how much memory they must have.
    kubernetes: Annotated[Kubernetes | None, BeforeValidator(_as_usual), Field(exclude=True)] = None
    # Settings of its nodes where nothing else sets them; they count more than those of the topology.
    settings: Annotated[dict[str, Any], Field(exclude=True)] = {}

    @model_validator(mode="after")
    def _base_or_extension(self) -> Self:
        any_kind = {"summary", "name", "directory", "kubernetes", "settings"}
        lost = sorted(
            self.model_fields_set - any_kind - {"extends", "overlays", "size", "images", "self_contained"}
        )
        if self.extends and lost:
            names = ", ".join(f"'{key}'" for key in lost)
            raise ValueError(
                f"an image with 'extends' takes {names} from its base image: put the change into an overlay"
            )
        mixed = sorted(self.model_fields_set - any_kind - {"disk"})
        if self.disk and mixed:
            raise ValueError(f"an image with 'disk' is not built here: remove {', '.join(mixed)}")
        if not self.extends and not self.packages and not self.disk:
            raise ValueError("one of 'packages', 'extends' and 'disk' is needed")
        return self


KernelNeed = Annotated[str, StringConstraints(pattern=r"^([A-Z0-9_]+|own)$")]


class Overlay(Definition):
    """ovl/<name>/ovl.yaml; all keys are optional, and so is the file when there is a `tar` script."""

    name: Name
    directory: Path
    summary: str = ""
    alias: Name | None = None  # this overlay is another one under a second name
    needs: Annotated[tuple[Name, ...], Field(strict=False)] = ()  # overlays put on the ISO before this one
    suite: Name | None = None
    packages: Annotated[tuple[Name, ...], Field(strict=False)] = ()  # Debian packages put into the overlay
    exclude: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    drop: Annotated[tuple[str, ...], Field(strict=False)] = ()
    artifacts: Annotated[
        tuple[Artifact, ...], Field(strict=False)
    ] = ()  # files from outside, each with `dest`
    reads: Annotated[
        tuple[str, ...], Field(strict=False)
    ] = ()  # files of the host that its `tar` script reads
    images: ContainerImages = ()  # container images that nodes with this overlay have before the start
    image_stores: Annotated[
        tuple[Literal["containers-storage", "oci"], ...], Field(strict=False)
    ] = ()  # the forms in which it reads container images; default: containers-storage
    # Options of a kernel without which it does not work (`CONFIG_` left out); `own`: rights over the kernel.
    kernel: Annotated[tuple[KernelNeed, ...], Field(strict=False, exclude=True)] = ()
    # Paths and globs that must be in the tar of its `tar` script. If all are, its messages are only warnings.
    provides: Annotated[tuple[str, ...], Field(strict=False)] = ()
    allow_empty: bool = False  # an empty tar is meant
    # What the `tar` script may do: print errors and still end with 0 (stderr), make an empty tar (empty).
    allow: Annotated[tuple[Literal["stderr", "empty"], ...], Field(strict=False)] = ()

    @property
    def script(self) -> Path | None:
        """The overlay's `tar` script, if it has one."""
        script = self.directory / "tar"
        return script if script.is_file() else None

    @model_validator(mode="after")
    def _script_takes_packages_itself(self) -> Self:
        unused = sorted(self.model_fields_set & {"packages", "exclude", "drop", "suite"})
        if self.script and not self.alias and unused:
            names = ", ".join(f"'{key}'" for key in unused)
            raise ValueError(
                f"{names} would not be used beside a `tar` script: put the packages into another overlay, "
                "and name it in 'needs'"
            )
        return self

    @model_validator(mode="after")
    def _artifacts_have_a_place(self) -> Self:
        homeless = [artifact.name for artifact in self.artifacts if not artifact.dest]
        if homeless:
            raise ValueError(f"an artifact of an overlay needs 'dest': {', '.join(homeless)}")
        return self


class Node(Value):
    """One node of a cluster with all its settings: everything that a node backend has to know."""

    number: int  # 1-200 vm, 201-220 router, 221-240 tester
    role: Role
    mem: int  # MiB
    smp: int
    nets: tuple[int, ...]  # eth0 is on nets[0], and so on
    mtu: int
    append: str = ""  # added to the kernel command line
    kind: NodeKind = "vm"

    @property
    def name(self) -> str:
        """The hostname."""
        return node_name(self.number)

    def mac(self, net: int) -> str:
        """The MAC address on `net`; its last byte is the number, from which a guest knows who it is."""
        return f"00:00:00:01:{net:02x}:{self.number:02x}"
