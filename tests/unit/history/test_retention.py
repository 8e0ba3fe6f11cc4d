"""Selection of the artifacts that are kept."""

import pytest

from ordain.history.retention import Step, choose_kept, choose_runs

DAY_MS = 86_400_000


class TestChooseRuns:
    RUNS = [("a", 1 * DAY_MS), ("b", 2 * DAY_MS), ("c", 3 * DAY_MS), ("d", 4 * DAY_MS)]

    @pytest.mark.parametrize(
        ("runs", "days", "kept"),
        [(1, 0, "d"), (2, 0, "cd"), (9, 0, "abcd"), (1, 2.5, "cd"), (3, 1.5, "bcd")],
    )
    def test_the_newest_and_the_young_are_kept(self, runs, days, kept):
        assert choose_runs(self.RUNS[::-1], runs, days, 5 * DAY_MS) == set(kept)

    def test_a_run_as_old_as_the_limit_goes(self):
        assert choose_runs(self.RUNS, 1, 2, 5 * DAY_MS) == {"d"}


def keep(*steps, runs=(), roots=(), ends=()):
    return choose_kept(steps, set(runs), roots, ends)


class TestChooseKept:
    # data 1 -> statistics 2 -> model 3, of run a; the same of run b is 11, 12, 13.
    A = (Step("a", (1,)), Step("a", (2,), (1,)), Step("a", (3,), (2,)))
    B = (Step("b", (11,)), Step("b", (12,), (11,)), Step("b", (13,), (12,)))

    def test_what_a_kept_run_left_stays_and_nothing_else(self):
        assert keep(*self.A, *self.B, runs="b") == {11, 12, 13}

    def test_nothing_to_keep(self):
        assert keep(*self.A, *self.B) == set()

    def test_a_cached_run_keeps_what_an_old_one_wrote(self):
        cached = Step("c", (3,), (2,))
        assert keep(*self.A, *self.B, cached, runs="c") == {1, 2, 3}

    def test_a_root_stays_with_all_that_it_was_made_of(self):
        kept = keep(*self.A, *self.B, runs="b", roots=[3])
        assert kept == {1, 2, 3, 11, 12, 13}

    def test_an_end_stays_alone(self):
        assert keep(*self.A, ends=[3]) == {3}

    def test_a_reference_stays_without_its_own_inputs(self):
        compared = Step("b", (14,), (13,), references=(3,))
        assert keep(*self.A, *self.B, compared, runs="b") == {3, 11, 12, 13, 14}
        # The same where it is an input of an input.
        after = Step("c", (20,), (14,))
        assert keep(*self.A, *self.B, compared, after, runs="c") == {3, 11, 12, 13, 14, 20}

    def test_a_chain_of_baselines_does_not_keep_the_whole_history(self):
        steps = [Step(f"r{i}", (i,), (), (i - 1,) if i else ()) for i in range(100)]
        assert keep(*steps, runs=["r99"]) == {98, 99}

    def test_a_reference_that_is_an_input_as_well_keeps_its_inputs(self):
        compared = Step("b", (14,), (13, 3), references=(3,))
        assert keep(*self.A, *self.B, compared, runs="b") == {1, 2, 3, 11, 12, 13, 14}

    def test_a_circle_ends(self):
        assert keep(Step("a", (1,), (2,)), Step("a", (2,), (1,)), runs="a") == {1, 2}
