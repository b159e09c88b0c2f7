"""Who a node is: real keys of ssh-keygen, in the form that dropbear reads."""

import base64
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.node import identity

pytestmark = pytest.mark.skipif(not proc.find("ssh-keygen"), reason="ssh-keygen is not installed")
NODE = Settings().node(201)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace and a home without keys."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.ssh").mkdir(parents=True)
    return Workspace(tmp_path / "w")


def public(key: Path) -> bytes:
    """The 32 bytes of an ed25519 public key."""
    return base64.b64decode(key.with_suffix(".pub").read_text().split()[1])[-32:]


def test_keys_are_made_once_and_kept_private(workspace: Workspace) -> None:
    key = identity.user_key(workspace)
    before = key.read_bytes()
    assert identity.user_key(workspace).read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    assert workspace.keys.stat().st_mode & 0o777 == 0o700
    key.with_suffix(".pub").unlink()  # as after an interruption
    assert identity.user_key(workspace).read_bytes() != before


def test_dropbear_key(workspace: Workspace) -> None:
    key = identity.host_key(workspace, "c", NODE)
    content = identity.dropbear_key(key)
    assert content.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0\x40")
    assert len(content) == 4 + 11 + 4 + 64
    assert content[-32:] == public(key)


def test_dropbear_reads_it(workspace: Workspace, tmp_path: Path) -> None:
    if not proc.find("dropbearkey") or not proc.find("dropbearconvert"):
        pytest.skip("dropbear-bin is not installed")
    key = identity.host_key(workspace, "c", NODE)
    (tmp_path / "made").write_bytes(identity.dropbear_key(key))
    output = subprocess.run(
        ["dropbearkey", "-y", "-f", str(tmp_path / "made")], check=True, capture_output=True, text=True
    ).stdout
    assert key.with_suffix(".pub").read_text().split()[1] in output
    back = ["dropbearconvert", "dropbear", "openssh", str(tmp_path / "made"), str(tmp_path / "back")]
    subprocess.run(back, check=True, capture_output=True)
    again = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(tmp_path / "back")], check=True, capture_output=True, text=True
    ).stdout
    assert again.split()[1] == key.with_suffix(".pub").read_text().split()[1]


def test_known_hosts(workspace: Workspace) -> None:
    keys = [identity.host_key(workspace, "c", Settings().node(number)) for number in (1, 201)]
    identity.host_key(workspace, "other", NODE)
    identity.write_known_hosts(workspace, "c")
    lines = [line.split() for line in identity.known_hosts(workspace, "c").read_text().splitlines()]
    assert [line[0] for line in lines] == [identity.alias("c", 1), identity.alias("c", 201)]
    assert [line[2] for line in lines] == [key.with_suffix(".pub").read_text().split()[1] for key in keys]


def test_authorized_keys_are_ours_and_the_users(workspace: Workspace) -> None:
    home = Path(os.environ["HOME"])
    (home / ".ssh/id_rsa.pub").write_text("ssh-rsa AAAA me@home\n\n")
    (home / ".ssh/id_rsa").write_text("private")
    ours, theirs = identity.authorized_keys(workspace).splitlines()
    assert ours == identity.user_key(workspace).with_suffix(".pub").read_text().strip()
    assert theirs == "ssh-rsa AAAA me@home"


def shell_reads(message: bytes) -> dict[str, str]:
    """The assignments as a shell understands them."""
    text, end, rest = message.decode().removeprefix("go\n").rpartition("end\n")
    assert (end, rest) == ("end\n", "")
    names = [line.partition("=")[0] for line in text.splitlines()]
    script = text + "".join(f'printf "%s\\0" "${name}"\n' for name in names)
    output = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(zip(names, output.split("\0"), strict=False))


def printf(text: str) -> str:
    """What the guest writes down."""
    return subprocess.run(
        ["sh", "-c", 'printf %b "$1"', "sh", text], check=True, capture_output=True, text=True
    ).stdout


def test_message(workspace: Workspace) -> None:
    authorized = 'ssh-rsa AAAA it\'s "me" $(date)\nssh-rsa BBBB `x` C:\\new %s\n'
    settings = Settings(nvm=3, nrouters=1, ntesters=2, prefix="fd01:", telnet=True)
    values = shell_reads(identity.message(workspace, settings, NODE, authorized))
    assert values["xc_node"] == "201"
    assert values["xc_macs"] == "00:00:00:01:00:c9 00:00:00:01:01:c9 00:00:00:01:02:c9"
    assert (values["xc_nvm"], values["xc_nrouters"], values["xc_ntesters"]) == ("3", "1", "2")
    assert values["xc_topology"] == "xnet"
    assert (values["xc_prefix"], values["xc_telnet"], values["xc_blank_password"]) == ("fd01:", "yes", "")
    assert printf(values["xc_authorized_keys"]) == authorized
    key = identity.dropbear_key(identity.host_key(workspace, settings.name, NODE))
    output = subprocess.run(
        ["/usr/bin/printf", "%b", values["xc_hostkey"]], capture_output=True, check=True
    ).stdout
    assert output == key
    assert len(base64.b64decode(values["xc_seed"])) == 64 and len(values["xc_machine_id"]) == 32


def test_what_is_secret_differs(workspace: Workspace) -> None:
    one, other = (shell_reads(identity.message(workspace, Settings(), NODE, "")) for _ in range(2))
    assert one["xc_hostkey"] == other["xc_hostkey"]
    assert one["xc_seed"] != other["xc_seed"] and one["xc_machine_id"] != other["xc_machine_id"]


def test_every_line_is_one_assignment(workspace: Workspace) -> None:
    lines = identity.message(workspace, Settings(), NODE, "a\nb\n").decode().splitlines()
    assert lines[0] == "go" and lines[-1] == "end"
    assert all(len(shlex.split(line)) == 1 for line in lines)
