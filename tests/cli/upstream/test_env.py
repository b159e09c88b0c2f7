"""`$XCLUSTER env` and what else a script asks before it does anything: rows of the contract 1.2 and 1.3."""

import os
import shutil
import subprocess
import tempfile

import pytest

from tasks.cli.upstream import contract
from tasks.definitions.settings import Settings
from tests.cli.upstream.conftest import XC, Upstream
from tests.conftest import ROOT

NAMES = (
    "ARCHIVE DISKIM KERNELDIR XCLUSTER XCLUSTER_HOME XCLUSTER_MONITOR_BASE XCLUSTER_OVLPATH XCLUSTER_TMP "
    "XCLUSTER_WORKSPACE __base_libs __bbver __cached __cdrom __diskimver __dropbearver __image __ipv4_base "
    "__ipv6_prefix __ipver __kbin __kcfg __kobj __kver __kvm __loader __machine __mem __nets_router "
    "__nets_vm __smp"
).split()


def test_env_prints_30_lines_that_are_sorted(upstream: Upstream) -> None:
    lines = upstream.good("$XCLUSTER env").splitlines()
    assert len(lines) == 30
    assert [line.partition("=")[0] for line in lines] == NAMES
    assert all(line.endswith("'") and "='" in line for line in lines)


def test_env_makes_nothing(upstream: Upstream) -> None:
    before = sorted(upstream.root.rglob("*"))
    upstream.good("$XCLUSTER env; eval $($XCLUSTER env)")
    assert sorted(upstream.root.rglob("*")) == before


def test_defaults_are_those_of_the_settings() -> None:
    settings = Settings()
    assert {name: str(getattr(settings, name)) for name in contract.DEFAULTS} == dict(contract.DEFAULTS)


@pytest.mark.parametrize("unquoted", ["eval $($XCLUSTER env)", 'eval "$($XCLUSTER env)"'])
def test_env_is_evaluated(upstream: Upstream, unquoted: str) -> None:
    out = upstream.good(
        f'{unquoted}; echo "$XCLUSTER_HOME|$XCLUSTER_TMP|$__mem|$__cdrom|$XCLUSTER"', {"__mem": "256"}
    )
    home = upstream.workspace
    assert out.strip() == f"{home}/xcluster|{home}/tmp/xcluster|256|{home}/iso/xcluster.iso|{XC}"


@pytest.mark.parametrize(
    ("given", "words", "printed"),
    [
        ({"XC_MEM": "512"}, "", "__mem='512'"),
        ({"XC_MEM": "512", "__mem": "256"}, "", "__mem='512'"),
        ({"XC_MEM": "512"}, "--mem=64", "__mem='64'"),
        ({"XC_KERNEL": "linux-6.1"}, "", "__kver='linux-6.1'"),
        ({"XC_IMAGE": "k8s", "__image": "/x/hd.img"}, "", "__image='{workspace}/image/k8s.qcow2'"),
        ({"XC_IMAGE": "/etc/hostname"}, "", "__image='/etc/hostname'"),
        ({"XC_NETS_VM": "0,3"}, "", "__nets_vm='0,3'"),
    ],
)
def test_settings_by_our_names_are_printed(
    upstream: Upstream, given: dict[str, str], words: str, printed: str
) -> None:
    lines = upstream.good(f"$XCLUSTER env {words}", given).splitlines()
    assert printed.format(workspace=upstream.workspace) in lines


def test_a_script_reads_settings_by_their_names_of_upstream(upstream: Upstream) -> None:
    pack = 'd=$(mktemp -d)\necho "$__nvm $__mem201" >$d/said\ntar -C $d -cf $1 said\nrm -r $d\n'
    upstream.write("ovl/s/tar", f"#!/bin/sh\n{pack}")
    given = {"XC_NVM": "7", "__nvm": "2", "XC_MEM201": "300"}
    upstream.good("$XCLUSTER cache s; tar -xOf $($XCLUSTER cached_tar s) said >said", given)
    assert (upstream.root / "said").read_text() == "7 300\n"


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("__kver", 1), ("__kobj", 1), ("__kbin", 1), ("XCLUSTER_TMP", 1), ("XCLUSTER_HOME", 1),
     ("XCLUSTER_OVLPATH=", 1), ("-E '^KERNELDIR|__kver'", 2), ("-E '__kver|__kobj|KERNELDIR'", 3),
     ("-i DISKIM", 2)],
)  # fmt: skip
def test_patterns_that_overlays_grep_for(upstream: Upstream, pattern: str, count: int) -> None:
    out = upstream.good(f"$XCLUSTER env | grep {pattern}")
    assert len(out.splitlines()) == count
    upstream.good(f"eval $($XCLUSTER env | grep {pattern})")


