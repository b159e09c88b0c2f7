"""What is told, and where: JSON, events, dry runs, and streams that are full, closed or not read."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tasks.base.errors import nearest, unknown
from tests.conftest import ROOT, Checkout


def shell(checkout: Checkout, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in which $xc is ours."""
    env = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(checkout.root), "HOME": "/nowhere",
        "xc": f"{sys.executable} -m tasks",
    }  # fmt: skip
    return subprocess.run(
        ["bash", "-c", script], cwd=checkout.root, env=env, capture_output=True, text=True, check=False
    )


PRINTING = ("help", "help start", "--help", "version", "env", "completion", "completion bash",
            "status -o json", "list", "doctor", "ovld a",
            "mkcdrom a --dry-run", "stop -o json", "cache ls")  # fmt: skip


@pytest.mark.parametrize("words", PRINTING)
def test_a_full_stdout(checkout: Checkout, words: str) -> None:
    done = shell(checkout, f"$xc {words} >/dev/full")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "cannot write to stdout" in line]
    assert len(errors) == 1, done.stderr


@pytest.mark.parametrize("words", PRINTING)
def test_a_reader_that_has_seen_enough(checkout: Checkout, words: str) -> None:
    done = shell(checkout, f"$xc {words} | true; echo ${{PIPESTATUS[0]}}")
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr and "Broken" not in done.stderr
    assert done.stdout.split()[-1] in (("0", "1") if words == "doctor" else ("0", "141"))


@pytest.mark.parametrize("words", ["list", "list --all", "info image:base"])
def test_a_full_stdout_of_more_than_a_buffer(words: str) -> None:
    """The repository's own tasks fill the buffer of stdout while doit still writes."""
    script = f"export XCLUSTER_OVLPATH=; PYTHONUNBUFFERED=1 {sys.executable} -m tasks {words} "
    full, closed = (
        subprocess.run(["bash", "-c", script + end], cwd=ROOT, capture_output=True, text=True, check=False)
        for end in (">/dev/full", "| true; echo ${PIPESTATUS[0]}")
    )
    assert (full.returncode, full.stderr.count("\n")) == (1, 1), full.stderr
    assert full.stderr.startswith("error: cannot write to stdout")
    assert (closed.stdout, closed.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("nosuch 2>&-", 2),
        ("start --nvn=1 2>&-", 2),
        ("help >&-", 1),
        ("help >&- 2>&-", 1),
        ("stop 2>&-", 0),
        ("status <&- 2>&-", 0),
        ("ovl:nothing 2>&-", 2),
        ("rsh 1 ls 2>/dev/full", 1),
    ],
)
def test_closed_streams(checkout: Checkout, line: str, status: int) -> None:
    done = shell(checkout, f"$xc {line}")
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr


def test_errors_as_json(checkout: Checkout) -> None:
    ran = checkout.bad("scalein", "9", "-o", "json", code=1, says=())
    error = json.loads(ran.err)
    assert ran.out == "" and "no running node 9" in error["error"] and "xc start" in error["hint"]
    ran = checkout.bad("start", "--image=bse", "-o", "json", code=2, says=())
    assert "unknown image 'bse'" in json.loads(ran.err)["error"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nosuch -o json", "unknown verb 'nosuch'"),
        ("status --nosuch -o json", "unknown option '--nosuch'"),
        ("status -o=json --nosuch", "unknown option '--nosuch'"),
        ("ovl:nosuch -o json", "unknown task 'ovl:nosuch'"),
        ("-o json", "unknown option '-o'"),
        ("-o json status", "stands before the verb 'status'"),
    ],
)
def test_wrong_words_as_json(checkout: Checkout, line: str, says: str) -> None:
    ran = checkout.bad(*line.split(), code=2, says=())
    error = json.loads(ran.err)
    assert ran.out == "" and says in error["error"] and error["hint"]


@pytest.mark.parametrize("line", ["nosuch", "status --nosuch", "status nosuch", "ovl:nosuch", "--nosuch"])
def test_wrong_words_as_events(checkout: Checkout, line: str) -> None:
    ran = checkout.bad(*line.split(), "--progress=json", code=2, says=("nosuch",))
    assert [each["event"] for each in events(ran.err)] == ["error"]


def test_the_options_of_a_command_are_its_own(checkout: Checkout) -> None:
    ran = checkout.bad("rsh", "999", "ls", "-o", "json", "--progress=json", code=1, says=())
    assert not ran.err.startswith("{")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-x", "unknown option '-x'"),
        ("--foo", "unknown option '--foo'"),
        ("--name=a status", "'--name=a' stands before the verb 'status'"),
        ("nosuch status", "unknown verb 'nosuch'"),
        ("ovl:a status", "'ovl:a' stands before the verb 'status'"),
    ],
)
def test_no_word_before_a_verb_is_ignored(checkout: Checkout, line: str, says: str) -> None:
    ran = checkout.bad(*line.split(), code=2, says=(says,))
    assert ran.out == ""


