"""What ML Metadata holds of one run, type by type, without times, ids and paths: to be compared.

Two runs of one project, by whatever driver and in whatever database, are the same if `contents` of
both is equal. Every difference is a line of a list, so that pytest's own comparison shows it.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from ordain.components.artifacts.types import JUDGED_PROPERTY
from ordain.history.recovery import MARKS

#: TFX names an artifact's folder by its execution, and Transform's after a number of their own.
_EXECUTION = re.compile(r"(/artifacts/\w+/[\w.]+)/\d+")
#: The context of a cache key is named by a hash, which covers paths.
_HASHED = "execution_cache"
#: What two runs never measure alike: seconds, memory, and what a model came to.
_MEASURED = re.compile(r"\d+\.\d+|\d+(?= (?:ms|s|MB)\b)")


def contents(
    store: Any, run_id: str, paths: Mapping[str, str], with_measured: bool = True
) -> dict[str, list[str]]:
    """What the store holds of a run.

    Args:
        store: ML Metadata.
        run_id: The run.
        paths: What stands in place of what, longest first: such as the workspace's path.
        with_measured: Whether measured numbers stay; otherwise an M stands for each.

    Returns:
        Lines by what they are of: `type Model`, `execution
        ordain.components.trainer.component.Trainer`, `artifact Model`, `context node`.
    """
    reader = _Reader(store, {run_id: "RUN", **paths}, with_measured)
    return reader.read(run_id)


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[str]:
    """Lines of a cluster run's contents that a local run does not have, and the reverse."""
    found = []
    for kind in sorted({*one, *other}):
        mine, theirs = Counter(one.get(kind, [])), Counter(other.get(kind, []))
        found += [f"cluster only, {kind}: {line}" for line in (mine - theirs).elements()]
        found += [f"local only, {kind}: {line}" for line in (theirs - mine).elements()]
    return found


class _Reader:
    def __init__(self, store: Any, texts: Mapping[str, str], with_measured: bool) -> None:
        self._store = store
        self._texts = texts
        self._with_measured = with_measured

    def read(self, run_id: str) -> dict[str, list[str]]:
        store = self._store
        run = store.get_context_by_type_and_name("pipeline_run", run_id)
        executions = store.get_executions_by_context(run.id)
        events = store.get_events_by_execution_ids([e.id for e in executions])
        artifacts = store.get_artifacts_by_id(sorted({e.artifact_id for e in events}))
        by_id = {a.id: self._artifact(a) for a in artifacts}
        found: dict[str, list[str]] = defaultdict(list)
        contexts = {run.id: run}
        for execution in executions:
            of_it = store.get_contexts_by_execution(execution.id)
            contexts |= {c.id: c for c in of_it}
            found[f"execution {execution.type}"].append(
                self._line(
                    state=execution.last_known_state,
                    properties=self._properties(execution),
                    contexts=sorted(self._name(c) for c in of_it),
                    events=sorted(
                        f"{event.type} {_path(event)} {by_id[event.artifact_id]}"
                        for event in events
                        if event.execution_id == execution.id
                    ),
                )
            )
        for artifact in artifacts:
            of_it = store.get_contexts_by_artifact(artifact.id)
            mine = [c for c in of_it if c.type != "pipeline_run" or c.id == run.id]
            names = sorted(self._name(c) for c in mine)
            found[f"artifact {artifact.type}"].append(f"{by_id[artifact.id]} {names}")
        for context in contexts.values():
            parents = sorted(
                self._name(c) for c in store.get_parent_contexts_by_context(context.id)
            )
            line = self._line(
                name=self._name(context), properties=self._properties(context), parents=parents
            )
            found[f"context {context.type}"].append(line)
        self._add_types(found, executions, artifacts, contexts)
        return {key: sorted(lines) for key, lines in sorted(found.items())}

    def _add_types(
        self, found: dict[str, list[str]], executions: Any, artifacts: Any, contexts: Any
    ) -> None:
        store = self._store
        for read, nodes in (
            (store.get_execution_type, executions),
            (store.get_artifact_type, artifacts),
            (store.get_context_type, contexts.values()),
        ):
            for name in {node.type for node in nodes}:
                kind = read(name)
                kind.ClearField("id")
                found[f"type {name}"].append(self._line(type=_plain(kind)))

    def _artifact(self, artifact: Any) -> str:
        uri = self._text(artifact.uri)
        return self._line(uri=uri, state=artifact.state, properties=self._properties(artifact))

    def _name(self, context: Any) -> str:
        name = "HASH" if context.type == _HASHED else self._text(context.name)
        return f"{context.type} {name}"

    def _properties(self, node: Any) -> dict[str, Any]:
        both = {**dict(node.properties), **dict(node.custom_properties)}
        plain = {k: _plain(v) for k, v in sorted(both.items()) if k not in MARKS}
        return plain | {k: "N" for k in plain if k.endswith("_id") or k == JUDGED_PROPERTY}

    def _line(self, **what: Any) -> str:
        return self._text(json.dumps(what, sort_keys=True))

    def _text(self, text: str) -> str:
        for old, new in self._texts.items():
            text = text.replace(old, new)
        text = _EXECUTION.sub(r"\1/N", text)
        return text if self._with_measured else _MEASURED.sub("M", text)


def _path(event: Any) -> str:
    """The inputs that an artifact is, each with its place; TFX has them in no order."""
    steps = [step.key or str(step.index) for step in event.path.steps]
    return " ".join(sorted("/".join(steps[at : at + 2]) for at in range(0, len(steps), 2)))


def _plain(message: Any) -> Any:
    return json_format.MessageToDict(message)
