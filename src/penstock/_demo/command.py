"""`penstock demo`: options in, exit code out."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from math import nan
from pathlib import Path

import attrs

from .failure import DemoError
from .figures import judge
from .settings import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the demo's options."""
    default = Settings()
    parser.add_argument(
        "--rtt",
        type=_number(float, 1, 1000),
        default=default.round_trip * 1000,
        metavar="MS",
        help="emulated network round trip of the unsaturated run in milliseconds (default: %(default)g)",
    )
    parser.add_argument(
        "--seconds",
        type=_number(float, 0.1, 600),
        default=default.seconds,
        metavar="S",
        help="length of each of the four measurements (default: %(default)g)",
    )
    parser.add_argument(
        "--requests",
        type=_number(int, 1, 10_000_000),
        metavar="N",
        help="end a measurement earlier, after this many requests",
    )
    parser.add_argument(
        "--concurrency",
        type=_number(int, 1, 100),
        metavar="N",
        help="requests in flight in both runs "
        f"(default: {default.unsaturated_concurrency} unsaturated, {default.saturated_concurrency} saturated)",
    )
    parser.add_argument(
        "--port",
        type=_number(int, 0, 65535),
        default=default.port,
        metavar="N",
        help="where the server listens on the loopback interface (default: any free port)",
    )
    parser.add_argument("--plain", action="store_true", help="no live display; the default where there is no terminal")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file as well")


def run(options: argparse.Namespace) -> int:
    """Run the demo and return the exit code: 0 if it came to its end, whatever the verdicts."""
    try:
        with _terminated_cleanly():
            return _run(_settings(options), is_plain=options.plain, report=options.json)
    except DemoError as error:
        print(f"penstock demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("penstock demo: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(settings: Settings, *, is_plain: bool, report: Path | None) -> int:
    for package in ("rich", "trustme"):
        _require(package)
    # These modules import the packages just looked for.
    from rich.console import Console

    from .certificates import KEY_NAME
    from .display import LiveDisplay, PlainDisplay, show_results
    from .measuring import measure, plan
    from .report import write_report

    console = Console(highlight=False)
    console.print(
        f"Penstock {version('penstock')} and a TLS 1.3 server ({KEY_NAME}) on this machine",
        style="bold",
        soft_wrap=True,
    )
    tasks = [task for pair in plan(settings) for task in pair]
    with PlainDisplay(console) if is_plain or not console.is_terminal else LiveDisplay(console, tasks) as display:
        unsaturated, saturated = measure(settings, display)
    verdicts = judge(unsaturated, saturated)
    show_results(console, (unsaturated, saturated), verdicts)
    if report is not None:
        write_report(report, settings, (unsaturated, saturated), verdicts)
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings(
        round_trip=options.rtt / 1000, seconds=options.seconds, requests=options.requests, port=options.port
    )
    if options.concurrency is None:
        return settings
    return attrs.evolve(
        settings, unsaturated_concurrency=options.concurrency, saturated_concurrency=options.concurrency
    )


def _require(package: str) -> None:
    try:
        import_module(package)
    except ImportError:
        raise DemoError(
            f'the demo needs the package {package}, which is not installed: pip install "penstock[demo]"'
        ) from None


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Let SIGTERM and a closed terminal unwind the stack, so that children are stopped and files removed."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    # What is ignored from the start, as under nohup, stays ignored.
    heeded = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _number(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """An argparse type for numbers within a range."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least:g} to {most:g}, not {text!r}")
        return value

    return parse
