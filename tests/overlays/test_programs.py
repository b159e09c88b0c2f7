"""Overlays that bring programs, all in one guest: bash, skopeo, linux-tools, lspci."""

import json
from collections.abc import Iterator

import pytest

from tasks.base import files
from tests.boot.conftest import WORKSPACE, Cluster
from tests.containers import workspace_registry
from tests.overlays.conftest import with_overlay

LAYOUT = "oci:/var/lib/container-images/oci:localhost/hello:1"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with workspace_registry(Cluster("t-skopeo")) as port:
        yield port


@pytest.fixture(scope="module")
def cluster(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    mine = tmp_path_factory.mktemp("ovl") / "mine"
    (mine / "default").mkdir(parents=True)
    (mine / "ovl.yaml").write_text("images: ['localhost/hello:1']\nallow_empty: true\n")
    more = ["bash", "linux-tools", "lspci", "private-reg", str(mine)]
    env = {"xcluster_REGISTRY_PORT": str(port)}
    yield from with_overlay("skopeo", "--nvm=1", env=env, more=more)


def test_bash_is_the_shell_of_root(cluster: Cluster) -> None:
    assert cluster.rsh(1, 'echo "$0" {1..3} ${BASH_VERSION%%.*}').split() == ["bash", "1", "2", "3", "5"]
    assert "/usr/local/bin:/usr/sbin" in cluster.rsh(1, "bash --login -c 'echo $PATH'")


def test_bash_is_the_shell_of_the_console_and_scripts_stay_with_ash(cluster: Cluster) -> None:
    cluster.until(1, "ps | grep '[/]bin/bash --login'")
    assert cluster.rsh(1, "sh -c 'echo ${BASH_VERSION:-none}'").strip() == "none"


def test_skopeo_inspects_what_the_node_has_from_the_start(cluster: Cluster) -> None:
    pinned = files.read_json(WORKSPACE / "pull/localhost+hello:1.json")["digest"]
    shown = json.loads(cluster.rsh(1, f"skopeo inspect {LAYOUT}"))
    assert (shown["Digest"], shown["Architecture"], len(shown["Layers"])) == (pinned, "amd64", 1)


def test_skopeo_copies_to_a_registry_and_back(cluster: Cluster, port: int) -> None:
    there = f"docker://192.168.0.250:{port}/t-skopeo:1"
    try:
        cluster.rsh(1, f"skopeo copy -q {LAYOUT} {there}")
        assert "t-skopeo:1" in cluster.xc("registry", "ls").stdout
        cluster.rsh(1, f"skopeo copy -q {there} docker-archive:/tmp/hello.tar:hello:1")
    finally:
        cluster.xc("registry", "rm", "t-skopeo:1", ok=False)
    (image,) = json.loads(cluster.rsh(1, "tar xOf /tmp/hello.tar manifest.json"))
    assert image["RepoTags"] == ["docker.io/library/hello:1"]
    hello = cluster.rsh(1, f"tar xOf /tmp/hello.tar {image['Layers'][0]} | tar xO etc/hello")
    assert hello.strip() == "hello from a container"


def test_perf_counts_and_says_what_cannot_be_counted(cluster: Cluster) -> None:
    counted = cluster.rsh(1, "perf stat -x, -e task-clock,page-faults,context-switches true 2>&1")
    counts = {line.split(",")[2]: float(line.split(",")[0]) for line in counted.splitlines()}
    assert counts["task-clock"] > 0 and counts["page-faults"] > 10


def test_perf_records_the_functions_of_the_kernel(cluster: Cluster) -> None:
    work = "dd if=/dev/zero of=/dev/null bs=1k count=30000"
    cluster.rsh(1, f"perf record -e cpu-clock -o /tmp/perf.data {work} 2>&1")
    report = cluster.rsh(1, "perf report -i /tmp/perf.data --stdio --sort sym 2> /dev/null")
    assert "vfs_read" in report or "ksys_read" in report or "clear_user" in report


def test_perf_counts_tracepoints(cluster: Cluster) -> None:
    counted = cluster.rsh(
        1, "perf stat -x, -e sched:sched_process_exec -a sh -c '/bin/true; ls' 2>&1 >/dev/null"
    )
    assert int(counted.split(",")[0]) >= 2


def test_lspci_names_the_devices(cluster: Cluster) -> None:
    assert "Virtio network device [1af4:1000]" in cluster.rsh(1, "lspci -nn")
    assert "Kernel driver in use: virtio-pci" in cluster.rsh(1, "lspci -k")
    assert cluster.rsh(1, "setpci -d 1af4:1000 VENDOR_ID").split()[0] == "1af4"
