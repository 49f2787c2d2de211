"""The benchmark house stands: every scenario of requests runs, in miniature, and its results become a page."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import machine, page, scenarios
from benchmarks.chart import Bar, draw
from benchmarks.comparison import Figure, Found, Target, check
from benchmarks.competitors.bare import canned
from benchmarks.server import Ask, Server
from benchmarks.table import Spread, number

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None and not Path("/usr/sbin/nginx").exists(), reason="nginx is not installed"
)

#: What makes each scenario small, with competitors that are always here.
MINIATURES = {
    "requests": ["--only", "bare h11", "penstock, h11", "--in-flight", "2", "--seconds", "0.01"],
    "http2": ["--only", "penstock", "--in-flight", "2", "--clear", "--seconds", "0.01"],
    "posts": ["--only", "penstock, h11", "--seconds", "0.01"],
    "uploads": ["--only", "penstock, h11"],
    "events": ["--only", "penstock, h11", "--paces", "without pause"],
    "handshakes": ["--only", "penstock", "--seconds", "0.01"],
    "origins": ["--only", "penstock", "--requests", "100"],
    "spike": ["--only", "penstock"],
    "stalled_origin": ["--only", "penstock", "--seconds", "0.1"],
}


@needs_nginx
@pytest.mark.parametrize("name", MINIATURES)
def test_a_scenario_runs_and_its_results_become_a_page(name, tmp_path):
    modules = scenarios.load()
    parser = argparse.ArgumentParser()
    modules[name].add_arguments(parser)
    data = modules[name].run(parser.parse_args(["--rounds", "1", *MINIATURES[name]]))
    assert any(situation["cells"] for situation in data["situations"])
    assert not any(situation["failed"] for situation in data["situations"])
    results = {"machine": machine.describe(), "scenarios": {name: json.loads(json.dumps(data))}}
    page.write(results, modules, tmp_path)
    assert "penstock" in (tmp_path / "benchmarks.md").read_text()
    for drawing in (tmp_path / "benchmarks").iterdir():
        ET.parse(drawing)


def test_operations_of_the_core_are_measured_beside_their_controls():
    module = scenarios.load()["core_operations"]
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    data = module.run(parser.parse_args(["--sizes", "10", "20", "--rounds", "1"]))
    assert [operation["name"] for operation in data["operations"] if operation["control"]]
    assert len(data["targets"]) == sum(not operation["control"] for operation in data["operations"])


def test_without_nginx_a_run_says_so_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("benchmarks.nginx.shutil.which", lambda *args, **kwargs: None)
    from benchmarks import __main__ as command

    file = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(file), "posts"])
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    assert command.main() == 0
    assert "nginx is not installed" in json.loads(file.read_text())["scenarios"]["posts"]["failed"]


def test_numbered_requests_are_each_another_one():
    server = Server(80)
    assert [*islice(Ask(path="/a").urls(server.url), 2)] == ["http://127.0.0.1:80/a"] * 2
    numbered = Ask(numbered=True)
    assert [*islice(numbered.urls(server.url), 2)] == ["http://127.0.0.1:80/?n=0", "http://127.0.0.1:80/?n=1"]
    first, second = islice(canned(server, numbered), 2)
    assert first.startswith(b"GET /?n=0 HTTP/1.1\r\nhost: 127.0.0.1:80\r\n")
    assert first.endswith(b"\r\n\r\n")
    assert second == first.replace(b"n=0", b"n=1")


def test_every_scenario_says_what_it_measures():
    for name, module in scenarios.load().items():
        assert module.__doc__, name
        assert len(module.__doc__.splitlines()[0]) > 20, name


def test_a_target_is_checked_in_its_own_direction(capsys):
    found = Found({("a", "here"): [{"n": 2.0}], ("b", "here"): [{"n": 4.0}]}, {})
    targets = [
        Target(("a", "here"), ("b", "here"), 0.5),
        Target(("a", "here"), ("b", "here"), 0.4),
        Target(("a", "here"), ("b", "here"), 0.6, "at least"),
        Target(("a", "here"), ("nobody", "here"), 1.0),
    ]
    verdicts = check(targets, Figure("n", "seconds"), found)
    assert [verdict["met"] for verdict in verdicts] == [True, False, False, None]
    assert "not measured" in capsys.readouterr().out


def test_a_drawing_shows_every_bar_and_why_one_is_missing():
    drawing = draw("a < b", "less is better", [Bar("penstock", Spread(10, 9, 30)), Bar("httpx", None, "no answer")])
    texts = [element.text for element in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a < b", "less is better", "penstock", "10.0", "httpx", "no answer"]


def test_numbers_have_about_three_digits():
    assert [number(value) for value in (1.234, 12.34, 1234.5)] == ["1.23", "12.3", "1,234"]
