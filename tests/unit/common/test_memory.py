"""Memory of the machine and of a container."""

import gc
import weakref

import psutil
import pytest
from apache_beam.utils.shared import Shared

from ordain.common.memory import read_memory, release_memory

MB = 1_000_000


def write_v2(folder, limit, used, inactive):
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def write_v1(folder, limit, used, inactive):
    (folder / "memory").mkdir()
    (folder / "memory/memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory/memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory/memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {inactive}\n")


def test_without_a_container_it_is_the_machines(tmp_path):
    found = read_memory(tmp_path)
    assert found.total_bytes == psutil.virtual_memory().total
    assert 0 < found.available_bytes < found.total_bytes


@pytest.mark.parametrize("write", [write_v2, write_v1])
def test_a_container_has_what_it_is_limited_to_and_its_cache_can_be_had(tmp_path, write):
    write(tmp_path, 100 * MB, 90 * MB, 30 * MB)
    found = read_memory(tmp_path)
    assert (found.total_bytes, found.available_bytes) == (100 * MB, 40 * MB)


@pytest.mark.parametrize("write", [write_v2, write_v1])
@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_no_limit_limits_nothing(tmp_path, write, limit):
    write(tmp_path, limit, 90 * MB, 0)
    assert read_memory(tmp_path).total_bytes == psutil.virtual_memory().total


class _Model:
    """What a node shares among its workers."""


def test_what_beam_shared_last_is_released() -> None:
    lasting = weakref.ref(Shared().acquire(_Model))
    gc.collect()
    assert lasting() is not None, "Beam lets go by itself: release_memory need not do it any more"
    release_memory()
    assert lasting() is None
