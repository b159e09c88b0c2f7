"""What modules are compiled against: Debian's headers are made to work where they are."""

from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.kernel import headers
from tasks.build.sources import requested
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Kernel, Prebuilt
from tasks.formats import unpack
from tasks.project.site import Site

OWN = "usr/src/linux-headers-6.1.0-1-cloud-amd64"
VARIABLES = "ARCH = x86\nCC = $(if $(CCACHE),ccache) $(CROSS_COMPILE)gcc-12\n"


def debian(monkeypatch: pytest.MonkeyPatch, place: Path, version: str) -> Site:
    """A workspace with a kernel of this version, and an archive with headers of 6.1.0-1."""
    site = Site(Workspace(place / "workspace"), "bookworm")
    files.write_json(site.workspace.stamp("kernel", "debian"), {"version": version})

    def debs(paths: object, into: Path) -> None:
        for name, text in (
            (f"{OWN}/Makefile", "include /usr/src/linux-headers-6.1.0-1-common/Makefile\n"),
            (f"{OWN}/.kernelvariables", VARIABLES),
            (f"{OWN}/Module.symvers", "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\n"),
            ("usr/src/linux-headers-6.1.0-1-common/Makefile", "all:\n"),
        ):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_text(text)

    monkeypatch.setattr(requested, "fetch", lambda *words: [])
    monkeypatch.setattr(unpack, "debs", debs)
    return site


def made(site: Site) -> None:
    kernel = Kernel(name="debian", summary="x", prebuilt=Prebuilt(package="linux-image-cloud-amd64"))
    headers.unpacked(kernel, PackageRequest("bookworm", ("linux-headers-cloud-amd64",)), site)


def test_headers_of_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = debian(monkeypatch, tmp_path, "6.1.0-1-cloud-amd64")
    made(site)
    objects = headers.objects(site.workspace, "debian")
    source = site.workspace.root / "xcluster/linux/debian"
    assert (source / "Makefile").read_text() == "all:\n"
    assert (objects / "Makefile").read_text() == (
        f"include {site.workspace.root}/kbuild/debian/usr/src/linux-headers-6.1.0-1-common/Makefile\n"
    )
    assert "$(if $(shell command -v gcc-12),gcc-12,gcc)" in (objects / ".kernelvariables").read_text()
    assert (site.workspace.root / "headers/debian.json").is_file()
    made(site)


def test_headers_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = debian(monkeypatch, tmp_path, "6.1.0-2-cloud-amd64")
    with pytest.raises(UserError, match="no headers of kernel 6.1.0-2-cloud-amd64") as caught:
        made(site)
    assert "xc update" in str(caught.value)
    assert not (site.workspace.root / "kbuild/debian").exists()
