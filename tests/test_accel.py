"""Does KVM work? The probe's guest is looked at here, never run: it would power off the host."""

import struct
import subprocess
from pathlib import Path

import pytest

from tasks.lib import proc
from tasks.lib.paths import Workspace
from tasks.node import accel
from tasks.node.accel import Verdict
from tests.conftest import Fakes


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of its own."""
    return Workspace(tmp_path)


@pytest.fixture
def no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without /dev/kvm."""
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: False if str(self) == "/dev/kvm" else exists(self))


@pytest.fixture
def some_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a /dev/kvm that can be opened."""
    exists, opened = Path.exists, Path.open
    monkeypatch.setattr(Path, "exists", lambda self: True if str(self) == "/dev/kvm" else exists(self))
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **kw: opened(Path("/dev/null") if str(self) == "/dev/kvm" else self, *a, **kw)
    )


@pytest.mark.parametrize("wanted", ["kvm", "tcg"])
def test_what_is_asked_for_is_taken(workspace: Workspace, wanted: str) -> None:
    assert accel.choose(wanted, workspace, Path("/k")) == Verdict(wanted, "as asked for")
    assert not workspace.accel.exists()


@pytest.mark.usefixtures("no_kvm")
def test_no_device(workspace: Workspace) -> None:
    assert accel.choose("auto", workspace, Path("/k")) == Verdict("tcg", "there is no /dev/kvm")


@pytest.mark.usefixtures("some_kvm")
def test_a_probe_that_comes_up(workspace: Workspace, fakes: Fakes) -> None:
    fakes.program("qemu-system-x86_64", f"echo '{accel.MARK.decode()}'")
    assert accel.choose("auto", workspace, Path("/k")).accel == "kvm"
    assert accel.choose("auto", workspace, Path("/k")).accel == "kvm"
    (call,) = fakes.calls("qemu-system-x86_64")
    assert "-accel kvm" in call and "-kernel /k" in call


@pytest.mark.usefixtures("some_kvm")
@pytest.mark.parametrize(("script", "says"), [("exit 1", "did not come up"), ("kill -6 $$", "signal 6")])
def test_a_probe_that_fails_says_why(workspace: Workspace, fakes: Fakes, script: str, says: str) -> None:
    fakes.program("qemu-system-x86_64", script)
    verdict = accel.choose("auto", workspace, Path("/k"))
    assert verdict.accel == "tcg" and says in verdict.why


@pytest.mark.usefixtures("some_kvm")
def test_a_probe_that_hangs_is_ended(workspace: Workspace, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "SECONDS", 0.3)
    fakes.program("qemu-system-x86_64", "exec sleep 29.3")
    verdict = accel.choose("auto", workspace, Path("/k"))
    assert verdict.accel == "tcg" and "did not come up" in verdict.why
    assert not any(path.read_bytes() == b"sleep\x0029.3\0" for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())


@pytest.mark.usefixtures("no_kvm")
def test_the_verdict_holds_until_the_host_boots_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accel.recall(workspace) is None
    verdict = accel.choose("auto", workspace, Path("/k"))
    monkeypatch.setattr(accel, "probe", lambda *_: Verdict("kvm", "probed again"))
    assert accel.recall(workspace) == verdict == accel.choose("auto", workspace, Path("/k"))
    monkeypatch.setattr(accel, "boot_id", lambda: "another boot")
    assert accel.recall(workspace) is None
    assert accel.choose("auto", workspace, Path("/k")).why == "probed again"


def test_a_damaged_verdict_is_none(workspace: Workspace) -> None:
    workspace.accel.write_text("{")
    assert accel.recall(workspace) is None


def test_the_tiny_program_is_an_elf_file() -> None:
    elf = accel.tiny_init(b"hello\n")
    kind, machine, version, entry, headers = struct.unpack_from("<HHIQQ", elf, 16)
    assert elf[:7] == b"\x7fELF\x02\x01\x01"
    assert (kind, machine, version, headers) == (2, 62, 1, 64)
    assert entry == 0x400000 + 64 + 56
    assert struct.unpack_from("<QQ", elf, 64 + 32) == (len(elf), len(elf))
    assert elf.endswith(b"hello\n")


def test_the_tiny_program_as_others_read_it(tmp_path: Path) -> None:
    if not proc.find("objdump"):
        pytest.skip("objdump is not installed")
    path = tmp_path / "init"
    text = b"some words\n"
    path.write_bytes(accel.tiny_init(text))
    code = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "--start-address=120", str(path)]
    said = subprocess.run(code, capture_output=True, text=True, check=True).stdout
    assert said.count("syscall") >= 2
    address = 0x400000 + len(accel.tiny_init(text)) - len(text)
    assert f"mov    $0x{address:x},%esi" in said and f"mov    $0x{len(text):x},%edx" in said
    assert "mov    $0xa9,%eax" in said and "mov    $0x4321fedc,%edx" in said
