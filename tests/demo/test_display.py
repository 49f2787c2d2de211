"""What a terminal and a file show."""

from __future__ import annotations

import io

from rich.console import Console

from penstock._demo.display import LiveDisplay, PlainDisplay, show_results
from penstock._demo.figures import Measurement, Run, Verdict
from penstock._demo.measuring import Task

TASKS = [Task("unsaturated", 8, 0.025, False), Task("unsaturated", 8, 0.025, True)]
SLOW = Measurement(400, 4.0, 0.5, 0.078, 0.084, 400, 400, 0, 0.0005)
FAST = Measurement(1200, 4.0, 0.2, 0.026, 0.030, 8, 8, 0, 0.0005)
RUN = Run("unsaturated", 8, 0.025, SLOW, FAST)


def console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=is_terminal, color_system=None, highlight=False)


def text(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def test_a_file_gets_two_lines_per_measurement() -> None:
    target = console(is_terminal=False)
    with PlainDisplay(target) as display:
        display.begin(TASKS[1])
        display.advance(TASKS[1], 0.5, 300.0, 0.026)
        display.end(TASKS[1], FAST)

    assert text(target) == ("unsaturated, Penstock …\n  1200 requests in 4.0 s: 300 requests/s, median 26.0 ms\n")


def test_a_terminal_sees_every_bar_and_what_happens_now() -> None:
    target = console(is_terminal=True)
    with LiveDisplay(target, TASKS) as display:
        display.begin(TASKS[0])
        display.advance(TASKS[0], 0.5, 97.4, None)
        display.advance(TASKS[0], 0.9, 98.6, 0.0781)
        display.end(TASKS[0], SLOW)

    shown = text(target)
    assert "unsaturated, new connections" in shown
    assert "unsaturated, Penstock" in shown
    assert "97 req/s" in shown
    assert "78.1 ms" in shown
    assert "100 req/s" in shown


def test_the_table_fits_a_terminal_of_eighty_columns() -> None:
    target = console(is_terminal=False)

    show_results(target, [RUN], [])

    assert max(map(len, text(target).splitlines())) <= 80
    table = [line for line in text(target).splitlines() if line.startswith("│")]
    cells = {row[0]: row[1:] for line in table if (row := [cell.strip() for cell in line.strip("│").split("│")])}
    assert cells == {
        "latency p50": ["78.0 ms", "26.0 ms", "3.0× lower"],
        "latency p99": ["84.0 ms", "30.0 ms", "2.8× lower"],
        "requests/s": ["100", "300", "3.0× higher"],
        "TLS handshakes/s": ["100.0", "2.0", "50.0× fewer"],
        "client CPU per request": ["1250 µs", "167 µs", "7.5× lower"],
        "client core in use": ["12%", "5%", ""],
        "requests": ["400", "1200", ""],
        "connections opened": ["400", "8", ""],
        "connection overhead *": ["52.5 ms, 67%", "0.5 ms, 2%", "99.0% less"],
    }


def test_verdicts_say_met_or_not() -> None:
    target = console(is_terminal=False)

    show_results(target, [RUN], [Verdict("one", "is fast", "yes", True), Verdict("two", "is cheap", "no", False)])

    assert text(target).splitlines()[-4:] == [
        "met      one: is fast: yes",
        "not met  two: is cheap: no",
        "",
        "1 of 2 expectations not met",
    ]


def test_resumed_handshakes_are_not_hidden() -> None:
    target = console(is_terminal=False)

    show_results(target, [RUN._replace(unpooled=SLOW._replace(resumed=3))], [])

    assert "3 of the handshakes resumed a session." in text(target)
