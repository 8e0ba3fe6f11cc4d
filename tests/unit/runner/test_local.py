"""Parts of a local run; whole runs are in tests/integration."""

import re

from ordain.runner.local import new_run_id


def test_run_ids_sort_by_time_and_differ_within_a_second():
    ids = [new_run_id() for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", i) for i in ids)
    assert sorted(i[:15] for i in ids) == [i[:15] for i in ids]
