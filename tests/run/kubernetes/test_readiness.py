"""Readiness: what is missing is named; the API is asked over a real connection with real certificates."""

import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.build.credentials import guest_files
from tasks.build.credentials.keys import Secret
from tasks.run.kubernetes import readiness
from tasks.run.kubernetes.api import Api, Unanswered

YEAR = datetime.datetime.now(datetime.UTC).year - 1
ANSWERS: dict[str, object] = {"/api/v1/nodes": {"items": []}}


def node(name: str, **ready: str) -> dict[str, Any]:
    """A node with a condition Ready."""
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", **ready}] if ready else []},
    }


def pod(name: str, phase: str, state: Any = None, **more: Any) -> dict[str, Any]:
    """A pod of one container `c`."""
    containers = [{"name": "c", "state": state}] if state else []
    conditions = more.pop("conditions", [])
    return {
        "metadata": {"name": name, **more},
        "spec": {"nodeName": "vm-002"} if state else {},
        "status": {"phase": phase, "containerStatuses": containers, "conditions": conditions},
    }


GOOD = [{"type": "Ready", "status": "True"}]
RUNS = {"running": {"startedAt": "now"}}


def test_all_nodes_are_ready() -> None:
    answer = {"items": [node("vm-001", status="True"), node("vm-002", status="True")]}
    assert readiness.of_nodes(answer, ["vm-001", "vm-002"]) == []


def test_nodes_that_are_not() -> None:
    answer = {"items": [node("vm-001", status="False", message="no network"), node("vm-003")]}
    lacks = readiness.of_nodes(answer, ["vm-001", "vm-002", "vm-003"])
    assert [lack.what for lack in lacks] == [
        "node vm-001: not Ready: no network",
        "node vm-002: it has not registered",
        "node vm-003: not Ready: it has said nothing of itself",
    ]
    assert [lack.node for lack in lacks] == ["vm-001", "vm-002", "vm-003"]


def test_a_node_that_nobody_asked_for_does_not_count() -> None:
    assert readiness.of_nodes({"items": [node("vm-009", status="False")]}, []) == []


@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": []}])
def test_no_pods_is_not_ready(answer: Any) -> None:
    (lack,) = readiness.of_pods(answer)
    assert "no pods yet" in lack.what


def test_pods_that_are_ready_ended_or_shall_end() -> None:
    items = [
        pod("a", "Running", RUNS, conditions=GOOD),
        pod("b", "Succeeded", {"terminated": {"exitCode": 0}}),
        pod("c", "Running", RUNS, deletionTimestamp="now"),
    ]
    assert readiness.of_pods({"items": items}) == []


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            pod("dns", "Pending", {"waiting": {"reason": "ErrImageNeverPull", "message": "not there"}}),
            "pod dns on vm-002: c: ErrImageNeverPull (not there)",
        ),
        (
            pod("dns", "Running", {"terminated": {"exitCode": 2}}),
            "pod dns on vm-002: c: it ended with exit code 2",
        ),
        (pod("dns", "Running", RUNS), "pod dns on vm-002: Running"),
        (
            pod(
                "dns",
                "Pending",
                conditions=[{"type": "PodScheduled", "status": "False", "message": "no node"}],
            ),
            "pod dns: Pending: no node",
        ),
        (
            pod(
                "dns", "Running", RUNS, conditions=[{"type": "Ready", "status": "False", "message": "probe"}]
            ),
            "pod dns on vm-002: Running: probe",
        ),
    ],
)
def test_pods_that_are_not(one: Any, says: str) -> None:
    (lack,) = readiness.of_pods({"items": [one]})
    assert lack.what == says
    assert lack.pod == "dns"


class Server:
    """An API server as far as we ask it, with the certificates of a cluster."""

    def __init__(self, secret: Secret, folder: Path) -> None:
        credentials = {file.path: file.data for file in guest_files.layout(secret, "fd00:", 1, ipv6=False)}
        for name in ("ca.crt", "apiserver.crt", "apiserver.key"):
            (folder / name).write_bytes(credentials[f"etc/kubernetes/pki/{name}"])
        self.users: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """Answer from a table; one path hangs up."""
                seen: Any = self.connection.getpeercert()
                server.users.append(dict(part[0] for part in seen["subject"])["commonName"])
                if self.path == "/gone":
                    self.close_connection = True
                    return
                content = ANSWERS.get(self.path)
                body = (
                    json.dumps(content or {"message": "there is none"}).encode()
                    if self.path != "/odd"
                    else b"?"
                )
                self.send_response(200 if content or self.path == "/odd" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that runs."""
    api = Server(Secret(b"s" * 32, YEAR), tmp_path)
    threading.Thread(target=api.http.serve_forever, args=[0.02], daemon=True).start()
    yield api
    api.http.shutdown()
    api.http.server_close()


def api(server: Server, secret: bytes = b"s" * 32) -> Api:
    """A client with the administrator's certificate."""
    return Api(guest_files.admin(Secret(secret, YEAR), "c", server.url))


def test_the_administrator_is_answered_on_one_connection(server: Server) -> None:
    client = api(server)
    assert client.get("/api/v1/nodes") == {"items": []}
    assert client.get("/api/v1/nodes") == {"items": []}
    client.close()
    assert server.users == ["kubernetes-admin"] * 2


def test_bad_answers_are_told(server: Server) -> None:
    client = api(server)
    for path, says in (
        ("/none", "/none: 404 there is none"),
        ("/odd", "/odd: "),
        ("/gone", "does not answer"),
    ):
        with pytest.raises(Unanswered, match=says):
            client.get(path)
    assert client.get("/api/v1/nodes") == {"items": []}, "after a broken connection there is another one"
    client.close()


def test_a_server_of_another_cluster_is_not_believed(server: Server) -> None:
    with pytest.raises(Unanswered, match="certificate"):
        api(server, b"o" * 32).get("/api/v1/nodes")
    assert server.users == []


def test_nobody_there() -> None:
    client = Api(guest_files.admin(Secret(b"s" * 32, YEAR), "c", "https://127.0.0.1:1"))
    with pytest.raises(Unanswered, match="does not answer: .*refused"):
        client.get("/api/v1/nodes")
