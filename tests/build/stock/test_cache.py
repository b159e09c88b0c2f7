"""`cache`: what is there and who needs it, what goes, and a tar of it that nobody can abuse."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Checkout, content

BODY = b"kept\n"
SHA = hashlib.sha256(BODY).hexdigest()
LISTS = "cache/apt/bookworm/state/lists/x_Release"


@pytest.fixture
def filled(checkout: Checkout) -> Checkout:
    """A cache with something that is used and something that is not."""
    text = f"artifacts:\n- {{name: tool, sha256: {SHA}, dest: bin/tool, sources: [{{file: nowhere}}]}}\n"
    checkout.write("ovl/a/ovl.yaml", text)
    checkout.write(
        "kernel/debian.yaml", "summary: k\nfragments: [f]\nsource: {name: s, sources: [{file: x}]}\n"
    )
    checkout.write("kernel/fragments/f.config", "CONFIG_X=y\n")
    checkout.write("images/base/image.yaml", "summary: i\ndisk: {sources: [{file: x}]}\n")
    checkout.write(f"workspace/cache/sha256/{SHA}", BODY.decode())
    checkout.write("workspace/cache/sha256/" + "0" * 64, "nobody's\n" * 1000)
    checkout.write("workspace/cache/sha256/" + "1" * 64 + ".part", "half\n")
    checkout.write(f"workspace/{LISTS}", "a list\n")
    checkout.write(
        "workspace/cache/apt/bookworm/etc/sources.list", "deb http://archive.invalid/debian bookworm main\n"
    )
    checkout.write("workspace/cache/apt/buzz/state/lists/x_Release", "of a suite that nobody uses\n")
    checkout.write("workspace/cache/somebody/elses", "not ours\n")
    return checkout


def test_ls(filled: Checkout) -> None:
    rows = {each["path"]: each for each in json.loads(filled.good("cache", "ls", "-o", "json").out)}
    assert rows[f"sha256/{SHA}"]["users"] == ["artifact:tool"]
    assert rows["sha256/" + "0" * 64]["users"] == []
    assert rows["apt/bookworm/state/lists"]["users"] == ["suite:bookworm"]
    assert rows["apt/buzz/state/lists"]["users"] == []
    ran = filled.good("cache", "ls")
    assert f"sha256/{SHA}" in ran.out and "artifact:tool" in ran.out and "nothing needs" in ran.err


def test_prune(filled: Checkout) -> None:
    before = content(filled.workspace / "cache")
    assert "would be freed" in filled.good("cache", "prune", "--dry-run").err
    assert content(filled.workspace / "cache") == before
    ran = filled.good("cache", "prune")
    assert "0" * 64 in ran.out and SHA not in ran.out
    left = content(filled.workspace / "cache")
    gone = {"sha256/" + "0" * 64, "sha256/" + "1" * 64 + ".part", "apt/buzz/state/lists/x_Release"}
    assert set(before) - set(left) == gone
    assert filled.good("cache", "prune").out == ""


def test_a_wrong_definition_costs_nothing(filled: Checkout) -> None:
    before = content(filled.workspace / "cache")
    filled.write("ovl/b/ovl.yaml", "nonsense: yes\n")
    filled.bad("cache", "prune", code=1, says=("ovl/b/ovl.yaml", "nonsense"))
    assert content(filled.workspace / "cache") == before
    filled.good("cache", "ls")


def test_export_and_import(filled: Checkout, tmp_path: Path) -> None:
    out = tmp_path / "all.tar"
    filled.good("cache", "export", str(out))
    first = out.read_bytes()
    filled.good("cache", "export", str(out))
    assert out.read_bytes() == first, "the same cache gives the same bytes"
    with tarfile.open(out) as tar:
        names = set(tar.getnames())
    assert names >= {f"cache/sha256/{SHA}", LISTS, "cache/apt/bookworm/etc/sources.list"}
    assert not [name for name in names if name.endswith((".part", "elses"))]


def test_a_cache_taken_to_another_place(filled: Checkout, tmp_path: Path) -> None:
    """With what came along, a build there needs no network."""
    filled.write("workspace/cache/sha256/" + "0" * 64, "")
    (filled.workspace / "cache/sha256" / ("0" * 64)).unlink()
    filled.good("cache", "export", str(tmp_path / "all.tar"))
    env = {"XCLUSTER_WORKSPACE": str(tmp_path / "other"), "__offline": "yes"}
    filled.good("cache", "import", str(tmp_path / "all.tar"), env=env)
    assert (tmp_path / "other/cache/sha256" / SHA).read_bytes() == BODY
    listed = (tmp_path / "other/cache/apt/bookworm/etc/sources.list").read_text()
    assert "http://archive.invalid/debian bookworm main" in listed
    filled.good("artifact:tool", env=env)
    assert not (tmp_path / "other/cache/import").exists()


def tar(path: Path, name: str, data: bytes = b"evil", kind: bytes = tarfile.REGTYPE) -> Path:
    """A good entry, and then this one."""
    with tarfile.open(path, "w") as out:
        listed = json.dumps([f"sha256/{SHA}", name.removeprefix("cache/")]).encode()
        good = [
            ("cache/contents.json", listed, tarfile.REGTYPE),
            (f"cache/sha256/{SHA}", BODY, tarfile.REGTYPE),
        ]
        for each, body, type_ in (*good, (name, data, kind)):
            entry = tarfile.TarInfo(each)
            entry.type, entry.linkname, entry.size = (
                type_,
                "/etc/passwd",
                len(body) * (type_ == tarfile.REGTYPE),
            )
            out.addfile(entry, io.BytesIO(body))
    return path


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("../evil", b"evil", tarfile.REGTYPE),
        ("/tmp/xc-evil", b"evil", tarfile.REGTYPE),
        ("cache/../../evil", b"evil", tarfile.REGTYPE),
        ("cache/sha256/../../evil", b"evil", tarfile.REGTYPE),
        ("cache/go/mod/cache/download/../../../../../../evil", b"evil", tarfile.REGTYPE),
        ("cache/apt/bookworm/state/lists/../../../../evil", b"evil", tarfile.REGTYPE),
        ("cache/somebody/elses", b"evil", tarfile.REGTYPE),
        ("cache/apt/bookworm/etc/apt.conf", b"evil", tarfile.REGTYPE),
        ("cache/sha256/" + "2" * 64, b"another content", tarfile.REGTYPE),
        ("cache/sha256/" + "2" * 64, b"", tarfile.SYMTYPE),
        ("cache/sha256/" + "2" * 64, b"", tarfile.LNKTYPE),
        (
            "cache/apt/bookworm/etc/sources.list",
            b"deb [trusted=yes] http://evil/ bookworm main\n",
            tarfile.REGTYPE,
        ),
        ("cache/apt/bookworm/etc/sources.list", b"deb http://evil/ bookworm main\nAPT::x\n", tarfile.REGTYPE),
    ],
)
def test_a_tar_that_export_did_not_write(
    checkout: Checkout, tmp_path: Path, name: str, data: bytes, kind: bytes
) -> None:
    """All or nothing: not even the good entry before it is taken."""
    checkout.good("cache", "ls")
    before = content(tmp_path)
    path = tar(tmp_path / "bad.tar", name, data, kind)
    checkout.bad("cache", "import", str(path), code=1, says=("nothing was imported", str(path)))
    after = content(tmp_path)
    assert {name for name in set(after) - set(before) if ".db" not in name} == {"bad.tar"}
    assert not Path("/tmp/xc-evil").exists()


@pytest.mark.parametrize("data", [b"", b"garbage" * 500])
def test_no_tar(checkout: Checkout, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    checkout.bad("cache", "import", str(tmp_path / "x.tar"), code=1, says=("it is no tar file",))
    checkout.bad("cache", "import", str(tmp_path / "none.tar"), code=1, says=("no file",))


def test_a_tar_cut_off(filled: Checkout, tmp_path: Path) -> None:
    out = tmp_path / "all.tar"
    filled.good("cache", "export", str(out))
    out.write_bytes(out.read_bytes()[:1100])
    env = {"XCLUSTER_WORKSPACE": str(tmp_path / "other")}
    filled.bad("cache", "import", str(out), code=1, says=("nothing was imported",), env=env)
    assert not (tmp_path / "other/cache/sha256").exists()


def test_wrong_words(checkout: Checkout) -> None:
    checkout.bad("cache", "lss", code=1, says=("Ovl not found [lss]", "did you mean `xc cache ls`?"))
    checkout.bad("cache", "export", code=2, says=("FILE",))
    checkout.bad("cache", "ls", "x", code=2, says=("'cache ls' takes other arguments than: x",))
    checkout.bad("cache", code=1, says=("No ovls",))
    checkout.bad("cache", "ls", "-o", "yaml", code=2, says=("json",))


def test_an_export_to_a_full_disk(filled: Checkout, tiny_disk: Path) -> None:
    filled.write("workspace/cache/sha256/" + "3" * 64, "x" * 200_000)
    filled.bad("cache", "export", str(tiny_disk / "x.tar"), code=1, says=("disk is full",))
    assert list(tiny_disk.iterdir()) == []
