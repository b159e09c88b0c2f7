"""Programs of a few instructions: looked at here, never run, as one powers its machine off."""

import struct
import subprocess
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.formats import tiny_programs

PROGRAMS = {
    "power off": tiny_programs.say_and_power_off(b"some words\n"),
    "reseed": tiny_programs.reseed(),
    "set capability": tiny_programs.set_capability(),
}
BASE = 0x400000
HEADERS = 64 + 56  # bytes: of the file, and of its one segment


@pytest.mark.parametrize(
    ("source", "program"),
    [
        ("power_off", tiny_programs.say_and_power_off(b"some words\n")),
        ("reseed", tiny_programs.reseed()),
        ("set_capability", tiny_programs.set_capability()),
    ],
)
def test_the_bytes_are_what_the_source_is_assembled_to(source: str, program: bytes, tmp_path: Path) -> None:
    """After the headers, which say where the code is to be."""
    if not (proc.find("gcc") and proc.find("ld")):
        pytest.skip("gcc and ld are not installed")
    text = Path(tiny_programs.__file__).parent / "tiny" / f"{source}.S"
    subprocess.run(["gcc", "-c", '-DTEXT="some words\\n"', "-o", tmp_path / "x.o", text], check=True)
    place = f"-Ttext={BASE + HEADERS:#x}"
    flat = ["ld", place, "--oformat=binary", "-o", str(tmp_path / "x"), str(tmp_path / "x.o")]
    subprocess.run(flat, check=True)
    assert program[HEADERS:] == (tmp_path / "x").read_bytes()


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_an_elf_file(name: str) -> None:
    elf = PROGRAMS[name]
    kind, machine, version, entry, headers = struct.unpack_from("<HHIQQ", elf, 16)
    assert elf[:7] == b"\x7fELF\x02\x01\x01"
    assert (kind, machine, version, headers) == (2, 62, 1, 64)
    assert entry == BASE + 64 + 56
    assert struct.unpack_from("<QQ", elf, 64 + 32) == (len(elf), len(elf))


@pytest.mark.parametrize("name", PROGRAMS)
def test_readelf_reads_it(name: str, tmp_path: Path) -> None:
    if not proc.find("readelf"):
        pytest.skip("readelf is not installed")
    (tmp_path / "x").write_bytes(PROGRAMS[name])
    listing = subprocess.run(
        ["readelf", "-hlW", str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert "X86-64" in listing.stdout and "LOAD" in listing.stdout and not listing.stderr


def code(name: str, folder: Path) -> str:
    """The instructions, as another program reads them."""
    if not proc.find("objdump"):
        pytest.skip("objdump is not installed")
    (folder / "x").write_bytes(PROGRAMS[name])
    words = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "--start-address=120", str(folder / "x")]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_power_off(tmp_path: Path) -> None:
    elf, listing = PROGRAMS["power off"], code("power off", tmp_path)
    text = BASE + elf.index(b"some words\n")
    expected = [
        "0x1,%eax",
        "0x1,%edi",
        f"0x{text:x},%esi",
        "0xb,%edx",
        "0xa9,%eax",
        "0xfee1dead,%edi",
        "0x28121969,%esi",
        "0x4321fedc,%edx",
    ]
    at = 0
    for words in expected:
        at = listing.index(f"mov    ${words}", at)
    assert listing.count("syscall") == 2


def test_reseed(tmp_path: Path) -> None:
    elf, listing = PROGRAMS["reseed"], code("reseed", tmp_path)
    path = elf.index(b"/dev/urandom\0")
    assert struct.unpack_from("<ii", elf, path + 16) == (512, 64)
    assert len(elf) == path + 16 + 8 + 64 + 16
    for words in (
        f"0x{BASE + path:x},%edi",
        f"0x{BASE + path + 16:x},%edx",
        "0x40085203,%esi",
        "0x5207,%esi",
        "0x3c,%eax",
        f"0x{BASE + path + 16 + 8 + 64:x},%esi",  # the time
        "0xe3,%eax",
    ):
        assert f"mov    ${words}" in listing
