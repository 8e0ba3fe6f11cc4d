"""A Kubeflow Pipelines API server on loopback: v2beta1, the log path, and Kubernetes' pod logs.

It answers over real sockets (TLS as well), keeps what it is told (`kubeflow_store`), refuses
paths, query parameters and fields that the API does not have, and remembers each request.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import json
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kubeflow_forms import Refused, write
from kubeflow_store import Store

LIST = {"page_token", "page_size", "sort_by", "filter", "namespace"}
BASE = "/apis/v2beta1"
#: Method, path and query parameters of each operation; test_kubeflow_api.py holds the paths
#: against those in kfp-server-api.
ROUTES: dict[tuple[str, str], set[str]] = {
    ("GET", f"{BASE}/healthz"): set(),
    ("GET", f"{BASE}/experiments"): LIST,
    ("POST", f"{BASE}/experiments"): set(),
    ("GET", f"{BASE}/pipelines"): LIST,
    ("POST", f"{BASE}/pipelines"): set(),
    ("GET", f"{BASE}/pipelines/{{pipeline_id}}/versions"): LIST - {"namespace"},
    ("POST", f"{BASE}/pipelines/upload_version"): {
        "name",
        "display_name",
        "pipelineid",
        "description",
    },
    ("GET", f"{BASE}/runs"): LIST | {"experiment_id"},
    ("POST", f"{BASE}/runs"): {"experiment_id"},
    ("GET", f"{BASE}/runs/{{run_id}}"): {"experiment_id"},
    ("POST", f"{BASE}/runs/{{run_id}}:terminate"): {"experiment_id"},
    ("GET", f"{BASE}/recurringruns"): LIST | {"experiment_id"},
    ("POST", f"{BASE}/recurringruns"): set(),
    ("GET", f"{BASE}/recurringruns/{{recurring_run_id}}"): set(),
    ("DELETE", f"{BASE}/recurringruns/{{recurring_run_id}}"): {"propagation_policy"},
    ("POST", f"{BASE}/recurringruns/{{recurring_run_id}}:disable"): set(),
    ("POST", f"{BASE}/recurringruns/{{recurring_run_id}}:enable"): set(),
}
#: Paths beside the generated API.
BESIDE: dict[tuple[str, str], set[str]] = {
    ("GET", "/apis/v1beta1/healthz"): set(),
    ("GET", "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"): {"follow"},
    ("GET", "/api/v1/namespaces/{namespace}/pods/{pod}/log"): {"container"},
}
LOGIN = "<!doctype html><html><title>Log in</title></html>"


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path holds `path`."""

    kind: str
    path: str = ""
    times: int = 1_000_000
    status: int = 503


