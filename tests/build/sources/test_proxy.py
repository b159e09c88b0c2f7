"""Downloads through a proxy, past it, and where it requires a password."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.build.sources import download, web
from tests.webserver import Server, serving

BODY = b"content\n" * 1000
SHA = hashlib.sha256(BODY).hexdigest()
FAR = "http://far.invalid/file"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is asked for whole URLs."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(web, "PAUSE", 0.01)
    monkeypatch.setattr(web, "TRIES", 2)
    with serving(BODY) as server:
        yield server


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_through_it(proxy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, proxy.url)
    download.download(FAR, SHA, tmp_path / "x")
    assert proxy.requests == [FAR]
    assert (tmp_path / "x").read_bytes() == BODY


def test_past_it(proxy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    download.download(f"{proxy.url}/file", SHA, tmp_path / "x")
    assert proxy.requests == ["/file"]


def test_a_proxy_that_is_not_there(proxy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="proxy in http_proxy"):
        download.download(FAR, SHA, tmp_path / "x")


def test_a_proxy_that_wants_a_password(
    proxy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question is enough, and the password that was wrong is not shown."""
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:secret@"))
    proxy.does["http://"] = lambda handler: handler.reply(407)
    with pytest.raises(UserError, match="requires a password") as caught:
        download.download(FAR, SHA, tmp_path / "x")
    assert "secret" not in str(caught.value)
    assert len(proxy.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_tunnel_that_wants_a_password(
    proxy: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For https the proxy is asked with CONNECT."""
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:secret@"))
    proxy.connect = 407
    with pytest.raises(UserError, match="requires a password") as caught:
        download.download(FAR.replace("http:", "https:"), SHA, tmp_path / "x")
    assert "secret" not in str(caught.value)
    assert len(proxy.requests) == 1


def test_a_password_in_a_url_is_not_shown(proxy: Server, tmp_path: Path) -> None:
    proxy.does["/"] = lambda handler: handler.reply(404)
    with pytest.raises(UserError, match="404") as caught:
        download.download(proxy.url.replace("//", "//me:secret@") + "/x", SHA, tmp_path / "x")
    assert "secret" not in str(caught.value)
