"""The chain's IR, kept from run to run, so that a run that changes nothing does not build it anew.

Building the graph imports every component's libraries: 10 s of processor time. The IR is a
function of the project, its source and schema file, the newest span, and of this code; under the
digest of all of them it is kept in the workspace, with portable paths, so that it survives a move.
What is kept there holds no secret (the graph has none), may be removed at any time, and is not
trusted: what cannot be read is built anew.
"""

from __future__ import annotations

import copy
import functools
import gc
import hashlib
import json
import logging
import sys
from importlib import metadata
from typing import Any

from ordain.common.file_cache import FileCache
from ordain.common.lazy_imports import frameworks
from ordain.common.package import PACKAGE
from ordain.config.project import Project
from ordain.pipeline.own_nodes import component_fingerprint
from ordain.pipeline.preload import loading_tfx
from ordain.project.source import fingerprint

FOLDER = "compiled"
#: Kept for one project: one for each newest span that was tried of late, `--set` values apart.
_KEPT = 20
#: Our rooms whose code has a say in the IR, and the distributions that have.
_ROOMS = ("common", "components", "config", "metadata", "pipeline", "project", "serving")
_DISTRIBUTIONS = ("tfx", "tensorflow-model-analysis", "ml-metadata", "protobuf")

log = logging.getLogger(__name__)


def load_graph() -> Any:
    """Imports what builds the graph: the libraries of every component.

    Returns:
        The module `ordain.pipeline.graph`.
    """
    is_first = "ordain.pipeline.graph" not in sys.modules
    with frameworks():
        import tensorflow  # noqa: PLC0415

        tensorflow.version  # noqa: B018  executed first, as all that follows has it
        from ordain.pipeline import graph  # noqa: PLC0415  ten seconds
    if is_first:
        gc.freeze()
    return graph


def compiled_ir(project: Project, newest_span: int) -> Any:
    """The chain as TFX's intermediate representation (`pipeline_pb2.Pipeline`), not yet bound.

    Args:
        project: The project.
        newest_span: Last span of the window this chain is for.

    Raises:
        ConfigError: The graph cannot be built.
    """
    with loading_tfx():
        from ordain.metadata.server_client import rewrite  # noqa: PLC0415  three seconds

    kept = FileCache(project.home / FOLDER, _KEPT)
    name = f"{_key(project, newest_span)}.binpb"
    ir = _parse(kept.get(name))
    if ir is None:
        ir = load_graph().compile_ir(project, newest_span)
        portable = copy.deepcopy(ir)
        rewrite(portable, project.paths.portable)
        kept.put({name: portable.SerializeToString(deterministic=True)})
        return ir
    rewrite(ir, project.paths.absolute)
    return ir


def _key(project: Project, newest_span: int) -> str:
    """SHA-256 of all that the IR depends on."""
    digest = hashlib.sha256(_code().encode())
    settings = project.paths.portable(project.model_dump_json())
    # The IR has them packed, where no path is found.
    packed = json.dumps(project.beam_args)
    own = [component_fingerprint(project, node) for node in project.nodes]
    for part in (settings, packed, str(newest_span), fingerprint(project.folder), *own):
        digest.update(f"\n{len(part)} {part}".encode())
    if project.schema_file.exists():
        digest.update(project.schema_file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _code() -> str:
    """Identity of this installation: its own source, and the versions of the libraries."""
    digest = hashlib.sha256(sys.version.encode())
    for name in _DISTRIBUTIONS:
        digest.update(f"{name}=={metadata.version(name)}\n".encode())
    for room in _ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(PACKAGE)} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _parse(content: bytes | None) -> Any:
    """A kept IR; None if it is none."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415  TFX is loaded by now
    from tfx.proto.orchestration import pipeline_pb2  # noqa: PLC0415

    if content is None:
        return None
    try:
        ir = pipeline_pb2.Pipeline.FromString(content)
    except DecodeError as error:
        log.warning("the kept IR cannot be read, so the graph is built anew: %s", error)
        return None
    return ir if ir.nodes else None
