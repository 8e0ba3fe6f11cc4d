"""Summary of a run, and the gates' measurements with their limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ordain.common.node_id import NodeId
from ordain.reports.facts.formatting import duration, fixed, moment, number, size
from ordain.reports.facts.model import Evaluation
from ordain.reports.facts.run_record import Record
from ordain.verdict import Outcome, Reason, Verdict

#: Gates in pipeline order, with their nodes.
GATES = (
    ("data", NodeId.DATA_GATE),
    ("evaluation", NodeId.EVALUATOR),
    ("server", NodeId.SERVER_GATE),
)
#: Number of passed checks shown; more are collapsed.
SHOWN = 12


@dataclass(frozen=True)
class Gate:
    """A gate.

    Attributes:
        name: `data`, `evaluation`, `server`, or that of a gate of the project's own.
        outcome: `passed`, `warned`, `blocked`, or `not run`.
        notable: Reasons that did not pass, or all if they are few.
        others: The other reasons.
        why: Reason for not running.
        compared_with: The evaluation gate's baseline (`Verdict.compared_with`).
    """

    name: str
    outcome: str
    notable: tuple[Reason, ...]
    others: tuple[Reason, ...]
    why: str
    compared_with: str = ""


@dataclass(frozen=True)
class Summary:
    """The head of the page.

    Attributes:
        word: `Pushed`, `Not pushed`, `Failed`, `Done`, `Nothing new` or `Did not end`.
        outcome: `passed`, `warned` or `blocked`, for its colour.
        headline: The outcome in one line.
        hint: The next step, or empty.
        facts: Labels and values of the key facts.
    """

    word: str
    outcome: str
    headline: str
    hint: str
    facts: tuple[tuple[str, str], ...]


def summarize(record: Record, evaluation: Evaluation | None) -> Summary:
    """Build the head of a report."""
    result = record.result
    if result is None:
        headline = "there is no result.json: the run was killed, or is still going on"
        return Summary("Did not end", "blocked", headline, "", _facts(record, evaluation))
    failure = record.failure
    is_blocked = any(v.is_blocked for v in record.verdicts)
    hint = ""
    if failure is not None:
        word, outcome, hint = "Failed", "blocked", failure["hint"]
    elif is_blocked or (result["version"] is None and not result["is_partial"]):
        word, outcome = "Not pushed", "blocked"
    elif result["is_new_version"]:
        warned = any(v.outcome is Outcome.WARNED for v in record.verdicts)
        word, outcome = "Pushed", "warned" if warned else "passed"
    else:
        word, outcome = ("Done" if result["is_partial"] else "Nothing new"), "passed"
    return Summary(word, outcome, result["headline"], hint, _facts(record, evaluation))


def gates(record: Record) -> list[Gate]:
    """List the gates in pipeline order, including those that did not run."""
    answered = {verdict.gate: verdict for verdict in record.verdicts}
    found = [_gate(name, answered.get(name), record.why_missing(node)) for name, node in GATES]
    ours = {name for name, _ in GATES}
    found += [_gate(name, verdict, "") for name, verdict in answered.items() if name not in ours]
    none = record.project.gate.server.none
    if none is not None:
        found = [
            Gate(g.name, g.outcome, (), (), f"turned off: {none}")
            if g.name == "server" and g.outcome == "not run"
            else g
            for g in found
        ]
    return found


def why_blocked(record: Record) -> list[Reason]:
    """List the reasons that blocked a run."""
    return [r for v in record.verdicts for r in v.reasons if r.outcome is Outcome.BLOCKED]


def _gate(name: str, verdict: Verdict | None, why: str) -> Gate:
    if verdict is None:
        return Gate(name, "not run", (), (), why)
    notable = [r for r in verdict.reasons if r.outcome is not Outcome.PASSED]
    passed = [r for r in verdict.reasons if r.outcome is Outcome.PASSED]
    if len(passed) <= SHOWN:
        notable, passed = [*notable, *passed], []
    return Gate(
        name, str(verdict.outcome), tuple(notable), tuple(passed), "", verdict.compared_with
    )


def _facts(record: Record, evaluation: Evaluation | None) -> tuple[tuple[str, str], ...]:
    window = record.window
    facts = []
    if window:
        ends = f"{window[0]} to {window[-1]}" if len(window) > 1 else str(window[0])
        facts.append(("Window", f"{ends} ({_count(window)})"))
    if record.result is not None:
        rows = next(
            (n["rows"] for n in record.result["nodes"] if n["node"] == NodeId.EXAMPLE_GEN), None
        )
        if rows is not None:
            facts.append(("Rows", number(rows)))
    for name in (evaluation.names if evaluation else ())[:2]:
        found = evaluation.overall.get(name) if evaluation else None
        if found is None:
            continue
        text = fixed(found.value) if found.value is not None else f"undefined ({found.undefined})"
        if found.difference is not None:
            text += f" ({found.difference:+.4f})".replace("-", "−")
        facts.append((evaluation.titles.get(name, name) if evaluation else name, text))
    if record.result is not None:
        facts.append(("Time", duration(record.result["seconds"])))
        if record.result["peak_rss_bytes"]:
            facts.append(("Peak memory", size(record.result["peak_rss_bytes"])))
        facts.append(("Started", moment(record.result["started"])))
        facts.append(("Exit code", str(record.result["exit_code"])))
    return tuple(facts)


def _count(window: Sequence[int]) -> str:
    return f"{len(window)} span{'s' * (len(window) != 1)}"
