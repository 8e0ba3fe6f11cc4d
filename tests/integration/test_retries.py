"""Nodes on runners that retry, and with workers that are killed: no row is lost or doubled.

ExampleGen, StatisticsGen, the data gate's look at the files and Transform, each as its executor.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from ordain.components import statistics_gen
from ordain.components.examples import example_gen
from ordain.components.examples.example_gen import ArrowExampleGen, IngestOptions, read_rows
from ordain.components.examples.reader import strays_of, tfxio_for
from ordain.components.transform import analysis as analysis_run
from ordain.components.transform import executor as transform
from ordain.config.project import DEFAULT_BEAM_ARGS
from ordain.errors import NodeFailedError

ROOT = Path(__file__).resolve().parents[2]
#: Beam's older runner in this process: it tries a bundle four times.
RETRYING = ("--runner=BundleBasedDirectRunner",)
ROWS = 300


MODULE = """
import tensorflow_transform as tft

def preprocessing_fn(inputs):
    token = tft.compute_and_apply_vocabulary(inputs["c"], vocab_filename="c")
    return {"id": inputs["id"], "z": tft.scale_to_z_score(inputs["x"]), "c": token}
"""


def fails_once(dofn: type, flags: Path, when: Callable[[int], bool]) -> type:
    """A DoFn whose worker dies after it has written a piece, at the attempts that `when` names."""

    class Fails(dofn):  # type: ignore[misc]
        def process(self, element: Any) -> Iterator[Any]:
            results = list(super().process(element))
            number = len(list(flags.iterdir()))
            (flags / f"{dofn.__name__}-{number}").touch()
            if when(number):
                raise RuntimeError("the worker dies after it has written")
            yield from results

    return Fails


class Chain:
    """The executors in a folder, each called as the launcher calls it."""

    def __init__(self, folder: Path, beam_args: tuple[str, ...]) -> None:
        self.folder = folder
        self._args = list(beam_args)
        data = folder / "data"
        data.mkdir()
        (folder / "module.py").write_text(MODULE)
        for number in range(3):
            ids = range(number * ROWS // 3, (number + 1) * ROWS // 3)
            table = {"id": ids, "x": [i / 7 for i in ids], "c": ["abc"[i % 3] for i in ids]}
            columns = {name: list(values) for name, values in table.items()}
            pq.write_table(pa.table(columns), data / f"{number}.parquet")
        self.examples = self._artifact(standard_artifacts.Examples, "examples")
        self.statistics = self._artifact(standard_artifacts.ExampleStatistics, "statistics")
        self.transformed = self._artifact(standard_artifacts.Examples, "transformed")
        self.graph = self._artifact(standard_artifacts.TransformGraph, "graph")
        self.cache = self._artifact(standard_artifacts.TransformCache, "cache")
        self.schema = self._artifact(standard_artifacts.Schema, "schema")

    def _artifact(self, kind: type, name: str) -> Any:
        artifact = kind()
        artifact.uri = str(self.folder / name)
        return artifact

    def _context(self) -> Any:
        return base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=self._args, tmp_dir=str(self.folder / "t"), unique_id="1"
        )

    def ingest(self) -> dict[str, int]:
        generator = ArrowExampleGen(
            str(self.folder / "data"), "*.parquet", IngestOptions(), {"train": 2, "eval": 1}
        )
        self.examples.set_int_custom_property("span", 1)
        example_gen.Executor(self._context()).Do(
            {}, {"examples": [self.examples]}, dict(generator.exec_properties)
        )
        return read_rows(self.examples)["splits"]

    def measure(self) -> dict[str, int]:
        statistics_gen.Executor(self._context()).Do(
            {"examples": [self.examples]}, {"statistics": [self.statistics]}, {}
        )
        return {
            split: tfdv.load_stats_binary(f"{self.statistics.uri}/Split-{split}/FeatureStats.pb")
            .datasets[0]
            .num_examples
            for split in ("train", "eval")
        }

    def transform(self) -> dict[str, int]:
        path = f"{self.statistics.uri}/Split-train/FeatureStats.pb"
        schema = tfdv.infer_schema(tfdv.load_stats_binary(path))
        io_utils.write_pbtxt_file(f"{self.schema.uri}/schema.pbtxt", schema)
        transform.Executor(self._context()).Do(
            {"examples": [self.examples], "schema": [self.schema]},
            {
                "transform_graph": [self.graph],
                "transformed_examples": [self.transformed],
                "updated_analyzer_cache": [self.cache],
            },
            {"module_file": str(self.folder / "module.py"), "disable_statistics": 1},
        )
        return read_rows(self.transformed)["splits"]

    def ids(self, artifact: Any) -> list[int]:
        """The rows that TFX's own readers find: all files of `Split-*`, whatever they are."""
        files = [str(path) for path in sorted(Path(artifact.uri).glob("Split-*/*"))]
        records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
        examples = (tf.train.Example.FromString(record) for record in records)
        return sorted(e.features.feature["id"].int64_list.value[0] for e in examples)

    def files(self) -> list[str]:
        """What lies in the artifacts' folders."""
        return sorted(
            str(path.relative_to(self.folder))
            for name in ("examples", "statistics", "transformed", "cache")
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        )