def test_values_with_quotes_and_spaces(upstream: Upstream) -> None:
    nasty = 'it\'s $HOME `x` "y" ;z'
    assert upstream.good('eval "$($XCLUSTER env)"; printf %s "$ARCHIVE"', {"ARCHIVE": nasty}) == nasty


def test_options_are_variables(upstream: Upstream) -> None:
    assert "__nets_vm='0,1,7'" in upstream.good("$XCLUSTER env --nets-vm=0,1,7 --unknown")
    assert "__nets_vm='0,1,8'" in upstream.good("__nets_vm=0,1,8 $XCLUSTER env")
    assert "XCLUSTER_TMP='" + str(upstream.workspace / "tmp/two") in upstream.good("$XCLUSTER env --name=two")


def test_image_and_kernel_are_files_of_ours(upstream: Upstream) -> None:
    out = upstream.good("$XCLUSTER env")
    assert f"__image='{upstream.workspace}/image/base.qcow2'" in out
    assert f"__kbin='{upstream.workspace}/kernel/debian/bzImage'" in out
    named = upstream.good("$XCLUSTER env", {"__image": "/any/where/hd-k8s.img", "__kver": "linux-6.1"})
    assert f"__image='{upstream.workspace}/image/k8s.qcow2'" in named
    assert f"__kbin='{upstream.workspace}/kernel/linux-6.1/bzImage'" in named
    assert "__kver='linux-6.1'" in named


def test_ovld(upstream: Upstream) -> None:
    assert upstream.good("$XCLUSTER ovld mine") == f"{upstream.ovl}/mine\n"
    assert upstream.good("$XCLUSTER ovld env") == f"{ROOT}/ovl/env\n"
    upstream.write("ovl/env/default/x", "")
    assert upstream.good("$XCLUSTER ovld env") == f"{upstream.ovl}/env\n"
    assert upstream.good("test -d $($XCLUSTER ovld mine)/default && echo yes") == "yes\n"


@pytest.mark.parametrize("word", ["nothing", ""])
def test_ovld_of_nothing(upstream: Upstream, word: str) -> None:
    upstream.bad(f"$XCLUSTER ovld {word}", f"ERROR: Ovl not found [{word}]")


def test_home_and_tmp_are_there_after_a_word(upstream: Upstream) -> None:
    upstream.write("workspace/image/base.qcow2", "")
    upstream.libs("libc.so.6")
    upstream.good("$XCLUSTER ovld mine")
    there = "test -d $XCLUSTER_TMP && test -r $XCLUSTER_HOME/hd.img && test -r $__base_libs"
    upstream.good(f"eval $($XCLUSTER env); {there}")


def test_a_question_needs_no_workspace_to_write_to(upstream: Upstream) -> None:
    out = upstream.good("$XCLUSTER ovld mine", {"XCLUSTER_WORKSPACE": "/proc/nowhere"})
    assert out == f"{upstream.ovl}/mine\n"


def test_stdout_is_clean_under_a_trace(upstream: Upstream) -> None:
    ran = upstream.sh("d=$($XCLUSTER ovld mine); eval $($XCLUSTER env); echo $d", trace=True)
    assert ran.out == f"{upstream.ovl}/mine\n"
    assert "XCLUSTER_HOME=" in ran.err


