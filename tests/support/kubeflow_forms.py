"""The forms of a Kubeflow Pipelines server: bodies, pages, files, the nodes of a workflow.

They are those of kfp-server-api's own models: a request's body has to fit its model, field by
field, and every answer is written from one.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import uuid
from typing import Any

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

WRITER = api.ApiClient()
PLAIN = {"str": str, "int": int, "bool": bool, "object": object, "datetime": str}
#: gRPC's code for each status, as the gateway writes it.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13}
MAX_PAGE = 200


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": CODES[status], "message": message, "details": []}


def fits(body: Any, kind: Any, where: str = "") -> None:
    """Refuses a body that has a field its model does not know, or of another type."""
    name = kind if isinstance(kind, str) else kind.__name__
    if name.startswith("list["):
        for each in body:
            fits(each, name[5:-1], where)
    elif name.startswith("dict("):
        for key, each in body.items():
            fits(each, name.split(", ")[1][:-1], f"{where}.{key}")
    elif name in PLAIN:
        if not isinstance(body, PLAIN[name]):
            raise Refused(400, f"proto: invalid value for {name} field {where}: {body!r}")
    else:
        model = getattr(api, name)
        if hasattr(model, "allowable_values"):
            if body not in model.allowable_values:
                raise Refused(400, f"proto: invalid value for enum field {where}: {body!r}")
            return
        types = {model.attribute_map[key]: value for key, value in model.openapi_types.items()}
        for key, value in body.items():
            if key not in types:
                raise Refused(400, f"proto: (line 1:2): unknown field {json.dumps(key)}")
            fits(value, types[key], key)


def paged(things: list[Any], query: dict[str, str], keys: set[str]) -> tuple[list[Any], str | None]:
    """The page that a query asks for, and the token of the next."""
    asked = {key: query.get(key, "") for key in ("sort_by", "filter", "namespace", "experiment_id")}
    start = 0
    if query.get("page_token"):
        token = json.loads(base64.b64decode(query["page_token"]))
        if token["asked"] != asked:
            raise Refused(400, "page token does not match the supplied sort by and/or filtering")
        start = token["start"]
    for predicate in json.loads(asked["filter"] or "{}").get("predicates", []):
        if predicate["operation"] != "EQUALS" or predicate["key"] not in keys:
            raise Refused(400, f"Invalid input error: no such filter: {predicate}")
        wanted = predicate["string_value"]
        things = [one for one in things if getattr(one, predicate["key"]) == wanted]
    by, _, order = asked["sort_by"].partition(" ")
    if by not in {"", *keys} or order not in ("", "asc", "desc"):
        raise Refused(400, f"Cannot sort on field {by}")
    things = sorted(things, key=lambda one: getattr(one, by or "created_at"))
    if order == "desc":
        things.reverse()
    size = min(int(query.get("page_size") or 20), MAX_PAGE)
    end = start + size
    token = json.dumps({"start": end, "asked": asked}).encode()
    return things[start:end], base64.b64encode(token).decode() if end < len(things) else None


def parse_spec(text: str) -> dict[str, Any]:
    """Parses a file as strictly as the backend."""
    documents = list(yaml.safe_load_all(text))
    forms = (pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec)
    try:
        for document, form in zip(documents, forms, strict=False):
            json_format.ParseDict(document, form())
        if documents[0]["schemaVersion"] != "2.1.0":
            raise ValueError("unsupported schema version")
    except (json_format.ParseError, ValueError, KeyError, IndexError, TypeError) as error:
        raise Refused(400, f"InvalidInputError: Invalid IR spec format: {error}") from error
    spec, *rest = documents
    return {"pipeline_spec": spec, "platform_spec": rest[0]} if rest else spec


def argo_nodes(run_id: str, tasks: dict[str, str | list[str]], at: dt.datetime) -> Any:
    """The entries that the backend makes of a workflow's nodes (see kubeflow/client/runs.py)."""
    flow = f"flights-{run_id[:5]}"

    def number(name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, run_id + name).int % 10**10)

    def node(name: str, template: str, state: str, *children: str, shown: str = "") -> Any:
        return api.V2beta1PipelineTaskDetail(
            run_id=run_id,
            task_id=str(uuid.uuid5(uuid.NAMESPACE_URL, run_id + name)),
            display_name=shown or name,
            pod_name=f"{flow}-{template}-{number(name)}",
            create_time=at,
            start_time=at,
            end_time=at if state != "RUNNING" else dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
            state=state,
            child_tasks=[
                api.PipelineTaskDetailChildTask(pod_name=f"{flow}-{number(child)}")
                for child in children
            ],
        )

    drivers = [f"{name}-driver" for name in tasks]
    yield node("root-driver", "system-dag-driver", "SUCCEEDED", "root")
    yield node("root", "root", "RUNNING", *drivers)
    for name, given in tasks.items():
        tries = given if isinstance(given, list) else [given]
        yield node(f"{name}-driver", "system-container-driver", "SUCCEEDED", name)
        inner = f"{name}.executor"
        yield node(name, "system-container-executor", tries[-1], inner)
        single = len(tries) == 1
        below = [] if single else [f"{inner}({n})" for n in range(len(tries))]
        yield node(inner, "system-container-impl", tries[-1], *below, shown="executor")
        for number_, (each, state) in enumerate(zip(below, tries, strict=False)):
            yield node(each, "system-container-impl", state, shown=f"executor({number_})")


def write(answer: Any) -> bytes:
    """An answer as JSON, from its model."""
    return json.dumps(WRITER.sanitize_for_serialization(answer)).encode()


def pod_of(run: Any, task: str, attempt: int = -1) -> str:
    """Name of the pod of a task's try, from a run as the server answers it."""
    from ordain.kubeflow.client.runs import as_run

    found = as_run(run).task(task)
    assert re.fullmatch(r".*-system-container-impl-\d+", found.pods[attempt])
    return found.pods[attempt]
