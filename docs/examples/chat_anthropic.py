"""Streaming chat with the Anthropic SDK on trio: the SDK as always, with Penstock's pool below it.

pip install anthropic
ANTHROPIC_API_KEY=… python chat_anthropic.py "What is a penstock?"
"""

from __future__ import annotations

import os
import sys

import httpx2
import trio
from anthropic import AsyncAnthropic

import penstock
from penstock.httpx import PenstockTransport

MODEL = os.environ.get("MODEL", "claude-sonnet-4-5")


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is a penstock?"
    async with (
        penstock.Pool() as pool,
        httpx2.AsyncClient(transport=PenstockTransport(pool)) as http,
        AsyncAnthropic(http_client=http) as anthropic,
        anthropic.messages.stream(
            model=MODEL, max_tokens=1024, messages=[{"role": "user", "content": question}]
        ) as stream,
    ):
        async for text in stream.text_stream:
            print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    trio.run(main)
