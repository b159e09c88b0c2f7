"""Contexts in kubeconfigs: put in, taken out, and nothing else of the file touched."""

import base64
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.base.errors import UserError
from tasks.build.credentials import kubeconfig
from tasks.build.credentials.keys import KeyPair
from tasks.build.credentials.kubeconfig import ApiAccess

OURS = ApiAccess("xcluster", "https://127.0.0.1:7443", b"our authority", KeyPair(b"certificate", b"key"))
USERS = """# mine
apiVersion: v1
kind: Config
clusters:
- {name: work, cluster: {server: "https://work", certificate-authority: /etc/work.pem}}
contexts:
- {name: work, context: {cluster: work, user: me, namespace: dev}}
current-context: work
users:
- {name: me, user: {exec: {command: login, apiVersion: client.authentication.k8s.io/v1}}}
"""


def read(path: Path) -> Any:
    """The file as kubectl would see it."""
    return yaml.safe_load(path.read_text())


def names(content: Any, kind: str) -> list[str]:
    """The names in one of the lists."""
    return [each["name"] for each in content[kind]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A user's file, which others may read."""
    path = tmp_path / "kube" / "config"
    path.parent.mkdir()
    path.write_text(USERS)
    path.chmod(0o644)
    return path


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / ".kube" / "config"
    kubeconfig.merge(path, OURS)
    content = read(path)
    assert content["current-context"] == "xcluster"
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7443"
    data = content["clusters"][0]["cluster"]["certificate-authority-data"]
    assert base64.b64decode(data) == b"our authority"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_in_and_out_again(config: Path, tmp_path: Path) -> None:
    before, state = read(config), tmp_path / "state.json"
    kubeconfig.join(state, config, OURS)
    content = read(config)
    assert names(content, "clusters") == names(content, "contexts") == ["work", "xcluster"]
    assert content["current-context"] == "xcluster"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600, "there is a key in it now"
    kubeconfig.leave(state)
    assert read(config) == {**before, "preferences": {}}


def test_twice_is_once(config: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    kubeconfig.join(state, config, OURS)
    moved = ApiAccess(OURS.name, "https://127.0.0.1:7444", OURS.authority, OURS.own)
    kubeconfig.join(state, config, moved)
    content = read(config)
    assert names(content, "users") == ["me", "xcluster"]
    assert content["clusters"][1]["cluster"]["server"] == "https://127.0.0.1:7444"
    kubeconfig.leave(state)
    assert read(config)["current-context"] == "work"


def test_what_was_chosen_meanwhile_stays(config: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    kubeconfig.join(state, config, OURS)
    content = read(config)
    content["contexts"].append({"name": "third", "context": {"cluster": "work", "user": "me"}})
    config.write_text(yaml.safe_dump({**content, "current-context": "third"}))
    kubeconfig.leave(state)
    assert read(config)["current-context"] == "third"
    assert names(read(config), "contexts") == ["work", "third"]


def test_what_was_current_may_be_gone(config: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    kubeconfig.join(state, config, OURS)
    content = read(config)
    content["contexts"] = content["contexts"][1:]
    config.write_text(yaml.safe_dump(content))
    kubeconfig.leave(state)
    assert read(config)["current-context"] == ""


def test_another_cluster_of_the_same_name_is_not_touched(config: Path, tmp_path: Path) -> None:
    other = ApiAccess("xcluster", "https://elsewhere", b"their authority", OURS.own)
    kubeconfig.merge(config, other)
    before = config.read_bytes()
    with pytest.raises(UserError, match="already has another cluster named 'xcluster'"):
        kubeconfig.merge(config, OURS)
    assert not kubeconfig.remove(config, "xcluster", OURS.authority)
    assert config.read_bytes() == before


@pytest.mark.parametrize("text", ["{", "- a\n- b\n", "clusters: none\n", "\0"])
def test_what_is_no_kubeconfig_stays_as_it_is(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(UserError, match="kubeconfig|cannot be read"):
        kubeconfig.merge(config, OURS)
    assert config.read_text() == text


def test_lists_may_be_null(config: Path) -> None:
    """As `kubectl config view` writes an empty file."""
    config.write_text(
        "apiVersion: v1\nclusters: null\ncontexts: null\ncurrent-context: ''\nkind: Config\nusers: null\n"
    )
    kubeconfig.merge(config, OURS)
    assert names(read(config), "clusters") == ["xcluster"]
    assert kubeconfig.remove(config, "xcluster", OURS.authority)
    assert read(config)["users"] == []


def test_a_stop_goes_on_when_a_file_cannot_be_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    kubeconfig.join(state, config, OURS)
    config.write_text("{")
    kubeconfig.leave(state)
    assert "the context 'xcluster' could not be removed from the kubeconfig" in capsys.readouterr().err
    config.unlink()
    kubeconfig.leave(state)


def test_kubectls_lock_is_waited_for(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = config.with_name("config.lock")
    lock.touch()
    monkeypatch.setattr(kubeconfig, "PATIENCE", 0.2)
    with pytest.raises(UserError, match=r"is locked by .*config\.lock"):
        kubeconfig.merge(config, OURS)
    assert lock.exists(), "it is not ours"
    monkeypatch.setattr(kubeconfig, "PATIENCE", 10)
    threading.Timer(0.2, lock.unlink).start()
    kubeconfig.merge(config, OURS)
    assert not lock.exists()


def test_many_at_once_lose_nothing(config: Path) -> None:
    every = [ApiAccess(f"c{i}", "https://x", b"a", OURS.own) for i in range(8)]
    threads = [threading.Thread(target=kubeconfig.merge, args=[config, each]) for each in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names(read(config), "contexts")) == {"work", *(each.name for each in every)}
    assert [path.name for path in config.parent.iterdir()] == ["config"]


def test_which_file(tmp_path: Path) -> None:
    home = Path(os.path.expanduser("~")).resolve()
    assert kubeconfig.default({}) == home / ".kube" / "config"
    assert kubeconfig.default({"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/b"}) == tmp_path / "a"
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    assert kubeconfig.default({"KUBECONFIG": f":{tmp_path}/link"}) == tmp_path / "real"


def test_a_whole_one_is_what_merge_makes(tmp_path: Path) -> None:
    kubeconfig.merge(tmp_path / "config", OURS)
    assert yaml.safe_load(kubeconfig.text(OURS)) == read(tmp_path / "config")
