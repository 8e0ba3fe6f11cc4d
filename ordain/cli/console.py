"""Terminal output of a run: progress of its nodes, verdicts, result."""

from __future__ import annotations

import logging
import re
import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ordain.history.results import NodeResult, RunResult
from ordain.verdict import Outcome, Reason, Verdict

_STYLES = {
    "complete": "green",
    "cached": "cyan",
    "reused": "cyan",
    "failed": "bold red",
    "running": "bold",
    "canceled": "yellow",
    Outcome.PASSED: "green",
    Outcome.SKIPPED: "yellow",
    Outcome.WARNED: "yellow",
    Outcome.BLOCKED: "bold red",
}
#: Reasons of one outcome that are shown; result.json has all.
MAX_REASONS = 12


class RunView:
    """A live table on a terminal; a line per finished node elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.console = Console(file=stream, highlight=False)
        self._done: list[NodeResult] = []
        self._current: tuple[str, int | None, float] | None = None
        self._progress = ""
        self._note = ""
        self._live: Live | None = None

    def __enter__(self) -> RunView:
        """Start drawing, and following training progress."""
        self._listener = _ProgressHandler(self)
        logger = logging.getLogger("ordain.progress")
        logger.addHandler(self._listener)
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._draw,
                console=self.console,
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        logging.getLogger("ordain.progress").removeHandler(self._listener)
        self._current = None
        self._note = ""
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Show a note until the first node starts."""
        self._note = text
        if self._live is None:
            self.console.print(escape(text), soft_wrap=True)

    def started(self, node: str, span: int | None) -> None:
        """Show that a node starts."""
        since = time.monotonic()
        if self._current is not None and self._current[0] == node:
            since = self._current[2]
        self._note = ""
        self._current = (node, span, since)

    def finished(self, result: NodeResult) -> None:
        """Show the result of a node."""
        self._done.append(result)
        self._current = None
        self._progress = ""
        if self._live is None:
            self.console.print(_line(result), soft_wrap=True)

    def progress(self, text: str) -> None:
        """Show training progress."""
        self._progress = text

    def _draw(self) -> Group:
        table = _node_table()
        for result in self._done:
            table.add_row(*_cells(result))
        parts: list[object] = [table]
        if self._current is not None:
            node, span, since = self._current
            at = f" span {span}" if span is not None else ""
            text = f"{node}{at}  {time.monotonic() - since:.0f} s  {self._progress}"
            parts.append(Spinner("dots", text=Text(text)))
        elif self._note:
            parts.append(Spinner("dots", text=Text(self._note)))
        return Group(*parts)  # type: ignore[arg-type]


class _ProgressHandler(logging.Handler):
    def __init__(self, view: RunView) -> None:
        super().__init__()
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.progress(record.getMessage())


def _node_table() -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, justify in (
        ("node", "left"),
        ("state", "left"),
        ("seconds", "right"),
        ("rows", "right"),
        ("why", "left"),
    ):
        table.add_column(name, justify=justify, style=None)  # type: ignore[arg-type]
    return table


def _cells(result: NodeResult) -> tuple[Text, ...]:
    state = result.state
    if result.spans:
        state += " (" + ", ".join(f"{n} {s}" for s, n in result.spans.items()) + ")"
    rows = f"{result.rows:,}" if result.rows is not None else ""
    return (
        Text(result.node),
        Text(state, style=_STYLES.get(result.state, "")),
        Text(f"{result.seconds:.1f}"),
        Text(rows),
        Text(result.reason),
    )


def _line(result: NodeResult) -> Text:
    node, state, seconds, rows, reason = (cell.plain for cell in _cells(result))
    return Text(f"{node:<17} {state:<24} {seconds:>7} s {rows:>9}  {reason}".rstrip())


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print a verdict: reasons that blocked first, those that passed last."""
    title = Text(f"{verdict.gate} gate: ")
    title.append(str(verdict.outcome), style=_STYLES[verdict.outcome])
    console.print(title, soft_wrap=True)
    if verdict.compared_with:
        console.print(Text(f"  compared with {verdict.compared_with}"), soft_wrap=True)
    for outcome in (Outcome.BLOCKED, Outcome.WARNED, Outcome.SKIPPED):
        reasons = [r for r in verdict.reasons if r.outcome is outcome]
        for reason in reasons[:MAX_REASONS]:
            console.print(_reason(reason), soft_wrap=True)
        if len(reasons) > MAX_REASONS:
            console.print(f"  ... and {len(reasons) - MAX_REASONS} more {outcome} (result.json)")
    passed = [r for r in verdict.reasons if r.outcome is Outcome.PASSED]
    if verdict.gate == "data" and passed:
        left_out = [r for r in passed if r.kind == "unlabelled"]
        for reason in left_out[:MAX_REASONS]:
            console.print(_reason(reason), soft_wrap=True)
        console.print(f"  passed: {len(passed) - len(left_out)} checks of drift and skew")
    else:
        for reason in passed:
            console.print(_reason(reason), soft_wrap=True)


def _reason(reason: Reason) -> Text:
    style = _STYLES[reason.outcome]
    text = Text("  ")
    text.append(f"{reason.outcome:<8}", style=style)
    where = "" if _names(reason.text, reason.where) else reason.where
    if reason.span is not None and not _names(reason.text, str(reason.span)):
        where = f"span {reason.span} {where}".rstrip()
    text.append(f"{where}: " if where else "")
    text.append(reason.text)
    if reason.advice and reason.outcome is not Outcome.PASSED:
        text.append(f"\n           {reason.advice}", style="dim")
    return text


def _names(text: str, name: str) -> bool:
    """True if a text contains a name as a separate word."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text) is not None


def print_result(console: Console, result: RunResult, command: str) -> None:
    """Print a run's result: verdicts, and the model's path or the next step."""
    console.print()
    for recovered in result.recovered:
        console.print(Text(recovered.text), soft_wrap=True)
    for verdict in result.verdicts:
        print_verdict(console, verdict)
    console.print()
    good = result.exit_code == 0
    console.print(Text(result.headline, style="green" if good else "bold red"), soft_wrap=True)
    if result.model is not None:
        console.print(Text(f"  model    {result.model}"), soft_wrap=True)
    if result.is_stable is not None:
        label = "stable" if result.is_stable else "none"
        console.print(Text(f"  label    {label}: {result.stable_reason}"), soft_wrap=True)
    if result.baseline is not None:
        console.print(Text(f"  baseline {result.baseline}"), soft_wrap=True)
    if result.failure is not None:
        console.print(Text(f"  next     {result.failure.hint}"), soft_wrap=True)
        console.print(Text(f"  resume   {command}   (finished nodes are cached)"), soft_wrap=True)
        logs = [n.log for n in result.nodes if n.state == "failed" and n.log]
        console.print(Text(f"  log      {logs[0]}") if logs else Text(""), soft_wrap=True)
    if result.profile is not None:
        console.print(Text(f"  {result.profile.text}"), soft_wrap=True)
    console.print(
        Text(
            f"  run      {result.run_id}, {result.seconds:.0f} s, "
            f"{len(result.window)} span(s) to {result.window[-1]}, exit code {result.exit_code:d}"
        ),
        soft_wrap=True,
    )
