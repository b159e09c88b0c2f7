"""Registries as they are: logins, indexes and blobs that are odd or wrong, from servers on loopback."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.containers import oci, pull
from tasks.build.containers.registry_places import RegistryAccess
from tasks.build.sources import web
from tasks.project.site import Site
from tests.containers import image, tar
from tests.servers import Reply, Web, as_json, certificate
from tests.servers import web as served

LAYER = tar(("a", "content"))
BASIC = base64.b64encode(b"me:secret").decode()


@dataclass
class Registry:
    """Serves an image; `before` may answer in its place."""

    layout: oci.Layout
    top: str = ""
    before: Any = None  # as Web.act, but None passes the request on
    authorized: str = ""  # the Authorization that is asked for
    challenge: str = ""
    tokens: list[Mapping[str, str]] = field(default_factory=list)

    def act(self, state: Web, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """An answer."""
        reply: Reply | None = self.before(state, method, path, headers) if self.before else None
        if reply:
            return reply
        if self.authorized and headers.get("Authorization") != self.authorized:
            scheme = "https" if state.tls else "http"
            challenge = self.challenge.replace("TOKEN", f"{scheme}://localhost:{state.port}/token")
            return 401, {"WWW-Authenticate": challenge} if challenge else {}, b"{}"
        digest = path.rpartition("/")[2]
        blob = self.layout.blob(digest if ":" in digest else self.top)
        if not blob.is_file():
            return 404, {}, b"{}"
        data = blob.read_bytes()
        return 200, {"Content-Type": "application/octet-stream"}, data


@dataclass
class Bench:
    """A workspace, and a registry to pull from."""

    site: Site
    registry: Registry

    def pull(self, top: str, *, tls: Any = None, insecure: str = "", seconds: float = 10) -> Web:
        """Pull the image that a tag stands for."""
        self.registry.top = top
        state = served(self.registry.act, tls)
        access = RegistryAccess.of("", insecure.replace("PORT", str(state.port)), seconds)
        host = "localhost" if tls else "127.0.0.1"
        pull.fetch(f"{host}:{state.port}/it:1", access, self.site)
        return state

    def fails(self, top: str, *says: str, **how: Any) -> str:
        """The same, and it fails with these words."""
        with pytest.raises(UserError) as caught:
            self.pull(top, **how)
        assert [text for text in says if text not in str(caught.value)] == [], str(caught.value)
        assert not list(self.site.workspace.pulled("x").parent.glob("*.json"))
        return str(caught.value)

    def digest(self) -> str:
        """The manifest that was pulled."""
        (stamp,) = self.site.workspace.pulled("x").parent.glob("*.json")
        return str(files.read_json(stamp)["digest"])

    def put(self, value: Any) -> str:
        """A manifest or an index, by digest."""
        return self.registry.layout.put(json.dumps(value).encode())

    def entry(self, digest: str, **more: Any) -> dict[str, Any]:
        """A descriptor in an index."""
        size = self.registry.layout.blob(digest).stat().st_size
        return {"mediaType": oci.MANIFEST, "digest": digest, "size": size, **more}

    def index(self, *entries: Any) -> str:
        """An index."""
        return self.put({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": list(entries)})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A workspace, a registry and a home without logins."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(web, "PAUSE", 0.01)
    return Bench(Site(Workspace(tmp_path / "w"), "bookworm"), Registry(oci.Layout(tmp_path / "there")))


def mine(bench: Bench, **how: Any) -> str:
    """An image for our platform."""
    return image(bench.registry.layout, LAYER, **how)


def platform(architecture: str, **more: str) -> dict[str, Any]:
    """The key of an index."""
    return {"platform": {"os": "linux", "architecture": architecture, **more}}


# Images of other platforms, and indexes.


@pytest.mark.parametrize("architecture", ["arm64", "386", "riscv64"])
def test_another_architecture_is_refused(bench: Bench, architecture: str) -> None:
    bench.fails(mine(bench, arch=architecture), f"no image for linux/amd64, only for: linux/{architecture}")
    assert len(list((bench.site.workspace.oci / "blobs/sha256").iterdir())) == 2, "no layer was fetched"


def test_an_old_name_of_our_architecture(bench: Bench) -> None:
    bench.pull(mine(bench, arch="x86_64"))


def test_a_variant_is_taken_last(bench: Bench) -> None:
    plain, third = mine(bench), image(bench.registry.layout, tar(("a", "v3")))
    bench.pull(
        bench.index(
            bench.entry(third, **platform("amd64", variant="v3")), bench.entry(plain, **platform("amd64"))
        )
    )
    assert bench.digest() == plain


def test_an_entry_without_a_platform(bench: Bench) -> None:
    """What it is for stands in its config."""
    other, plain = mine(bench, arch="arm64"), mine(bench)
    bench.pull(bench.index(bench.entry(other), bench.entry(plain)))
    assert bench.digest() == plain
    shapes: list[dict[str, Any]] = [{"platform": None}, {"platform": {}}, {"platform": {"os": "linux"}}]
    for number, shape in enumerate(shapes):
        again = Bench(Site(Workspace(bench.site.workspace.root / str(number)), "bookworm"), bench.registry)
        again.pull(bench.index(bench.entry(plain, **shape)))
        assert again.digest() == plain


def test_an_index_that_lies(bench: Bench) -> None:
    bench.fails(
        bench.index(bench.entry(mine(bench, arch="arm64"), **platform("amd64"))), "only for: linux/arm64"
    )


def test_attestations_are_none(bench: Bench) -> None:
    plain = mine(bench)
    note = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    first, second = {**note, **platform("unknown", os="unknown")}, {**note, **platform("amd64")}
    bench.pull(
        bench.index(
            bench.entry(plain, **first), bench.entry(plain, **second), bench.entry(plain, **platform("amd64"))
        )
    )
    assert bench.digest() == plain
    other = Bench(Site(Workspace(bench.site.workspace.root / "o"), "bookworm"), bench.registry)
    other.fails(bench.index(bench.entry(plain, **second)), "only for: nothing")


def test_an_index_in_an_index(bench: Bench) -> None:
    plain = mine(bench)
    inner = bench.index(
        bench.entry(mine(bench, arch="arm64"), **platform("arm64")), bench.entry(plain, **platform("amd64"))
    )
    bench.pull(bench.index(bench.entry(inner, mediaType=oci.INDEX)))
    assert bench.digest() == plain


def test_indexes_without_end(bench: Bench) -> None:
    top = mine(bench)
    for _ in range(9):
        top = bench.index(bench.entry(top))
    bench.fails(top, "is an index in an index")


def test_an_index_whose_entries_are_damaged(bench: Bench) -> None:
    plain = bench.entry(mine(bench), **platform("amd64"))
    bench.fails(bench.put({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": {}}), "a damaged index")
    bench.fails(bench.index("x"), "a damaged index")
    bench.fails(bench.index({**plain, "digest": "sha256:xyz"}), "an invalid descriptor")
    bench.fails(bench.index({**plain, "digest": f"sha512:{'0' * 128}"}), "sha512 is not supported")
    bench.fails(bench.index({**plain, "digest": f"md5:{'0' * 32}"}), "md5 is not supported")
    bench.fails(bench.index({**plain, "digest": "sha256:../../../etc/passwd"}), "an invalid descriptor")
    bench.fails(bench.index(), "only for: nothing")


def changed(bench: Bench, **keys: Any) -> str:
    """The manifest of an image with other keys."""
    value = bench.registry.layout.json(mine(bench))
    return bench.put({**value, **keys})


def layer(bench: Bench, **keys: Any) -> str:
    """The manifest of an image whose layer has another descriptor."""
    (entry,) = bench.registry.layout.json(mine(bench))["layers"]
    return changed(bench, layers=[{**entry, **keys}])


def test_damaged_manifests(bench: Bench) -> None:
    bench.fails(changed(bench, layers=None), "is not a container image that can be used here")
    bench.fails(changed(bench, layers=[]), "does not list its layers")
    bench.fails(layer(bench, size=-1), "an invalid descriptor")
    bench.fails(layer(bench, size=True), "an invalid descriptor")
    bench.fails(layer(bench, size="9"), "an invalid descriptor")
    bench.fails(changed(bench, layers=["x"]), "an invalid descriptor")
    bench.fails(
        bench.put({"schemaVersion": 1, "name": "it", "fsLayers": []}), "schemaVersion 1", "skopeo copy"
    )
    bench.fails(bench.registry.layout.put(b"<html>"), "expected JSON, got b'<html>'")
    bench.fails(bench.registry.layout.put(b"[]"), "expected a JSON object")


def test_what_is_no_image(bench: Bench) -> None:
    """A chart of Helm has a config too."""
    config = bench.registry.layout.put(b'{"name": "chart"}')
    kind = "application/vnd.cncf.helm.config.v1+json"
    bench.fails(
        changed(bench, config=bench.entry(config, mediaType=kind)), "is not a container image", "helm"
    )


def test_blobs_of_another_size(bench: Bench) -> None:
    (entry,) = bench.registry.layout.json(mine(bench))["layers"]
    bench.fails(
        layer(bench, size=entry["size"] - 1), "not the expected content", f"it has {entry['size']} bytes"
    )
    bench.fails(layer(bench, size=entry["size"] + 1), "not the expected content")
    assert not [
        path for path in (bench.site.workspace.oci / "blobs/sha256").iterdir() if len(path.name) != 64
    ]


def test_a_blob_that_never_ends(bench: Bench) -> None:
    """It is not read further than it should be."""
    top = mine(bench)
    (entry,) = bench.registry.layout.json(top)["layers"]

    def before(_: Web, __: str, path: str, ___: Any) -> Reply | None:
        return (200, {}, bytes(50 << 20)) if path.endswith(entry["digest"]) else None

    bench.registry.before = before
    bench.fails(top, "not the expected content", f"{entry['size']} bytes are right")


def test_a_blob_that_is_missing(bench: Bench) -> None:
    top = mine(bench)
    bench.registry.layout.blob(bench.registry.layout.json(top)["layers"][0]["digest"]).unlink()
    bench.fails(top, "no registry has", "404")


def test_a_layer_that_is_elsewhere(bench: Bench) -> None:
    """Layers that registries may not pass on have URLs."""
    blob = bench.registry.layout.blob(bench.registry.layout.json(mine(bench))["layers"][0]["digest"])
    data = blob.read_bytes()
    place = served(lambda *_: (200, {}, data))
    top = layer(bench, urls=["http://127.0.0.1:9/gone", f"http://{place.host}/layer"])
    blob.unlink()
    bench.pull(top)
    assert place.requests == ["GET /layer"]


def test_a_manifest_without_end(bench: Bench) -> None:
    bench.registry.before = lambda *_: (200, {}, b" " * (5 << 20))
    bench.fails(mine(bench), "the manifest of 1 is larger than 4194304 bytes")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_content_encoding_of_blobs(bench: Bench, encoding: str) -> None:
    """A proxy says that layers are packed for the way, but they are what they are."""
    blob = bench.registry.layout.blob

    def before(_: Web, __: str, path: str, ___: Any) -> Reply | None:
        data = blob(path.rpartition("/")[2]).read_bytes() if "/blobs/" in path else None
        return (200, {"Content-Encoding": encoding}, data) if data else None

    bench.registry.before = before
    bench.pull(mine(bench))


def test_media_types_do_not_matter(bench: Bench) -> None:
    bench.pull(layer(bench, mediaType="text/plain"))


# Servers that are busy, and time.


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
def test_one_busy_answer_ends_nothing(bench: Bench, status: int, where: str) -> None:
    bench.registry.before = lambda state, method, path, _: (
        (status, {"Retry-After": "0"}, b"")
        if sum(where in line for line in state.requests) == 1 and where in path
        else None
    )
    bench.pull(mine(bench))


def test_429_for_ever(bench: Bench) -> None:
    bench.registry.before = lambda *_: (429, {"Retry-After": "7200"}, b"")
    bench.fails(
        mine(bench), "the registry answered 429", "left alone for 2 hours", "log in, wait, or use a mirror"
    )


# Logins.


def logins(bench: Bench, host: str = "127.0.0.1", **entry: str) -> None:
    """What docker keeps; the port is any."""
    bench.registry.before = bench.registry.before or token("t")
    home = Path(bench.site.workspace.root).parent / "home"
    files.write_json(home / ".docker/config.json", {"auths": {"127.0.0.1": entry}})


def token(value: str, **keys: Any) -> Any:
    """A token server that gives this to anybody."""

    def before(state: Web, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        answer = keys or {"token": value}
        return as_json(answer) if path.startswith("/token") else None

    return before


BEARER = 'Bearer realm="TOKEN",service="s",scope="repository:it:pull,push"'


@pytest.mark.parametrize(
    "challenge",
    [
        BEARER,
        f'Basic realm="a, b", {BEARER}',
        f'{BEARER}, Basic realm="x"',
        f"Negotiate, {BEARER}",
        f'Negotiate\nBasic realm="x"\n{BEARER}',
        f"NTLM\n{BEARER}",
        BEARER.replace("Bearer", "BEARER").replace('service="s"', "service=s"),
    ],
)
def test_challenges(bench: Bench, challenge: str) -> None:
    registry = bench.registry
    registry.authorized, registry.challenge, registry.before = "Bearer t", challenge, token("t")
    state = bench.pull(mine(bench))
    (asked,) = {line for line in state.requests if line.startswith("GET /token")}
    assert "service=s" in asked and "scope=repository%3Ait%3Apull%2Cpush" in asked


def test_an_access_token(bench: Bench) -> None:
    registry = bench.registry
    registry.authorized, registry.challenge = "Bearer a", BEARER
    registry.before = token("", access_token="a", expires_in=1)
    bench.pull(mine(bench))


@pytest.mark.parametrize("answer", [{"x": 1}, {"token": None}, {"token": 7}])
def test_no_token(bench: Bench, answer: dict[str, Any]) -> None:
    registry = bench.registry
    registry.authorized, registry.challenge, registry.before = "Bearer t", BEARER, token("", **answer)
    bench.fails(mine(bench), "/token: the token server gave no token")


@pytest.mark.parametrize(
    "answer", [(200, {}, b"<html>"), (200, {}, b"[1]"), (200, {}, b"x" * (2 << 20)), (403, {}, b"")]
)
def test_a_token_server_that_is_broken(bench: Bench, answer: Reply) -> None:
    registry = bench.registry
    registry.authorized, registry.challenge = "Bearer t", BEARER
    registry.before = lambda state, method, path, _: answer if path.startswith("/token") else None
    bench.fails(mine(bench), "/token")


def test_a_token_server_that_is_busy_at_first(bench: Bench) -> None:
    registry = bench.registry
    registry.authorized, registry.challenge = "Bearer t", BEARER
    asked: list[str] = []

    def before(state: Web, method: str, path: str, _: Any) -> Reply | None:
        if not path.startswith("/token"):
            return None
        asked.append(path)
        return (503, {}, b"") if len(asked) == 1 else as_json({"token": "t"})

    registry.before = before
    bench.pull(mine(bench))


def test_a_token_that_expires(bench: Bench) -> None:
    """Each is good for two requests."""
    registry = bench.registry
    registry.challenge = BEARER
    tokens: list[int] = []
    uses: list[int] = []

    def before(state: Web, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        if path.startswith("/token"):
            tokens.append(len(tokens))
            uses.clear()
            registry.authorized = f"Bearer {len(tokens)}"
            return as_json({"token": str(len(tokens)), "expires_in": 1})
        uses.append(1)
        registry.authorized = f"Bearer {len(tokens) if len(uses) <= 2 else -1}"
        return None

    registry.before = before
    bench.pull(mine(bench))
    assert len(tokens) == 2


def test_a_login(bench: Bench) -> None:
    """Basic; also where the registry does not say what it wants."""
    for challenge in ('Basic realm="x"', "Basic", ""):
        registry = bench.registry
        registry.authorized, registry.challenge = f"Basic {BASIC}", challenge
        site = Site(Workspace(bench.site.workspace.root / f"w{len(challenge)}"), "bookworm")
        registry.top = mine(bench)
        state = served(registry.act)
        home = Path(bench.site.workspace.root).parent / "home"
        files.write_json(home / ".docker/config.json", {"auths": {state.host: {"auth": BASIC}}})
        pull.fetch(f"{state.host}/it:1", RegistryAccess.of("", "", 3), site)


def test_an_identity_token(bench: Bench) -> None:
    """docker keeps it in place of a password; the token server gets it by POST, as OAuth 2 has it."""
    registry = bench.registry
    registry.authorized, registry.challenge, registry.top = "Bearer t", BEARER, mine(bench)

    def before(state: Web, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        if path.startswith("/token"):
            return as_json({"access_token": "t"}) if method == "POST" else (401, {}, b"")
        return None

    registry.before = before
    state = served(registry.act)
    home = Path(bench.site.workspace.root).parent / "home"
    files.write_json(
        home / ".docker/config.json", {"auths": {state.host: {"auth": "", "identitytoken": "it"}}}
    )
    pull.fetch(f"{state.host}/it:1", RegistryAccess.of("", "", 3), bench.site)
    (body,) = {body for body in state.bodies if body}
    assert b"grant_type=refresh_token" in body and b"refresh_token=it" in body and b"service=s" in body


# TLS.


def test_the_token_server_of_an_insecure_registry(bench: Bench, tmp_path: Path) -> None:
    registry = bench.registry
    registry.authorized, registry.challenge, registry.before = "Bearer t", BEARER, token("t")
    bench.pull(mine(bench), tls=certificate(tmp_path / "tls", "other.invalid"), insecure="localhost:PORT")


def test_a_certificate_that_is_not_trusted(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """localhost is loopback, which may have any; this name is not."""
    pair = certificate(tmp_path / "tls", "127.0.0.2")
    state = served(bench.registry.act, pair)
    monkeypatch.setattr("tasks.build.containers.registry_places.LOOPBACK", __import__("re").compile("never"))
    with pytest.raises(UserError, match="its certificate is not trusted") as caught:
        pull.fetch(f"localhost:{state.port}/it:1", RegistryAccess.of("", "", 3), bench.site)
    assert "registry_insecure" in str(caught.value)
    assert state.requests == []


def test_a_login_does_not_go_to_a_token_server_without_tls(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = certificate(tmp_path / "tls", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair[0]))
    monkeypatch.setattr("tasks.build.containers.registry_places.LOOPBACK", __import__("re").compile("never"))
    other = served(lambda *_: as_json({"token": "t"}))
    bench.registry.authorized = "Bearer t"
    bench.registry.challenge = BEARER.replace("TOKEN", f"http://{other.host}/t")
    bench.fails(mine(bench), "sends us to a token server without TLS", tls=pair)
    assert other.requests == []
