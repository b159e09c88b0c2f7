"""What recipes take is what `lock`, `fetch`, `cache` and the bill of materials know, whatever takes it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.release import parts
from tasks.build.sources import suite
from tasks.build.stock import cache, inputs, lock
from tasks.definitions import lockfile
from tasks.definitions.iso_choice import IsoChoice
from tasks.definitions.settings import Settings
from tasks.engine import kit, record
from tasks.project import definition_files
from tasks.project.command_line import Words
from tasks.project.project import ROOT, Project
from tests.build.sources.test_apt import TOOLS, Debian, debian  # noqa: F401
from tests.conftest import Checkout

pytestmark = pytest.mark.skipif(
    not all(map(proc.find, TOOLS)), reason="apt, dpkg and gpg are not all installed"
)
CONTAINER = (
    "images:\n- {ref: 'localhost/made:1', packages: [tool], exclude: [base], command: [/usr/bin/tool]}\n"
)


@pytest.fixture
def project(checkout: Checkout, debian: Debian) -> Project:  # noqa: F811
    """A project in which nothing but a container image that is made here needs the packages tool and lib."""
    debian.add("spare")
    debian.add("of-base")
    debian.publish()
    files.remove(checkout.root / "kernel/debian.yaml")
    checkout.write("images/base/image.yaml", "summary: i\npackages: [of-base]\nsize: 16M\n")
    checkout.write("ovl/a/ovl.yaml", CONTAINER + "image_stores: [oci]\n")
    checkout.write(
        "images/whole/image.yaml",
        "summary: w\nextends: base\noverlays: [a]\nself_contained: true\nsize: 16M\n",
    )
    return of(checkout, debian)


def of(checkout: Checkout, debian: Debian, *words: str) -> Project:  # noqa: F811
    """The project as it is read now, for a run with these words."""
    return Project(
        checkout.root,
        Workspace(checkout.workspace),
        Settings(suite="stable", mirror=debian.url, ovls=""),
        Words(verb=words[0] if words else None, args=words[1:]),
        definition_files.load(checkout.root),
        {},
    )


def run(tasks: kit.Tasks, name: str) -> None:
    """Do what the task called `name` does."""
    (task,) = [task for task in tasks if record.name_of(task) == name]
    func, args = task["actions"][0]
    failed = func(*args)
    assert failed is None, str(failed)


def fetched(project: Project) -> set[str]:
    """The packages in the cache."""
    folder = project.workspace.apt("stable") / "cache/archives"
    return {path.name.partition("_")[0] for path in folder.glob("*.deb")}


@pytest.fixture
def lists(project: Project) -> Project:
    """The same, with package lists."""
    suite.get("stable", project.site)
    return project


def test_lock(lists: Project) -> None:
    lock.DOES["lock"](lists)
    assert lists.site.lock
    assert set(lockfile.packages(lists.site.lock, "stable")) == {"of-base", "lib", "tool"}


def test_fetch_and_then_offline(lists: Project, debian: Debian) -> None:  # noqa: F811
    lock.DOES["fetch"](lists)
    assert fetched(lists) == {"of-base", "lib", "tool"}
    files.remove(debian.root)
    offline = replace(lists, settings=lists.settings.model_copy(update={"offline": True}))
    run(inputs.recipes(offline, IsoChoice(), {}), "pull:localhost/made:1")


def test_cache_keeps_what_container_images_need(lists: Project, capsys: pytest.CaptureFixture[str]) -> None:
    lock.DOES["fetch"](lists)
    archives = lists.workspace.apt("stable") / "cache/archives"
    (archives / "spare_1_amd64.deb").write_bytes(b"x" * 5000)
    users = {Path(each.path).name: each.users for each in cache.entries(lists)}
    assert users["tool_1_amd64.deb"] == ("pull:localhost/made:1",)
    made = ("image:base", "image:whole", "rootfs:base", "rootfs:whole")
    assert users["of-base_1_amd64.deb"] == made
    assert users["spare_1_amd64.deb"] == ()
    cache.DOES["cache"](replace(lists, words=Words(verb="cache", args=("prune",))))
    assert "spare_1_amd64.deb" in capsys.readouterr().out
    assert fetched(lists) == {"of-base", "lib", "tool"}


def test_the_bill_of_a_disk_image_names_what_is_inside_of_what_is_inside(lists: Project) -> None:
    """The packages of a container image in a disk image, and those of the overlays that it is made with."""
    for name in ("image:base", "ovl:a", "pull:localhost/made:1", "image:whole"):
        run(inputs.recipes(lists, IsoChoice(), {}), name)
    tasks = {
        record.name_of(task): task for task in inputs.recipes(lists, IsoChoice(), {}) if task.get("targets")
    }

    def named(task: str) -> set[str]:
        return {each.name for each in parts.of_task(task, tasks, lists.site)}

    assert named("image:base") == {"of-base"}
    assert named("pull:localhost/made:1") == {"lib", "tool"}
    assert named("image:whole") == {"of-base", "lib", "tool"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("kernel/k.yaml", "summary: k\nprebuilt: {package: tool, suite: other}\n"),
        ("images/i/image.yaml", "summary: i\nsuite: other\npackages: [tool]\n"),
        ("images/i/image.yaml", "summary: i\npackages: [of-base]\npick: {tool: {usr/bin/tool: bin/tool}}\n"),
        ("images/i/image.yaml", f"summary: i\npackages: [of-base]\n{CONTAINER}"),
        ("ovl/o/ovl.yaml", "suite: other\npackages: [tool]\n"),
        ("ovl/o/ovl.yaml", CONTAINER.replace("packages", "suite: other, packages")),
        (
            "ovl/o/ovl.yaml",
            "artifacts: [{name: t, dest: t, sources: [{deb: tool, suite: other, member: usr/bin/tool}]}]\n",
        ),
    ],
)
def test_wherever_a_definition_asks_for_a_package(
    checkout: Checkout,
    project: Project,
    debian: Debian,  # noqa: F811
    path: str,
    text: str,
) -> None:
    """It is known who asks, and the suite has a task."""
    checkout.write("ovl/a/ovl.yaml", "image_stores: [oci]\n")
    before = set(inputs.packages(of(checkout, debian), {}))
    checkout.write(path, text)
    after = of(checkout, debian)
    assert not after.definitions.problems
    new = set(inputs.packages(after, {})) - before
    assert {name for _, request in new for name in request.names} >= {"tool"}
    assert {request.suite for _, request in new} <= set(suite.suites(after))


def test_an_overlay_of_the_command_line(
    checkout: Checkout,
    lists: Project,
    debian: Debian,  # noqa: F811
    tmp_path: Path,
) -> None:
    """`fetch` and `prune` know it as long as it is chosen; `lock` is about definitions."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/ovl.yaml").write_text("packages: [spare]\n")
    chosen = {"choice": {"words": [str(tmp_path / "mine")], "env": {}, "label": "x"}}
    files.write_json(lists.workspace.choice(lists.settings.name), chosen)
    lock.DOES["fetch"](lists)
    assert "spare" in fetched(lists)
    cache.DOES["cache"](replace(lists, words=Words(verb="cache", args=("prune",))))
    assert "spare" in fetched(lists)
    lock.DOES["lock"](lists)
    assert "spare" not in lockfile.packages(lists.site.lock, "stable")
    files.remove(tmp_path / "mine")
    before = fetched(lists)
    with pytest.raises(UserError, match="mine does not exist"):
        cache.DOES["cache"](replace(lists, words=Words(verb="cache", args=("prune",))))
    assert fetched(lists) == before
    cache.DOES["cache"](replace(lists, words=Words(verb="cache", args=("ls",))))


