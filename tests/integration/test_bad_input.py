"""What bad input gets: the documented exit code, a message that names it, nothing pushed.

Each case is a real project with one thing wrong, run through the real chain. A good model is in
the serving directory before, so that "nothing pushed" means "untouched".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sandbox import Sandbox, good_rows, write_csv

from ordain.errors import ConfigError, ExitCode
from ordain.history.results import RunResult

GOOD = good_rows()
HEADER = ["x", "c", "y"]


def _text(project: Sandbox, text: str | bytes, name: str = "1/rows.csv") -> None:
    path = project.data / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def _rows(project: Sandbox, rows: list[list[Any]], header: list[str] | None = None) -> None:
    write_csv(project.data / "1" / "rows.csv", rows, header or HEADER)


def _csv(rows: list[list[Any]] = GOOD) -> str:
    return "\n".join(["x,c,y", *(",".join(map(str, row)) for row in rows)]) + "\n"


def _freeze(project: Sandbox) -> None:
    """A curated schema, as `ordain schema freeze` would have written it for the good data."""
    (project.folder / "schema.pbtxt").write_text(SCHEMA)


def _parquet(project: Sandbox, damage: Callable[[bytes], bytes]) -> None:
    (project.data / "1" / "rows.csv").unlink()
    columns = list(zip(*GOOD, strict=True))
    table = pa.table({"x": columns[0], "c": columns[1], "y": columns[2]})
    path = project.data / "1" / "rows.parquet"
    pq.write_table(table, path)
    path.write_bytes(damage(path.read_bytes()))
    project.set(data={"pattern": "{SPAN}/*.parquet"})


SCHEMA = """
feature { name: "x" type: FLOAT presence { min_fraction: 1.0 min_count: 1 }
          shape { dim { size: 1 } } }
feature { name: "c" type: BYTES domain: "c" presence { min_fraction: 1.0 min_count: 1 }
          shape { dim { size: 1 } } }
feature { name: "y" type: INT int_domain { min: 0 max: 1 }
          presence { min_fraction: 1.0 min_count: 1 } shape { dim { size: 1 } } }
