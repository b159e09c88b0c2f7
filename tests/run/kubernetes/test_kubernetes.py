"""Images with Kubernetes: settings they bring, memory they need, ports of the API, what pods need."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions import image_chain, setting_layers, settings, upstream_names
from tasks.definitions.schema import Image, Overlay
from tasks.definitions.settings import Settings
from tasks.formats import elf
from tasks.run.kubernetes import kube_context, manifests
from tasks.run.net.protocol import Forward, Ports
from tasks.run.running import ports
from tests.conftest import Checkout
from tests.ports import free_pair
from tests.run.running.clusters import started

KUBERNETES = "summary: an image\npackages: [libc6]\nkubernetes: true\n"


def image(name: str, **keys: Any) -> Image:
    """An image of this name."""
    return Image(name=name, directory=Path(name), summary="x", **keys)


IMAGES = {
    "base": image("base", packages=("libc6",)),
    "k8s": image("k8s", extends="base", kubernetes=True),
    "mine": image("mine", extends="k8s", settings={"mem": 2048, "smp": 3}),
    "large": image("large", extends="k8s", kubernetes={"mem": 500, "control": 3000}),
    "a": image("a", extends="b"),
    "b": image("b", extends="a"),
}


def effective(name: str, **words: str) -> Settings:
    """The settings of a start of this image."""
    layer = image_chain.layer(IMAGES, name)
    chosen, problems = settings.load({**words, "image": name}, {}, {}, *([layer] if layer else []))
    assert problems == []
    return chosen


def test_an_image_says_what_its_nodes_need() -> None:
    chosen = effective("k8s")
    assert chosen.kubernetes
    assert [chosen.node_of(n).mem for n in (1, 2, 201, 202, 203, 221)] == [1024, 768, 384, 384, 768, 768]
    assert not effective("base").kubernetes
    assert effective("base").mem == Settings().mem


def test_an_image_that_extends_it_is_one_too_and_can_say_more() -> None:
    chosen = effective("mine")
    assert chosen.kubernetes
    assert chosen.smp == 3
    assert chosen.node_of(2).mem == 2048


def test_words_count_more_than_the_image() -> None:
    chosen = effective("k8s", mem="4096")
    assert [chosen.node_of(n).mem for n in (1, 2, 201)] == [4096] * 3
    assert effective("k8s", mem1="2048").node_of(1).mem == 2048


def test_the_image_counts_more_than_the_topology() -> None:
    topology = setting_layers.SettingsLayer("topology xnet: ", {"mem": 128, "mem201": 128}, above_file=False)
    layer = image_chain.layer(IMAGES, "k8s")
    assert layer
    chosen, _ = settings.load({}, {}, {}, topology, layer)
    assert [chosen.node_of(n).mem for n in (1, 2, 201)] == [1024, 768, 384]
    chosen, _ = settings.load({}, {}, {"mem": 900}, topology, layer)
    assert [chosen.node_of(n).mem for n in (1, 2, 201)] == [900, 900, 900]


def test_a_chain_that_leads_back_ends() -> None:
    assert image_chain.layer(IMAGES, "a") is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            {"mem": "128"},
            ["128 MiB is too small for Kubernetes, which needs 384", "which needs 640 MiB on vm-001"],
        ),
        ({"mem2": "100"}, ["a node of 100 MiB"]),
        ({"mem1": "400"}, ["400 MiB is too small for Kubernetes, which needs 640 MiB on vm-001: --mem1=640"]),
        ({"mem201": "64"}, []),
        ({}, []),
    ],
)
def test_too_little_memory(words: dict[str, str], says: list[str]) -> None:
    problems = sorted(image_chain.too_small(IMAGES, effective("k8s", **words)))
    assert len(problems) == len(says)
    for problem, text in zip(problems, says, strict=True):
        assert text in problem


def test_an_image_can_say_how_much() -> None:
    (problem,) = image_chain.too_small(IMAGES, effective("large"))
    assert "3000 MiB on vm-001" in problem


def test_the_user_is_told_of_memory_before_anything(checkout: Checkout) -> None:
    checkout.write("images/base/image.yaml", KUBERNETES)
    checkout.bad("starts", "--mem=200", code=2, says=("200 MiB is too small for Kubernetes",))
    assert not (checkout.workspace / "run").exists()


def test_wrong_settings_of_an_image_are_found(checkout: Checkout) -> None:
    checkout.write("images/other/image.yaml", KUBERNETES + "settings: {memory: 12, smp: 99}\n")
    says = (
        "images/other/image.yaml: settings: unknown setting 'memory'",
        "images/other/image.yaml: settings: smp",
    )
    checkout.bad("image:other", code=2, says=says)
    checkout.good("mkcdrom", "a")  # which does not need that image


@pytest.mark.parametrize(
    ("setup", "family"), [("", ""), ("ipv6", "ipv6"), ("test,ipv4", "ipv4"), ("ipv4,ipv6", "ipv6"), ("x", "")]
)
def test_setup_names_the_addresses(setup: str, family: str) -> None:
    assert upstream_names.family(setup) == family
    assert upstream_names.translated({"SETUP": setup}, "/")["__k8s_family"] == family


def test_what_is_said_plainly_counts_more_than_setup() -> None:
    environ = upstream_names.translated(
        {"SETUP": "ipv6", "__k8s_family": "ipv4", "K8S_PROXY_MODE": "ipvs"}, "/"
    )
    assert environ["__k8s_family"] == "ipv4"
    assert environ["__k8s_proxy_mode"] == "ipvs"


def test_only_vm_001_has_the_api_forwarded() -> None:
    chosen = Ports(12300, None, 7443)
    assert chosen.of(1) == (Forward(12301, 22), Forward(7443, 6443))
    assert chosen.of(2) == (Forward(12302, 22),)
    assert Ports(12300, None).of(1) == (Forward(12301, 22),)


def test_the_api_has_the_first_free_port(tmp_path: Path) -> None:
    workspace, first = Workspace(tmp_path), free_pair()
    chosen = Settings(kubernetes=True, api_base=first, net="userspace")
    assert ports.choose(chosen, workspace).api == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        assert ports.choose(chosen, workspace).api == first + 1
    started(workspace, Settings(name="other", kubernetes=True), Ports(1, None, first))
    assert ports.choose(chosen, workspace).api == first + 1
    assert ports.choose(Settings(net="userspace"), workspace).api is None


def test_a_running_cluster_keeps_its_port(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    chosen = Settings(kubernetes=True, net="userspace")
    started(workspace, chosen, Ports(chosen.ssh_base, None, 7450))
    assert ports.choose(chosen, workspace).api == 7450


def overlay(root: Path, text: str, tree: str = "default") -> Overlay:
    """An overlay with a manifest."""
    file = root / tree / "etc/kubernetes/sub/x.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return Overlay(name="o", directory=root)


MANIFEST = """
spec:
  containers:
    - name: a
      image: localhost/a:1
    - {name: b, image: "docker.io/library/b:2", command: [x]}
    - image: @LATER@
