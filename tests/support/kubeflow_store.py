"""What a Kubeflow Pipelines server remembers, and what it says to each request.

Messages and status codes are the backend's (backend/src/apiserver, release 2.16).
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import kfp_server_api as api
from kubeflow_forms import WRITER, Refused, argo_nodes, fits, paged, parse_spec

MODE = api.RecurringRunMode


@dataclass
class Script:
    """How the runs that are created from now on go: each look at a run takes it a step further.

    A step is the run's state and the state of each task that has begun, or of each of its tries.
    """

    steps: list[tuple[str, dict[str, str | list[str]]]] = field(
        default_factory=lambda: [("PENDING", {}), ("RUNNING", {}), ("SUCCEEDED", {})]
    )


@dataclass
class Store:
    """The state of one server."""

    is_multi_user: bool = False
    namespaces: tuple[str, ...] = ("team",)
    script: Script = field(default_factory=Script)
    experiments: dict[str, api.V2beta1Experiment] = field(default_factory=dict)
    pipelines: dict[str, api.V2beta1Pipeline] = field(default_factory=dict)
    versions: dict[str, api.V2beta1PipelineVersion] = field(default_factory=dict)
    runs: dict[str, api.V2beta1Run] = field(default_factory=dict)
    schedules: dict[str, api.V2beta1RecurringRun] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    going: dict[str, list[tuple[str, dict[str, str | list[str]]]]] = field(default_factory=dict)
    clock: dt.datetime = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)

    def __post_init__(self) -> None:
        if not self.is_multi_user:
            self.add_experiment("Default")

    def now(self) -> dt.datetime:
        """A time later than any before."""
        self.clock += dt.timedelta(seconds=1)
        return self.clock

    def add_experiment(self, name: str, namespace: str | None = None) -> api.V2beta1Experiment:
        made = api.V2beta1Experiment(
            experiment_id=str(uuid.uuid4()),
            display_name=name,
            namespace=namespace,
            created_at=self.now(),
            storage_state=api.V2beta1ExperimentStorageState.AVAILABLE,
        )
        self.experiments[made.experiment_id] = made
        return made

    def check_namespace(self, namespace: str | None) -> None:
        if not self.is_multi_user:
            if namespace:
                raise Refused(400, "In single-user mode, cannot filter by namespace")
        elif not namespace:
            raise Refused(400, "Invalid input error: Namespace is empty in multi-user mode")
        elif namespace not in self.namespaces:
            raise Refused(
                403,
                "PermissionDenied: User 'ada@example.org' is not authorized with reason:  "
                f"(request: &ResourceAttributes{{Namespace:{namespace},Verb:list}})",
            )

    # -- experiments, pipelines, versions ---------------------------------------------------

    def list_experiments(self, query: dict[str, str]) -> Any:
        self.check_namespace(query.get("namespace"))
        own = [e for e in self.experiments.values() if e.namespace == query.get("namespace")]
        page, token = paged(own, query, {"display_name", "created_at"})
        return api.V2beta1ListExperimentsResponse(
            experiments=page, total_size=len(own), next_page_token=token
        )

    def create_experiment(self, body: Any) -> Any:
        self.check_namespace(body.get("namespace"))
        fits(body, api.V2beta1Experiment)
        for known in self.experiments.values():
            if (known.display_name, known.namespace) == (
                body["display_name"],
                body.get("namespace"),
            ):
                raise Refused(409, "Already exist error: The name is in use")
        return self.add_experiment(body["display_name"], body.get("namespace"))

    def list_pipelines(self, query: dict[str, str]) -> Any:
        self.check_namespace(query.get("namespace"))
        own = [p for p in self.pipelines.values() if p.namespace == query.get("namespace")]
        page, token = paged(own, query, {"display_name", "name", "created_at"})
        return api.V2beta1ListPipelinesResponse(
            pipelines=page, total_size=len(own), next_page_token=token
        )

    def create_pipeline(self, body: Any) -> Any:
        fits(body, api.V2beta1Pipeline)
        self.check_namespace(body.get("namespace"))
        if any(p.name == body["name"] for p in self.pipelines.values()):
            raise Refused(409, "Already exist error: The pipeline name is in use")
        made = api.V2beta1Pipeline(pipeline_id=str(uuid.uuid4()), created_at=self.now(), **body)
        self.pipelines[made.pipeline_id] = made
        return made

    def list_versions(self, query: dict[str, str], pipeline_id: str) -> Any:
        if pipeline_id not in self.pipelines:
            raise Refused(404, f"ResourceNotFoundError: Pipeline {pipeline_id} not found.")
        own = [v for v in self.versions.values() if v.pipeline_id == pipeline_id]
        page, token = paged(own, query, {"display_name", "name", "created_at"})
        return api.V2beta1ListPipelineVersionsResponse(
            pipeline_versions=page, total_size=len(own), next_page_token=token
        )

    def upload_version(self, query: dict[str, str], filename: str, text: str) -> Any:
        pipeline_id = query.get("pipelineid", "")
        if not filename.endswith((".yaml", ".yml")) or pipeline_id not in self.pipelines:
            raise Refused(400, "Failed to create a pipeline version")
        for known in self.versions.values():
            if (known.pipeline_id, known.name) == (pipeline_id, query["name"]):
                raise Refused(409, "Failed to create a pipeline version")
        spec = parse_spec(text)
        made = api.V2beta1PipelineVersion(
            pipeline_id=pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            name=query["name"],
            display_name=query.get("display_name", query["name"]),
            description=query.get("description"),
            created_at=self.now(),
            pipeline_spec=spec,
        )
        self.versions[made.pipeline_version_id] = made
        self.files[made.pipeline_version_id] = text
        return made

    # -- runs -------------------------------------------------------------------------------

    def create_run(self, body: Any) -> Any:
        fits(body, api.V2beta1Run)
        self.check_startable(body)
        made = self.as_model(body, api.V2beta1Run)
        made.run_id = str(uuid.uuid4())
        made.created_at = self.now()
        made.state = "PENDING"
        made.finished_at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        self.runs[made.run_id] = made
        self.going[made.run_id] = list(self.script.steps)
        return made

    def list_runs(self, query: dict[str, str]) -> Any:
        if query.get("experiment_id"):
            own = [r for r in self.runs.values() if r.experiment_id == query["experiment_id"]]
        else:
            self.check_namespace(query.get("namespace"))
            own = [r for r in self.runs.values() if self.is_in(r, query.get("namespace"))]
        page, token = paged(own, query, {"display_name", "created_at", "state"})
        return api.V2beta1ListRunsResponse(runs=page, total_size=len(own), next_page_token=token)

    def get_run(self, run_id: str) -> Any:
        run = self.find(self.runs, "Run", run_id)
        steps = self.going[run_id]
        state, tasks = steps.pop(0) if len(steps) > 1 else steps[0]
        run.state = state
        if state in ("SUCCEEDED", "FAILED", "CANCELED"):
            run.finished_at = self.now()
        details = list(argo_nodes(run_id, tasks, self.clock))
        run.run_details = api.V2beta1RunDetails(task_details=details)
        return run

    def terminate_run(self, run_id: str) -> Any:
        run = self.find(self.runs, "Run", run_id)
        run.state = "CANCELING"
        self.going[run_id] = [("CANCELING", {}), ("CANCELED", {})]
        return {}

    # -- recurring runs ---------------------------------------------------------------------

    def create_schedule(self, body: Any) -> Any:
        fits(body, api.V2beta1RecurringRun)
        self.check_startable(body)
        cron = body["trigger"]["cron_schedule"]["cron"]
        # robfig/cron takes five fields as well; nobody means what it makes of them.
        if len(cron.split()) != 6:
            raise Refused(400, f"Invalid input error: cron {cron!r} has no field of seconds")
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise Refused(400, "Invalid input error: max_concurrency must be in range [1, 10]")
        made = self.as_model(body, api.V2beta1RecurringRun)
        made.recurring_run_id = str(uuid.uuid4())
        made.created_at = made.updated_at = self.now()
        made.status = "ENABLED" if made.mode == MODE.ENABLE else "DISABLED"
        made.mode = None
        self.schedules[made.recurring_run_id] = made
        return made

    def list_schedules(self, query: dict[str, str]) -> Any:
        self.check_namespace(query.get("namespace"))
        own = [s for s in self.schedules.values() if self.is_in(s, query.get("namespace"))]
        page, token = paged(own, query, {"display_name", "created_at"})
        return api.V2beta1ListRecurringRunsResponse(
            recurring_runs=page, total_size=len(own), next_page_token=token
        )

    def get_schedule(self, schedule_id: str) -> Any:
        return self.find(self.schedules, "Job", schedule_id)

    def switch_schedule(self, schedule_id: str, status: str) -> Any:
        self.find(self.schedules, "Job", schedule_id).status = status
        return {}

    def delete_schedule(self, schedule_id: str) -> Any:
        self.find(self.schedules, "Job", schedule_id)
        del self.schedules[schedule_id]
        return {}

    # -- what several of them need ----------------------------------------------------------

    def check_startable(self, body: Any) -> None:
        if not body.get("display_name"):
            raise Refused(400, "The run name is empty. Please specify a valid name")
        if body.get("experiment_id") not in self.experiments:
            raise Refused(404, "ResourceNotFoundError: Experiment not found.")
        reference = body.get("pipeline_version_reference") or {}
        version = self.versions.get(reference.get("pipeline_version_id", ""))
        if version is None or version.pipeline_id != reference.get("pipeline_id"):
            raise Refused(404, "ResourceNotFoundError: PipelineVersion not found.")
        spec = version.pipeline_spec.get("pipeline_spec", version.pipeline_spec)
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, value in body.get("runtime_config", {}).get("parameters", {}).items():
            if name not in declared:
                raise Refused(400, f"Unrecognized input parameter: {name}")
            if declared[name]["parameterType"] == "STRING" and not isinstance(value, str):
                raise Refused(400, f"input parameter {name} requires type string")

    def is_in(self, started: Any, namespace: str | None) -> bool:
        return self.experiments[started.experiment_id].namespace == namespace

    @staticmethod
    def find(things: dict[str, Any], kind: str, key: str) -> Any:
        if key not in things:
            raise Refused(404, f"Failed to get: ResourceNotFoundError: {kind} {key} not found.")
        return things[key]

    @staticmethod
    def as_model(body: Any, model: type) -> Any:
        class Said:
            data = json.dumps(body)

        return WRITER.deserialize(Said, model.__name__)
