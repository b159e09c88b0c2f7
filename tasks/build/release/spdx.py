"""What a release is made of, as an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/) in JSON.

No moment and no place of the build is in it: the one time that SPDX wants is the time of the artifacts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tasks.base import files
from tasks.build.release.licences import NOTHING, Licence

ROOT_ID = "SPDXRef-release"


@dataclass(frozen=True)
class Component:
    """A package from outside: a Debian package, a container image, a Python wheel, a source archive."""

    kind: str  # deb, oci, pypi or generic: the type of its package URL
    name: str
    version: str
    sha256: str  # of the file it came as; "" where it is not known
    licence: Licence = field(default_factory=Licence)
    qualifiers: str = ""  # of the package URL, as arch=amd64
    file: str = ""  # what it came as

    @property
    def purl(self) -> str:
        """Its package URL (https://github.com/package-url/purl-spec)."""
        space = "debian/" if self.kind == "deb" else ""
        tail = f"?{self.qualifiers}" if self.qualifiers else ""
        name = self.name.lower().replace("_", "-") if self.kind == "pypi" else self.name
        return f"pkg:{self.kind}/{space}{quote(name)}@{quote(self.version, safe='')}{tail}"

    @property
    def reference(self) -> str:
        """Its SPDX identifier: the same part is one package, however many artifacts have it."""
        return _id(self.kind, self.name, self.version, self.file)


@dataclass(frozen=True)
class BuiltFile:
    """A file of the release that was built here, and the parts that it was made from."""

    name: str  # its path in the release
    sha256: str
    components: Sequence[Component] = ()


def document(
    version: str, built_files: Iterable[BuiltFile], epoch: int, tool: str, licence: str
) -> dict[str, Any]:
    """The whole document."""
    built = sorted(built_files, key=lambda each: each.name)
    components = {part.reference: part for each in built for part in each.components}
    packages = [
        _package(ROOT_ID, "xcluster", version, licence, primaryPackagePurpose="ARCHIVE"),
        *(_built(each, version) for each in built),
        *(_component(components[reference]) for reference in sorted(components)),
    ]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", ROOT_ID)]
    relations += [(ROOT_ID, "CONTAINS", _id("file", each.name)) for each in built]
    relations += [
        (_id("file", each.name), "CONTAINS", reference)
        for each in built
        for reference in sorted({part.reference for part in each.components})
    ]
    name = f"xcluster-{version}"
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{files.digest([packages, relations])[:32]}",
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: {tool}"],
        },
        "packages": packages,
        "hasExtractedLicensingInfos": _texts(components.values()),
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relations
        ],
    }


def _built(file: BuiltFile, version: str) -> dict[str, Any]:
    return _package(
        _id("file", file.name),
        file.name,
        version,
        packageFileName=file.name,
        checksums=_checksums(file.sha256),
        primaryPackagePurpose="FILE",
    )


def _component(component: Component) -> dict[str, Any]:
    more: dict[str, Any] = {"checksums": _checksums(component.sha256)} if component.sha256 else {}
    if component.file:
        more["packageFileName"] = component.file
    if component.licence.comment:
        more["licenseComments"] = component.licence.comment
    link = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": component.purl,
    }
    more["externalRefs"] = [link]
    return _package(
        component.reference, component.name, component.version, component.licence.expression, **more
    )


def _package(reference: str, name: str, version: str, declared: str = NOTHING, **more: Any) -> dict[str, Any]:
    return {
        "SPDXID": reference,
        "name": name,
        "versionInfo": version,
        "downloadLocation": NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": NOTHING,
        "licenseDeclared": declared,
        "copyrightText": NOTHING,
        **more,
    }


def _checksums(sha256: str) -> list[dict[str, str]]:
    return [{"algorithm": "SHA256", "checksumValue": sha256}]


def _texts(components: Iterable[Component]) -> list[dict[str, str]]:
    """The texts of licences that SPDX has no name for."""
    texts: Mapping[str, tuple[str, str]] = {
        reference: text for each in components for reference, text in each.licence.texts.items()
    }
    return [
        {"licenseId": reference, "name": name, "extractedText": text}
        for reference, (name, text) in sorted(texts.items())
    ]


def _id(*words: str) -> str:
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(word for word in words if word))
