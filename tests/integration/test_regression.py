"""A number as the label: the chain, its thresholds and its server gate, with prices."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from sandbox import PROJECTS, Sandbox, write_csv

from ordain.errors import ExitCode
from ordain.serving.export.description import read_description
from ordain.verdict import Outcome


def prices(seed: int) -> list[list[Any]]:
    """Three times the size, two more for a house, and a little that nobody can know."""
    generator = random.Random(seed)
    rows = []
    for _ in range(300):
        size, kind = generator.gauss(4, 1), generator.choice(["flat", "house"])
        price = 3 * size + 2 * (kind == "house") + generator.gauss(0, 0.3)
        rows.append([round(size, 4), kind, round(price, 4)])
    return rows


def shuffled(rows: list[list[Any]]) -> list[list[Any]]:
    """The same prices, each of them another row's: nothing to learn, and the data gate passes."""
    labels = [row[-1] for row in rows]
    random.Random(9).shuffle(labels)
    return [[*row[:-1], label] for row, label in zip(rows, labels, strict=True)]


@pytest.fixture
def price(tmp_path: Path) -> Sandbox:
    shutil.copytree(PROJECTS / "price", tmp_path / "price")
    return Sandbox(tmp_path / "price")


def write(project: Sandbox, is_learnable: bool) -> None:
    for span in (1, 2):
        rows = prices(span)
        rows = rows if is_learnable else shuffled(rows)
        write_csv(project.data / str(span) / "rows.csv", rows, ["size", "kind", "price"])


def test_prices_that_can_be_learned_are_published_and_others_are_not(price: Sandbox) -> None:
    for is_learnable in (False, True, False):
        write(price, is_learnable)
        before = price.versions
        result = price.run()
        (evaluation,) = (verdict for verdict in result.verdicts if verdict.gate == "evaluation")
        overall = {r.kind: r for r in evaluation.reasons if not r.where and r.span is None}
        if is_learnable:
            assert result.exit_code is ExitCode.DONE, result.headline
            assert overall["r2_score.min"].measured > 0.9
            assert len(price.versions) == len(before) + 1
            described = read_description(Path(result.model))
            assert (described.task, described.classes) == ("regression", ())
        else:
            assert result.exit_code is ExitCode.NOT_BLESSED, result.headline
            assert overall["r2_score.min"].outcome is Outcome.BLOCKED
            assert overall["r2_score.min"].measured < 0.2
            assert price.versions == before
