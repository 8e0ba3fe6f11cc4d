"""Finds ids of experiments and pipelines by name."""

from __future__ import annotations

import difflib
import json

from ordain.errors import ConfigError
from ordain.kubeflow.client.server import Server
from ordain.kubeflow.client.settings import DEFAULT_EXPERIMENT


def find_experiment(server: Server, name: str, create: bool) -> str:
    """Finds the id of an experiment.

    Args:
        server: The server.
        name: Its name.
        create: Whether to create it if it does not exist; off by default, so that a mistyped
            name is an error.

    Raises:
        ConfigError: It does not exist; the message names the nearest one.
        InfrastructureError: The server is unreachable or failed.
    """
    namespace = server.namespace
    doing = f"looking for experiment {name!r}"
    found = server.call(
        doing,
        "experiments",
        "experiment_service_list_experiments",
        filter=equals("display_name", name),
        namespace=namespace,
    )
    if found.experiments:
        return str(found.experiments[0].experiment_id)
    if create:
        models = server.kfp.api_models
        made = server.call(
            f"creating experiment {name!r}",
            "experiments",
            "experiment_service_create_experiment",
            experiment=models.V2beta1Experiment(display_name=name, namespace=namespace),
        )
        return str(made.experiment_id)
    listed = server.call(
        doing,
        "experiments",
        "experiment_service_list_experiments",
        namespace=namespace,
        page_size=200,
        sort_by="created_at desc",
    )
    names = [experiment.display_name for experiment in listed.experiments or ()]
    near = difflib.get_close_matches(name, names, n=1)
    where = f" in namespace {namespace!r}" if namespace else ""
    known = (
        f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names[:10]) or 'none'}"
    )
    raise ConfigError(
        f"there is no experiment {name!r}{where} at {server.connection.host}; {known}",
        f"--experiment {near[0] if near else DEFAULT_EXPERIMENT}, or --create-experiment",
    )


def find_pipeline(server: Server, name: str) -> str | None:
    """Finds the id of a pipeline; None if it does not exist.

    Raises:
        ConfigError: The server denies or refuses the request.
        InfrastructureError: The server is unreachable or failed.
    """
    found = server.call(
        f"looking for pipeline {name}",
        "pipelines",
        "pipeline_service_list_pipelines",
        filter=equals("display_name", name),
        namespace=server.namespace,
    )
    return str(found.pipelines[0].pipeline_id) if found.pipelines else None


def equals(key: str, value: str) -> str:
    """An API filter: `key` equals `value`."""
    predicate = {"operation": "EQUALS", "key": key, "string_value": value}
    return json.dumps({"predicates": [predicate]})
