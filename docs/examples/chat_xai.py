"""The OpenAI SDK pointed at another provider that speaks its protocol, beside OpenAI itself: one pool for both.

pip install openai
OPENAI_API_KEY=… XAI_API_KEY=… python chat_xai.py "What is a penstock?"
"""

from __future__ import annotations

import os
import sys

import httpx2
import trio
from openai import AsyncOpenAI

import penstock
from penstock.httpx import PenstockTransport

XAI_BASE_URL = os.environ.get("XAI_BASE_URL", "https://api.x.ai/v1")
OPENAI_MODEL = os.environ.get("MODEL", "gpt-5-mini")
XAI_MODEL = os.environ.get("XAI_MODEL", "grok-4")


async def say(name: str, provider: AsyncOpenAI, model: str, question: str) -> None:
    completion = await provider.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    print(f"{name}: {completion.choices[0].message.content}")


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is a penstock?"
    # Each provider may have 40 connections, both together 50: a slow one cannot starve the other.
    config = penstock.PoolConfig(max_connections=50, max_connections_per_host=40)
    async with (
        penstock.Pool(config) as pool,
        httpx2.AsyncClient(transport=PenstockTransport(pool)) as http,
        AsyncOpenAI(http_client=http) as openai,
        AsyncOpenAI(http_client=http, base_url=XAI_BASE_URL, api_key=os.environ["XAI_API_KEY"]) as xai,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(say, "OpenAI", openai, OPENAI_MODEL, question)
        nursery.start_soon(say, "xAI", xai, XAI_MODEL, question)


if __name__ == "__main__":
    trio.run(main)
