"""xcluster's words about a workspace and its host: *_build, base_archives, env_check, k8s_workspace, mark."""

import json
import re

import pytest

from tests.cli.upstream.conftest import Upstream

PACKAGES = {"busybox": "busybox-static", "dropbear": "dropbear-bin", "iproute2": "iproute2"}


@pytest.mark.parametrize("name", PACKAGES)
def test_programs_come_from_debian(upstream: Upstream, name: str) -> None:
    package, listing = PACKAGES[name], "workspace/image/base.packages.json"
    upstream.bad(f"$XCLUSTER {name}_build", f"{name} is not compiled here: it is Debian's {package}")
    upstream.write(listing, json.dumps({"packages": [{"name": package, "version": "1.2-3"}]}), 0o644)
    told = upstream.good(f"$XCLUSTER {name}_build --clean")
    assert told == f"{name}: Debian's {package} 1.2-3 is in the image; nothing is compiled\n"
    upstream.bad(f"$XCLUSTER {name}_build --menuconfig", "is not compiled here")
    upstream.write(listing, json.dumps({"packages": []}), 0o644)
    upstream.bad(f"$XCLUSTER {name}_build", f"has no package {package}")


def test_what_the_base_build_takes(upstream: Upstream) -> None:
    lines = upstream.good("$XCLUSTER base_archives").splitlines()
    assert "kernel debian deb:linux-image-cloud-amd64" in lines
    assert "image base deb:dropbear-bin" in lines
    assert all(re.fullmatch(r"(kernel|image|ovl) \S+ (deb|go|file|https?):\S+", line) for line in lines)
    own = upstream.good("__kernel=linux-6.1 __ovls=coredns $XCLUSTER base_archives")
    assert "kernel linux-6.1 deb:linux-source-6.1" in own and "ovl coredns go:" in own


def test_a_check_tells_only_what_is_missing(upstream: Upstream) -> None:
    ran = upstream.sh("$XCLUSTER env_check")
    states = {line.split()[0] for line in ran.out.splitlines()}
    assert states <= {"missing", "optional"} and ran.code == (1 if "missing" in states else 0)
    odd = upstream.sh("$XCLUSTER env_check", {"PATH": "/usr/bin:/bin", "XCLUSTER_WORKSPACE": "/proc/none"})
    assert odd.code == 1 and odd.clean


def test_kubectl_for_the_host(upstream: Upstream) -> None:
    upstream.write("k8s/kubectl", "#!/bin/sh\necho kubectl\n")
    out = upstream.good("KUBERNETESD=$PWD/k8s $XCLUSTER k8s_workspace --workspace=other").strip()
    assert out == f"{upstream.root}/other/bin/kubectl"
    assert upstream.good(out) == "kubectl\n"


def test_marks(upstream: Upstream) -> None:
    first = upstream.good("$XCLUSTER mark the kernel")
    assert re.fullmatch(r" +0\.0 s +\+0\.0 s  the kernel\n", first)
    upstream.good("sleep 0.2")
    second = upstream.good("$XCLUSTER mark")
    assert re.fullmatch(r" +\d+\.\d s +\+\d+\.\d s\n", second)
    assert upstream.good("$XCLUSTER mark clean; $XCLUSTER mark again").startswith(first[:10])
    upstream.write("no-marks", "text\n", 0o644)
    upstream.bad("$XCLUSTER mark --mark-file=no-marks x", "Not a file of marks [no-marks]")
    upstream.good("$XCLUSTER mark --mark-file=own x")
    assert (upstream.root / "own").read_text().endswith(" x\n")
