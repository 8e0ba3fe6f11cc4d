"""Resolver strategies for artifacts of earlier runs: baseline, served model, analyzer cache.

Each resolves to the *same* artifact when the same run is repeated, so that TFX's cache still
applies: TFX's `LatestBlessedModelStrategy` would take the model of the first run as baseline of its
own repetition, and evaluate and push it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver
from tfx.utils import path_utils

from ordain.components.artifacts.pushed_model import DESTINATION_PROPERTY, PUSHED_PROPERTY
from ordain.components.artifacts.served_model import DIGEST_PROPERTY as DIGEST
from ordain.components.artifacts.served_model import VERSION_PROPERTY as VERSION
from ordain.components.artifacts.served_model import look_up, registered
from ordain.components.artifacts.types import Artifacts
from ordain.serving.registry.label_file import STABLE
from ordain.serving.registry.served import Served, address_of, holds_files, is_preceded

#: Models that a warm start searches for one of the same examples; if older, it trains again.
_MODELS_LOOKED_AT = 100
#: Caches per query: a repeated run finds its own among the newest.
_BATCH = 20


class BaselineModel(resolver.ResolverStrategy):
    """The published version that a candidate is compared with, by the rules of `registry.served`.

    In a repeated run, `stable` or `latest` may be the candidate itself. Then the baseline is that
    of the candidate's evaluation: the Evaluator's inputs are the same, and it is CACHED.

    Inputs: `model` (the candidate), `model_blessing` and `pushed_model` (all of the pipeline).
    Output: `model`, empty if nothing has been published.
    """

    def __init__(self, directory: str, rule: str) -> None:
        """Takes the serving directory, and `stable`, `latest` or the digits of a version."""
        self._base = directory
        self._rule = int(rule) if rule.isdecimal() else rule

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; never None, so that a first run continues without baseline."""
        found: list[Any] = []
        served = look_up(self._base, self._rule)
        # After a data gate that blocks there is no candidate.
        if served is not None and input_dict["model"]:
            (candidate,) = input_dict["model"]
            before = None
            is_label = isinstance(self._rule, str)
            if is_label and _holds(served, candidate, store, input_dict["pushed_model"]):
                before = self._compared_before(store, candidate, input_dict["model_blessing"])
            if before is None or (not before and is_preceded(self._base, served.version)):
                before = [registered(store, served.address, served.version, served.digest)]
            found = before
        return {key: (found if key == "model" else []) for key in input_dict}

    def _compared_before(
        self, store: mlmd.MetadataStore, candidate: Any, blessings: list[Any]
    ) -> list[Any] | None:
        """The baseline of a candidate's last evaluation; None if it was not evaluated yet."""
        of_it = [
            b for b in blessings if b.get_int_custom_property("current_model_id") == candidate.id
        ]
        if not of_it:
            return None
        newest = max(of_it, key=lambda blessing: int(blessing.id))
        baseline = newest.get_int_custom_property("baseline_model_id")
        known = store.get_artifacts_by_id([baseline]) if baseline else []
        return [
            _registered_again(store, self._base, artifact)
            for artifact in known
            if artifact.custom_properties[VERSION].int_value
        ]


