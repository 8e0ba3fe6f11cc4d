"""Gathers the facts of the retraining decision, without TensorFlow or TFX.

From ML Metadata: past runs, the spans they read and their verdicts. From the serving directory: the
manifest of the stable version. From the data folder: its spans. From the project: source, schema
and settings. Nothing is written.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any

from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.runs import History
from ordain.pipeline.cache_key import gate_settings, ingest_settings
from ordain.project.source import fingerprint
from ordain.project.span_status import Delivery, find_deliveries
from ordain.project.spans import describe_span
from ordain.retraining.blockers import DAY_S
from ordain.retraining.past_runs import read_attempts
from ordain.retraining.types import Attempt, Facts, Served, State
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.verification import read_manifest

#: Least number of runs to read, so that failures in a row are seen.
_LEAST_RUNS = 10
#: Most runs to read: older ones do not matter for a decision.
_MOST_RUNS = 60


def gather_facts(project: Project, now: float) -> Facts:
    """Gathers the facts of a project.

    Args:
        project: The project.
        now: The time, in seconds since 1970; all runs of the last day are read if there is a
            budget of runs.

    Raises:
        ConfigError: The data folder, the schema or the project's files are invalid.
        InfrastructureError: ML Metadata or the serving directory cannot be read.
    """
    deliveries = find_deliveries(project.data, project.retrain.complete)
    attempts = _attempts(project, deliveries, now)
    schema = project.schema_file
    return Facts(
        deliveries=tuple(deliveries),
        attempts=attempts,
        served=_served(project, attempts),
        source=fingerprint(project.folder),
        schema=hashlib.sha256(schema.read_bytes()).hexdigest() if schema.exists() else "",
        gate=_as_stored(gate_settings(project)),
        ingest=_as_stored(ingest_settings(project)),
        window=project.data.window,
        names={d.span: describe_span(d.span, project.data) for d in deliveries},
    )


def _attempts(project: Project, deliveries: list[Delivery], now: float) -> tuple[Attempt, ...]:
    """Reads past runs, back to where every span of the newest window was used."""
    if not project.metadata.exists():
        return ()
    budget = project.retrain.runs_per_day or 0
    # `retrain.attempts` failures in a row have to be seen.
    least = max(_LEAST_RUNS, project.retrain.attempts)
    most = max(_MOST_RUNS, least)
    missing = {delivery.span for delivery in deliveries[-project.data.window :]}
    found: list[Attempt] = []
    for attempt in read_attempts(
        History(project.metadata, project.name, project.paths), project.runs
    ):
        found.append(attempt)
        if attempt.is_concluded:
            missing -= attempt.spans.keys()
        is_counted = budget > 0 and now - attempt.started < DAY_S and len(found) < budget
        is_settled = not missing and len(found) >= least
        if (is_settled or len(found) >= most) and not is_counted:
            break
    return tuple(found)


def _served(project: Project, attempts: tuple[Attempt, ...]) -> Served | None:
    """Returns the stable version; for an object store, which has no labels, the last push."""
    stable = None
    if not project.is_pushed_away:
        stable = read_labels(project.serving, project.trust).stable
    if stable is not None:
        try:
            manifest = read_manifest(project.serving / str(stable))
            created = datetime.datetime.fromisoformat(manifest.created).timestamp()
        except (InfrastructureError, ValueError, OverflowError):
            return None  # published by another program, without a usable manifest
        return Served(
            name=f"version {stable}",
            created=created,
            spans=manifest.spans,
            source=manifest.source_fingerprint,
            schema=manifest.schema_fingerprint,
        )
    if not project.is_pushed_away:
        return None
    for attempt in attempts:
        if attempt.state is State.PUBLISHED:
            return Served(
                name=f"the model of run {attempt.run_id}",
                created=attempt.ended,
                spans=tuple(sorted(attempt.spans)),
                source=attempt.source or "",
                schema=attempt.schema or "",
            )
    return None


def _as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns settings as ML Metadata returns them, where they are stored as JSON."""
    stored = json.loads(json.dumps(settings))
    return dict(stored)