WHOLE = sorted(
    [
        *(f"{name}/committed.json" for name in ("examples", "statistics", "transformed", "cache")),
        *(
            f"examples/Split-{split}/data_tfrecord-0000{n}-of-00003.gz"
            for split in ("train", "eval")
            for n in range(3)
        ),
        *(f"statistics/Split-{split}/FeatureStats.pb" for split in ("train", "eval")),
        *(
            f"transformed/Split-{split}/transformed_examples-00000-of-00001.gz"
            for split in ("train", "eval")
        ),
        "cache/analyzer_cache.tfrecord.gz",
    ]
)


@pytest.fixture
def chain(tmp_path: Path) -> Callable[..., Chain]:
    return lambda *beam_args: Chain(tmp_path, beam_args or tuple(DEFAULT_BEAM_ARGS))


def assert_whole(chain: Chain, rows: dict[str, int]) -> None:
    assert sum(rows.values()) == ROWS
    assert chain.measure() == rows
    assert strays_of(chain.examples) == []
    assert chain.transform() == rows
    assert chain.ids(chain.examples) == chain.ids(chain.transformed) == [*range(ROWS)]
    assert chain.files() == WHOLE
    assert not list(chain.folder.rglob(".temp"))
    output = tft.TFTransformOutput(chain.graph.uri)
    assert output.vocabulary_size_by_name("c") == 3


@pytest.mark.parametrize("when", [lambda n: n in (0, 2), lambda n: n in (1, 2)])
def test_a_bundle_that_fails_after_it_has_written_is_retried(
    chain: Callable[..., Chain],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: Callable[[int], bool],
) -> None:
    """Before, the orphan lay in Split-train; readers met it: DataLossError, for good."""
    for module, name in (
        (example_gen, "WriteShards"),
        (statistics_gen, "MeasureSplit"),
        (transform, "TransformSplit"),
        (analysis_run, "AccumulateDataset"),
    ):
        flags = tmp_path / f"flags-{name}"
        flags.mkdir()
        monkeypatch.setattr(module, name, fails_once(getattr(module, name), flags, when))
    retried = chain(*RETRYING)
    assert_whole(retried, retried.ingest())
    tried = {
        name: len(list((tmp_path / f"flags-{name}").iterdir()))
        for name in ("WriteShards", "MeasureSplit", "TransformSplit", "AccumulateDataset")
    }
    # It was done again, or nothing was shown.
    assert tried["WriteShards"] > 3 and tried["MeasureSplit"] > 2, tried
    assert tried["TransformSplit"] > 2, tried
    if when(0):
        assert tried["AccumulateDataset"] > 1, tried


@pytest.mark.parametrize("beam_args", [tuple(DEFAULT_BEAM_ARGS), RETRYING])
def test_an_execution_is_retried_into_the_same_folders(
    chain: Callable[..., Chain], beam_args: tuple[str, ...]
) -> None:
    """A node's first attempt was killed at the worst moment: half of its files were in place."""
    retried = chain(*beam_args)
    for artifact in (retried.examples, retried.statistics, retried.transformed, retried.cache):
        for name in (
            "Split-train/data_tfrecord-00007-of-00008.gz",
            "Split-eval/.staged-0-abc",
            "Split-old/x",
            ".temp/abc/def.gz",
            "committed.json",
        ):
            path = Path(artifact.uri) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}" if name == "committed.json" else b"half a file")
    assert_whole(retried, retried.ingest())