def test_nobody_knows_what_wrong_definitions_need(checkout: Checkout, lists: Project, debian: Debian) -> None:  # noqa: F811
    lock.DOES["fetch"](lists)
    checkout.write("ovl/b/ovl.yaml", "alias: nothing\n")
    checkout.write("ovl/a/ovl.yaml", "needs: [nothing]\n")
    checkout.write("images/whole/image.yaml", "summary: w\nextends: nothing\n")
    wrong = of(checkout, debian)
    wrong = replace(wrong, settings=wrong.settings.model_copy(update={"ovls": "a b"}))
    with pytest.raises(UserError, match="nothing"):
        list(inputs.packages(wrong, {}))
    users = [each.users for each in cache.entries(wrong) if each.path.endswith(".deb")]
    assert users == [("?",)] * 3


def test_the_projects_own_definitions() -> None:
    """Every recipe's request is one that `lock` goes through, and its suite is fetched."""
    project = Project(ROOT, Workspace(Path("/nowhere")), Settings(), Words(), definition_files.load(ROOT), {})
    requests = list(inputs.packages(project, {}))
    assert {user.partition(":")[0] for user, _ in requests} >= {"kernel", "image", "ovl", "pull"}
    assert {request.suite for _, request in requests} <= set(suite.suites(project))
