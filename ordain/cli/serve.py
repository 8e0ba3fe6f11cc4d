"""`ordain serve`: serves a project's published model over REST and gRPC."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ordain.cli.options import log_to_stderr, with_project
from ordain.common.memory import read_memory
from ordain.common.process_exit import exit_process
from ordain.config.loading import load_to_serve
from ordain.config.project import Project
from ordain.serving.registry.manifests import compose_file, kserve_manifest, kubernetes_manifest
from ordain.serving.registry.trust import Trust
from ordain.serving.server.security import read_token
from ordain.serving.server.settings import Settings
from ordain.upstream.tensorflow_import import hide_keras

_ELSEWHERE = "ordain serve PROJECT --emit kubernetes, or mount the bucket"


def _limit(
    name: str,
    kind: click.IntRange | click.FloatRange,
    default: float,
    text: str,
    shown: bool | str = True,
) -> Callable[[Any], Any]:
    """An option with a number in a range, whose default is shown."""
    return click.option(name, type=kind, default=default, show_default=shown, help=text)


@click.command()
@with_project(load_to_serve)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_limit("--rest-port", click.IntRange(0, 65535), 8501, "REST port; 0 picks a free one.")
@_limit("--grpc-port", click.IntRange(0, 65535), 8500, "gRPC port; 0 picks a free one.")
@click.option(
    "--token-file",
    metavar="FILE",
    help="Require this bearer token; '${env:NAME}' reads it from a variable.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Serve without a token on a --host that other machines can reach.",
)
@_limit(
    "--max-batch-size",
    click.IntRange(1, 65536),
    64,
    "Maximum rows in one call of the model; 1 disables batching.",
)
@_limit(
    "--batch-wait-ms",
    click.FloatRange(0, 1000),
    2.0,
    "Maximum time that a request waits for its batch to fill.",
)
@_limit(
    "--max-queue",
    click.IntRange(1),
    1000,
    "Maximum requests waiting for the model; further ones get 429.",
)
@_limit("--max-request-rows", click.IntRange(1), 4096, "Maximum rows in one request; more get 400.")
@_limit(
    "--max-body-mb",
    click.FloatRange(0.001, 2000),
    16.0,
    "Maximum size of a request; larger ones get 413.",
)
@_limit(
    "--request-timeout-s", click.FloatRange(0.01, 3600), 30.0, "Time limit of a request; then 504."
)
@_limit(
    "--load-timeout-s",
    click.FloatRange(1, 86400),
    120.0,
    "Time limit to check and load a version; then it is refused.",
)
@click.option(
    "--load-memory-mb",
    type=click.FloatRange(1),
    show_default="half of the machine's",
    help="Memory limit of loading a version; above it the version is refused.",
)
@_limit(
    "--client-timeout-s",
    click.FloatRange(0.1, 3600),
    10.0,
    "Time limit for a client to send a head or a body; then 408.",
)
@_limit(
    "--drain-timeout-s",
    click.FloatRange(0, 3600),
    30.0,
    "Time limit of open requests after SIGTERM.",
)
@_limit(
    "--threads",
    click.IntRange(1, 256),
    os.cpu_count() or 1,
    "Threads of TensorFlow.",
    "one for each core",
)
@_limit(
    "--keep-loaded",
    click.IntRange(0, 100),
    1,
    "Versions kept in memory after losing their label, for an instant rollback.",
)
@click.option("--all-versions", is_flag=True, help="Load every version, not only labelled ones.")
@click.option(
    "--emit",
    type=click.Choice(["docker", "kubernetes", "kserve"]),
    help="Print manifests that serve the directory with TensorFlow Serving, and start nothing.",
)
@click.option(
    "--claim",
    metavar="NAME",
    default="models",
    show_default=True,
    help="With --emit kubernetes or kserve: the PersistentVolumeClaim that holds the directory.",
)
def serve(
    project: Project,
    emit: str | None,
    claim: str,
    **options: Any,
) -> None:
    """Serve PROJECT's published model over REST and gRPC.

    \b
    Examples:
      ordain serve examples/flights
      ordain serve examples/flights --host 0.0.0.0 --token-file token.txt \\
          --tls-cert cert.pem --tls-key key.pem
      ordain serve examples/flights --emit docker > compose.yaml
      ordain serve examples/flights --emit kubernetes --claim models > serving.yaml

    TensorFlow Serving's REST paths (/v1/models/...) and the Open Inference Protocol (/v2/...) are
    on the REST port, TensorFlow Serving's PredictionService and the Open Inference Protocol on the
    gRPC port, metrics at /metrics. Changes of versions and labels take effect within two seconds.
    SIGTERM drains open requests and stops the server.
    """
    if emit is not None:
        click.echo(_emitted(project, emit, claim), nl=False)
        return
    made = _settings(project, options)
    made.check()
    _run(made, project.trust)


def _settings(project: Project, options: dict[str, Any]) -> Settings:
    token = options.pop("token_file")
    memory_mb = options.pop("load_memory_mb") or read_memory().total_bytes / 2e6
    return Settings(
        base=project.local_serving(_ELSEWHERE),
        name=project.name,
        token=read_token(token) if token else "",
        batch_wait_s=options.pop("batch_wait_ms") / 1000,
        max_body_bytes=int(options.pop("max_body_mb") * 1_000_000),
        load_memory_bytes=int(memory_mb * 1_000_000),
        **options,
    )


def _emitted(project: Project, kind: str, claim: str) -> str:
    if kind == "docker":
        return compose_file(project.name, project.local_serving(_ELSEWHERE))
    make = kubernetes_manifest if kind == "kubernetes" else kserve_manifest
    return make(project.name, claim)


def _run(settings: Settings, trust: Trust) -> None:
    log_to_stderr()
    click.echo("loading TensorFlow", err=True)
    hide_keras()

    from ordain.serving.server.app import serve as run_server  # noqa: PLC0415  seconds to import

    run_server(settings, click.echo, trust)
    exit_process(0)  # open requests were drained
