"""Translation of a node's error."""

import errno
import itertools
import signal
import subprocess

import pytest

from ordain.errors import ConfigError, DataBlockedError, InfrastructureError, NodeFailedError
from ordain.runner.node_errors import as_known_error


def chain(*errors: BaseException, explicit: bool = True) -> BaseException:
    """The first error, caused by the second, and so on."""
    for outer, inner in itertools.pairwise(errors):
        if explicit:
            outer.__cause__ = inner
        else:
            outer.__context__ = inner
    return errors[0]


class TestKnownError:
    @pytest.mark.parametrize("explicit", [True, False])
    def test_an_error_of_ours_is_found_however_deep(self, explicit):
        ours = DataBlockedError("what", "next")
        error = chain(RuntimeError("a"), KeyError("b"), ours, explicit=explicit)
        assert as_known_error(error) is ours

    def test_the_outermost_of_two_is_meant(self):
        outer, inner = ConfigError("outer"), DataBlockedError("inner")
        assert as_known_error(chain(outer, inner)) is outer

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_one_however_it_comes(self, number):
        full = OSError(
            number, {errno.ENOSPC: "No space left on device"}.get(number, "Disk quota exceeded")
        )
        for error in (full, RuntimeError(f"worker: {full}")):
            known = as_known_error(error)
            assert isinstance(known, InfrastructureError)
            assert known.message.startswith("the disk is full")

    def test_a_locked_store_is_one(self):
        known = as_known_error(RuntimeError("mlmd: database is locked"))
        assert (type(known), int(known.exit_code)) == (InfrastructureError, 5)

    def test_anything_else_is_named_by_its_last_line(self):
        known = as_known_error(ValueError("Traceback:\n  File x\nshapes (1,) and (2,)\n"))
        assert type(known) is NodeFailedError
        assert known.message == "ValueError: shapes (1,) and (2,)"

    def test_an_error_without_words_is_named_too(self):
        assert as_known_error(KeyboardInterrupt()).message == "KeyboardInterrupt: "

    def test_a_long_one_is_cut(self):
        assert len(as_known_error(ValueError("x" * 10_000)).message) == 500

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError("Unable to allocate 9 GiB"),
            OSError(errno.ENOMEM, "Cannot allocate memory"),
            RuntimeError("worker: OOM when allocating tensor with shape[9,9]"),
            RuntimeError("std::bad_alloc"),
            RuntimeError("Traceback ...\nMemoryError [while running 'Transform']"),
            subprocess.CalledProcessError(-signal.SIGKILL, ["python"]),
            subprocess.CalledProcessError(137, ["sh"]),
        ],
    )
    def test_every_sign_of_no_memory_is_recognized(self, error):
        for found in (error, chain(RuntimeError("while running Transform"), error)):
            known = as_known_error(found)
            assert isinstance(known, InfrastructureError)
            assert "memory" in known.message
            assert "ordain plan" in known.hint

    @pytest.mark.parametrize("code", [1, -signal.SIGTERM, 139])
    def test_a_child_that_ended_otherwise_is_not_out_of_memory(self, code):
        known = as_known_error(subprocess.CalledProcessError(code, ["python"]))
        assert isinstance(known, NodeFailedError)

    def test_a_child_that_was_really_killed(self):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            subprocess.run(["/bin/sh", "-c", "kill -9 $$"], check=True)
        assert "was killed, probably because memory ran out" in as_known_error(caught.value).message
