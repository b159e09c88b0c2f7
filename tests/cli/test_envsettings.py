"""Envsettings and Envsettings.k8s: sourced by bash, zsh and dash, as a user's shell does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import OURS, ROOT

SHELLS = ("bash", "zsh", "dash")
PARTS = (
    "Envsettings",
    "Envsettings.k8s",
    "xc",
    "pyproject.toml",
    "dodo.py",
    "tasks",
    "completion",
    "images",
    "kernel",
)
NAMES = "checkout", 'it\'s my $dir "here"'


@pytest.fixture(params=NAMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkout, which uses the packages of this one."""
    root = tmp_path / str(request.param)
    root.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part)
        else:
            shutil.copy2(ROOT / part, root / part)
    (root / ".venv").symlink_to((ROOT / ".venv").resolve())
    for name in ("env", "mine"):
        (root / "ovl" / name / "default").mkdir(parents=True)
    return root


def sh(shell: str, script: str, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    """What a shell says to a script; it must end well."""
    words = shell.split()
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(OURS) and key != "KUBECONFIG"
    }
    done = subprocess.run(
        [*words, "-c", script], cwd=cwd, env={**env, **more}, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


ASKED = """
. ./Envsettings
. ./Envsettings
printf '%s\\n' "$XCLUSTER" "$XCLUSTER_WORKSPACE" "$XCLUSTER_OVLPATH"
xc geometry 1 1
xcadmin geometry 1 2
lso
cd /
cdo mine
pwd
"""


@pytest.mark.parametrize("options", ["", "-eu"])
@pytest.mark.parametrize("shell", SHELLS)
def test_words_and_variables(place: Path, shell: str, options: str) -> None:
    before = sh(f"{shell} {options}", 'set -o; echo "$-"', place).stdout
    done = sh(f"{shell} {options}", ASKED + 'set -o; echo "$-"', place)
    real = os.path.realpath(place)
    expected = [
        f"{real}/xc", f"{real}/workspace", f"{real}/ovl", "-geometry 80x12+20+50", "-geometry 80x12+20+270",
        "env", "mine", f"{real}/ovl/mine",
    ]  # fmt: skip
    assert done.stdout == "\n".join([*expected, before])
    assert done.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_user_has_set_counts(place: Path, shell: str) -> None:
    kept = {"XCLUSTER_WORKSPACE": "/my/workspace", "XCLUSTER_OVLPATH": "/my/ovl"}
    script = (
        '. ./Envsettings; echo "$XCLUSTER_WORKSPACE $XCLUSTER_OVLPATH"; set | grep "^xc_[a-z]*=" || echo none'
    )
    assert sh(shell, script, place, **kept).stdout == "/my/workspace /my/ovl\nnone\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_an_alias_of_before_is_no_hindrance(place: Path, shell: str) -> None:
    prelude = "shopt -s expand_aliases\n" if shell == "bash" else ""
    script = prelude + "alias xc='echo old'\nalias vm='echo old'\n. ./Envsettings\nxc geometry 1 1\n"
    assert sh(shell, script, place).stdout == "-geometry 80x12+20+50\n"


@pytest.mark.parametrize("name", ["Envsettings", "Envsettings.k8s"])
def test_by_its_path_from_elsewhere(place: Path, name: str) -> None:
    for shell in ("bash", "zsh"):
        done = sh(shell, f'. "$PLACE/{name}"; echo "$XCLUSTER"', Path("/"), PLACE=str(place))
        assert done.stdout == f"{os.path.realpath(place)}/xc\n"
    done = sh("dash", f'. "$PLACE/{name}" || echo "$? ${{XCLUSTER-unset}}"', Path("/"), PLACE=str(place))
    assert done.stdout == "1 unset\n"
    assert done.stderr == f"{name}: change into its directory first, then type: . ./{name}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_words_fail_as_commands_do(place: Path, shell: str) -> None:
    done = sh(shell, ". ./Envsettings; cdo nosuch || echo $?; pwd; xc nosuch || echo $?", place)
    assert done.stdout == f"1\n{os.path.realpath(place)}\n2\n"
    assert "Ovl not found [nosuch]" in done.stderr and "unknown verb 'nosuch'" in done.stderr


@pytest.mark.parametrize("options", ["", "-eu"])
@pytest.mark.parametrize("shell", SHELLS)
def test_kubernetes(place: Path, shell: str, options: str) -> None:
    script = '. ./Envsettings.k8s; printf "%s\\n" "$__image" "$KUBECONFIG"; : >"$__image"'
    image = f"{os.path.realpath(place)}/workspace/xcluster/hd-k8s.img"
    first = sh(f"{shell} {options}", script, place)
    assert first.stdout == f"{image}\n{Path(image).with_name('kubeconfig')}\n"
    assert (
        f"\nThe image is not readable [{image}]\n" in first.stderr and "`xc start` builds it" in first.stderr
    )
    assert "xz -d > $__image" in first.stderr
    second = sh(f"{shell} {options}", script, place)  # now there is a file
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_what_is_written_to_the_image_is_not_written_into_the_one_that_was_built(place: Path) -> None:
    built = place / "workspace/image/k8s.qcow2"
    link = place / "workspace/xcluster/hd-k8s.img"
    for path in (built, link):
        path.parent.mkdir(parents=True)
    built.write_text("built")
    link.symlink_to("../image/k8s.qcow2")
    done = sh("bash", '. ./Envsettings.k8s; echo mine >"$__image"', place)
    assert (done.stderr, built.read_text(), link.read_text()) == ("", "built", "mine\n")


def test_completion_of_bash(place: Path) -> None:
    script = """
	. ./Envsettings
	COMP_LINE='xc sta' COMP_POINT=6 COMP_WORDS=(xc sta) COMP_CWORD=1
	_xc xc sta; echo "${COMPREPLY[@]}"
	_xc_ovl cdo m; echo "${COMPREPLY[@]}"
	complete -p xc xcadmin cdo vm
	"""
    lines = sh("bash", script, place).stdout.splitlines()
    assert lines[:2] == ["start starts status", "mine"]
    assert [line.split()[-1] for line in lines[2:]] == ["xc", "xcadmin", "cdo", "vm"]


def test_completion_of_zsh(place: Path) -> None:
    script = """
	autoload -Uz compinit && compinit -u -D
	. ./Envsettings; . ./Envsettings
	print -l $_comps[xc] $_comps[xcadmin] $_comps[cdo] $_comps[vm] ${#${(M)fpath:#*/completion}}
	"""
    assert sh("zsh -f", script, place).stdout.split() == ["_xc", "_xc", "_xc_ovl", "_xc_node", "1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a named network namespace takes root")
@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_namespace_the_cluster_is_another_one(place: Path, shell: str) -> None:
    space = f"hc{os.getpid()}_xcluster7"
    script = '. ./Envsettings; echo "$__name ${__net_setup-none}"'
    subprocess.run(["ip", "netns", "add", space], check=True)
    try:
        done = sh(f"ip netns exec {space} {shell}", script, place, __net_setup="/somebody/elses")
        assert done.stdout == "xcluster7 none\n"
        assert sh(f"ip netns exec {space} {shell}", script, place, __name="two").stdout == "two none\n"
    finally:
        subprocess.run(["ip", "netns", "del", space], check=True)
    outside = sh(shell, '. ./Envsettings; echo "${__name-none} $__net_setup"', place, __net_setup="/mine")
    assert outside.stdout == "none /mine\n"
