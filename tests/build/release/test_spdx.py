"""The bill of materials is valid SPDX, and licences are read from copyright files without being made up."""

import importlib.metadata
import json
import zipfile
from pathlib import Path

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tasks.build.release import bill, licences, parts, spdx, wheels
from tests.conftest import ROOT

DEP5 = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: *
Copyright: 2020 A
License: GPL-2+ or Expat

Files: b/*
Copyright: 2020 B
License: Odd-1

Files: c/*
Copyright: 2020 C
License: GPL-2 and BSD-3-clause, or Expat

License: Odd-1
 Do as you
 .
 please.
"""


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("lgpl-2.1", "LGPL-2.1-only"),
        ("GFDL-1.3+", "GFDL-1.3-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Artistic", "Artistic-1.0-Perl"),
        ("public-domain", None),
        ("GPL-9", None),
        ("GPL", None),
        ("GPL-2 with OpenSSL exception", None),
        ("", None),
    ],
)
def test_names(name: str, identifier: str | None) -> None:
    assert licences.spdx_id(name) == identifier


def test_a_machine_readable_copyright_file() -> None:
    licence = licences.of_copyright("x", DEP5)
    parts = set(licence.expression.split(" AND "))
    assert {"(GPL-2.0-or-later OR MIT)", "LicenseRef-x-Odd-1"} <= parts
    assert "((GPL-2.0-only AND BSD-3-Clause) OR (MIT))" in licence.expression
    assert licence.texts == {"LicenseRef-x-Odd-1": ("Odd-1", "Do as you\n.\nplease.")}


@pytest.mark.parametrize(
    "text", ["", "free for all\n", "see /usr/share/common-licenses/GPL-2.\n", "Format: x\n"]
)
def test_other_copyright_files_are_not_guessed_at(text: str) -> None:
    licence = licences.of_copyright("x", text)
    assert licence.expression == "NOASSERTION"
    assert ("GPL-2" in licence.comment) == ("GPL-2" in text)


def materials() -> list[spdx.BuiltFile]:
    """Two artifacts that share a part."""
    libc = spdx.Component(
        "deb", "libc6", "2.36-9+deb12u1", "1" * 64, licences.of_copyright("libc6", DEP5), "arch=amd64"
    )
    epoch = spdx.Component("deb", "busybox", "1:1.35.0~4+b1", "2" * 64, licences.Licence(comment="unclear"))
    wheel = spdx.Component("pypi", "PyYAML", "6.0", "3" * 64, licences.of_python({"License": "MIT"}, []))
    unknown = spdx.Component("generic", "a b", "1", "")
    return [
        spdx.BuiltFile("b.img", "b" * 64, [libc, epoch]),
        spdx.BuiltFile("a.img", "a" * 64, [libc, wheel, unknown]),
    ]


def test_the_document_is_valid(tmp_path: Path) -> None:
    document = spdx.document("1.0", materials(), 0, "tool-1", "Apache-2.0")
    path = tmp_path / "x.spdx.json"
    path.write_text(json.dumps(document))
    assert [each.validation_message for each in validate_full_spdx_document(parse_file(str(path)))] == []
    names = [package["name"] for package in document["packages"]]
    assert sorted(names) == sorted(["xcluster", "a.img", "b.img", "libc6", "busybox", "PyYAML", "a b"])
    assert document["creationInfo"]["created"] == "1970-01-01T00:00:00Z"
    contains = {(r["spdxElementId"], r["relatedSpdxElement"]) for r in document["relationships"]}
    assert sum("libc6" in other for _, other in contains) == 2


def test_the_document_of_the_same_is_the_same() -> None:
    documents = [spdx.document("1", order, 0, "t", "MIT") for order in (materials(), materials()[::-1])]
    assert documents[0] == documents[1]
    other = spdx.document("1", materials()[:1], 0, "t", "MIT")
    assert other["documentNamespace"] != documents[0]["documentNamespace"]


def test_package_urls() -> None:
    urls = {part.purl for each in materials() for part in each.components}
    assert "pkg:deb/debian/busybox@1%3A1.35.0~4%2Bb1" in urls
    assert "pkg:pypi/pyyaml@6.0" in urls


def test_wheels(tmp_path: Path) -> None:
    for name, licence in (
        ("a", "License-Expression: MIT"),
        ("b", "License: something\nClassifier: License :: X"),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}-1.dist-info/METADATA", f"Name: {name}\nVersion: 1\n{licence}\n")
    one, other = parts.of_wheels(tmp_path)
    assert (one.name, one.version, one.licence.expression) == ("a", "1", "MIT")
    assert other.licence.expression == "NOASSERTION" and "something" in other.licence.comment


def test_the_wheels_that_are_really_used(tmp_path: Path) -> None:
    """By the metadata of what is installed here: of all that a release brings, copyleft or not."""
    used = wheels.pins(ROOT / "pyproject.toml")
    for name, version in used.items():
        metadata = importlib.metadata.distribution(name).read_text("METADATA")
        assert metadata
        with zipfile.ZipFile(tmp_path / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
    components = parts.of_wheels(tmp_path)
    expressions = {each.name.lower().replace("_", "-"): each.licence.expression for each in components}
    assert set(expressions) == set(used)
    assert expressions["certifi"] == "MPL-2.0"
    assert expressions["tqdm"] == "MPL-2.0 AND MIT"
    assert expressions["pycdlib"] == "LGPL-2.1-only"
    assert expressions["qemu.qmp"] == "GPL-2.0-only AND LGPL-2.0-or-later"
    assert expressions["pyroute2"] == "GPL-2.0-or-later OR Apache-2.0"
    unclear = {name for name, expression in expressions.items() if expression == licences.NOTHING}
    assert unclear <= {"lz4"}, "it says 'BSD License', and there are several"
    document = spdx.document("1", [spdx.BuiltFile("w", "0" * 64, components)], 0, "t", "Apache-2.0")
    path = tmp_path / "x.spdx.json"
    path.write_text(json.dumps(document))
    assert [each.validation_message for each in validate_full_spdx_document(parse_file(str(path)))] == []


@pytest.mark.parametrize(
    ("metadata", "classifiers", "expression"),
    [
        ({"License": "MPL-2.0 AND MIT"}, [], "MPL-2.0 AND MIT"),
        ({"License": "(MIT OR GPL-2.0+) AND ISC"}, [], "(MIT OR GPL-2.0-or-later) AND ISC"),
        ({"License": "MIT AND"}, [], "NOASSERTION"),
        ({"License": "MIT ISC"}, [], "NOASSERTION"),
        ({"License": "MIT and more"}, [], "NOASSERTION"),
        ({"License": "BSD"}, ["License :: OSI Approved :: MIT License"], "NOASSERTION"),
        ({}, ["License :: OSI Approved :: MIT License"], "MIT"),
        ({}, ["License :: OSI Approved :: BSD License"], "NOASSERTION"),
        (
            {},
            ["License :: OSI Approved :: MIT License", "License :: OSI Approved :: BSD License"],
            "NOASSERTION",
        ),
        ({}, [], "NOASSERTION"),
    ],
)
def test_licences_of_python(metadata: dict[str, str], classifiers: list[str], expression: str) -> None:
    """What is an expression is taken, and nothing is made of what is none."""
    assert licences.of_python(metadata, classifiers).expression == expression


def test_provenance_has_no_place_and_no_time(tmp_path: Path) -> None:
    (tmp_path / "out.tar.xz").write_bytes(b"x")
    source = bill.ReleaseSource("1.0", "c" * 40, ("a.py",), "d" * 64, {"settings": {}})
    statement = bill.provenance(source, materials(), [tmp_path / "out.tar.xz"])
    assert statement["subject"][0]["name"] == "out.tar.xz"
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert dependencies[0]["annotations"] == {"notCommitted": ["a.py"]}
    assert len(dependencies) == 1 + 3  # a part whose hash nobody knows is no dependency that one can check
    assert str(tmp_path) not in json.dumps(statement)