def events(text: str) -> list[dict[str, str]]:
    """The objects of a stream, one a line; each says when."""
    stream = [json.loads(line) for line in text.splitlines()]
    assert all(each["time"].endswith("Z") and each["event"] for each in stream)
    return stream


def test_a_stream_of_events(checkout: Checkout) -> None:
    ran = checkout.good("mkcdrom", "a", "--progress=json")
    tasks = [(each["task"], each["state"]) for each in events(ran.err) if each["event"] == "task"]
    assert tasks[0] == ("ovl:a", "started") and tasks[-1] == ("mkcdrom", "done")
    ran = checkout.bad("ovl:nothing", "--progress=json", code=2, says=("nothing",))
    assert [each["event"] for each in events(ran.err)] == ["error"]
    assert events(checkout.good("stop", "--progress=json").err)[0]["event"] == "message"


def test_less_and_more(checkout: Checkout) -> None:
    why = checkout.good("-v", "mkcdrom", "a").err
    assert "because" in why and "a.tar does not exist" in why
    assert checkout.good("mkcdrom", "-q", "b").err == ""
    assert checkout.good("ovl:a", "-q").err == ""
    assert "nowhere" in checkout.bad("mkcdrom", "-q", "nowhere", code=2, says=()).err


def test_a_dry_run(checkout: Checkout) -> None:
    ran = checkout.good("mkcdrom", "a", "--dry-run")
    assert [line.split()[0] for line in ran.out.splitlines() if line[0] != " "] == ["ovl:a", "mkcdrom"]
    assert "because" in ran.out and not checkout.iso.exists() and not checkout.tar("a").exists()
    checkout.good("mkcdrom", "a")
    assert checkout.good("mkcdrom", "a", "--dry-run").out == "nothing would be built\n"
    checkout.write("ovl/a/default/etc/a.conf", "other\n")
    ran = checkout.good("--dry-run", "ovl:a", "ovl:b")
    assert "a.conf changed" in ran.out and "ovl:b " in ran.out
    assert "perhaps" in checkout.good("mkcdrom", "a", "--dry-run").out
    checkout.bad("--dry-run", "ovl:c", code=2, says=("unknown task 'ovl:c'",))


def test_a_dry_run_of_a_start(checkout: Checkout) -> None:
    words = ("start", "--name=dry", "--nvm=2", "--nrouters=0", "--net=userspace", "--dry-run", "-o", "json")
    with tempfile.TemporaryDirectory(prefix="xc-", dir="/tmp") as folder:  # short enough for sockets
        outlook = json.loads(checkout.good(*words, env={"XCLUSTER_WORKSPACE": folder}).out)
        text = checkout.good(*words[:-2], env={"XCLUSTER_WORKSPACE": folder}).out
        assert not (Path(folder) / "run").exists()
    assert {"kernel:debian", "image:base", "mkcdrom"} <= {each["task"] for each in outlook["tasks"]}
    assert [node["name"] for node in outlook["plan"]["nodes"]] == ["vm-001", "vm-002"]
    assert outlook["plan"]["ports"]["ssh"] and outlook["plan"]["net"]["backend"] == "userspace"
    _, _, told = text.partition("\nthen `xc start` would do this:\n")
    assert "net: userspace (as asked for)\nnodes:\n  vm-001: 128 MiB, 2 processors, nets 0, 1, " in told
    assert "ports: ssh to node N at 127.0.0.1:" in told and "runs now" not in told
    assert [line for line in told.splitlines() if line.endswith(":")] == ["nodes:"]


def test_what_ends_is_told_as_json(checkout: Checkout) -> None:
    assert json.loads(checkout.good("stop", "-o", "json").out) == {"cluster": "xcluster", "stopped": False}
    assert json.loads(checkout.good("version", "-o", "json").out)["name"] == "xcluster-doit"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["kernel:debain"], "Did you mean 'kernel:debian'"),
        (["info", "image:bse"], "Did you mean 'image:base'"),
        (["statr"], "Did you mean 'start', 'status' or 'starts'"),
        (["help", "stat"], "Did you mean 'start'"),
        (["start", "--topology=xnett"], "unknown topology 'xnett'"),
        (["completion", "--help", "x"], "xc completion"),
    ],
)
def test_names_that_are_nearly_right(checkout: Checkout, words: list[str], says: str) -> None:
    ran = checkout.xc(*words)
    assert ran.clean and says in ran.err + ran.out


def test_internal_tasks_are_not_offered(checkout: Checkout) -> None:
    """A word that is known as a task does something, even if that is nothing."""
    checkout.good("store")
    checkout.bad("pki", code=2, says=("unknown verb 'pki'",))


def test_the_nearest_three() -> None:
    many = [f"name{number}" for number in range(60)]
    message = unknown("thing", "name5", many)
    assert message.count("'") == 2 + 2 * 3 and "(known" not in message
    assert unknown("thing", "x", ["a", "b"]) == "unknown thing 'x' (known: a, b)."
    assert "none of the 60" in unknown("thing", "%%%", many)
    assert nearest("statr", ["start", "stop"]) == ["start"]
