"""Garbage collection: artifacts that `retention` does not keep are marked, renamed and deleted.

The order makes it safe to be killed. First all of them become DELETED in ML Metadata, after which
TFX's cache does not use them; then each folder is renamed to a hidden name; then it is deleted. The
next call finishes an interrupted removal.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.digests import size_of
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.retention import REFERENCES, Step, choose_kept, choose_runs
from ordain.history.runs import History
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.versions import list_versions

REMOVED_PREFIX = ".removed-"
_INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)
_OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
#: Artifacts read or marked in one call.
_BATCH = 500


@dataclass(frozen=True)
class Removal:
    """An artifact to remove.

    Attributes:
        id: ML Metadata's id.
        type: Its type, such as `Examples`.
        folder: Its folder.
        size_bytes: Size of its files.
    """

    id: int
    type: str
    folder: Path
    size_bytes: int


@dataclass(frozen=True)
class Sweep:
    """Objects that `ordain gc` removes, or would remove in a dry run.

    Attributes:
        artifacts: Artifacts to remove.
        runs: Run folders to remove.
        run_bytes: Size of these folders.
        kept_artifacts: Number of artifacts that are kept.
        kept_runs: Number of runs that are kept.
        unfinished: Folders of an interrupted removal.
    """

    artifacts: tuple[Removal, ...]
    runs: tuple[Path, ...]
    run_bytes: int
    kept_artifacts: int
    kept_runs: int
    unfinished: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        """Everything together."""
        return sum(removal.size_bytes for removal in self.artifacts) + self.run_bytes


def plan_sweep(project: Project, keep_runs: int, keep_days: float, now_ms: int) -> Sweep:
    """Finds what may be removed; changes nothing.

    Args:
        project: The project.
        keep_runs: Number of the newest runs that are kept.
        keep_days: Younger runs are kept as well, in days.
        now_ms: The time, in milliseconds since 1970.
    """
    history = History(project.metadata, project.name, project.paths)
    runs = [(run.id, run.started_ms) for run in history.list_runs()]
    kept_runs = choose_runs(runs, keep_runs, keep_days, now_ms)
    steps = [step for run, _ in runs for step in _steps(history.store, run)]
    artifacts = _artifacts(history.store, steps)
    roots, publishers = _roots(project, artifacts, steps)
    caches = [number for number, a in artifacts.items() if _is_live(a, "TransformCache")]
    kept = choose_kept(steps, kept_runs, roots, sorted(caches)[-1:])
    staying = {artifacts[i].uri for i in kept if i in artifacts}
    metadata = project.metadata
    is_own = isinstance(metadata, Path) and metadata.is_relative_to(project.workspace)
    going, unfinished, live = [], [], 0
    for artifact in artifacts.values():
        folder = Path(artifact.uri)
        # A baseline is a published version, which `ordain models prune` removes.
        if not folder.is_relative_to(project.artifacts):
            continue
        live += artifact.state == pb.Artifact.LIVE
        if artifact.uri in staying:
            continue
        if artifact.state == pb.Artifact.LIVE:
            if not is_own and not folder.exists():  # it may be in another machine's workspace
                continue
            going.append(Removal(artifact.id, artifact.type, folder, size_of(folder)))
        elif artifact.state == pb.Artifact.DELETED:
            unfinished += [left for left in (folder, _beside(folder)) if left.exists()]
    for depth in ("*/*", "*/.system/*"):
        unfinished += sorted(project.artifacts.glob(f"{depth}/{REMOVED_PREFIX}*"))
    unfinished += sorted(project.runs.glob(f"{REMOVED_PREFIX}*"))
    old = {run for run, _ in runs} - kept_runs - publishers
    folders = tuple(project.runs / run for run in sorted(old) if (project.runs / run).is_dir())
    return Sweep(
        tuple(sorted(going, key=lambda removal: removal.id)),
        folders,
        sum(map(size_of, folders)),
        live - len(going),
        len(runs) - len(old),
        tuple(unfinished),
    )


def carry_out(project: Project, sweep: Sweep) -> None:
    """Removes the objects of `plan_sweep`; the caller holds the workspace's lock.

    Raises:
        InfrastructureError: A folder cannot be removed; the next call continues.
    """
    mark(
        History(project.metadata, project.name, project.paths).store,
        [r.id for r in sweep.artifacts],
    )
    folders = [removal.folder for removal in sweep.artifacts]
    beside = sorted({_beside(folder) for folder in folders})
    for hidden in hide([*folders, *beside, *sweep.runs, *sweep.unfinished]):
        shutil.rmtree(hidden, ignore_errors=True)


def mark(store: Any, artifact_ids: Sequence[int]) -> None:
    """Marks artifacts as deleted in ML Metadata, before their folders are."""
    for start in range(0, len(artifact_ids), _BATCH):
        artifacts = store.get_artifacts_by_id(artifact_ids[start : start + _BATCH])
        for artifact in artifacts:
            artifact.state = pb.Artifact.DELETED
        store.put_artifacts(artifacts)


def hide(folders: Iterable[Path]) -> list[Path]:
    """Renames folders to hidden names, all of them before the first is deleted."""
    hidden = []
    for folder in folders:
        if folder.name.startswith(REMOVED_PREFIX):
            hidden.append(folder)
            continue
        target = folder.with_name(f"{REMOVED_PREFIX}{folder.name}-{secrets.token_hex(4)}")
        try:
            folder.rename(target)
        except FileNotFoundError:  # removed by hand, or never written
            continue
        except OSError as error:
            raise InfrastructureError(
                f"{folder} cannot be removed: {error.strerror}",
                "correct permissions and run ordain gc again: it continues where it stopped",
            ) from error
        hidden.append(target)
    return hidden


def _beside(folder: Path) -> Path:
    """Launcher folders of the execution that produced an artifact, by its id."""
    return folder.parent.parent / ".system" / "executor_execution" / folder.name


def _steps(store: Any, run_id: str) -> list[Step]:
    """The executions of a run with their inputs and outputs."""
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    ids = [execution.id for execution in store.get_executions_by_context(context.id)]
    found: dict[int, tuple[list[int], list[int], list[int]]] = {i: ([], [], []) for i in ids}
    for event in store.get_events_by_execution_ids(ids) if ids else []:
        outputs, inputs, references = found[event.execution_id]
        key = event.path.steps[0].key if event.path.steps else ""
        if event.type in _OUTPUTS:
            outputs.append(event.artifact_id)
        elif event.type in _INPUTS and key not in REFERENCES:
            inputs.append(event.artifact_id)
        else:  # a resolver's output is another run's: INTERNAL_OUTPUT
            references.append(event.artifact_id)
    return [Step(run_id, *map(tuple, lists)) for lists in found.values()]


def _artifacts(store: Any, steps: Sequence[Step]) -> dict[int, Any]:
    ids = sorted({i for step in steps for i in (*step.outputs, *step.inputs, *step.references)})
    found = {}
    for start in range(0, len(ids), _BATCH):
        for artifact in store.get_artifacts_by_id(ids[start : start + _BATCH]):
            found[artifact.id] = artifact
    return found


def _roots(
    project: Project, artifacts: dict[int, Any], steps: Sequence[Step]
) -> tuple[set[int], set[str]]:
    """Models of published versions that are still there, and the runs that published them."""
    there: set[int] = set()
    if not project.is_pushed_away:
        there = {
            *list_versions(project.serving),
            *read_labels(project.serving, project.trust).labelled,
        }
    roots = set()
    for artifact in artifacts.values():
        if not _is_live(artifact, "PushedModel"):
            continue
        version = artifact.custom_properties["pushed_version"].string_value
        # An object store is not listed: what was pushed there is kept.
        if version and (project.is_pushed_away or int(version) in there):
            roots.add(artifact.id)
    publishers = {step.run_id for step in steps if roots & set(step.outputs)}
    return roots, publishers


def _is_live(artifact: Any, kind: str) -> bool:
    return artifact.type == kind and artifact.state == pb.Artifact.LIVE