@dataclass
class KubeflowApi:
    """The server. `tokens` and `cookies` are what it accepts; empty: it asks for nothing."""

    store: Store = field(default_factory=Store)
    tokens: set[str] = field(default_factory=set)
    cookies: set[str] = field(default_factory=set)
    version: str = "2.16.1"
    paths: tuple[str, ...] = ("v1beta1", "v2beta1")
    logs: dict[str, str] = field(default_factory=dict)
    pods: dict[tuple[str, str], str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def sent(self, method: str, path: str) -> list[Request]:
        """Requests of a method to a path that ends so."""
        return [r for r in self.requests if r.method == method and r.path.endswith(path)]

    def answer(self, request: Request, raw: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of an answer."""
        if not self._is_known(request):
            body = {
                "code": 16,
                "message": "Request header error: there is no user identity header.",
            }
            return 401, "application/json", json.dumps(body).encode()
        for (method, template), allowed in (ROUTES | BESIDE).items():
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(template))
            match = re.fullmatch(pattern, request.path)
            if match is None or method != request.method:
                continue
            unknown = sorted(set(request.query) - allowed)
            if unknown:
                raise Refused(400, f"unknown query parameters {unknown}")
            return self._operate(method, template, match.groupdict(), request, raw)
        raise Refused(404, "Not Found")

    def _is_known(self, request: Request) -> bool:
        if not self.tokens and not self.cookies:
            return True
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return token in self.tokens or request.headers.get("cookie") in self.cookies

    def _operate(
        self, method: str, template: str, values: dict[str, str], request: Request, raw: bytes
    ) -> tuple[int, str, bytes]:
        store, query, body = self.store, request.query, request.body
        if template.endswith("/healthz"):
            if template.split("/")[2] not in self.paths:
                raise Refused(404, "Not Found")
            said = {"commit_sha": "0f3c", "tag_name": self.version}
            said |= {"multi_user": store.is_multi_user, "pipeline_store": "database"}
            return 200, "application/json", json.dumps(said).encode()
        if template.endswith("/log"):
            return self._log(values)
        if template.endswith("upload_version"):
            return self._upload(request, raw)
        key = next(iter(values.values()), "")
        operations = {
            "GET experiments": lambda: store.list_experiments(query),
            "POST experiments": lambda: store.create_experiment(body),
            "GET pipelines": lambda: store.list_pipelines(query),
            "POST pipelines": lambda: store.create_pipeline(body),
            "GET versions": lambda: store.list_versions(query, key),
            "GET runs": lambda: store.list_runs(query),
            "POST runs": lambda: store.create_run(body),
            "GET {run_id}": lambda: store.get_run(key),
            "POST {run_id}:terminate": lambda: store.terminate_run(key),
            "GET recurringruns": lambda: store.list_schedules(query),
            "POST recurringruns": lambda: store.create_schedule(body),
            "GET {recurring_run_id}": lambda: store.get_schedule(key),
            "DELETE {recurring_run_id}": lambda: store.delete_schedule(key),
            "POST {recurring_run_id}:disable": lambda: store.switch_schedule(key, "DISABLED"),
            "POST {recurring_run_id}:enable": lambda: store.switch_schedule(key, "ENABLED"),
        }
        answer = operations[f"{method} {template.rsplit('/', 1)[1]}"]()
        return 200, "application/json", write(answer)

    def _log(self, values: dict[str, str]) -> tuple[int, str, bytes]:
        if "pod" in values:
            text = self.pods.get((values["namespace"], values["pod"]))
            if text is None:
                status = {"kind": "Status", "message": f'pods "{values["pod"]}" not found'}
                return 404, "application/json", json.dumps(status).encode()
            return 200, "text/plain", text.encode()
        text = self.logs.get(values["node_id"])
        if text is None or values["run_id"] not in self.store.runs:
            said = {"error_message": f"Failed to read logs for run {values['run_id']}"}
            return 500, "application/json", json.dumps(said).encode()
        return 200, "text/plain", text.encode()

    def _upload(self, request: Request, raw: bytes) -> tuple[int, str, bytes]:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
        parts = list(parsed.iter_parts())
        try:
            if [part.get_param("name", header="content-disposition") for part in parts] != [
                "uploadfile"
            ]:
                raise Refused(400, "Failed to create a pipeline version")
            text = parts[0].get_payload(decode=True).decode()
            answer = self.store.upload_version(request.query, parts[0].get_filename(), text)
        except Refused as error:
            # This path writes its errors in another form than the gateway.
            said = {"error_message": str(error), "error_details": str(error)}
            return error.status, "application/json", json.dumps(said).encode()
        return 200, "application/json", write(answer)


def handler_of(server: KubeflowApi) -> type[BaseHTTPRequestHandler]:
    """The class that speaks HTTP for a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

        def do(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            is_json = "json" in self.headers.get("content-type", "")
            request = Request(
                self.command,
                urllib.parse.unquote(split.path),
                dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True)),
                {key.lower(): value for key, value in self.headers.items()},
                json.loads(raw) if raw and is_json else None,
            )
            server.requests.append(request)
            fault = next((f for f in server.faults if f.path in split.path and f.times > 0), None)
            if fault is not None:
                fault.times -= 1
                self.fail(fault)
                return
            try:
                status, kind, body = server.answer(request, raw)
            except Refused as error:
                status, kind, body = (
                    error.status,
                    "application/json",
                    json.dumps(error.body).encode(),
                )
            self.reply(status, kind, body)

        def fail(self, fault: Fault) -> None:
            if fault.kind == "drop":
                self.close_connection = True
                self.connection.close()
            elif fault.kind == "hang":
                time.sleep(2)
                self.close_connection = True
            elif fault.kind == "login":
                self.reply(302, "text/html", b"", location="https://dex.example/auth?req=1")
            elif fault.kind == "page":
                self.reply(200, "text/html", LOGIN.encode())
            else:
                self.reply(fault.status, "text/plain", fault.kind.encode())

        def reply(self, status: int, kind: str, body: bytes, location: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do

    return Handler


@contextlib.contextmanager
def serving(server: KubeflowApi, tls: ssl.SSLContext | None = None) -> Iterator[KubeflowApi]:
    """Runs a server on a free port of loopback and sets its `url`."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(server))
    http.daemon_threads = True
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
