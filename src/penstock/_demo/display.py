"""What the user sees: a live progress bar or plain lines, then the closing tables and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from .figures import Measurement, Run, Verdict
from .measuring import Task

UNPOOLED = "new connections"
POOLED = "Penstock"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _describe(task: Task) -> str:
    return f"{task.run}, {POOLED if task.keep_alive else UNPOOLED}"


def _condition(run: Run) -> str:
    if run.round_trip:
        return f"{run.concurrency} requests in flight, emulated round trip of {run.round_trip * 1000:g} ms"
    return f"{run.concurrency} requests in flight, no emulated delay"


class PlainDisplay:
    """One line per measurement, for files, pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def begin(self, task: Task) -> None:
        """Announce the measurement."""
        self._console.print(f"{_describe(task)} …")

    def advance(self, task: Task, fraction: float, requests_per_second: float, p50: float | None) -> None:
        """Say nothing: a log wants results."""

    def end(self, task: Task, measurement: Measurement) -> None:  # noqa: ARG002 — `begin` named it
        """Say what came out."""
        self._console.print(
            f"  {measurement.requests} requests in {measurement.seconds:.1f} s: "
            f"{measurement.requests_per_second:.0f} requests/s, median {_milliseconds(measurement.p50)}"
        )


class LiveDisplay:
    """A progress bar per measurement, with what the client sees at the moment."""

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rate]:>7} req/s"),
            TextColumn("p50 {task.fields[median]:>8}"),
            console=console,
        )
        width = max(len(_describe(task)) for task in tasks)
        self._bars: dict[Task, TaskID] = {
            task: self._progress.add_task(_describe(task).ljust(width), total=1.0, start=False, rate="", median="")
            for task in tasks
        }
        # Drawn when there is news: a thread that redraws would take time from what is measured.
        self._live = Live(self._progress, console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, task: Task) -> None:
        """Start the bar."""
        self._progress.start_task(self._bars[task])
        self._live.refresh()

    def advance(self, task: Task, fraction: float, requests_per_second: float, p50: float | None) -> None:
        """Move the bar."""
        median = "" if p50 is None else _milliseconds(p50)
        self._progress.update(
            self._bars[task], completed=min(fraction, 1.0), rate=f"{requests_per_second:.0f}", median=median
        )
        self._live.refresh()

    def end(self, task: Task, measurement: Measurement) -> None:
        """Fill the bar."""
        self.advance(task, 1.0, measurement.requests_per_second, measurement.p50)


def _change(before: float, after: float, less: str, more: str) -> str:
    """How a figure changed: "3.0× lower"."""
    if not before or not after:
        return ""
    ratio, word = (before / after, less) if before >= after else (after / before, more)
    return f"{ratio:.1f}× {word}" if ratio < 100 else f"{ratio:.0f}× {word}"


def make_table(run: Run) -> Table:
    """What pooling changed in one run."""
    without, pooled = run.unpooled, run.pooled
    table = Table(title=f"{run.name.capitalize()}: {_condition(run)}", title_justify="left", title_style="bold")
    table.add_column(no_wrap=True)
    for name in (UNPOOLED, POOLED, "change"):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, figure: Callable[[Measurement], float], form: str, less: str, more: str) -> None:
        before, after = figure(without), figure(pooled)
        table.add_row(name, form.format(before), form.format(after), _change(before, after, less, more))

    def overhead(found: Measurement) -> str:
        return f"{_milliseconds(found.overhead(run.round_trip))}, {found.overhead_share(run.round_trip):.0%}"

    add("latency p50", lambda found: found.p50 * 1e3, "{:.1f} ms", "lower", "higher")
    add("latency p99", lambda found: found.p99 * 1e3, "{:.1f} ms", "lower", "higher")
    add("requests/s", lambda found: found.requests_per_second, "{:.0f}", "lower", "higher")
    add("TLS handshakes/s", lambda found: found.handshakes_per_second, "{:.1f}", "fewer", "more")
    add("client CPU per request", lambda found: found.cpu_per_request * 1e6, "{:.0f} µs", "lower", "higher")
    table.add_row("client core in use", f"{without.client_load:.0%}", f"{pooled.client_load:.0%}", "")
    table.add_row("requests", str(without.requests), str(pooled.requests), "")
    table.add_row("connections opened", str(without.connections), str(pooled.connections), "")
    table.add_row("connection overhead *", overhead(without), overhead(pooled), f"{run.overhead_reduction:.1%} less")
    return table


def _notes(runs: Sequence[Run]) -> list[str]:
    measurements = [found for run in runs for found in (run.unpooled, run.pooled)]
    resumed = sum(found.resumed for found in measurements)
    work = max(found.server_work for found in measurements)
    kind = f"{resumed} of the handshakes resumed a session." if resumed else "Every handshake was a full one."
    return [
        f"* median latency beyond a round trip and the server's work ({work * 1e6:.0f} µs); its share.",
        "  In the saturated run it is mostly waiting for the client's processor.",
        f'Both columns: the same client, h11 engine; "{UNPOOLED}": keep_alive=False.',
        f"The server counted connections and handshakes. {kind}",
    ]


def show_results(console: Console, runs: Sequence[Run], verdicts: Sequence[Verdict]) -> None:
    """Print the closing tables, what they mean and a line per expectation."""
    for run in runs:
        console.print()
        console.print(make_table(run))
    for note in _notes(runs):
        console.print(note, style="dim", soft_wrap=True)
    console.print()
    for verdict in verdicts:
        mark = Text("met    ", "green") if verdict.is_met else Text("not met", "red bold")
        line = Text.assemble(mark, f"  {verdict.run}: {verdict.expectation}: {verdict.measured}")
        console.print(line, soft_wrap=True)
    missed = sum(not verdict.is_met for verdict in verdicts)
    summary = f"{missed} of {len(verdicts)} expectations not met" if missed else "every expectation met"
    console.print(f"\n{summary}", style="bold")
