"""What a start says of the overlays of its ISO."""

from pathlib import Path

import pytest

from tasks.definitions.schema import Overlay
from tasks.run.cluster import iso_checks


@pytest.mark.parametrize(
    ("name", "packages", "script", "warns"),
    [
        ("network-topology", (), "tar -C default -cf $1 .\n", True),
        ("network-topology", (), "", True),
        ("network-topology", (), "echo nameserver 192.168.0.250 > $tmp/etc/resolv.conf\n", False),
        ("network-topology", (), "cp $GOPATH/bin/coredns $tmp/bin\n", False),
        ("names", ("dnsmasq-base",), "", False),
        ("dns", (), "", False),
    ],
)
def test_a_pretended_internet_needs_a_dns_server(
    tmp_path: Path, name: str, packages: tuple[str, ...], script: str, warns: bool
) -> None:
    if script:
        (tmp_path / "tar").write_text(script)
        overlay = Overlay(name=name, directory=tmp_path)
    else:
        overlay = Overlay(name=name, directory=tmp_path, packages=packages)
    plain = Overlay(name="env", directory=tmp_path / "env")
    lines = iso_checks.nameless([plain, overlay])
    assert ["gives nodes a DNS server (ours is `dns`)" in line for line in lines] == [True] * warns
