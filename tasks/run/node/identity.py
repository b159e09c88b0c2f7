"""Who a node is: its ssh host key, who may log in, and what the launcher tells it on the control port.

Host keys are made here, not inside slow guests, and each node has its own.
"""

import base64
import errno
import os
import secrets
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks.base import files, locks, proc, seals
from tasks.base.errors import UserError
from tasks.base.node_names import node_name
from tasks.base.paths import Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.node import control_port, user_keys

_MAGIC = b"openssh-key-v1\0"


def user_key(workspace: Workspace) -> Path:
    """The private key that opens every node of this workspace, made when it is missing: for a start.

    UserError when it is not what was made.
    """
    key = key_file(workspace)
    _generate(workspace, key, "xcluster")
    seals.seal_new(workspace.seals, key)
    return present_key(workspace)


def present_key(workspace: Workspace) -> Path:
    """The same for nodes that run, which know no other one. UserError when it is not there, or damaged."""
    key = key_file(workspace)
    fault = "" if key.is_file() else "is not there"
    fault = fault or seals.fault(workspace.seals, key)
    if fault:
        raise UserError(
            f"{key}, the ssh key that opens nodes, {fault}",
            f"put it back; or remove it and {key.name}.pub, and start clusters again, which get a new pair",
        )
    return key


def key_file(workspace: Workspace) -> Path:
    """Where the private key is kept."""
    return workspace.keys / "id_ed25519"


def host_key(workspace: Workspace, cluster: str, node: Node) -> Path:
    """The private host key of a node (OpenSSH's format); made when it is missing."""
    key = workspace.keys / cluster / node.name
    _generate(workspace, key, node.name)
    return key


def alias(cluster: str, number: int) -> str:
    """The name under which a node's host key is known."""
    return f"{cluster}-{node_name(number)}"


def known_hosts(workspace: Workspace, cluster: str) -> Path:
    """A known_hosts file with the host keys of all nodes that a cluster has had."""
    return workspace.keys / cluster / "known_hosts"


def write_known_hosts(workspace: Workspace, cluster: str) -> None:
    """Make the known_hosts file anew."""
    folder = workspace.keys / cluster
    lines = []
    for public in filter(Path.is_file, sorted(folder.glob("*.pub"))):
        lines.append(f"{cluster}-{public.stem} {' '.join(public.read_text().split()[:2])}\n")
    with files.atomic(known_hosts(workspace, cluster)) as temp:
        temp.write_text("".join(lines))


def host_keys(workspace: Workspace, cluster: str, nodes: Iterable[Node]) -> dict[str, str]:
    """The public host keys of these nodes by name, as they are in files."""
    folder = workspace.keys / cluster
    return {node.name: (folder / f"{node.name}.pub").read_text() for node in nodes}


def adopt(workspace: Workspace, cluster: str, public: Mapping[str, str]) -> None:
    """From now on the nodes of `cluster` have these host keys. They come from a checkpoint.

    A private key that does not belong to them is removed: a node that is started anew gets a new pair.
    """
    folder = workspace.keys / cluster
    with files.explained(folder), locks.locked(workspace.keys / "lock"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in public.items():
            file = folder / f"{name}.pub"
            if not file.is_file() or file.read_text() != text:
                (folder / name).unlink(missing_ok=True)
                file.write_text(text)


def authorized_keys(workspace: Workspace) -> str:
    """Our public key and those of the user, one a line; a warning for each of the user's files with none."""
    ours = user_key(workspace).with_suffix(".pub")
    try:
        own = user_keys.of_file(ours)
    except UserError as error:
        hint = f"remove it and {ours.with_suffix('')}: a start makes a new pair"
        raise UserError(str(error.args[0]), hint) from error
    return "".join(f"{key}\n" for key in (*own, *user_keys.read(Path(os.path.expanduser("~/.ssh")))))


def message(workspace: Workspace, settings: Settings, node: Node, authorized: str) -> bytes:
    """What the launcher tells a node on its first boot: `go`, shell assignments, one a line, then `end`."""
    values = {
        "xc_node": str(node.number),
        "xc_kind": node.kind,
        "xc_macs": " ".join(node.mac(net) for net in node.nets),
        "xc_time": str(int(time.time())),
        "xc_seed": base64.b64encode(secrets.token_bytes(64)).decode(),
        "xc_hostkey": _octal(dropbear_key(host_key(workspace, settings.name, node))),
        "xc_authorized_keys": authorized.replace("\\", "\\\\").replace("\n", "\\n"),
        "xc_machine_id": secrets.token_hex(16),
        "xc_nvm": str(settings.nvm),
        "xc_nrouters": str(settings.nrouters),
        "xc_ntesters": str(settings.ntesters),
        "xc_prefix": settings.prefix,
        "xc_topology": settings.topology,
        "xc_k8s_family": settings.k8s_family,
        "xc_k8s_proxy_mode": settings.k8s_proxy_mode,
        "xc_telnet": "yes" if settings.telnet else "",
        "xc_blank_password": "yes" if settings.blank_password else "",
    }
    return control_port.identity(values)


def dropbear_key(openssh_key: Path) -> bytes:
    """An unencrypted ed25519 key of OpenSSH (PROTOCOL.key) in dropbear's format: name, seed, public key."""
    text = "".join(openssh_key.read_text().split("\n")[1:-2])
    blob = base64.b64decode(text)[len(_MAGIC) :]
    for _ in range(3):  # cipher, kdf, kdf options
        _, blob = _string(blob)
    _, blob = _string(blob[4:])  # number of keys; the public key
    private, _ = _string(blob)
    kind, rest = _string(private[8:])  # two check numbers come first
    _, rest = _string(rest)
    both, _ = _string(rest)
    return struct.pack(">I", len(kind)) + kind + struct.pack(">I", len(both)) + both


def _octal(blob: bytes) -> str:
    """Bytes as printf's %b takes them: a guest's shell has it built in."""
    return "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\0{byte:03o}" for byte in blob
    )


def _string(blob: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", blob)
    return blob[4 : 4 + length], blob[4 + length :]


def _generate(workspace: Workspace, key: Path, comment: str) -> None:
    if key.is_file() and key.with_suffix(".pub").is_file():
        return
    with files.explained(key), locks.locked(workspace.keys / "lock"):
        if key.is_file() and key.with_suffix(".pub").is_file():
            return
        for path in filter(Path.is_dir, (key, key.with_suffix(".pub"))):  # before the other one is removed
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        workspace.keys.chmod(0o700)
        key.parent.mkdir(parents=True, exist_ok=True)
        key.unlink(missing_ok=True)
        key.with_suffix(".pub").unlink(missing_ok=True)
        proc.output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)])
        seals.seal(workspace.seals, key)
