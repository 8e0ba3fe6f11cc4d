"""How cold runs and runs with one new span are put beside each other."""

from benchmarks.incremental import Taken, table
from benchmarks.process import Measured


def taken(cpu_s, trainer_s, spans):
    measured = Measured(0, False, 2 * cpu_s, cpu_s, None, 10**9, 10**9, 1, 1, 0.0)
    return Taken(measured, {"Trainer": trainer_s, "Baseline": 0.01}, spans, 1000, 0.72)


def test_ratios_are_those_of_the_medians():
    pairs = [(taken(cpu, 20.0, 12), taken(cpu / 4, 10.0, 1)) for cpu in (80.0, 100.0, 300.0)]
    lines = table(pairs)
    assert "| CPU time, s | 100.0 | 25.0 | 0.25 |" in lines
    assert "| wall time, s | 200.0 | 50.0 | 0.25 |" in lines
    assert "| Trainer, s | 20.0 | 10.0 | 0.50 |" in lines
    assert "| AUC | 0.7200 | 0.7200 | - |" in lines


def test_a_ratio_of_noise_is_not_told():
    lines = table([(taken(80.0, 20.0, 12), taken(20.0, 10.0, 1))])
    assert "| Baseline, s | 0.0 | 0.0 | - |" in lines
