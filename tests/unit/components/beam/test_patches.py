"""Beam's answers remembered: the same answers, and the day Beam remembers by itself is told."""

import apache_beam as beam
import pytest
from apache_beam import metrics
from apache_beam.coders import BytesCoder, VarIntCoder, coders
from apache_beam.runners.portability import fn_api_runner
from apache_beam.runners.worker import statesampler
from apache_beam.transforms import core, userstate

from ordain.components.beam import patches


class Plain(beam.DoFn):
    def process(self, element, window=beam.DoFn.WindowParam):
        yield element


class Stateful(beam.DoFn):
    COUNT = userstate.CombiningValueStateSpec("count", VarIntCoder(), sum)
    BUFFER = userstate.BagStateSpec("buffer", BytesCoder())
    EXPIRY = userstate.TimerSpec("expiry", beam.TimeDomain.WATERMARK)

    def process(
        self,
        element,
        count=beam.DoFn.StateParam(COUNT),
        expiry=beam.DoFn.TimerParam(EXPIRY),
    ):
        yield element

    @userstate.on_timer(EXPIRY)
    def expire(self, buffer=beam.DoFn.StateParam(BUFFER)):
        yield None


class OtherStateful(Stateful):
    def process(self, element):
        yield element


class Keeper:
    """Its method is wrapped by a DoFn of the same class as any other callable."""

    STATE = userstate.BagStateSpec("kept", BytesCoder())

    def keep(self, element, state=beam.DoFn.StateParam(STATE)):
        yield element


def callables() -> list[core.CallableWrapperDoFn]:
    wrapped = (lambda element: [element], Keeper().keep, str.split)
    return [core.CallableWrapperDoFn(function) for function in wrapped]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(userstate, "get_dofn_specs", userstate.get_dofn_specs)
    original = coders.FastPrimitivesCoder._create_impl
    monkeypatch.setattr(coders.FastPrimitivesCoder, "_create_impl", original)
    for name in ("start", "stop"):
        method = getattr(statesampler.StateSampler, name)
        monkeypatch.setattr(statesampler.StateSampler, name, method)
    patches.install()


@pytest.mark.parametrize(
    "make", [Plain, Stateful, OtherStateful, *[lambda i=i: callables()[i] for i in range(3)]]
)
def test_answers_are_the_originals(make):
    dofn = make()
    expected = patches._original_specs(dofn)
    for _ in range(2):
        assert userstate.get_dofn_specs(dofn) == expected


def test_callables_of_one_class_are_told_apart():
    plain, stateful, _ = callables()
    for dofn, is_stateful in ((plain, False), (stateful, True), (plain, False)):
        assert userstate.is_stateful_dofn(dofn) is is_stateful


def test_a_class_is_told_apart_from_the_one_it_extends():
    # The timer's callback is inherited, the state of `process` is not.
    names = [
        sorted(spec.name for spec in userstate.get_dofn_specs(dofn)[0])
        for dofn in (Stateful(), OtherStateful())
    ]
    assert names == [["buffer", "count"], ["buffer"]]


def test_installing_again_changes_nothing():
    remembered = userstate.get_dofn_specs
    patches.install()
    assert userstate.get_dofn_specs is remembered


@pytest.fixture
def inspections(monkeypatch):
    """How often a question makes Beam look at a method's signature."""
    inspected = []
    original = core.get_function_args_defaults

    def look(function):
        inspected.append(function)
        return original(function)

    monkeypatch.setattr(core, "get_function_args_defaults", look)

    def count(ask, dofn) -> int:
        inspected.clear()
        ask(dofn)
        return len(inspected)

    return count


def test_beam_does_not_remember_by_itself(inspections):
    """Fails when Beam does: then `components/beam/patches.py` can go."""
    dofn = Plain()
    counts = [inspections(patches._original_specs, dofn) for _ in range(3)]
    assert counts[0] > 0
    assert counts[0] == counts[1] == counts[2], "Beam remembers by itself: drop beam_overhead"


def test_a_second_question_looks_at_no_signature(inspections):
    class Fresh(Plain):
        pass

    assert inspections(userstate.get_dofn_specs, Fresh()) > 0
    assert inspections(userstate.get_dofn_specs, Fresh()) == 0


def test_what_is_replaced_is_what_beam_asks(inspections):
    """The name that `install` replaces is looked up where Beam builds a graph."""

    class Fresh(Stateful):
        pass

    assert inspections(userstate.is_stateful_dofn, Fresh()) > 0
    assert inspections(userstate.is_stateful_dofn, Fresh()) == 0


class Counted:
    """Counts how often one of its kind is encoded."""

    encoded = 0

    def __reduce__(self):
        Counted.encoded += 1
        return (Counted, ())


def encodings() -> int:
    """How often an element is encoded that goes through three steps and never leaves its stage."""
    Counted.encoded = 0
    with beam.Pipeline(runner=fn_api_runner.FnApiRunner()) as pipeline:
        elements = pipeline | beam.Create([0]) | beam.Map(lambda _: Counted())
        _ = elements | "One" >> beam.Map(lambda e: e) | "Other" >> beam.Map(lambda _: None)
    return Counted.encoded


def test_elements_are_not_encoded_to_be_measured():
    assert encodings() == 0


def test_beam_encodes_elements_to_measure_them(monkeypatch):
    """Fails when Beam does not: then `_Unmeasured` can go."""
    monkeypatch.setattr(coders.FastPrimitivesCoder, "_create_impl", original_impl)
    assert encodings() > 0, "Beam measures by itself without encoding: drop _Unmeasured"


def original_impl(coder):
    """As `FastPrimitivesCoder._create_impl` is in Beam."""
    return patches.coder_impl.FastPrimitivesCoderImpl(coder._fallback_coder.get_impl())


@pytest.fixture
def samplings(monkeypatch):
    """How many threads a run starts that look at which step is running."""
    begun = []

    def look(sampler):
        begun.append(sampler)

    monkeypatch.setattr(statesampler.StateSampler, "run", look, raising=False)

    def count() -> int:
        begun.clear()
        with beam.Pipeline(runner=fn_api_runner.FnApiRunner()) as pipeline:
            _ = pipeline | beam.Create([0]) | beam.Map(metrics.Metrics.counter("a", "b").inc)
        return len(begun)

    return count


def test_no_thread_looks_at_which_step_is_running(samplings):
    assert samplings() == 0


def test_a_counter_still_knows_its_step():
    with beam.Pipeline(runner=fn_api_runner.FnApiRunner()) as pipeline:
        counter = metrics.Metrics.counter("rows", "seen")
        _ = pipeline | beam.Create([1, 2]) | "Count" >> beam.Map(counter.inc)
    (found,) = pipeline.result.metrics().query()["counters"]
    assert (found.key.step, found.committed) == ("Count", 3)


def test_beam_starts_such_a_thread_for_each_bundle(monkeypatch, samplings):
    """Fails when Beam does not: then `_start_unsampled` and `_stop_unsampled` can go."""
    monkeypatch.setattr(statesampler.StateSampler, "start", original_start)
    monkeypatch.setattr(statesampler.StateSampler, "stop", original_stop)
    assert samplings() > 0, "Beam samples in no thread of its own: drop _start_unsampled"


def original_start(sampler):
    """As `StateSampler.start` is in Beam."""
    statesampler.set_current_tracker(sampler)
    super(statesampler.StateSampler, sampler).start()
    sampler.started = True


def original_stop(sampler):
    """As `StateSampler.stop` is in Beam."""
    statesampler.set_current_tracker(None)
    super(statesampler.StateSampler, sampler).stop()