class ServedModel(resolver.ResolverStrategy):
    """The published version that a warm start begins from: the stable one (`registry.served`).

    If a model was trained on these examples before, it is the version that training began from
    (possibly none): the Trainer's inputs are the same, and it is CACHED. Otherwise every repetition
    would train again from its own model.

    Inputs: `examples` and `transform_graph` (of this run) and `model` (all of the pipeline).
    Output: `model`, empty if there is none.
    """

    def __init__(self, directory: str) -> None:
        """Takes the serving directory, or `gs://bucket/folder`."""
        self._base = directory

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; never None, so that a first run continues without a model."""
        seen = self._seen(store, input_dict)
        found: list[Any] = []
        if seen is None:
            served = look_up(self._base, STABLE)
            if served is not None:
                found = [registered(store, served.address, served.version, served.digest)]
        elif seen:
            (known,) = store.get_artifacts_by_id(seen[:1])
            found = [_registered_again(store, self._base, known)]
        return {key: (found if key == "model" else []) for key in input_dict}

    def _seen(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> list[int] | None:
        """Ids of the model that training on these examples began from; None if not trained yet."""
        wanted = {key: {a.id for a in input_dict[key]} for key in ("examples", "transform_graph")}
        newest = sorted((m.id for m in input_dict["model"]), reverse=True)[:_MODELS_LOOKED_AT]
        producers = _producers(store, newest)
        events = store.get_events_by_execution_ids(sorted(set(producers.values())))
        for model in newest:
            inputs = _by_key(events, producers.get(model), metadata_store_pb2.Event.INPUT)
            if all(set(inputs.get(key, [])) == ids for key, ids in wanted.items()):
                return list(inputs.get("base_model", []))
        return None


class SeenAnalyzerCache(resolver.ResolverStrategy):
    """The analyzer cache to start a Transform from.

    If these examples were transformed before, it is the cache of that Transform (possibly none):
    the inputs are the same, and it is CACHED as a whole. Otherwise it is the newest cache, whose
    spans need not be analyzed again.

    Inputs: `examples` (of this run), `analyzer_cache` (all of the pipeline). Output:
    `analyzer_cache`, empty if there is none.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`."""
        wanted = {artifact.id for artifact in input_dict["examples"]}
        caches = {c.id: c for c in input_dict["analyzer_cache"]}
        newest_first = sorted(caches, reverse=True)
        chosen = newest_first[:1]
        kind = metadata_store_pb2.Event.INPUT
        for start in range(0, len(newest_first), _BATCH):
            cache_ids = newest_first[start : start + _BATCH]
            producers = _producers(store, cache_ids)
            events = store.get_events_by_execution_ids(sorted(set(producers.values())))
            given = [_by_key(events, producers.get(i), kind) for i in cache_ids]
            same = [inputs for inputs in given if set(inputs.get("examples", [])) == wanted]
            if same:
                chosen = [i for i in same[0].get("analyzer_cache", []) if i in caches]
                break
        return {
            key: ([caches[i] for i in chosen] if key == "analyzer_cache" else [])
            for key in input_dict
        }


def _registered_again(store: mlmd.MetadataStore, base: str, known: Any) -> Any:
    """The artifact of a version that an earlier run registered, at its current address."""
    version = int(known.custom_properties[VERSION].int_value)
    digest = known.custom_properties[DIGEST].string_value
    return registered(store, address_of(base, version), version, digest)


def _holds(
    served: Served, candidate: Any, store: mlmd.MetadataStore, pushed_models: list[Any]
) -> bool:
    """True if a published version is the candidate, by ML Metadata or by its files."""
    pushed = [
        pushed.id
        for pushed in pushed_models
        if pushed.get_int_custom_property(PUSHED_PROPERTY) == 1
        and pushed.get_string_custom_property(DESTINATION_PROPERTY) == served.address
    ]
    if candidate.id in _inputs_of_producers(store, pushed):
        return True
    # The publisher was killed before it recorded the push, or the serving directory was moved.
    folder = Path(path_utils.serving_model_dir(candidate.uri))
    return folder.is_dir() and holds_files(served, folder)


def _producers(store: mlmd.MetadataStore, artifact_ids: list[int]) -> dict[int, int]:
    """The execution that first wrote each artifact (later ones only reused it).

    TFX names an artifact's folder by that execution, and the execution's events confirm it. The
    artifact has one event for each run that ever reused it.
    """
    producers: dict[int, int] = {}
    if not artifact_ids:
        return producers
    named = {}
    for artifact in store.get_artifacts_by_id(artifact_ids):
        last = artifact.uri.rpartition("/")[2]
        named[artifact.id] = int(last) if last.isdecimal() else 0
    executions = sorted(set(named.values()) - {0})
    for event in store.get_events_by_execution_ids(executions) if executions else []:
        is_output = event.type == metadata_store_pb2.Event.OUTPUT
        if is_output and named.get(event.artifact_id) == event.execution_id:
            producers[event.artifact_id] = event.execution_id
    others = [number for number in artifact_ids if number not in producers]
    for event in store.get_events_by_artifact_ids(others) if others else []:
        if event.type == metadata_store_pb2.Event.OUTPUT:
            known = producers.get(event.artifact_id, event.execution_id)
            producers[event.artifact_id] = min(known, event.execution_id)
    return producers


def _inputs_of_producers(store: mlmd.MetadataStore, artifact_ids: list[int]) -> list[int]:
    executions = sorted(set(_producers(store, artifact_ids).values()))
    events = store.get_events_by_execution_ids(executions) if executions else []
    return [e.artifact_id for e in events if e.type == metadata_store_pb2.Event.INPUT]


def _by_key(events: list[Any], execution_id: int | None, kind: int) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in events:
        if event.execution_id == execution_id and event.type == kind:
            found.setdefault(event.path.steps[0].key, []).append(event.artifact_id)
    return found
