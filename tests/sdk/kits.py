"""The SDKs, each behind the same few functions."""

from __future__ import annotations

import importlib
import importlib.util
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUESTION = [{"role": "user", "content": "What runs?"}]
KEY = "sk-test"


class Kit(NamedTuple):
    """One way to ask a provider.

    Attributes:
        name: of the test cases.
        package: that has to be installed.
        library: of its HTTP client.
        errors: the module of its errors.
        open: makes a client of the SDK out of the provider's URL, an HTTP client, and `max_retries`.
        ask: asks a model and returns the text of its answer.
        stream: the same as a stream of the SDK's events.
        text_of: the text in an event.
    """

    name: str
    package: str
    library: str
    errors: str
    open: Callable[..., Any]
    ask: Callable[[Any, str], Awaitable[str]]
    stream: Callable[[Any, str], Awaitable[Any]]
    text_of: Callable[[Any], str]

    def error(self, name: str) -> type[Exception]:
        """An error of the SDK."""
        kind: type[Exception] = getattr(importlib.import_module(self.errors), name)
        return kind

    def http(self) -> Any:
        """The library of its HTTP client."""
        return importlib.import_module(self.library)


def _major(package: str) -> int:
    return int(version(package).partition(".")[0])


async def close(stream: Any) -> None:
    """Close a stream of an SDK, whatever it calls that."""
    await (stream.close() if hasattr(stream, "close") else stream.aclose())


# ---- OpenAI ----------------------------------------------------------------------------------------------------------


def _open_openai(url: str, http_client: Any, **options: Any) -> Any:
    import openai

    return openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", http_client=http_client, **options)


async def _ask_chat(client: Any, model: str) -> str:
    answer = await client.chat.completions.create(model=model, messages=QUESTION)
    return str(answer.choices[0].message.content)


async def _stream_chat(client: Any, model: str) -> Any:
    return await client.chat.completions.create(model=model, messages=QUESTION, stream=True)


def _text_of_chat(chunk: Any) -> str:
    return chunk.choices[0].delta.content or ""


async def _ask_responses(client: Any, model: str) -> str:
    return str((await client.responses.create(model=model, input="What runs?")).output_text)


async def _stream_responses(client: Any, model: str) -> Any:
    return await client.responses.create(model=model, input="What runs?", stream=True)


def _text_of_response(event: Any) -> str:
    return event.delta if event.type == "response.output_text.delta" else ""


# ---- Anthropic -------------------------------------------------------------------------------------------------------


def _open_anthropic(url: str, http_client: Any, **options: Any) -> Any:
    import anthropic

    return anthropic.AsyncAnthropic(api_key=KEY, base_url=url, http_client=http_client, **options)


async def _ask_messages(client: Any, model: str) -> str:
    answer = await client.messages.create(model=model, messages=QUESTION, max_tokens=9)
    return str(answer.content[0].text)


async def _stream_messages(client: Any, model: str) -> Any:
    return await client.messages.create(model=model, messages=QUESTION, max_tokens=9, stream=True)


def _text_of_message(event: Any) -> str:
    return event.delta.text if event.type == "content_block_delta" else ""


# ---- any-llm ---------------------------------------------------------------------------------------------------------


class _AnyLLM:
    """It has no client to close: the one of the vendor's SDK is inside."""

    def __init__(self, vendor: str, url: str, http_client: Any, **options: Any) -> None:
        from any_llm import AnyLLM

        self.llm = AnyLLM.create(vendor, api_key=KEY, api_base=url, http_client=http_client, **options)
        self._http_client = http_client

    async def __aenter__(self) -> Any:
        return self.llm

    async def __aexit__(self, *error: object) -> None:
        await self._http_client.aclose()


async def _ask_any(llm: Any, model: str) -> str:
    answer = await llm.acompletion(model=model, messages=QUESTION, max_tokens=9)
    return str(answer.choices[0].message.content)


async def _stream_any(llm: Any, model: str) -> Any:
    return await llm.acompletion(model=model, messages=QUESTION, max_tokens=9, stream=True)


def _text_of_any(chunk: Any) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _kits() -> list[Kit]:
    kits = []
    # The session names those that it installed, so that none is missing unseen.
    wanted = os.environ.get("SDKS", "").split() or [
        package for package in ("openai", "anthropic", "any_llm") if importlib.util.find_spec(package)
    ]
    if "openai" in wanted:
        library = "httpx2" if _major("openai") >= 3 else "httpx"
        chat = _open_openai, _ask_chat, _stream_chat, _text_of_chat
        kits.append(Kit("openai, chat", "openai", library, "openai", *chat))
        if library == "httpx2":
            kits.append(Kit("openai, chat over httpx", "openai", "httpx", "openai", *chat))
        responses = _open_openai, _ask_responses, _stream_responses, _text_of_response
        kits.append(Kit("openai, responses", "openai", library, "openai", *responses))
    if "anthropic" in wanted:
        library = "httpx2" if _major("anthropic") >= 1 else "httpx"
        messages = _open_anthropic, _ask_messages, _stream_messages, _text_of_message
        kits.append(Kit("anthropic", "anthropic", library, "anthropic", *messages))
    if "any_llm" in wanted:

        def open_openai(url: str, http_client: Any, **options: Any) -> Any:
            return _AnyLLM("openai", f"{url}/v1", http_client, **options)

        def open_anthropic(url: str, http_client: Any, **options: Any) -> Any:
            return _AnyLLM("anthropic", url, http_client, **options)

        library = "httpx2" if _major("openai") >= 3 else "httpx"
        for name, its_library, opener in (
            ("any-llm, openai", library, open_openai),
            ("any-llm, anthropic", "httpx", open_anthropic),
        ):
            vendor = name.rpartition(" ")[2]
            kits.append(Kit(name, "any_llm", its_library, vendor, opener, _ask_any, _stream_any, _text_of_any))
    return kits


KITS = _kits()
