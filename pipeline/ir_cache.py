"""Cache of the pipeline's IR, so that a run that changes nothing does not build the graph again.

Building the graph imports every component's libraries: 10 s of processor time. The IR is a function
of the project, its source and schema file, the newest span, and ordain's code. It is cached in the
workspace under the digest of these, with portable paths, so that it survives a move. It contains no
secret, because the graph has none. Cached files may be deleted at any time; one that cannot be
parsed is built again.
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
from ordain.common.package import PACKAGE
from ordain.config.project import Project
from ordain.pipeline.own_components import component_fingerprint
from ordain.project.source import fingerprint
from ordain.upstream.lazy_imports import frameworks
from ordain.upstream.tfx_imports import loading_tfx

FOLDER = "compiled"
#: Most IRs that are cached for a project: there is one for each newest span and set of settings.
_LIMIT = 20
#: Our packages and the distributions that the IR depends on.
_ROOMS = (
    *("common", "components", "config", "metadata", "pipeline", "project", "serving"),
    "upstream",
)
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

        tensorflow.version  # noqa: B018  executed first, because all that follows imports it
        from ordain.pipeline import graph  # noqa: PLC0415  ten seconds
    if is_first:
        gc.freeze()
    return graph


def compiled_ir(project: Project, newest_span: int) -> Any:
    """Returns the pipeline as TFX's IR (`pipeline_pb2.Pipeline`), not yet bound to a run.

    Args:
        project: The project.
        newest_span: Last span of the window.

    Raises:
        ConfigError: The graph cannot be built.
    """
    with loading_tfx():
        from ordain.upstream.ml_metadata import rewrite  # noqa: PLC0415  three seconds

    cache = FileCache(project.home / FOLDER, _LIMIT)
    name = f"{_key(project, newest_span)}.binpb"
    ir = _parse(cache.get(name))
    if ir is None:
        ir = load_graph().compile_ir(project, newest_span)
        portable = copy.deepcopy(ir)
        rewrite(portable, project.paths.portable)
        cache.put({name: portable.SerializeToString(deterministic=True)})
        return ir
    rewrite(ir, project.paths.absolute)
    return ir


def _key(project: Project, newest_span: int) -> str:
    """SHA-256 of everything that the IR depends on."""
    digest = hashlib.sha256(_code().encode())
    settings = project.paths.portable(project.model_dump_json())
    # In the IR they are packed, so that their paths are not made portable.
    packed = json.dumps(project.beam_args)
    own = [component_fingerprint(project, node) for node in project.nodes]
    for part in (settings, packed, str(newest_span), fingerprint(project.folder), *own):
        digest.update(f"\n{len(part)} {part}".encode())
    if project.schema_file.exists():
        digest.update(project.schema_file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _code() -> str:
    """SHA-256 of ordain's source and of the versions of the libraries."""
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
    """Parses a cached IR; None if that fails."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415  TFX is loaded by now
    from tfx.proto.orchestration import pipeline_pb2  # noqa: PLC0415

    if content is None:
        return None
    try:
        ir = pipeline_pb2.Pipeline.FromString(content)
    except DecodeError as error:
        log.warning("the cached IR cannot be parsed, so the graph is built again: %s", error)
        return None
    return ir if ir.nodes else None
