"""The chats of the examples: the real SDKs, as a reader would run them, against a provider on loopback."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.examples import load_example
from tests.support.fake_provider import TEXT, FakeProvider, running_provider

if TYPE_CHECKING:
    from collections.abc import Iterator


def needs(package: str, major: int) -> pytest.MarkDecorator:
    """Skip where the SDK is not there, or is an older one that wants another HTTP library than the example has."""
    is_there = importlib.util.find_spec(package) and int(version(package).partition(".")[0]) >= major
    return pytest.mark.skipif(not is_there, reason=f"{package} {major} has an environment of its own: nox -s sdk")


pytestmark = pytest.mark.filterwarnings(
    # They iterate with generators that they leave to the garbage collector; none is in Penstock.
    r"ignore:Async generator '(openai|anthropic|httpx2)\..*' was garbage collected:ResourceWarning"
)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with running_provider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
        monkeypatch.setenv("XAI_BASE_URL", f"{provider.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
        for name in ("OPENAI_API_KEY", "XAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, f"the {name}")
        monkeypatch.setenv("MODEL", "ok")
        monkeypatch.setenv("XAI_MODEL", "ok")
        monkeypatch.setattr(sys, "argv", ["chat.py", "What", "runs?"])
        yield provider


@needs("openai", 3)
def test_openai(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load_example("chat_openai").main)
    assert capsys.readouterr().out.strip() == TEXT
    assert [asked.path for asked in provider.asked] == ["/v1/chat/completions"]


@needs("anthropic", 1)
def test_anthropic(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load_example("chat_anthropic").main)
    assert capsys.readouterr().out.strip() == TEXT
    assert [asked.path for asked in provider.asked] == ["/v1/messages"]


@needs("openai", 3)
def test_another_provider(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(load_example("chat_xai").main)
    assert sorted(capsys.readouterr().out.splitlines()) == [f"OpenAI: {TEXT}", f"xAI: {TEXT}"]
    keys = {asked.headers["authorization"] for asked in provider.asked}
    assert keys == {"Bearer the OPENAI_API_KEY", "Bearer the XAI_API_KEY"}
