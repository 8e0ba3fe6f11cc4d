"""Which earlier artifacts a run looks back to: baseline, served model, analyzer cache.

Each rule names the *same* artifact when the same thing is run again, so that looking back does
not break TFX's cache: TFX's own `LatestBlessedModelStrategy` would pick the model of the first
run as baseline of its own repetition, and evaluate and push it a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver

from components.pushed_model import PUSHED_PROPERTY, VERSION_PROPERTY
from serving.label_file import read_labels

Artifacts = dict[str, list[Any]]
#: Models that a warm start looks back over for one of the same examples; older ones train anew.
_MODELS_LOOKED_AT = 100
#: Caches asked about at once: a repeated run finds its own among the newest.
_BATCH = 20


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
            pushed = [p.id for p in input_dict["pushed_model"] if _version_of(p) == self._version]
            chosen = [models[i] for i in _inputs_of_producers(store, pushed) if i in models]
        else:
            blessed = _blessed_models(input_dict["model_blessing"])
            chosen = [models[i] for i in sorted(models, reverse=True) if i in blessed]
        return {key: (chosen[:1] if key == "model" else []) for key in input_dict}


class ServedModel(resolver.ResolverStrategy):
    """The model that a warm start goes on from: the stable version's, else the latest blessed.

    If a model was trained on these very examples before, it is the one that training went on
    from (possibly none): the Trainer's inputs are the same then, and it is CACHED. Otherwise a
    repeated run would go on from its own model, and never come to an end.

    Inputs: `examples` and `transform_graph` (of this run), `model`, `model_blessing` and
    `pushed_model` (all of the pipeline). Output: `model`, empty if there is none.
    """

    def __init__(self, directory: str = "") -> None:
        """Takes the serving directory; empty where there are no labels, as in an object store."""
        self._directory = directory

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """See `ResolverStrategy`; never None, so that a first run goes on without a model."""
        models = {m.id: m for m in input_dict["model"]}
        chosen = self._seen(store, input_dict)
        if chosen is None:
            chosen = self._stable(store, input_dict) or self._blessed(input_dict)
        found = [models[i] for i in chosen if i in models]
        return {key: (found[:1] if key == "model" else []) for key in input_dict}

    def _seen(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> list[int] | None:
        """What training on these examples went on from; None if there was none such."""
        wanted = {key: {a.id for a in input_dict[key]} for key in ("examples", "transform_graph")}
        newest = sorted((m.id for m in input_dict["model"]), reverse=True)[:_MODELS_LOOKED_AT]
        producers = _producers(store, newest)
        events = store.get_events_by_execution_ids(sorted(set(producers.values())))
        for model in newest:
            inputs = _by_key(events, producers.get(model), metadata_store_pb2.Event.INPUT)
            if all(set(inputs.get(key, [])) == ids for key, ids in wanted.items()):
                return list(inputs.get("base_model", []))
        return None

    def _stable(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> list[int]:
        stable = read_labels(self._directory).stable if self._directory else None
        pushed = [p.id for p in input_dict["pushed_model"] if _version_of(p) == stable]
        return _inputs_of_producers(store, pushed) if stable is not None else []

    @staticmethod
    def _blessed(input_dict: Artifacts) -> list[int]:
        return sorted(_blessed_models(input_dict["model_blessing"]), reverse=True)


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


def _blessed_models(blessings: list[Any]) -> set[int]:
    return {
        b.get_int_custom_property("current_model_id")
        for b in blessings
        if b.get_int_custom_property("blessed") == 1
    }


def _version_of(pushed: Any) -> int | None:
    """The version that a PushedModel is; None if the push was refused."""
    if pushed.get_int_custom_property(PUSHED_PROPERTY) != 1:
        return None
    return int(pushed.get_string_custom_property(VERSION_PROPERTY))


def _producers(store: mlmd.MetadataStore, artifact_ids: list[int]) -> dict[int, int]:
    """The execution that first wrote each artifact (later ones only reused it).

    TFX names an artifact's folder by that execution. Its events say whether that holds; those of
    the artifact would be one for each run that ever reused it.
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
