"""Licences of Debian packages: their copyright files, read as SPDX expressions as far as that can be done.

Machine-readable files (DEP-5) name each licence; other files are only searched for the common licences they
point to, which proves nothing, so these are told in a comment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# Debian's short names that SPDX calls otherwise; in lower case.
_NAMES = {
    "expat": "MIT", "mit": "MIT", "mit/x11": "MIT", "x11": "X11", "isc": "ISC", "zlib": "Zlib",
    "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause",
    "apache-2.0": "Apache-2.0", "apache-2": "Apache-2.0", "artistic": "Artistic-1.0-Perl",
    "artistic-2.0": "Artistic-2.0", "mpl-1.1": "MPL-1.1", "mpl-2.0": "MPL-2.0", "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0", "openssl": "OpenSSL", "curl": "curl", "0bsd": "0BSD", "fsfap": "FSFAP",
    "fsful": "FSFUL", "fsfullr": "FSFULLR", "unlicense": "Unlicense", "bsl-1.0": "BSL-1.0",
    "psf-2": "PSF-2.0", "psf-2.0": "PSF-2.0", "mit-0": "MIT-0",
    "python-2.0": "Python-2.0", "ofl-1.1": "OFL-1.1", "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0", "cc-by-3.0": "CC-BY-3.0", "cc-by-sa-3.0": "CC-BY-SA-3.0",
}  # fmt: skip
# What Python's classifiers say, where they say which version.
_CLASSIFIERS = {
    "MIT License": "MIT", "ISC License (ISCL)": "ISC", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
}  # fmt: skip
_VERSIONS = {
    "gpl": ("1.0", "2.0", "3.0"),
    "lgpl": ("2.0", "2.1", "3.0"),
    "agpl": ("1.0", "3.0"),
    "gfdl": ("1.1", "1.2", "1.3"),
}
_GNU = re.compile(r"(a?gpl|lgpl|gfdl)-v?([0-9](?:\.[0-9])?)(?:\.0)?(\+|-or-later|-only)?")
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])")
NOTHING = "NOASSERTION"


@dataclass(frozen=True)
class Licence:
    """What a package declares: an SPDX expression, the texts of names SPDX lacks, and a comment."""

    expression: str = NOTHING
    texts: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # reference -> (name, text)
    comment: str = ""


def spdx_id(name: str) -> str | None:
    """SPDX's identifier for one of Debian's short names; None when there is none."""
    match = _GNU.fullmatch(name.lower())
    if match:
        family, number, later = match.groups()
        version = number if "." in number else f"{number}.0"
        kind = "only" if later in (None, "-only") else "or-later"
        return f"{family.upper()}-{version}-{kind}" if version in _VERSIONS[family] else None
    return _NAMES.get(name.lower())


def of_copyright(package: str, text: str) -> Licence:
    """The licence that a copyright file declares."""
    paragraphs = _paragraphs(text)
    clauses = [paragraph["license"].splitlines()[0].strip() for paragraph in paragraphs if _names(paragraph)]
    if not text.lower().startswith("format") or not clauses:
        common = sorted(set(_COMMON.findall(text)))
        where = f"usr/share/doc/{package}/copyright of the package is not machine-readable"
        return Licence(comment=f"{where}; it points to: {', '.join(common)}" if common else where)
    bodies = {
        first.strip().lower(): rest.strip()
        for paragraph in paragraphs
        if "license" in paragraph
        for first, _, rest in [paragraph["license"].partition("\n")]
        if rest.strip()
    }
    texts: dict[str, tuple[str, str]] = {}
    parts = {_expression(clause, package, bodies, texts): None for clause in clauses}
    joined = " AND ".join(
        sorted(f"({part})" if " OR " in part and len(parts) > 1 else part for part in parts)
    )
    return Licence(joined, texts)


def of_python(metadata: Mapping[str, str | None], classifiers: list[str]) -> Licence:
    """The licence in the metadata of a Python package."""
    expression = metadata.get("License-Expression")
    if expression:
        return Licence(expression)
    text = (metadata.get("License") or "").strip()
    expression = _of_words(text)
    if expression:
        return Licence(expression)
    names = [each.rpartition(" :: ")[2] for each in classifiers]
    expressions = [_CLASSIFIERS[name] for name in names if name in _CLASSIFIERS]
    if names and len(expressions) == len(names) and not text:
        return Licence(
            " AND ".join(sorted(set(expressions))), comment=f"by its classifiers: {'; '.join(names)}"
        )
    words = [text.splitlines()[0]] if text else names
    return Licence(comment=f"the package says: {'; '.join(words)}" if words else "")


def _of_words(text: str) -> str | None:
    """An expression that stands where only a name was meant to stand; None for what is none."""
    words = [
        word if word in ("(", ")", "AND", "OR") else spdx_id(word)
        for word in re.findall(r"[()]|[^\s()]+", text)
    ]
    if None in words:
        return None
    shape = " ".join("x" if word not in ("(", ")", "AND", "OR") else word for word in words if word)
    before = ""
    while shape != before:
        before, shape = shape, re.sub(r"\bx (AND|OR) x\b|\( x \)", "x", shape, count=1)
    return " ".join(map(str, words)).replace("( ", "(").replace(" )", ")") if shape == "x" else None


def _names(paragraph: Mapping[str, str]) -> bool:
    """Whether a paragraph says which licence files have; those with only a text explain a name."""
    return bool(paragraph.get("license", "").strip()) and ("files" in paragraph or "format" in paragraph)


def _paragraphs(text: str) -> list[dict[str, str]]:
    """The fields of each paragraph by name in lower case."""
    paragraphs: list[dict[str, str]] = [{}]
    name = ""
    for line in text.splitlines():
        if not line.strip():
            paragraphs.append({})
            name = ""
        elif line[0] in " \t":
            if name:
                paragraphs[-1][name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            paragraphs[-1][name] = value.strip()
    return [paragraph for paragraph in paragraphs if paragraph]


def _expression(
    clause: str, package: str, bodies: Mapping[str, str], texts: dict[str, tuple[str, str]]
) -> str:
    """One License field as an expression; a comma binds least, as Debian's policy has it."""
    whole = re.split(r",\s*(and|or)\s+", clause)
    if len(whole) > 1:
        parts = [f"({_expression(part, package, bodies, texts)})" for part in whole[::2]]
        words = [word.upper() for word in whole[1::2]]
        return " ".join(each for pair in zip(parts, [*words, ""], strict=True) for each in pair if each)
    words = re.split(r"\s+(and|or)\s+", clause.strip().rstrip(","))
    return " ".join(
        word.upper() if at % 2 else spdx_id(word) or _reference(word, package, bodies, texts)
        for at, word in enumerate(words)
    )


def _reference(name: str, package: str, bodies: Mapping[str, str], texts: dict[str, tuple[str, str]]) -> str:
    """A name of our own for a licence that SPDX has none for."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", f"{package}-{name}").strip("-.")
    reference = f"LicenseRef-{plain}"
    text = bodies.get(name.lower()) or f"see usr/share/doc/{package}/copyright of the package"
    texts[reference] = (name, text)
    return reference
