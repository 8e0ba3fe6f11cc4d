"""`ordain serve`: a project's published model on this machine's ports."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from ordain.cli.options import project_options
from ordain.common.memory import read_memory
from ordain.common.process_exit import exit_process
from ordain.config.loading import load_to_serve
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.serving.registry.manifests import compose_file, kubernetes_manifest
from ordain.serving.registry.trust import Trust
from ordain.serving.server.lean import leave_keras_out
from ordain.serving.server.security import read_token
from ordain.serving.server.settings import Settings


@click.command()
@project_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65535),
    default=8501,
    show_default=True,
    help="REST port; 0 takes a free one.",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    default=8500,
    show_default=True,
    help="gRPC port; 0 takes a free one.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Ask each request for this bearer token; '${env:NAME}' reads it from a variable.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option("--insecure", is_flag=True, help="Allow a --host others can reach without a token.")
@click.option(
    "--max-batch-size",
    type=click.IntRange(1, 65536),
    default=64,
    show_default=True,
    help="Rows of several requests merged into one call of the model; 1 merges nothing.",
)
@click.option(
    "--batch-wait-ms",
    type=click.FloatRange(0, 1000),
    default=2.0,
    show_default=True,
    help="Longest a request waits for others to be merged with.",
)
@click.option(
    "--max-queue",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Requests that may wait for the model; one more is answered 429.",
)
@click.option(
    "--max-request-rows",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="Rows of one request; more are answered 400.",
)
@click.option(
    "--max-body-mb",
    type=click.FloatRange(0.001, 2000),
    default=16.0,
    show_default=True,
    help="Size of one request; more is answered 413.",
)
@click.option(
    "--request-timeout-s",
    type=click.FloatRange(0.01, 3600),
    default=30.0,
    show_default=True,
    help="Longest a request may take; then it is answered 504.",
)
@click.option(
    "--load-timeout-s",
    type=click.FloatRange(1, 86400),
    default=120.0,
    show_default=True,
    help="Longest a version may take to be checked and loaded; then it is refused.",
)
@click.option(
    "--load-memory-mb",
    type=click.FloatRange(1),
    show_default="half of what there is",
    help="Most memory a version may take while it is loaded; then it is refused.",
)
@click.option(
    "--client-timeout-s",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="Longest a client may take to send a head, or a body; then it is answered 408.",
)
@click.option(
    "--drain-timeout-s",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Longest the last requests may take after SIGTERM.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=os.cpu_count() or 1,
    show_default="one for each core",
    help="TensorFlow's threads.",
)
@click.option(
    "--keep-loaded",
    type=click.IntRange(0, 100),
    default=1,
    show_default=True,
    help="Versions that lost their label and stay in memory, for an instant rollback.",
)
@click.option("--all-versions", is_flag=True, help="Load every version, not the labelled ones.")
@click.option(
    "--emit",
    type=click.Choice(["docker", "kubernetes", "kserve"]),
    help="Start nothing; print what serves the directory with TensorFlow Serving.",
)
@click.option(
    "--claim",
    metavar="NAME",
    default="models",
    show_default=True,
    help="With --emit kubernetes or kserve: the PersistentVolumeClaim that holds the directory.",
)
def serve(
    project: str,
    env: str | None,
    settings: tuple[str, ...],
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
    gRPC port, metrics at /metrics. A version or label that changes is followed within two seconds.
    SIGTERM answers what is in flight and ends.
    """
    loaded = load_to_serve(project, env, settings)
    if emit is not None:
        click.echo(_emitted(loaded, emit, claim), nl=False)
        return
    made = _settings(loaded, options)
    made.check()
    _run(made, loaded.trust)


def _settings(project: Project, options: dict[str, Any]) -> Settings:
    token = options.pop("token_file")
    client_timeout_s = options.pop("client_timeout_s")
    memory_mb = options.pop("load_memory_mb") or read_memory().total_bytes / 2e6
    return Settings(
        base=_serving_directory(project),
        name=project.name,
        token=read_token(token) if token else "",
        batch_wait_s=options.pop("batch_wait_ms") / 1000,
        max_body_bytes=int(options.pop("max_body_mb") * 1_000_000),
        load_memory_bytes=int(memory_mb * 1_000_000),
        header_timeout_s=client_timeout_s,
        body_timeout_s=client_timeout_s,
        **options,
    )


def _serving_directory(project: Project) -> Path:
    if project.is_pushed_away:
        raise ConfigError(
            f"push.directory is {project.push.directory}: a server here reads local folders",
            "ordain serve PROJECT --emit kubernetes, or mount the bucket",
        )
    return project.serving


def _emitted(project: Project, kind: str, claim: str) -> str:
    if kind == "docker":
        return compose_file(project.name, _serving_directory(project))
    form = "deployment" if kind == "kubernetes" else "kserve"
    return kubernetes_manifest(project.name, claim, kind=form)


def _run(settings: Settings, trust: Trust) -> None:
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING
    )
    logging.getLogger("ordain").setLevel(logging.INFO)
    click.echo("loading TensorFlow", err=True)
    leave_keras_out()

    from ordain.serving.server.app import serve as run_server  # noqa: PLC0415  seconds to import

    run_server(settings, click.echo, trust)
    exit_process(0)  # everything was answered