string_domain { name: "c" value: "a" value: "b" }
"""

# name, what goes wrong, words that the message or the blocking reasons must hold
DATA_CASES: list[tuple[str, Callable[[Sandbox], None], list[str]]] = [
    ("an empty file", lambda p: _text(p, ""), ["rows.csv", "empty"]),
    ("a header and no rows", lambda p: _text(p, "x,c,y\n"), ["rows.csv", "no rows"]),
    ("a row too short", lambda p: _text(p, _csv() + "0.5,a\n"), ["rows.csv", "3 fields"]),
    ("a row too long", lambda p: _text(p, _csv() + "0.5,a,1,9\n"), ["rows.csv", "3 fields"]),
    (
        "Latin-1",
        lambda p: _text(p, _csv().replace(",b,", ",caf\xe9,").encode("latin-1")),
        ["rows.csv", "'c'", "row 2", "UTF-8"],
    ),
    (
        "a missing column",
        lambda p: (_freeze(p), _rows(p, [[x, y] for x, _, y in GOOD], ["x", "y"])),
        ["missing_column", "'c'"],
    ),
    (
        "an extra column",
        lambda p: (_freeze(p), _rows(p, [[*row, 1] for row in GOOD], [*HEADER, "extra"])),
        ["new_column", "'extra'"],
    ),
    (
        "text where numbers were",
        lambda p: (_freeze(p), _rows(p, [*GOOD[:6], ["oops", "a", 1], *GOOD[7:]])),
        ["rows.csv", "'x'", "row 7", "oops"],
    ),
    (
        "a label that is missing",
        lambda p: _rows(p, [[x, c, "" if i == 3 else y] for i, (x, c, y) in enumerate(GOOD)]),
        ["label_missing", "'y'", "1 rows"],
    ),
    ("a label column that is not there", lambda p: p.set(data={"label": "z"}), ["label_missing"]),
    (
        "a constant label",
        lambda p: _rows(p, [[x, c, 1] for x, c, _ in GOOD]),
        ["label_constant", "'y'"],
    ),
    (
        "a label outside its domain",
        lambda p: (_freeze(p), _rows(p, [[x, c, y + 6] for x, c, y in GOOD])),
        ["out_of_range", "'y'"],
    ),
    ("all values null", lambda p: _rows(p, [["", "", ""]] * 50), ["all_null"]),
    ("one row", lambda p: _rows(p, GOOD[:1]), ["empty_split"]),
    (
        "an eval split that came out empty",
        lambda p: p.set(data={"split": {"by": "c", "train": 1000, "eval": 1}}),
        ["empty_split", "'eval'"],
    ),
    (
        "a truncated Parquet file",
        lambda p: _parquet(p, lambda content: content[: len(content) // 2]),
        ["rows.parquet", "not a valid Parquet file"],
    ),
    (
        "a Parquet file damaged in the middle",
        lambda p: _parquet(p, lambda c: c[:40] + bytes(200) + c[240:]),
        ["rows.parquet"],
    ),
    (
        "files of one span with different columns",
        lambda p: write_csv(p.data / "1" / "more.csv", [[1, 2]], ["x", "y"]),
        ["rows.csv", "more.csv", "'c'"],
    ),
]


@pytest.mark.parametrize(("name", "break_it", "words"), DATA_CASES, ids=[c[0] for c in DATA_CASES])
def test_bad_data_is_blocked_by_name(
    small: Callable[..., Sandbox], name: str, break_it: Callable[[Sandbox], Any], words: list[str]
) -> None:
    project = small()
    before = _served(project)
    break_it(project)

    result = project.run()

    assert result.exit_code is ExitCode.DATA_BLOCKED, result.headline
    said = _said(result)
    for word in words:
        assert word in said, said
    assert "Trainer" not in [n.node for n in result.nodes if n.state == "complete"]
    assert _nothing_new(project, before)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\ufeff" + _csv(), []),  # a byte-order mark is no column name
        ('x,c,y\n0.1,"a, ""quoted""\nline",1\n' + _csv().split("\n", 1)[1], []),
    ],
    ids=["a byte-order mark", "quoted commas and newlines"],
)
def test_odd_but_whole_csv_survives(
    small: Callable[..., Sandbox], text: str, words: list[str]
) -> None:
    project = small()
    _text(project, text)
    result = project.run(to_node="DataGate")
    assert result.failure is None
    assert not result.verdicts[0].is_blocked, _said(result)
    assert {n.node: n.rows for n in result.nodes}["ExampleGen"] == text.count("\n") - 1 - (
        "line" in text
    )


MODULE_CASES = [
    ("fails to import", "import does_not_exist\n", 0, ["does_not_exist"]),
    (
        "raises while training",
        "\ndef run_fn(fn_args):\n    raise RuntimeError('the dog ate it')\n",
        None,
        ["the dog ate it"],
    ),
]


@pytest.mark.parametrize(
    ("name", "code", "at", "words"), MODULE_CASES, ids=[c[0] for c in MODULE_CASES]
)
def test_a_broken_module_fails_its_node(
    small: Callable[..., Sandbox], name: str, code: str, at: int | None, words: list[str]
) -> None:
    project = small()
    before = _served(project)
    module = project.folder / "model.py"
    text = module.read_text()
    module.write_text(code + text if at == 0 else text + code)

    result = project.run()

    assert result.exit_code is ExitCode.NODE_FAILED
    assert result.failure is not None
    for word in words:
        assert word in result.failure.message
    log = next(n.log for n in result.nodes if n.state == "failed")
    assert "Traceback" in Path(str(log)).read_text()
    assert _nothing_new(project, before)


def test_a_loss_that_becomes_nan_stops_the_training(small: Callable[..., Sandbox]) -> None:
    project = small(train={"parameters": {"learning_rate": "inf"}})
    before = _served(project)
    result = project.run()
    assert result.exit_code is ExitCode.NODE_FAILED
    assert result.failure is not None
    assert "loss became" in result.failure.message and "step" in result.failure.message
    assert "learning rate" in result.failure.hint
    assert _nothing_new(project, before)


def test_a_module_without_run_fn_is_refused_before_the_run(small: Callable[..., Sandbox]) -> None:
    project = small()
    module = project.folder / "model.py"
    module.write_text(module.read_text().replace("def run_fn", "def runfn"))
    with pytest.raises(ConfigError, match=r"defines no run_fn \(there is 'runfn'\)"):
        project.run()
    assert not (project.folder / "var").exists()


def test_a_missing_span_is_refused_before_the_run(small: Callable[..., Sandbox]) -> None:
    project = small()
    with pytest.raises(ConfigError, match=r"--span 9: there is no such span"):
        project.run(span=9)
    (project.data / "1" / "rows.csv").unlink()
    with pytest.raises(ConfigError, match=r"no file in .* matches"):
        project.run()


def test_a_full_disk_ends_as_infrastructure_and_leaves_nothing(
    small: Callable[..., Sandbox], small_disk: Path
) -> None:
    """A real file system of 4 MB: the artifacts run out of space."""
    project = small(workspace=str(small_disk))
    (small_disk / "ballast").write_bytes(bytes(3_900_000))
    from ordain.config.loading import load_project
    from ordain.runner.local import Options, new_run_id, run_project
    from ordain.runner.preflight import Plan, make_plan

    loaded = load_project(project.folder)
    with pytest.raises(Exception, match="GB free"):
        make_plan(loaded)
    window = tuple(_window(loaded))
    # Past the check that a full disk normally stops at: it may also fill up later.
    result = run_project(loaded, Plan(window, (), 0), new_run_id(), Options(), project)
    assert result.exit_code is ExitCode.INFRASTRUCTURE, result.headline
    assert not (small_disk / "serving").exists()


def _window(project: Any) -> Any:
    from ordain.project.spans import find_spans

    return find_spans(project.data)


def _said(result: RunResult) -> str:
    texts = [result.failure.message] if result.failure else []
    for verdict in result.verdicts:
        for reason in verdict.reasons:
            if reason.outcome == "blocked":
                texts.append(f"{reason.kind} {reason.where!r} {reason.text}")
    return "\n".join(texts)


def _served(project: Sandbox) -> list[str]:
    """Puts a version into the serving directory; what was served before must stay as it is."""
    version = project.folder / "var" / "serving" / "small" / "7"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_text("whole")
    project.set(evaluate={"baseline": {"none": "version 7 is no model"}})
    return project.versions


def _nothing_new(project: Sandbox, before: list[str]) -> bool:
    return project.versions == before
