"""Patches of Beam: same results, in force only inside their scope, red once Beam is mended."""

import subprocess
import sys
from typing import ClassVar

import apache_beam as beam
import pytest
from apache_beam.coders import BytesCoder, VarIntCoder
from apache_beam.transforms import core, userstate
from tfx.dsl.components.base import base_beam_executor

from ordain.components.beam.executor import BeamExecutor
from ordain.config.project import DEFAULT_BEAM_ARGS
from ordain.upstream import beam as upstream


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


@pytest.fixture
def patched():
    with upstream.without_overhead():
        yield


@pytest.mark.parametrize(
    "make", [Plain, Stateful, OtherStateful, *[lambda i=i: callables()[i] for i in range(3)]]
)
def test_specs_are_the_originals(patched, make):
    dofn = make()
    expected = upstream._original_specs(dofn)
    for _ in range(2):
        assert userstate.get_dofn_specs(dofn) == expected


def test_callables_of_one_class_have_their_own_specs(patched):
    plain, stateful, _ = callables()
    for dofn, is_stateful in ((plain, False), (stateful, True), (plain, False)):
        assert userstate.is_stateful_dofn(dofn) is is_stateful


def test_a_class_has_other_specs_than_the_one_it_extends(patched):
    # The timer's callback is inherited, the state of `process` is not.
    names = [
        sorted(spec.name for spec in userstate.get_dofn_specs(dofn)[0])
        for dofn in (Stateful(), OtherStateful())
    ]
    assert names == [["buffer", "count"], ["buffer"]]


@pytest.fixture
def inspections(monkeypatch):
    """Counts the signatures that Beam inspects for one call."""
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


def test_beam_does_not_keep_specs(inspections):
    """Fails when Beam does: then the patch `specs` can go."""
    dofn = Plain()
    counts = [inspections(userstate.get_dofn_specs, dofn) for _ in range(3)]
    assert counts[0] > 0
    assert counts[0] == counts[1] == counts[2], "Beam keeps specs itself: drop the patch `specs`"


def ask_for_specs(dofn):
    """Looks the function up when it is called, as Beam does."""
    return userstate.get_dofn_specs(dofn)


@pytest.mark.parametrize("base", [Plain, Stateful])
@pytest.mark.parametrize("ask", [userstate.is_stateful_dofn, ask_for_specs])
def test_specs_are_inspected_once(patched, inspections, ask, base):
    class Fresh(base):
        pass

    assert inspections(ask, Fresh()) > 0
    assert inspections(ask, Fresh()) == 0


def own() -> list[object]:
    return [vars(patch.owner)[patch.attribute] for patch in upstream.PATCHES]


BEAM_OWN = own()
OURS = [patch.value for patch in upstream.PATCHES]


def test_beam_is_restored_after_the_last_scope_and_after_an_error():
    with pytest.raises(ZeroDivisionError), upstream.without_overhead():
        with upstream.without_overhead():
            assert own() == OURS
        assert own() == OURS
        raise ZeroDivisionError
    assert own() == BEAM_OWN


class Executor(BeamExecutor):
    """Runs a pipeline of one step and notes what is Beam's while it does."""

    def Do(self, input_dict, output_dict, exec_properties):
        del input_dict, output_dict, exec_properties
        with self._pipeline() as pipeline:
            self.while_building = own()
            _ = pipeline | beam.Create([0]) | beam.Map(lambda _: Seen.found.append(own()))


class Seen:
    """Notes of the step above; a class, as a list would be pickled with the step."""

    found: ClassVar[list[list[object]]] = []


@pytest.mark.parametrize(
    ("arguments", "is_patched"),
    [
        (DEFAULT_BEAM_ARGS, True),
        (
            [
                *DEFAULT_BEAM_ARGS,
                "--direct_running_mode=multi_threading",
                "--direct_num_workers=2",
            ],
            False,
        ),
    ],
    ids=["in memory", "workers"],
)
def test_only_our_executors_pipeline_in_this_process_is_patched(arguments, is_patched):
    Seen.found.clear()
    context = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=list(arguments))
    executor = Executor(context)
    executor.Do({}, {}, {})
    expected = OURS if is_patched else BEAM_OWN
    assert executor.while_building == expected
    assert Seen.found == [expected]
    assert own() == BEAM_OWN


def test_a_users_pipeline_afterwards_runs_on_beams_own(inspections):
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(DEFAULT_BEAM_ARGS)
    )
    Executor(context).Do({}, {}, {})
    assert inspections(ask_for_specs, Plain()) > 0


def test_importing_our_components_leaves_beam_as_it_was():
    code = """
from apache_beam.transforms import userstate

places = [
    (userstate, "get_dofn_specs"),
]
before = [vars(owner)[name] for owner, name in places]
import ordain.components.evaluator.executor
import ordain.components.examples.example_gen
import ordain.components.statistics_gen
import ordain.components.transform.executor
import ordain.upstream.beam
after = [vars(owner)[name] for owner, name in places]
assert all(a is b for a, b in zip(before, after, strict=True))
assert {patch.attribute for patch in ordain.upstream.beam.PATCHES} <= {n for _, n in places}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
