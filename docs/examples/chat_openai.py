"""Streaming chat with the OpenAI SDK on trio: the SDK as always, with Penstock's pool below it.

pip install openai
OPENAI_API_KEY=… python chat_openai.py "What is a penstock?"
"""

from __future__ import annotations

import os
import sys

import httpx2
import trio
from openai import AsyncOpenAI

import penstock
from penstock.httpx import PenstockTransport

MODEL = os.environ.get("MODEL", "gpt-5-mini")


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is a penstock?"
    async with (
        penstock.Pool() as pool,
        httpx2.AsyncClient(transport=PenstockTransport(pool)) as http,
        # The client of the SDK is left before the pool is: the pool outlives whatever uses it.
        AsyncOpenAI(http_client=http) as openai,
    ):
        stream = await openai.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": question}], stream=True
        )
        async with stream:
            async for chunk in stream:
                if chunk.choices:
                    print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()


if __name__ == "__main__":
    trio.run(main)