def test_no_warning_about_tmp(upstream: Upstream) -> None:
    """Upstream says on stdout that a workspace below /tmp is one; that broke $(...)."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        ran = upstream.sh(f"XCLUSTER_WORKSPACE={folder} $XCLUSTER ovld mine")
    assert (ran.out, ran.err) == (f"{upstream.ovl}/mine\n", "")


def test_completion(upstream: Upstream) -> None:
    assert upstream.good("$XCLUSTER completion sta").split() == ["start", "starts", "status"]
    everything = upstream.good("$XCLUSTER completion").split()
    verbs = "env ovld install_prog cplib libs cploader mkcdrom ximage mkimage cache cached_tar start boot_vm"
    assert set(verbs.split()) <= set(everything)


def test_geometry(upstream: Upstream) -> None:
    assert upstream.good("$XCLUSTER geometry 1 1") == "-geometry 80x12+20+50\n"
    assert upstream.good("$XCLUSTER geometry 2 3") == "-geometry 80x12+570+490\n"
    layout = {"XCLUSTER_LAYOUT": "sz=9x9;dy=10", "XCLUSTER_OFFSET": "xo=0;yo=5"}
    assert upstream.good("$XCLUSTER geometry 1 3", layout) == "-geometry 9x9+0+25\n"
    upstream.bad("$XCLUSTER geometry 1", "two numbers")
    upstream.bad("XCLUSTER_LAYOUT=dx=far $XCLUSTER geometry 1 1", "XCLUSTER_LAYOUT: dx=far")


def test_ovlindex(upstream: Upstream) -> None:
    upstream.write("ovl/mine/README.md", "# Xcluster - mine\n\nWhat it\nis.\n\nMore.\n", 0o644)
    assert upstream.good("$XCLUSTER ovlindex --src=$PWD/ovl") == "* [mine](mine/README.md) - What it is.\n"
    assert upstream.good("cd ovl; $XCLUSTER ovlindex").startswith("* [mine]")
    upstream.bad("$XCLUSTER ovlindex --src=/nowhere", "Not a directory")


@pytest.mark.parametrize(
    ("words", "says"),
    [("kernel_build --kver=linux-0.1", "no kernel [linux-0.1]"), ("kernel_build --kcfg=x", "fragments"),
     ("ximage --image=x nothing", "Ovl not found [nothing]"), ("ximage", "No ovls"),
     ("ximage mine", "extend it with --image=NEW"), ("ximage --script=x mine", "--script"),
     ("mkimage --bootable", "boot loader"), ("build_base /tmp", "Already exists"), ("cache", "No ovls"),
     ("cached_tar mine", "Not cached [mine]"), ("cached_tar", "No ovl")],
)  # fmt: skip
def test_what_cannot_be(upstream: Upstream, words: str, says: str) -> None:
    upstream.bad(f"$XCLUSTER {words}", says)


def test_the_script_that_tests_an_overlay_with_kubernetes(upstream: Upstream) -> None:
    """It is told what a cluster for Kubernetes is like; what the user says counts more."""
    variables = "$__image $__wait $__nvm $__mem $__mem1 | $XOVLS | $__no_stop | $*"
    upstream.write("ovl/mine/mine.sh", f'#!/bin/sh\necho "{variables}"\n')
    upstream.write("ovl/k8s-cni-mine/default/etc/kubernetes/cni", "mine\n", 0o644)
    usual = upstream.good("$XCLUSTER k8s_test mine").strip()
    assert usual == "k8s ready 4 1536 2048 |  |  | test"
    words = "--cni=mine --nvm=2 --mem=900 --no-stop mine basic 3"
    chosen = upstream.good(f"XOVLS=more $XCLUSTER k8s_test {words}").strip()
    assert chosen == "k8s ready 2 900 2048 | more k8s-cni-mine | yes | test basic 3"
    assert upstream.good("$XCLUSTER k8s_test --list mine").strip().endswith("| test --list")
    assert upstream.good("$XCLUSTER k8s_test kubernetes --list").split() == ["basic"]


@pytest.mark.parametrize(
    ("words", "says"),
    [("", "No ovl"), ("nowhere", "Ovl not found [nowhere]"), ("env", "Not executable"),
     ("--cni=nobody kubernetes", "Ovl not found [k8s-cni-nobody]")],
)  # fmt: skip
def test_no_such_script_for_kubernetes(upstream: Upstream, words: str, says: str) -> None:
    upstream.bad(f"$XCLUSTER k8s_test {words}", says)


def test_a_caller_who_stands_beside_a_directory_tasks(upstream: Upstream) -> None:
    place = upstream.root / "place" / "tasks"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("raise SystemExit('not ours')\n")
    for words in ("env", "cache env", "list ovl"):
        upstream.good(f"cd place && $XCLUSTER {words}")


def test_xc_is_found_from_anywhere(upstream: Upstream) -> None:
    """By a relative path, by a link, and where CDPATH names a directory with a directory of our name."""
    name = ROOT.name
    (upstream.root / "elsewhere" / name).mkdir(parents=True)
    (upstream.root / "link").symlink_to(ROOT / "xc")
    expected = str(ROOT / "ovl/env")
    assert upstream.good("./link ovld env").strip() == expected
    relative = f"cd {ROOT.parent} && CDPATH={upstream.root}/elsewhere; export CDPATH; {name}/xc ovld env"
    assert upstream.good(relative).strip() == expected


def test_settings_for_another_python_do_not_reach_ours(upstream: Upstream) -> None:
    """Neither the running Python, nor the one that sets up a .venv (it reads pyproject.toml first)."""
    upstream.write("startup.py", "raise SystemExit('startup')\n")
    variables = {
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": f"{upstream.root}/startup.py",
        "PYTHONOPTIMIZE": "2",
    }
    assert upstream.good(f"{ROOT}/xc ovld env", variables).strip() == str(ROOT / "ovl/env")
    log = """env | grep -E '^PYTHON(HOME|STARTUP|OPTIMIZE)=' >>"$SEEN"; echo python >>"$SEEN" """
    upstream.write("bin/python3", f'#!/bin/sh\n{log}\ncase "$2" in *ensurepip*) exit 0 ;; esac\nexit 1\n')
    upstream.write("bin/apt-get", "#!/bin/sh\nexit 1\n")
    upstream.write("fresh/pyproject.toml", "[project]\n", 0o644)
    shutil.copy(ROOT / "xc", upstream.root / "fresh/xc")
    seen = upstream.root / "seen"
    tools = "qemu-system-x86_64 qemu-img mke2fs ssh socat dnsmasq depmod ip nft slirp4netns"
    for program in tools.split():
        upstream.write(f"bin/{program}", "#!/bin/sh\n")
    path = f"{upstream.root}/bin:{os.environ['PATH']}"
    ran = upstream.sh("fresh/xc help", {**variables, "PATH": path, "SEEN": str(seen)})
    assert ran.code == 1 and "Python 3.11 or newer" in ran.err
    assert set(seen.read_text().split()) == {"python"}


def test_cache(upstream: Upstream) -> None:
    """Overlays are always kept packed; the word packs them beforehand, tells and forgets them."""
    upstream.write("ovl/mine/loud/etc/mine", "MINE\n", 0o644)
    upstream.good("$XCLUSTER cache mine")
    upstream.good("SETUP=loud $XCLUSTER cache mine")
    plain, loud = (f"{upstream.workspace}/ovl/{name}.tar" for name in ("mine", "mine@loud"))
    assert upstream.good("$XCLUSTER cache --list").split() == [plain, loud]
    assert upstream.good("$XCLUSTER cached_tar mine").strip() == plain
    assert upstream.good("SETUP=loud $XCLUSTER cached_tar mine").strip() == loud
    upstream.bad("SETUP=a,b $XCLUSTER cache mine", "SETUP with more than one item [a,b]")
    upstream.good("$XCLUSTER cache --clear mine")
    assert upstream.good("$XCLUSTER cache --list") == ""


def test_words_of_doit_are_the_same() -> None:
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-m", "tasks", "ovld", "env"], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, "XCLUSTER_OVLPATH": ""}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{ROOT}/ovl/env\n")


def test_mkovl_from_a_template_of_upstream(upstream: Upstream) -> None:
    upstream.write("ovl/skeleton/tar", "#!/bin/sh\n# pack skeleton\n")
    upstream.write("ovl/skeleton/skeleton.sh", "otcprog=skeleton_test\n")
    upstream.write("ovl/skeleton/default/bin/skeleton_test", "")
    upstream.good("$XCLUSTER mkovl --template=skeleton --ovldir=$PWD/made fresh")
    overlay = upstream.root / "made/fresh"
    assert (overlay / "fresh.sh").read_text() == "otcprog=fresh_test\n"
    assert (overlay / "tar").read_text() == "#!/bin/sh\n# pack fresh\n"
    assert os.access(overlay / "default/bin/fresh_test", os.X_OK)
    upstream.bad("$XCLUSTER mkovl --template=skeleton --ovldir=$PWD/made fresh", "already exists")
