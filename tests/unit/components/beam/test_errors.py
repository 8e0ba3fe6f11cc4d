"""Errors of ours that a real Beam pipeline raises come out as they went in."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from ordain.components.beam.errors import restore, restored
from ordain.config.project import DEFAULT_BEAM_ARGS
from ordain.errors import ConfigError, DataBlockedError, NodeFailedError

# Beam's worker threads lose their connection when a pipeline fails, and say so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Raise(beam.DoFn):
    def __init__(self, make):
        self._make = make

    def process(self, element):
        raise self._make()


class RaiseFrom(beam.DoFn):
    """As the code does: an error of ours, from a library's."""

    def process(self, element):
        try:
            int("x")
        except ValueError as error:
            raise DataBlockedError("row 3: not a number", "correct it") from error


def run(dofn: beam.DoFn, *flags: str) -> None:
    options = PipelineOptions([*DEFAULT_BEAM_ARGS, *flags])
    with restored(), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Reshuffle() | "Read[0]/x" >> beam.ParDo(dofn)


#: How a project's `beam_args` may let FnApiRunner work: in one process, and through workers.
MODES = [(), ("--direct_running_mode=multi_threading", "--direct_num_workers=2")]


@pytest.mark.parametrize("flags", MODES, ids=["in memory", "workers"])
@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [
        (DataBlockedError, "a.csv: column 'x', row 3: is not a number (got 'x')", "correct it"),
        (DataBlockedError, "no hint", ""),
        (NodeFailedError, "rows were lost", "run again; or not"),
        (ConfigError, "a.yaml: first\na.yaml: second", "see docs"),
    ],
)
def test_our_error_is_restored(flags, kind, message, hint):
    with pytest.raises(kind) as caught:
        run(Raise(lambda: kind(message, hint)), *flags)
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("flags", MODES, ids=["in memory", "workers"])
def test_our_error_is_restored_from_a_chain(flags):
    with pytest.raises(DataBlockedError) as caught:
        run(RaiseFrom(), *flags)
    assert (caught.value.message, caught.value.hint) == ("row 3: not a number", "correct it")


@pytest.mark.parametrize("flags", MODES, ids=["in memory", "workers"])
def test_other_errors_stay_as_beam_raises_them(flags):
    with pytest.raises((ValueError, RuntimeError), match="foreign") as caught:
        run(Raise(lambda: ValueError("foreign")), *flags)
    assert not isinstance(caught.value, (DataBlockedError, NodeFailedError))


def test_pipeline_without_errors_is_unaffected():
    with restored(), beam.Pipeline(options=PipelineOptions(list(DEFAULT_BEAM_ARGS))) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Map(lambda x: x)


def test_error_outside_of_beam_is_unchanged():
    error = DataBlockedError("what", "next")
    with pytest.raises(DataBlockedError) as caught, restored():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: x",
        "ordain.errors.ExitCode: x",
        "ordain.errors.NoSuchError: x",
        "he said ordain.errors.DataBlockedError: x",
    ],
)
def test_text_without_our_errors_restores_nothing(text):
    assert restore(RuntimeError(text)) is None