#: A worker of a runner: it unpickles a DoFn and does a piece of work, more slowly than usual.
WORKER = """
import sys, time
from apache_beam.internal import pickler
from ordain.components.artifacts.record_writer import RecordWriter
dofn, element = pickler.loads(open(sys.argv[1], "rb").read())
write = RecordWriter.write
def slowly(self, record):
    write(self, record)
    if self.rows == 20:
        print("half", flush=True)
        time.sleep(float(sys.argv[2]))
RecordWriter.write = slowly
results = list(dofn.process(element))
print("written", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["half", "written"])
def test_a_worker_is_killed_while_it_writes_and_when_it_has_written(
    chain: Callable[..., Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Each piece has a first worker, a process of its own, that ends by SIGKILL."""
    from apache_beam.internal import pickler

    killed = []

    class Killed(example_gen.WriteShards):
        def process(self, element: Any) -> Iterator[Any]:
            if len(killed) < 2:
                task = tmp_path / "task"
                task.write_bytes(pickler.dumps((self._as_it_is(), element)))
                pause = "60" if moment == "half" else "0"
                worker = subprocess.Popen(
                    [sys.executable, "-c", WORKER, task, pause if moment == "half" else "0.01"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    cwd=ROOT,
                )
                for line in worker.stdout:
                    if line.strip() == moment:
                        worker.send_signal(signal.SIGKILL)
                        break
                worker.wait()
                worker.stdout.close()
                left = [p for p in (tmp_path / "examples").rglob("*") if p.is_file()]
                killed.append((worker.returncode, len(left)))
            yield from super().process(element)

        def _as_it_is(self) -> Any:
            plain = example_gen_writer.__new__(example_gen_writer)
            plain.__dict__.update(self.__dict__)
            return plain

    example_gen_writer = example_gen.WriteShards
    monkeypatch.setattr(example_gen, "WriteShards", Killed)
    monkeypatch.setattr(example_gen.Executor, "_spread", _here)
    bereaved = chain()
    rows = bereaved.ingest()
    assert [code for code, _ in killed] == [-signal.SIGKILL] * 2, killed
    # They had begun their files: without that nothing is shown.
    assert killed[0][1] == 2 and killed[1][1] > 4, killed
    monkeypatch.undo()
    assert_whole(bereaved, rows)


def _here(self: Any, dofn: Any, elements: list[Any], staging: Any) -> list[Any]:
    return [result for element in elements for result in dofn.process(element)]


def test_the_helper_is_killed_and_the_node_is_run_again(tmp_path: Path) -> None:
    """The process beside this one dies when it has written: the node fails, and runs again."""
    code = f"""
        import os, signal, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from ordain.components.beam import worker_process
        from ordain.components.examples import example_gen
        from ordain.errors import NodeFailedError
        worker_process._processors = lambda: 2
        import test_retries
        parent = os.getpid()
        plain = example_gen.WriteShards
        class Dies(plain):
            def process(self, element):
                if os.getpid() != parent:
                    results = list(super().process(element))
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(2)  # the helper gets one
                yield from super().process(element)
        chain = test_retries.Chain(Path({str(tmp_path)!r}), tuple(test_retries.DEFAULT_BEAM_ARGS))
        example_gen.WriteShards = Dies
        try:
            chain.ingest()
        except NodeFailedError as error:
            assert "the worker process was killed" in str(error), error
        else:
            raise AssertionError("it was not killed")
        assert not list(Path(chain.examples.uri).glob("Split-*/*"))
        example_gen.WriteShards = plain
        test_retries.assert_whole(chain, chain.ingest())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_file_that_nobody_committed_is_not_read_and_is_said(chain: Callable[..., Chain]) -> None:
    """As the code before left it: whole, and with rows of its own."""
    littered = chain()
    rows = littered.ingest()
    folder = Path(littered.examples.uri) / "Split-train"
    (shard, *_) = sorted(folder.iterdir())
    (folder / ".staged-0-abc").write_bytes(shard.read_bytes())
    (folder / "data_tfrecord-00003-of-00004.gz").write_bytes(shard.read_bytes())
    assert littered.measure() == rows
    assert sum(b.num_rows for b in tfxio_for(str(folder)).batches()) == rows["train"]
    strays = [f"{folder}/.staged-0-abc", f"{folder}/data_tfrecord-00003-of-00004.gz"]
    assert strays_of(littered.examples) == strays
    with pytest.raises(NodeFailedError, match=r"\.staged-0-abc: not committed by ExampleGen \(2"):
        littered.transform()


def test_the_rows_of_a_committed_file_are_those_that_were_counted(
    chain: Callable[..., Chain],
) -> None:
    whole = chain()
    rows = whole.ingest()
    listed = json.loads((Path(whole.examples.uri) / "committed.json").read_text())
    for split, count in rows.items():
        assert sum(facts["rows"] for facts in listed[f"Split-{split}"].values()) == count
        for name, facts in listed[f"Split-{split}"].items():
            path = Path(whole.examples.uri) / f"Split-{split}" / name
            records = list(tf.data.TFRecordDataset(str(path), "GZIP"))
            assert (len(records), path.stat().st_size) == (facts["rows"], facts["bytes"])
