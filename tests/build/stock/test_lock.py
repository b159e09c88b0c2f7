"""xcluster.lock: what is pinned, compared and accepted; and `fetch`."""

import hashlib
import json
import lzma
import time
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.build.sources import apt
from tasks.definitions import lockfile
from tests.build.sources.test_apt import Debian, archive, debian  # noqa: F401
from tests.conftest import Checkout
from tests.webserver import Server, serving

TOOL = b"a tool\n"
DISK = lzma.compress(bytes(range(256)) * 4096)
ENV = {"no_proxy": "127.0.0.1"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server(checkout: Checkout) -> "object":
    """A tool and a disk on a server, and definitions that name them; nothing that needs Debian."""
    with serving(DISK) as web:
        web.does["/tool"] = lambda handler: handler.reply(200, TOOL)
        files.remove(checkout.root / "kernel/debian.yaml")
        files.remove(checkout.root / "images")
        checkout.write("kernel/fragments/f.config", "CONFIG_X=y\n")
        checkout.write(
            "kernel/debian.yaml",
            "summary: k\nfragments: [f]\nsource:\n  name: src\n  sources: [{file: nothing}]\n",
        )
        checkout.write("images/base/image.yaml", disk(web, sha(DISK)))
        checkout.write("ovl/a/ovl.yaml", tool(web, sha(TOOL)))
        yield web


def tool(server: Server, sha256: str) -> str:
    source = f"{{url: '{server.url}/tool'}}"
    return f"artifacts:\n- {{name: tool, sha256: {sha256}, dest: bin/tool, sources: [{source}]}}\n"


def disk(server: Server, sha256: str = "") -> str:
    checksum = f"  sha256: {sha256}\n" if sha256 else ""
    return f"summary: s\ndisk:\n  sources: [{{url: '{server.url}/hd.xz'}}]\n{checksum}"


def lock(checkout: Checkout) -> dict[str, dict[str, object]]:
    return files.read_json(checkout.root / lockfile.FILE)


@pytest.fixture(autouse=True)
def no_lists(checkout: Checkout) -> None:
    """The suite of the settings counts as fetched: no test here needs a package."""
    lists = checkout.workspace / "cache/apt/bookworm/state/lists"
    lists.mkdir(parents=True)
    (lists / "x_Release").write_text("none\n")


def test_what_is_pinned(checkout: Checkout, server: Server) -> None:
    ran = checkout.good("lock", env=ENV)
    assert "1 artifacts, 1 images, 0 packages; written" in ran.err
    key = f"tool {server.url}/tool"
    assert lock(checkout)["artifacts"][key] == {"sha256": sha(TOOL), "url": f"{server.url}/tool"}
    assert lock(checkout)["images"]["base"] == {"sha256": sha(DISK), "url": f"{server.url}/hd.xz"}
    assert server.requests == [], "what the definitions say need not be fetched"
    before = (checkout.root / lockfile.FILE).read_bytes()
    ran = checkout.good("lock", "-o", "json", env=ENV)
    assert "as it was" in ran.err
    facts = json.loads(ran.out)
    assert (facts["file"], facts["changed"], facts["written"]) == ("xcluster.lock", False, False)
    assert (facts["artifacts"], facts["images"], facts["packages"]) == (1, 1, 0)
    checkout.good("lock", "--check", env=ENV)
    assert (checkout.root / lockfile.FILE).read_bytes() == before
    checkout.good("artifact:tool", "image:base", env=ENV)


def test_a_definition_that_changed(checkout: Checkout, server: Server) -> None:
    checkout.good("lock", env=ENV)
    other = b"another tool\n"
    server.does["/tool"] = lambda handler: handler.reply(200, other)
    checkout.write("ovl/a/ovl.yaml", tool(server, sha(other)))
    both = (sha(TOOL), sha(other), "xc lock --update tool")
    checkout.bad("artifact:tool", code=1, says=both, env=ENV)
    checkout.bad("lock", code=1, says=both[:2], env=ENV)
    checkout.bad("lock", "--check", code=1, says=both[:2], env=ENV)
    checkout.good("lock", "--update", "tool", env=ENV)
    assert checkout.good("artifact:tool", env=ENV).tasks == {"artifact:tool"}
    assert checkout.good("artifact:tool", env=ENV).tasks == set()


def test_what_is_gone_is_forgotten(checkout: Checkout, server: Server) -> None:
    checkout.good("lock", env=ENV)
    checkout.write("ovl/a/ovl.yaml", "summary: nothing\n")
    checkout.bad("lock", "--check", code=1, says=("exactly",), env=ENV)
    checkout.good("lock", env=ENV)
    assert lock(checkout)["artifacts"] == {}


def test_trust_on_first_use_has_to_be_asked_for(checkout: Checkout, server: Server) -> None:
    checkout.write("images/base/image.yaml", disk(server))
    ran = checkout.good("lock", env=ENV)
    assert "not pinned: base" in ran.err and server.requests == []
    checkout.bad("image:base", code=1, says=("disk.sha256", "xc lock base"), env=ENV)
    checkout.good("lock", "base", env=ENV)
    assert lock(checkout)["images"]["base"]["sha256"] == sha(DISK)  # type: ignore[index]
    checkout.good("image:base", env=ENV)
    assert server.requests == ["/hd.xz"], "what was fetched to be pinned is what is built from"
    again = lzma.compress(b"another" * 100_000)
    server.body = again
    checkout.good("lock", env=ENV)
    assert lock(checkout)["images"]["base"]["sha256"] == sha(DISK)  # type: ignore[index]
    checkout.good("lock", "--update", "base", env=ENV)
    assert lock(checkout)["images"]["base"]["sha256"] == sha(again)  # type: ignore[index]


def test_other_bytes_at_the_source(checkout: Checkout, server: Server) -> None:
    checkout.write("images/base/image.yaml", disk(server))
    checkout.good("lock", "base", env=ENV)
    files.remove(checkout.workspace / "cache/sha256")
    server.body = lzma.compress(b"replaced" * 100_000)
    says = ("not the expected content", sha(DISK), sha(server.body))
    checkout.bad("image:base", code=1, says=says, env=ENV)


@pytest.mark.parametrize("text", ["{", "[]", '{"nothing": {}}', '{"images": []}', ""])
def test_a_damaged_lock(checkout: Checkout, server: Server, text: str) -> None:
    checkout.write(lockfile.FILE, text)
    checkout.bad("image:base", code=1, says=(lockfile.FILE, "damaged", "git"), env=ENV)
    checkout.good("status")


def test_wrong_names(checkout: Checkout, server: Server) -> None:
    checkout.bad("lock", "tol", code=2, says=("unknown input 'tol'", "Did you mean 'tool'"), env=ENV)
    checkout.bad("lock", "--nonsense", code=2, says=("--update", "--check"), env=ENV)


def test_fetch_then_offline(checkout: Checkout, server: Server) -> None:
    (checkout.root / "kernel/nothing").write_text("a source\n")
    checkout.good("fetch", env=ENV)
    server.body = b"gone"
    server.does["/tool"] = lambda handler: handler.reply(404)
    checkout.good("artifact:tool", "image:base", env={**ENV, "__offline": "yes"})
    assert sorted(server.requests) == ["/hd.xz", "/tool"]


def test_fetch_gets_what_it_can(checkout: Checkout, server: Server) -> None:
    """One source that is down does not keep the rest from coming, and an open definition is no failure."""
    (checkout.root / "kernel/nothing").write_text("a source\n")
    server.does["/tool"] = lambda handler: handler.reply(404)
    checkout.bad("fetch", code=1, says=("artifact:tool", "404"), env=ENV)
    assert (checkout.workspace / "cache/sha256" / sha(DISK)).is_file()
    checkout.write("ovl/a/ovl.yaml", "summary: nothing\n")
    checkout.write("images/base/image.yaml", disk(server))
    ran = checkout.good("fetch", env=ENV)
    assert "left out: image base has no sha256" in ran.err and "images/base/image.yaml" in ran.err


def test_packages(archive: apt.Archive, debian: Debian) -> None:  # noqa: F811
    """As long as all are what is locked, nothing is said; a newer one has to be accepted."""
    from dataclasses import replace

    planned = apt.planned(archive, ["tool"])
    assert [(p.name, p.version) for p in planned] == [("base", "1"), ("lib", "2:1.5-3"), ("tool", "1")]
    assert not any(Path(p.path).exists() for p in planned), "nothing was downloaded"
    locked = {p.name: {"version": p.version, "sha256": p.sha256} for p in planned}
    held = replace(archive, locked=locked)
    assert [p.name for p in apt.fetch(held, ["tool"])] == ["base", "lib", "tool"]
    time.sleep(1.01)  # apt asks "If-Modified-Since"
    debian.add("lib", "2:1.6-1", "base")
    debian.publish()
    apt.refresh(archive)
    with pytest.raises(UserError) as caught:
        apt.fetch(held, ["tool"])
    for part in ("lib: version", "locked 2:1.5-3, now 2:1.6-1", str(locked["lib"]["sha256"]), "--update lib"):
        assert part in str(caught.value)


def test_packages_that_the_lock_does_not_know(
    archive: apt.Archive,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dataclasses import replace

    apt.fetch(replace(archive, locked={"base": {}}), ["tool"])
    assert "not in xcluster.lock yet: lib tool" in capsys.readouterr().err


def test_the_file_is_made_for_people_who_review_it(checkout: Checkout, server: Server) -> None:
    checkout.good("lock", env=ENV)
    text = (checkout.root / lockfile.FILE).read_text()
    assert json.loads(text) == lock(checkout) and text.endswith("\n") and text.count("\n") > 8
