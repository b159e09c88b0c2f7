"""The tables of what xcluster's documents type, and their lines that need no cluster."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, Cluster
from tests.seeds.cluster_lines import CLUSTER_LINES
from tests.seeds.host_lines import INSTALLATION, PREPARATION, SETTINGS
from tests.seeds.kubernetes_lines import CERTIFIED, KUBERNETES_LINES
from tests.seeds.line import Line
from tests.seeds.machine_lines import MACHINE_LINES
from tests.seeds.network_lines import NETWORK_LINES

ALL = (
    *PREPARATION,
    *INSTALLATION,
    *SETTINGS,
    *MACHINE_LINES,
    *CLUSTER_LINES,
    *KUBERNETES_LINES,
    *NETWORK_LINES,
)
# What is typed of these neither knows nor changes where it is typed.
ALONE = tuple(line for line in (*PREPARATION, *MACHINE_LINES) if not line.later)


def named(line: Line) -> str:
    return f"{line.seed} {line.text[:60]}"


@pytest.mark.parametrize("line", ALL, ids=named)
def test_rows(line: Line) -> None:
    re.compile(line.expects)
    assert re.fullmatch("00[0-4]", line.seed)
    if line.status or line.later or (line.instead and line.instead.split() != line.text.split()):
        assert line.differs or line.text.startswith(("--", "$__net_setup <")), "what differs is told"


@pytest.mark.parametrize("table", [PREPARATION, INSTALLATION, SETTINGS, MACHINE_LINES, CLUSTER_LINES])
def test_no_row_is_there_twice(table: tuple[Line, ...]) -> None:
    assert len(table) == len({(line.seed, line.text) for line in table})


@cache
def printed(command: str) -> tuple[int, str]:
    """What comes of a command in the checkout."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, env=Cluster("").environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("line", ALONE, ids=named)
def test_lines_that_are_about_the_host(line: Line) -> None:
    fault = line.fault(*printed(line.typed))
    assert not fault, fault


def test_a_row_is_wrong_when_the_outcome_is() -> None:
    line = Line("000", "x", "host", "^up$", status=1)
    assert line.fault(1, "going\nup\n") == ""
    assert "ended with 0, not 1" in line.fault(0, "up\n")
    assert "printed nothing like '^up$'" in line.fault(1, "upper\n")


@pytest.mark.parametrize("line", CERTIFIED, ids=named)
@pytest.mark.parametrize("env", [{}, {"__name": "t-ca"}, {"XC_NAME": "t-ca", "__name": "other"}], ids=str)
def test_other_certificates(tmp_path: Path, line: Line, env: dict[str, str]) -> None:
    """The secret is gone, and with it all that was derived from it."""
    secret = tmp_path / f"workspace/k8s/{'t-ca' if env else 'xcluster'}/secret.json"
    secret.parent.mkdir(parents=True)
    secret.write_text("{}")
    done = subprocess.run(
        line.typed.split(), cwd=ROOT / "ovl/kubernetes", capture_output=True, text=True, check=False,
        env={**Cluster("").environment, **env, "XCLUSTER_WORKSPACE": str(tmp_path / "workspace")},
    )  # fmt: skip
    fault = line.fault(done.returncode, done.stdout + done.stderr)
    assert not fault, fault
    assert not secret.exists()
