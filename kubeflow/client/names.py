"""Experiments and pipelines by their names; the API goes by ids."""

from __future__ import annotations

import difflib
import json

from ordain.errors import ConfigError
from ordain.kubeflow.client.server import Server
from ordain.kubeflow.client.settings import DEFAULT_EXPERIMENT


def find_experiment(server: Server, name: str, create: bool) -> str:
    """The id of an experiment by its name.

    Args:
        server: Where it is.
        name: Its name.
        create: Whether to create it if there is none. Otherwise a mistyped name would be a new
            experiment.

    Raises:
        ConfigError: There is none of that name; names the nearest one.
        InfrastructureError: The server cannot be reached, or failed.
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
    """The id of a pipeline by its name; None if there is none.

    Raises:
        ConfigError: The server does not allow or refuses to look.
        InfrastructureError: The server cannot be reached, or failed.
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
    """A filter of the API: `key` is exactly `value`."""
    predicate = {"operation": "EQUALS", "key": key, "string_value": value}
    return json.dumps({"predicates": [predicate]})
