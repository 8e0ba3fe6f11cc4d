"""`ordain predict`: scores rows of a file with a published model."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ordain.cli.options import with_project
from ordain.common.env_references import resolve_references
from ordain.config.loading import load_to_serve
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.serving.server.security import read_token

#: A file larger than this is scored on Beam.
BEAM_ABOVE_BYTES = 64_000_000


@click.command()
@with_project(load_to_serve)
@click.option(
    "--input",
    "source",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Rows: .json, .jsonl, .csv, .csv.gz or .parquet, columns named as the model's features.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Rows with the outputs: .json, .jsonl, .csv or .parquet; default: JSON lines on stdout.",
)
@click.option("--url", help="Use a running server, such as http://127.0.0.1:8501.")
@click.option("--label", default="", metavar="LABEL", help="stable (the default) or canary.")
@click.option("--version", type=click.IntRange(0), help="A version, instead of a label.")
@click.option("--signature", default="serving_default", show_default=True, metavar="NAME")
@click.option(
    "--batch-size",
    type=click.IntRange(1, 65536),
    default=1024,
    show_default=True,
    help="Rows in one call of the model.",
)
@click.option("--beam", is_flag=True, help="Score on Beam, as files above 64 MB always are.")
@click.option("--token-file", metavar="FILE", help="With --url: the bearer token's file.")
@click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --url: PEM file of the authority behind the server's certificate.",
)
def predict(
    project: Project,
    source: Path,
    output: Path | None,
    url: str | None,
    label: str,
    version: int | None,
    signature: str,
    batch_size: int,
    beam: bool,
    token_file: str | None,
    ca_file: Path | None,
) -> None:
    """Score rows with PROJECT's published model.

    \b
    Examples:
      ordain predict examples/flights --input rows.json
      ordain predict examples/flights --input rows.csv --output scored.csv --label canary
      ordain predict examples/flights --input rows.json --url http://127.0.0.1:8501
      ordain predict examples/flights --input year.parquet --output scored.parquet --beam

    The output has each row's columns, followed by the model's outputs, in the same order.
    """
    if label and version is not None:
        raise ConfigError("--label and --version cannot be given together")
    if not source.is_file():
        raise ConfigError(f"--input: {source} is not a file")
    if url is None and (token_file or ca_file):
        raise ConfigError("--token-file and --ca-file need --url")
    if url is not None and beam:
        raise ConfigError("--beam and --url cannot be given together")

    from ordain.serving.predict.rows import RowWriter, read_batches  # noqa: PLC0415  imports pyarrow
    from ordain.serving.predict.scorer import (  # noqa: PLC0415
        LocalScorer,
        RemoteScorer,
        find_version,
    )

    with RowWriter(output, sys.stdout) as writer:
        scorer: LocalScorer | RemoteScorer
        if url is not None:
            path = f"/versions/{version}" if version is not None else f"/labels/{label}"
            token = read_token(token_file) if token_file else ""
            scorer = RemoteScorer(
                url, project.name, path if path != "/labels/" else "", signature, token, ca_file
            )
        else:
            serving = project.local_serving("ordain predict PROJECT --url uses a server")
            folder = find_version(serving, version, label, project.trust)
            scorer = LocalScorer(folder, signature, project.trust)
            if beam or source.stat().st_size > BEAM_ABOVE_BYTES:
                from ordain.serving.predict.beam import score_file  # noqa: PLC0415  imports Beam

                rows = score_file(
                    source,
                    writer,
                    folder,
                    scorer.signature,
                    project.trust,
                    batch_size,
                    resolve_references(project.beam_args, "beam_args"),
                )
                click.echo(f"{rows} rows scored on Beam", err=True)
                return
        rows = 0
        for batch in read_batches(source, scorer.signature.inputs, batch_size):
            writer.write(scorer.score(batch))
            rows += batch.num_rows
    where = url or f"version {folder.name}"
    click.echo(f"{rows} rows scored by {where}", err=True)
