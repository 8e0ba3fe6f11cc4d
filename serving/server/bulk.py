"""Scoring a large file on Beam.

Like TFX's BulkInferrer, workers load the SavedModel once and run it on batches. Its `RunInference`
(tfx_bsl) is not used: it takes serialized tf.Examples only and answers with PredictionLogs, and
the rows here are columns both before and after. An element is one row group of a Parquet file
(another form is brought into one first), scored into a part of its own; the parts are put
together in the order of the rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from serving.server.rows import RowWriter, form_of, read_batches
from serving.server.scoring import LocalScorer
from serving.server.tensors import Signature
from serving.trust import Trust

#: Rows of a group when a file has to be brought into Parquet.
GROUP_ROWS = 65_536


class _ScoreGroup(beam.DoFn):
    """Scores one row group into a file of its own; gives the number of its rows."""

    def __init__(
        self, folder: str, signature: str, trust: Trust | None, size: int, parts: str
    ) -> None:
        self._folder = folder
        self._signature = signature
        self._trust = trust
        self._size = size
        self._parts = parts
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the model, once for each worker process."""
        self._scorer = self._shared.acquire(
            lambda: LocalScorer(Path(self._folder), self._signature, self._trust)
        )

    def process(self, element: tuple[str, int]) -> Iterator[int]:
        """Scores the row group that an element names."""
        path, group = element
        rows = 0
        part = Path(self._parts) / f"{group:08d}.parquet"
        with pq.ParquetFile(path) as file, RowWriter(part) as writer:
            for batch in file.iter_batches(self._size, row_groups=[group]):
                writer.write(self._scorer.score(batch))
                rows += batch.num_rows
        yield rows


def score_file(
    source: Path,
    writer: RowWriter,
    folder: Path,
    signature: Signature,
    trust: Trust | None,
    size: int,
    beam_args: Sequence[str],
) -> int:
    """Scores a file on Beam.

    Args:
        source: The rows.
        writer: Where they go, with the outputs.
        folder: The version's folder.
        signature: The signature that scores them.
        trust: Whose version it has to be, or None.
        size: Rows in one call of the model.
        beam_args: Options of the pipeline.

    Returns:
        How many rows were scored.
    """
    with tempfile.TemporaryDirectory(prefix="ordain-predict-") as name:
        scratch = Path(name)
        rows = _as_parquet(source, signature, scratch)
        parts = scratch / "parts"
        parts.mkdir()
        with pq.ParquetFile(rows) as file:
            groups = file.num_row_groups
        score = _ScoreGroup(str(folder.absolute()), signature.name, trust, size, str(parts))
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            _ = (
                pipeline
                | beam.Create([(str(rows.absolute()), group) for group in range(groups)])
                | beam.Reshuffle()
                | beam.ParDo(score)
            )
        done = 0
        for part in sorted(parts.iterdir()):
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches():
                    writer.write(batch)
                    done += batch.num_rows
        return done


def _as_parquet(source: Path, signature: Signature, scratch: Path) -> Path:
    if form_of(source, (".parquet", "")) == ".parquet":
        return source
    target = scratch / "rows.parquet"
    with RowWriter(target) as writer:
        for batch in read_batches(source, signature.inputs, GROUP_ROWS):
            writer.write(batch)
    return target
