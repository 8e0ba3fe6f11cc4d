"""The schema of a window: its older spans say what is normal, the newest has to fit."""

import pyarrow as pa
import pytest
from tensorflow_data_validation.statistics import stats_impl
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from ordain.components.schema_gen import CuratedSchema, WindowExecutor
from ordain.errors import DataBlockedError


@pytest.fixture
def infer(tmp_path):
    """The schema of a window given as columns by span; every split holds the same."""

    def run(window: dict[int, dict], order=None):
        artifacts = []
        for span in order or window:
            artifact = standard_artifacts.ExampleStatistics()
            artifact.uri = str(tmp_path / f"statistics-{span}")
            artifact.span = span
            artifact.split_names = artifact_utils.encode_split_names(["train", "eval"])
            batch = pa.RecordBatch.from_pydict(
                {
                    k: [None if v is None else [v] for v in column]
                    for k, column in window[span].items()
                }
            )
            measured = stats_impl.generate_statistics_in_memory(batch)
            for split in ("train", "eval"):
                folder = tmp_path / f"statistics-{span}" / f"Split-{split}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "FeatureStats.pb").write_bytes(measured.SerializeToString())
            artifacts.append(artifact)
        schema = standard_artifacts.Schema()
        schema.uri = str(tmp_path / "schema")
        WindowExecutor().Do({"statistics": artifacts}, {"schema": [schema]}, {})
        read = io_utils.SchemaReader().read(f"{schema.uri}/schema.pbtxt")
        domains = {d.name: sorted(d.value) for d in read.string_domain}
        return {f.name: domains.get(f.domain) for f in read.feature}

    return run


def colors(*names: str) -> dict:
    return {"color": list(names) * 20, "y": [0, 1] * (10 * len(names))}


def test_the_newest_span_has_no_say(infer):
    window = {1: colors("red"), 2: colors("blue"), 3: {**colors("green"), "new": [1] * 20}}
    assert infer(window) == {"color": ["blue", "red"], "y": None}


def test_newest_span_is_found_by_its_number(infer):
    window = {1: colors("red"), 2: colors("blue"), 3: colors("green")}
    assert infer(window, order=[3, 1, 2])["color"] == ["blue", "red"]


def test_a_single_span_says_it_all(infer):
    assert infer({1: colors("red", "blue")})["color"] == ["blue", "red"]


def test_nothing_to_infer_from_is_refused(infer):
    with pytest.raises(DataBlockedError, match="no span of the window has a row"):
        infer({1: {"color": []}, 2: {"color": []}})


def test_an_edited_curated_schema_is_another_setting(tmp_path):
    path = tmp_path / "schema.pbtxt"
    fingerprints = []
    for text in ('feature { name: "a" }\n', 'feature { name: "b" }\n', 'feature { name: "a" }\n'):
        path.write_text(text)
        fingerprints.append(CuratedSchema(path).exec_properties["schema_fingerprint"])
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
