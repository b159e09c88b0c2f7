"""Overlays at work in guests, and what is packed again when a file changes."""

import pytest

from tests.boot.conftest import Cluster, assert_nothing_left

pytestmark = pytest.mark.boot


def test_etcd_iptools_env_and_timezone() -> None:
    cluster = Cluster("t-ovl", {"xcluster_COLOUR": "it's blue", "xcluster_TZ": "Asia/Tokyo"})
    cluster.xc("mkcdrom", "env", "timezone", "iptools", "network-topology", "etcd")
    cluster.xc("starts", "--nvm=2", "--nrouters=1", "--mem=192")
    try:
        assert cluster.rsh(2, ". /etc/profile; echo $COLOUR $__nvm $__nrouters").strip() == "it's blue 2 1"
        assert cluster.rsh(1, ". /etc/profile; date +%z").strip() == "+0900"
        cluster.until(2, ". /etc/profile; etcdctl put answer 42", 60)
        assert cluster.rsh(1, ". /etc/profile; etcdctl get answer --print-value-only").strip() == "42"
        cluster.rsh(1, "iptables -t nat -L -n; nft list ruleset; ipset list; ethtool eth0")
        assert "MASQUERADE" in cluster.rsh(201, "nft list ruleset; iptables-save").upper()
    finally:
        cluster.xc("stop")
        cluster.xc("mkcdrom")
    assert_nothing_left("t-ovl")


def test_a_cluster_without_overlays() -> None:
    cluster = Cluster("t-bare")
    cluster.xc("mkcdrom")
    cluster.xc("starts", "--nvm=1", "--nrouters=0")
    try:
        assert cluster.rsh(1, "cat /etc/os-release").count("ID=xcluster") == 1
        assert cluster.xc("rsh", "1", "test -e /etc/init.d/11xnet.rc", ok=False).returncode == 1
    finally:
        cluster.xc("stop")
    assert_nothing_left("t-bare")
