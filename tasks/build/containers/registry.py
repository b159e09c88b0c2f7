"""The verb `registry`: a private registry on the host, for guests that pull while they run."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.base import files, locks, output, proc, progress
from tasks.base.errors import UsageError, UserError, unknown
from tasks.build.containers import local_images, oci, pull, registry_api, registry_server
from tasks.build.containers.registry_places import Mirror
from tasks.build.containers.registry_server import Server
from tasks.build.sources import artifact, suite
from tasks.definitions import image_reference
from tasks.definitions.artifact_sources import Artifact, Source
from tasks.project import actions
from tasks.project.project import Does, Project
from tasks.project.site import Site

ARGS = "start | stop | status | ls | cache REF... | rm REF..."
ACTIONS = {
    "start": actions.Action(options=("port", "tls", "htpasswd")),
    "stop": actions.Action(),
    "status": actions.Action(options=("o",)),
    "ls": actions.Action(options=("o",)),
    "cache": actions.Action(1, None),
    "rm": actions.Action(1, None),
}
PORT = "5000"


def _registry(project: Project) -> None:
    action, names = actions.action(project.words, ACTIONS)
    server = Server(project.workspace.registry)
    does = {"start": _start, "stop": _stop, "status": _status, "ls": _ls}
    if action in does:
        does[action](project, server)
    else:
        {"cache": _cache, "rm": _rm}[action](project, server, [_reference(name) for name in names])


def _reference(text: str) -> image_reference.Reference:
    try:
        return image_reference.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _start(project: Project, server: Server) -> None:
    choices = project.words.options
    port = choices.get("port", PORT)
    if not port.isdigit() or not 1024 <= int(port) <= 65535:
        raise UsageError(f"--port: expected 1024 to 65535, got '{port}'")
    htpasswd = str(Path(choices["htpasswd"]).resolve()) if "htpasswd" in choices else None
    if htpasswd and not Path(htpasswd).is_file():
        raise UsageError(f"--htpasswd: {files.no_file(Path(htpasswd))}")
    with locks.locked(server.lock, wait=False, busy="another command works on the registry"):
        saved = server.running()
        if saved:
            progress.say(
                f"the registry runs already at {registry_server.url(saved)} (xc registry stop ends it)"
            )
            return
        server_program = program(server, project.site)
        tls = "tls" in choices
        saved = registry_server.start(server, server_program, int(port), tls=tls, htpasswd=htpasswd)
    guests = registry_server.url(saved, registry_server.FOR_GUESTS)
    progress.say(f"registry at {registry_server.url(saved)}, for guests {guests}")


def program(server: Server, site: Site) -> str:
    """The host's docker-registry; else the one in Debian's package, which need not be installed."""
    installed = proc.find("docker-registry")
    if installed or server.own_program.is_file():
        return installed or str(server.own_program)
    package = Artifact(
        name="docker-registry",
        sources=(Source(deb="docker-registry", suite=site.suite, member="usr/bin/docker-registry"),),
    )
    suite.get(site.suite, site)
    artifact.get(package, site.workspace.root, site)
    return str(registry_server.keep_program(server, artifact.content(package.name, site.workspace)))


def _stop(project: Project, server: Server) -> None:
    with locks.locked(server.lock, wait=False, busy="another command works on the registry"):
        if not registry_server.stop(server):
            progress.say("the registry is not running")


def _status(project: Project, server: Server) -> None:
    saved = server.running()
    listed = list(registry_server.images(server))
    facts = {
        "running": saved is not None,
        "url": registry_server.url(saved) if saved else None,
        "guests": registry_server.url(saved, registry_server.FOR_GUESTS) if saved else None,
        "pid": saved["pid"] if saved else None,
        "login": bool(saved and saved["htpasswd"]),
        "certificate": str(server.certificate) if saved and saved["tls"] else None,
        "images": len(listed),
        "size": server.size(),
        "log": str(server.log),
    }
    if project.words.options.get("o"):
        output.as_json(facts)
        return
    where = (
        f"runs at {facts['url']}, for guests {facts['guests']}, pid {facts['pid']}"
        if saved
        else "does not run"
    )
    sys.stdout.write(f"registry {where}; {len(listed)} images, {progress.amount(server.size())}\n")


def _ls(project: Project, server: Server) -> None:
    rows = [
        {"image": f"{name}:{tag}", "digest": digest, "size": registry_server.size_of(server, digest)}
        for name, tag, digest in registry_server.images(server)
    ]
    if project.words.options.get("o"):
        output.as_json(rows)
        return
    for row in rows:
        size = progress.amount(int(str(row["size"])))
        sys.stdout.write(f"{row['image']:<48} {size:>10}  {row['digest']}\n")


def _cache(project: Project, server: Server, references: Sequence[image_reference.Reference]) -> None:
    """Pull images, unless they are here, and put them into the registry under their full names."""
    saved = server.running()
    if not saved:
        raise UserError("the registry is not running", "start it: xc registry start")
    workspace = project.workspace
    for reference in references:
        if reference.local:
            local_images.recorded(reference.text, project.site)
        else:
            pull.fetch(reference.text, pull.access(project), project.site)
        stamp = files.read_json(workspace.pulled(reference.text))
        known_as = f"{registry_server.HOST}:{saved['port']}"
        place = Mirror(registry_server.url(saved), reference.name, (known_as, reference.name), loose=True)
        push(oci.Layout(workspace.oci), place, reference.tag or "cached", str(stamp["digest"]))
        progress.say(f"{reference.text} is in the registry as {reference.named}")


def push(layout: oci.Layout, place: Mirror, tag: str, digest: str) -> None:
    """Send an image of the layout to a registry."""
    manifest = oci.Manifest.of(layout.json(digest), digest)

    def send(there: registry_api.Repository) -> None:
        for blob in (*manifest.layers, manifest.config):
            there.push_blob(blob.digest, layout.whole(blob.digest))
        there.push_manifest(tag, layout.whole(digest).read_bytes())

    registry_api.at([place], f"{place.repository}:{tag}", send)


def _rm(project: Project, server: Server, references: Sequence[image_reference.Reference]) -> None:
    names = [f"{name}:{tag}" for name, tag, _ in registry_server.images(server)]
    lost = [reference.named for reference in references if reference.named not in names]
    if lost:
        raise UserError(unknown("image", lost[0], names), "see what is there: xc registry ls")
    before = server.size()
    with locks.locked(server.lock, wait=False, busy="another command works on the registry"):
        for reference in references:
            registry_server.remove(server, reference.name, reference.tag or "cached")
            progress.say(f"{reference.named} removed")
        registry_server.collect(server)
    progress.say(f"{progress.amount(before - server.size())} freed")


DOES: Does = {"registry": _registry}
