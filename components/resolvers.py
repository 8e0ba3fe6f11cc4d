"""Which earlier artifacts a run looks back to: the baseline model, and the analyzer cache.

Both rules name the *same* artifact when the same thing is run again, so that looking back does
not break TFX's cache: TFX's own `LatestBlessedModelStrategy` would pick the model of the first
run as baseline of its own repetition, and evaluate and push it a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver

from components.publisher import PUSHED_PROPERTY, VERSION_PROPERTY

Artifacts = dict[str, list[Any]]


class BaselineModel(resolver.ResolverStrategy):
    """The latest blessed model that is not the candidate, or the one of a pinned version.

    Inputs: `candidate` (Model of this run), `model`, `model_blessing` and `pushed_model` (all of
    the pipeline). Output: `model`, empty if there is none.
    """

    def __init__(self, version: int = 0) -> None:
        """Takes the pinned version; 0 for the latest blessed."""
        self._version = version

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; never None, so that a first run goes on without baseline."""
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        models = {m.id: m for m in input_dict["model"] if m.id not in candidates}
        chosen: list[Any] = []
        if self._version:
            pushed = [
                p.id
                for p in input_dict["pushed_model"]
                if p.get_int_custom_property(PUSHED_PROPERTY) == 1
                and p.get_string_custom_property(VERSION_PROPERTY) == str(self._version)
            ]
            chosen = [models[i] for i in _inputs_of_producers(store, pushed) if i in models]
        else:
            blessed = {
                b.get_int_custom_property("current_model_id")
                for b in input_dict["model_blessing"]
                if b.get_int_custom_property("blessed") == 1
            }
            chosen = [models[i] for i in sorted(models, reverse=True) if i in blessed]
        return {key: (chosen[:1] if key == "model" else []) for key in input_dict}


class SeenAnalyzerCache(resolver.ResolverStrategy):
    """The analyzer cache to start a Transform from.

    If these very examples were transformed before, the cache that Transform was given then
    (possibly none): its inputs are the same, so it is CACHED as a whole. Otherwise the newest
    cache there is: the spans it knows need not be analyzed again.

    Inputs: `examples` (of this run), `analyzer_cache` (all of the pipeline). Output:
    `analyzer_cache`, empty if there is none.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`."""
        wanted = {artifact.id for artifact in input_dict["examples"]}
        caches = {c.id: c for c in input_dict["analyzer_cache"]}
        newest_first = sorted(caches, reverse=True)
        chosen = newest_first[:1]
        producers = _producers(store, newest_first)
        events = store.get_events_by_execution_ids(sorted(set(producers.values())))
        for cache_id in newest_first:
            inputs = _by_key(events, producers.get(cache_id), metadata_store_pb2.Event.INPUT)
            if set(inputs.get("examples", [])) == wanted:
                chosen = [i for i in inputs.get("analyzer_cache", []) if i in caches]
                break
        return {
            key: ([caches[i] for i in chosen] if key == "analyzer_cache" else [])
            for key in input_dict
        }


def _producers(store: mlmd.MetadataStore, artifact_ids: list[int]) -> dict[int, int]:
    """The execution that first wrote each artifact (later ones only reused it)."""
    producers: dict[int, int] = {}
    for event in store.get_events_by_artifact_ids(artifact_ids) if artifact_ids else []:
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
