"""Scores a large file on Beam.

As in TFX's BulkInferrer, workers load the SavedModel once and run it on batches. Its `RunInference`
(tfx_bsl) is not used, because it takes serialized tf.Examples and returns PredictionLogs, while
rows here are columns before and after. An element is one row group of a Parquet file; other formats
are converted first. Each attempt at an element writes its own part (`ordain.common.commit`);
one part per element is appended in the order of the rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from ordain.common.commit import Staging, Written, one_each
from ordain.common.files import LocalFiles
from ordain.errors import NodeFailedError
from ordain.serving.predict.rows import RowWriter, format_of, read_batches
from ordain.serving.predict.scorer import LocalScorer
from ordain.serving.registry.trust import Trust
from ordain.serving.server.codec.tensors import Signature

#: Rows per row group when a file is converted to Parquet.
GROUP_ROWS = 65_536
_RESULTS = "parts"


class _ScoreGroup(beam.DoFn):
    """Scores one row group into a part; yields the group's number and the part."""

    def __init__(
        self, folder: str, signature: str, trust: Trust | None, size: int, staging: Staging
    ) -> None:
        self._folder = folder
        self._signature = signature
        self._trust = trust
        self._size = size
        self._staging = staging
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the model, once for each worker process."""
        self._scorer = self._shared.acquire(
            lambda: LocalScorer(Path(self._folder), self._signature, self._trust)
        )

    def process(self, element: tuple[str, int]) -> Iterator[tuple[int, Written]]:
        """Scores the row group of an element."""
        path, group = element
        rows = 0
        part = self._staging.new_path(".parquet")
        with pq.ParquetFile(path) as file, RowWriter(Path(part)) as writer:
            for batch in file.iter_batches(self._size, row_groups=[group]):
                writer.write(self._scorer.score(batch))
                rows += batch.num_rows
        yield group, self._staging.written(part, rows)


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
        source: File with the rows.
        writer: Writes the rows with the outputs.
        folder: The version's folder.
        signature: The signature that scores them.
        trust: Required signer of the version, or None.
        size: Rows in one call of the model.
        beam_args: Options of the pipeline.

    Returns:
        How many rows were scored.

    Raises:
        NodeFailedError: A part does not have as many rows as its row group.
    """
    with tempfile.TemporaryDirectory(prefix="ordain-predict-") as name:
        scratch = Path(name)
        rows = _as_parquet(source, signature, scratch)
        with pq.ParquetFile(rows) as file:
            groups = file.num_row_groups
            expected = [file.metadata.row_group(group).num_rows for group in range(groups)]
        with Staging(str(scratch / "parts"), LocalFiles()) as staging:
            score = _ScoreGroup(str(folder.absolute()), signature.name, trust, size, staging)
            with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
                _ = (
                    pipeline
                    | beam.Create([(str(rows.absolute()), group) for group in range(groups)])
                    | beam.Reshuffle()
                    | beam.ParDo(score)
                    | beam.combiners.ToList()
                    | beam.Map(staging.keep_results, _RESULTS)
                )
            parts = one_each(staging.results(_RESULTS), groups)
            for part, wanted in zip(parts, expected, strict=True):
                if _append(part, writer) != wanted:
                    raise NodeFailedError(f"{source}: {wanted} rows to score, {part.rows} scored")
        return sum(expected)


def _append(part: Written, writer: RowWriter) -> int:
    """Appends a part's rows; returns how many there were."""
    rows = 0
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches():
            writer.write(batch)
            rows += batch.num_rows
    return rows


def _as_parquet(source: Path, signature: Signature, scratch: Path) -> Path:
    if format_of(source, (".parquet", "")) == ".parquet":
        return source
    target = scratch / "rows.parquet"
    with RowWriter(target) as writer:
        for batch in read_batches(source, signature.inputs, GROUP_ROWS):
            writer.write(batch)
    return target
