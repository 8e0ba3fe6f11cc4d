"""ML Metadata behind its gRPC service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from sandbox import Sandbox, states

from ordain.cli.health_checks import check_server
from ordain.common.portable_paths import AS_THEY_ARE
from ordain.metadata.location import MetadataService, parse_location
from ordain.metadata.store import open_store

SUPPORT = Path(__file__).resolve().parents[1] / "support"
TEXT = 'a "quoted" \\ and \\"nested\\" text, it\'s ü\n'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The address of a gRPC service over a fresh store."""
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "metadata_service.py"), str(tmp_path / "served.sqlite")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield f"grpc://127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.communicate()


def test_any_text_comes_back_and_answers_are_ordered_by_id(service: str) -> None:
    location: Any = parse_location(service)
    store = open_store(location, AS_THEY_ARE)
    kind = store.put_context_type(pb.ContextType(name="kind"))
    context = pb.Context(type_id=kind, name="named")
    context.custom_properties["text"].string_value = TEXT
    store.put_contexts([context])
    found = open_store(location, AS_THEY_ARE).get_context_by_type_and_name("kind", "named")
    assert found.custom_properties["text"].string_value == TEXT
    thing = store.put_artifact_type(pb.ArtifactType(name="thing"))
    ids = store.put_artifacts([pb.Artifact(type_id=thing, uri=f"/{i}") for i in range(3)])
    first = store.get_artifacts_by_id(ids[:1])
    first[0].state = pb.Artifact.LIVE
    store.put_artifacts(first)
    assert [a.id for a in store.get_artifacts_by_id(ids)] == ids


def test_doctor_checks_that_it_answers(service: str) -> None:
    location = parse_location(service)
    assert isinstance(location, MetadataService)
    assert check_server(location).state == "ok"
    found = check_server(MetadataService("127.0.0.1", 1))
    assert found.state == "fail" and "grpc://127.0.0.1:1" in found.found


def test_a_run_and_its_repetition(small: Callable[..., Sandbox], service: str) -> None:
    project = small(metadata=service, evaluate={"thresholds": {"auc": {"min": 0.01}}})
    first, again = project.run(), project.run()
    assert (int(first.exit_code), first.version) == (0, 1), first.failure
    assert (int(again.exit_code), again.is_new_version) == (0, False), again.failure
    left = {node: state for node, state in states(again).items() if state != "cached"}
    assert left == {"AnalyzerCache": "complete", "Baseline": "complete"}
    assert not (project.folder / "var" / "metadata.sqlite").exists()
