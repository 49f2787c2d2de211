"""The agent of the examples makes twenty calls over a few connections."""

from __future__ import annotations

import re
import sys

import pytest
import trio

from tests.support.examples import load_example
from tests.support.fake_provider import TEXT, running_provider


@pytest.mark.parametrize("model", ["ok", "503-then-ok"])
def test_twenty_calls_for_a_question(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_provider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "a-key")
        monkeypatch.setenv("MODEL", model)
        monkeypatch.setattr(sys, "argv", ["agent.py", "What", "is", "a", "penstock?"])
        trio.run(load_example("agent").main)
    answer, books = capsys.readouterr().out.splitlines()
    assert answer == TEXT
    calls, connections, retried = map(int, re.findall(r"\d+", books))
    assert calls == 20 + retried
    assert retried == (model != "ok")
    assert 2 <= connections <= 6
    assert provider.connections <= connections
    assert len(provider.asked) == calls
