"""Traps of other libraries that `ordain.upstream` works around.

Each test fails when upstream mends its trap; `docs/upstream.md` says what can go then.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_tfx_closes_the_store_after_each_use(tmp_path: Path) -> None:
    from tfx.orchestration import metadata

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.db")
    config.sqlite.connection_mode = 3  # READWRITE_OPENCREATE
    handle = metadata.Metadata(config)
    with handle:
        first = handle.store
    with handle:
        assert handle.store is not first


def test_tfmas_sdk_lacks_protos() -> None:
    run("""
from google.protobuf import wrappers_pb2
from ordain.upstream.lazy_imports import frameworks
with frameworks():
    from tensorflow_model_analysis import sdk
    from tensorflow_model_analysis.proto import config_pb2
names = config_pb2.DESCRIPTOR.message_types_by_name
assert [name for name in names if not hasattr(sdk, name)], "drop _complete_tfma"
""")


def test_tfx_prefers_tensorflow_for_local_files() -> None:
    run("""
from tfx.dsl.io import filesystem_registry, fileio
from tfx.dsl.io.plugins import tensorflow_gfile
chosen = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.get_filesystem_for_path("/tmp/x")
assert chosen is tensorflow_gfile.TensorflowFilesystem, "drop _prefer_local_files"
""")


def test_tfx_packs_user_modules() -> None:
    run("""
import os
os.environ.pop("UNSUPPORTED_DO_NOT_PACKAGE_USER_MODULES", None)
from tfx.components.util import udf_utils
assert udf_utils.should_package_user_modules(), "drop modules_in_place"
""")


def test_kfps_client_takes_no_retry_policy() -> None:
    kfp = pytest.importorskip("kfp")
    names = inspect.signature(kfp.Client.__init__).parameters
    assert not [name for name in names if "retr" in name], "give the policy as an argument"


def paths() -> list[str]:
    return sorted(set(re.findall(r"`([\w/]+/[\w/]+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("named", paths())
def test_the_page_names_files_and_tests_that_are_there(named: str) -> None:
    path, _, test = named.partition("::")
    assert f"def {test}" in (ROOT / path).read_text(encoding="utf-8") if test else True
    assert (ROOT / path).is_file()


def test_the_page_names_every_patch_of_beam() -> None:
    from ordain.upstream import beam

    assert all(f"`beam.py`, `{patch.name}`" in PAGE for patch in beam.PATCHES)
