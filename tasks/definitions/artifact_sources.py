"""The keys with which a definition describes artifacts (files from outside) and their sources."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from tasks.definitions import written

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
ModulePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~/-]*$")]
ModuleVersion = Annotated[str, StringConstraints(pattern=r"^v[0-9][A-Za-z0-9.+-]*$")]
ModuleDirectory = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$")]


class Value(BaseModel):
    """Strict and immutable, so that it can be an input of a task."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Definition(Value):
    """What is read from a YAML file."""

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: Any) -> Any:
        """Scalars of a file as the keys take them. A key without a value is as if it were not there."""
        if not isinstance(data, dict):
            return data
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        return {
            str(key): written.fitted(fields[key].annotation, value) if key in fields else value
            for key, value in data.items()
            if value is not None or key not in fields
        }


class GoModule(Definition):
    """A command of a Go module, to be compiled; exactly one of `module`, `directory`."""

    module: ModulePath | None = None  # e.g. github.com/coredns/coredns
    version: ModuleVersion | None = None  # e.g. v1.10.1; without it xcluster.lock must have the version
    directory: ModuleDirectory | None = None  # a module of ours beside the definition, pinned by its go.sum
    command: ModuleDirectory = "."  # directory in the module; with `directory`, or a package that it requires
    variables: dict[str, str] = {}  # strings that are set in the program: PACKAGE.NAME to value

    @property
    def text(self) -> str:
        """The module in one word, for messages."""
        return self.directory or f"{self.module}" + (f"@{self.version}" if self.version else "")

    @model_validator(mode="after")
    def _one_module(self) -> Self:
        if (self.module is None) == (self.directory is None):
            raise ValueError("exactly one of 'module' and 'directory' is needed")
        if self.directory and self.version:
            raise ValueError("'version' goes with 'module' only: a 'directory' has no version")
        return self


class Source(Definition):
    """One place that an artifact can come from: exactly one of `deb`, `url`, `file`, `go`, `gobin`."""

    deb: Name | None = None  # a Debian package, verified by apt
    suite: Name | None = None  # of `deb`; default: the settings' suite
    member: str | None = None  # path of the file inside the package, or in a tar or zip from `url` or `file`
    url: str | None = None  # http, https or file URL
    file: str | None = None  # path; relative to the directory of the definition
    go: GoModule | None = None  # a command of a Go module, built here
    gobin: Name | None = None  # a program in $GOPATH/bin: what the user has built
    # Of what this source gives, where sources give different bytes; with `member`, of the archive.
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.deb, self.url, self.file, self.go, self.gobin)) != 1:
            raise ValueError("exactly one of 'deb', 'url', 'file', 'go' and 'gobin' is needed")
        if self.deb and not self.member:
            raise ValueError("'deb' needs 'member', the path of the file in the package")
        if self.member and (self.go or self.gobin):
            raise ValueError("'member' (a file inside an archive) does not go with 'go' or 'gobin'")
        if self.member and self.url and not self.sha256:
            raise ValueError("a 'url' with 'member' needs 'sha256' beside it: the sha256 of the archive")
        return self

    @property
    def text(self) -> str:
        """The source in one word, for messages."""
        if self.go:
            return f"go:{self.go.text}"
        if self.gobin:
            return f"gobin:{self.gobin}"
        return f"deb:{self.deb}" if self.deb else self.url or f"file:{self.file}"


class Artifact(Definition):
    """A file from outside: its sources are tried in order; the content is always the same."""

    name: Name
    sources: Annotated[tuple[Source, ...], Field(min_length=1, strict=False)]
    sha256: Sha256 | None = None  # of the file; needed for `url`
    dest: str | None = None  # where an overlay puts it, e.g. usr/bin/tool
    executable: bool = False  # in the overlay

    @model_validator(mode="after")
    def _url_is_fixed(self) -> Self:
        if self.sha256 is None and any(source.url and not source.sha256 for source in self.sources):
            raise ValueError("a 'url' source needs 'sha256'")
        return self
