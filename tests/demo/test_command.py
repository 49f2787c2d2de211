"""The command line, from options to exit codes; the whole demo with small numbers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.__main__ import main
from penstock._demo.command import _terminated_cleanly
from penstock._demo.loopback import HOST

SMALL = ["demo", "--plain", "--seconds", "0.5", "--rtt", "10", "--concurrency", "2"]


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert re.fullmatch(r"penstock \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rtt", "0"),
        ("--rtt", "nan"),
        ("--seconds", "soon"),
        ("--requests", "0"),
        ("--requests", "1.5"),
        ("--concurrency", "101"),
        ("--port", "65536"),
    ],
)
def test_a_bad_value_names_its_option(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", option, value])

    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert option in error
    assert value in error


@pytest.mark.parametrize("package", ["rich", "trustme"])
def test_a_missing_package_comes_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    assert main(SMALL) == 1
    assert capsys.readouterr().err == (
        f'penstock demo: the demo needs the package {package}, which is not installed: pip install "penstock[demo]"\n'
    )


def test_a_busy_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as busy:
        port = busy.getsockname()[1]

        assert main([*SMALL, "--port", str(port)]) == 1

    assert capsys.readouterr().err == (
        f"penstock demo: port {port} on {HOST} is in use; choose another one, or leave --port out\n"
    )


def test_the_whole_demo_shows_tables_verdicts_and_figures(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--json", str(report)]) == 0

    shown = capsys.readouterr()
    assert shown.err == ""
    for row in (
        "Unsaturated: 2 requests in flight, emulated round trip of 10 ms",
        "Saturated: 2 requests in flight, no emulated delay",
        "latency p50", "latency p99", "requests/s", "TLS handshakes/s", "client CPU per request", "connections opened",
        "connection overhead",
    ):  # fmt: skip
        assert row in shown.out
    verdicts = [line for line in shown.out.splitlines() if re.match(r"(not )?met +(un)?saturated: ", line)]
    assert len(verdicts) == 5

    document = json.loads(report.read_text())
    assert [line.startswith("met") for line in verdicts] == [verdict["is_met"] for verdict in document["verdicts"]]
    unsaturated, saturated = document["runs"]
    for run in (unsaturated, saturated):
        # A connection and a full handshake per request, against one per request in flight.
        assert run["unpooled"]["connections"] == run["unpooled"]["handshakes"] == run["unpooled"]["requests"]
        assert run["unpooled"]["resumed"] == run["pooled"]["resumed"] == 0
        assert run["pooled"]["connections"] == run["pooled"]["handshakes"] == 2
        assert run["pooled"]["cpu_per_request"] < run["unpooled"]["cpu_per_request"]
    # The network cannot be faster than the round trips that were charged.
    assert unsaturated["unpooled"]["p50"] > 0.030
    assert unsaturated["pooled"]["p50"] > 0.010
    assert unsaturated["pooled"]["p50"] < unsaturated["unpooled"]["p50"]
    assert saturated["throughput_ratio"] > 1


def test_requests_end_a_measurement(report: Path) -> None:
    assert main([*SMALL, "--seconds", "60", "--requests", "20", "--json", str(report)]) == 0

    found = json.loads(report.read_text())
    assert [run[way]["requests"] for run in found["runs"] for way in ("unpooled", "pooled")] == [20, 20, 20, 20]


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "nowhere" / "report.json"

    assert main([*SMALL, "--requests", "2", "--json", str(target)]) == 1
    assert capsys.readouterr().err == f"penstock demo: cannot write {target}: No such file or directory\n"


@contextmanager
def inherited(number: signal.Signals, handler: Callable[..., object] | signal.Handlers) -> Iterator[None]:
    """What children find for a signal: ignored if it is ignored here, else the default."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "penstock", "demo", "--plain", "--seconds", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    # A shell without job control ignores SIGINT on behalf of its background commands, these tests among them.
    with (
        inherited(signal.SIGINT, signal.default_int_handler),
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as program,
    ):
        assert program.stdout is not None
        assert any("unsaturated" in line for line in program.stdout)
        assert list(tmp_path.iterdir()) != []

        program.send_signal(number)
        _, error = program.communicate(timeout=20)  # ends only when no child holds the pipes

    assert program.returncode == 128 + number
    assert error == ("penstock demo: interrupted\n" if number == signal.SIGINT else "")
    assert list(tmp_path.iterdir()) == []


def test_nohup_is_respected() -> None:
    with inherited(signal.SIGHUP, signal.SIG_IGN), _terminated_cleanly():
        signal.raise_signal(signal.SIGHUP)