# image: none of ours
imagePullPolicy: Never
"""


def test_images_that_nodes_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = overlay(tmp_path, MANIFEST.replace("# image: none of ours\n", ""))
    manifests.check(
        [example], (), ["localhost/a:1", f"docker.io/library/b:2@sha256:{'0' * 64}"], offline=True
    )
    assert capsys.readouterr().err == ""


def test_an_image_that_nobody_brings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = overlay(tmp_path, MANIFEST)
    with pytest.raises(UserError, match=r"localhost/a:1, in .*/x\.yaml"):
        manifests.check([example], (), ["docker.io/library/b:2"], offline=False)
    manifests.check([example], (), ["localhost/a:1"], offline=False)
    assert "have to pull docker.io/library/b:2" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"docker\.io/library/b:2"):
        manifests.check([example], (), ["localhost/a:1"], offline=True)


def test_only_the_chosen_variants_count(tmp_path: Path) -> None:
    example = overlay(tmp_path, MANIFEST, tree="test")
    manifests.check([example], (), [], offline=True)
    with pytest.raises(UserError):
        manifests.check([example], ("test",), [], offline=True)


HEAD = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")


@pytest.mark.parametrize(
    ("content", "machine"),
    [
        (HEAD + b"\x02\0\x3e\0" + bytes(44), ""),
        (HEAD + b"\x02\0\xb7\0" + bytes(44), "aarch64"),
        (b"\x7fELF\x01\x01".ljust(16, b"\0") + b"\x02\0\x03\0", "x86 (32 bits)"),
        (b"\x7fELF\x02\x02".ljust(16, b"\0") + b"\0\x02\0\x16", "s390x"),
        (HEAD + b"\x02\0\x01\x01", "machine 257"),
        (b"#!/bin/sh\n", ""),
        (b"", ""),
        (b"\x7fELF", ""),
    ],
)
def test_programs_of_other_machines(tmp_path: Path, content: bytes, machine: str) -> None:
    (tmp_path / "x").write_bytes(content)
    assert elf.foreign(tmp_path / "x") == machine


def test_a_program_of_another_machine_is_refused(checkout: Checkout) -> None:
    (checkout.root / "ovl/a/kubelet").write_bytes(HEAD + b"\x02\0\xb7\0" + bytes(44))
    artifact = "{name: kubelet, sources: [{file: kubelet}], dest: usr/bin/kubelet, executable: true}"
    checkout.write("ovl/a/ovl.yaml", f"artifacts:\n  - {artifact}\n")
    checkout.bad("ovl:a", code=1, says=("artifact 'kubelet' is a program for aarch64, guests are x86-64",))


def test_a_kubeconfig_in_the_workspace_gets_each_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of Envsettings.k8s; a file of the user's gets a cluster only where it is asked for."""
    workspace = Workspace(tmp_path / "workspace")
    own = workspace.root / "xcluster" / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(own))
    assert kube_context.wanted(workspace, "c") == [own]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert kube_context.wanted(workspace, "c") == []
    monkeypatch.delenv("KUBECONFIG")
    assert kube_context.wanted(workspace, "c") == []
