"""Who a node is: real keys of ssh-keygen, in the form that dropbear reads."""

import base64
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.node import identity

pytestmark = pytest.mark.skipif(not proc.find("ssh-keygen"), reason="ssh-keygen is not installed")
NODE = Settings().node_of(201)
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB"  # the beginning of one is enough to be known as one


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
    keys = [identity.host_key(workspace, "c", Settings().node_of(number)) for number in (1, 201)]
    identity.host_key(workspace, "other", NODE)
    identity.write_known_hosts(workspace, "c")
    lines = [line.split() for line in identity.known_hosts(workspace, "c").read_text().splitlines()]
    assert [line[0] for line in lines] == [identity.alias("c", 1), identity.alias("c", 201)]
    assert [line[2] for line in lines] == [key.with_suffix(".pub").read_text().split()[1] for key in keys]


def test_authorized_keys_are_ours_and_the_users(workspace: Workspace) -> None:
    home = Path(os.environ["HOME"])
    (home / ".ssh/id_rsa.pub").write_text(f"{RSA} me@home\n\n")
    (home / ".ssh/id_rsa").write_text("private")
    ours, theirs = identity.authorized_keys(workspace).splitlines()
    assert ours == identity.user_key(workspace).with_suffix(".pub").read_text().strip()
    assert theirs == f"{RSA} me@home"


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


def pair(tmp_path: Path, kind: str = "ed25519", comment: str = "me@there") -> tuple[bytes, bytes]:
    """A new private key and its public one."""
    key = tmp_path / f"new-{kind}"
    words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", str(key)]
    subprocess.run(words, check=True)
    return key.read_bytes(), key.with_suffix(".pub").read_bytes()


NO_KEYS = {
    "not UTF-8": lambda path, key: path.write_bytes(key[1].strip() + b" J\xfcrgen\n"),
    "UTF-16": lambda path, key: path.write_bytes(key[1].decode().encode("utf-16")),
    "a directory": lambda path, key: path.mkdir(),
    "a FIFO": lambda path, key: os.mkfifo(path),
    "a dangling link": lambda path, key: path.symlink_to("nothing"),
    "a link to itself": lambda path, key: path.symlink_to(path.name),
    "a device": lambda path, key: path.symlink_to("/dev/zero"),
    "empty": lambda path, key: path.write_bytes(b"\n\n# nothing\n"),
    "16 KiB": lambda path, key: path.write_bytes(key[1] + b"#" * (16 << 10)),
    "one long line": lambda path, key: path.write_bytes(b"ssh-rsa " + b"A" * 9000 + b"\n"),
    "a private key": lambda path, key: path.write_bytes(key[0]),
    "a key cut short": lambda path, key: path.write_bytes(key[1][:30] + b"\n"),
    "the kind of another key": lambda path, key: path.write_bytes(key[1].replace(b"ssh-ed25519", b"ssh-rsa")),
    "PuTTY's form": lambda path, key: path.write_bytes(b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n"),
    "zeros": lambda path, key: path.write_bytes(bytes(100)),
}


@pytest.mark.parametrize("what", NO_KEYS)
def test_a_file_that_is_no_key(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """It is left out, with a warning that names it; others are not."""
    folder = tmp_path / "home/.ssh"
    NO_KEYS[what](folder / "id_odd.pub", pair(tmp_path))  # type: ignore[no-untyped-call]
    (folder / "id_right.pub").write_bytes(pair(tmp_path, "ecdsa")[1])
    ours, theirs = identity.authorized_keys(workspace).splitlines()
    assert theirs.startswith("ecdsa-sha2-nistp256 ") and ours.startswith("ssh-ed25519 ")
    assert f"warning: {folder / 'id_odd.pub'}" in capsys.readouterr().err


KEYS = {
    "CRLF": lambda key: (key.strip() + b"\r\n", 1),
    "a byte order mark": lambda key: (b"\xef\xbb\xbf" + key, 1),
    "no line end": lambda key: (key.strip(), 1),
    "a comment in UTF-8": lambda key: (key.strip() + " Jürgen $(reboot) `id` \\n".encode(), 1),
    "a comment that is very long": lambda key: (key.strip() + b"x" * 8000, 1),
    "the same key twice": lambda key: (key + key, 1),
    "comments and empty lines": lambda key: (b"# mine\n\n" + key, 1),
}


@pytest.mark.parametrize("what", KEYS)
def test_odd_files_with_a_key(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    public_key = pair(tmp_path)[1]
    content, number = KEYS[what](public_key)
    (tmp_path / "home/.ssh/id_odd.pub").write_bytes(content)
    _, *theirs = identity.authorized_keys(workspace).splitlines()
    assert len(theirs) == number and all(line.isprintable() and line.isascii() for line in theirs)
    assert theirs[0].split()[:2] == public_key.decode().split()[:2]
    assert capsys.readouterr().err == ""


def test_several_keys_in_a_file(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are none are left out, with a warning."""
    both = pair(tmp_path)[1] + b"nonsense\n" + pair(tmp_path, "ecdsa")[1]
    (tmp_path / "home/.ssh/id_odd.pub").write_bytes(both)
    assert len(identity.authorized_keys(workspace).splitlines()) == 3
    assert "id_odd.pub has lines that are no public keys" in capsys.readouterr().err


def test_a_certificate_is_no_key(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands beside the key that it is for, and is nothing to warn of."""
    pair(tmp_path)
    (tmp_path / "new-ed25519").rename(tmp_path / "ca")
    (tmp_path / "new-ed25519.pub").rename(tmp_path / "ca.pub")
    pair(tmp_path)
    sign = ["ssh-keygen", "-q", "-s", "ca", "-I", "me", "-n", "root", "new-ed25519.pub"]
    subprocess.run(sign, cwd=tmp_path, check=True)
    (tmp_path / "new-ed25519-cert.pub").rename(tmp_path / "home/.ssh/id_ed25519-cert.pub")
    assert len(identity.authorized_keys(workspace).splitlines()) == 1
    assert capsys.readouterr().err == ""


def test_a_damaged_key_of_ours(workspace: Workspace) -> None:
    """With it nobody could log in: it is told, with what to do."""
    key = identity.user_key(workspace)
    key.with_suffix(".pub").write_text("")
    with pytest.raises(UserError, match="id_ed25519.pub is empty"):
        identity.authorized_keys(workspace)
