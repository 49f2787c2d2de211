"""An agent that makes twenty calls for one question: it plans, looks many things up at once, and sums up.

All calls go through one pool, so they share a few warm connections, six at most. Ask it with

    OPENAI_API_KEY=… python agent.py "What should I know before I build a dam?"

and with OPENAI_BASE_URL and MODEL for another provider that speaks the same protocol.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

import trio

import penstock

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
MODEL = os.environ.get("MODEL", "gpt-5-mini")
LOOKUPS = 18

CONFIG = penstock.PoolConfig.from_env(
    max_connections_per_host=6,
    # A model may think for minutes before its first token, and a stuck one should not hold the agent for ever.
    read_timeout=120.0,
    total_timeout=600.0,
    retry=penstock.RetryPolicy(max_attempts=4),
)


async def ask(client: penstock.Client, prompt: str, *, priority: int = 0) -> str:
    """One call; the lower the priority's number, the sooner it gets a connection."""
    question = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    response = await client.post("/chat/completions", json=question, priority=priority, affinity="agent")
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"])


async def answer(client: penstock.Client, question: str) -> str:
    """One call to plan, eighteen beside each other, and one to sum up."""
    plan = await ask(client, f"Name the {LOOKUPS} things to look up for: {question}")
    found = [""] * LOOKUPS

    async def look_up(number: int) -> None:
        found[number] = await ask(client, f"Look up thing {number + 1} of this plan: {plan}", priority=1)

    async with trio.open_nursery() as nursery:
        for number in range(LOOKUPS):
            nursery.start_soon(look_up, number)
    return await ask(client, f"Answer {question!r} from these notes: {found}")


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is a penstock?"
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    async with penstock.Pool(CONFIG) as pool, penstock.Client(pool, base_url=BASE_URL, headers=headers) as client:
        # The handshakes happen while nobody waits for them yet.
        place = urlsplit(BASE_URL)
        await pool.prewarm(f"{place.scheme}://{place.netloc}", count=2)
        print(await answer(client, question))
        counts = pool.statistics().counts
        print(f"{counts.released} calls over {counts.dials_ok} connections, {counts.retried} retried")


if __name__ == "__main__":
    trio.run(main)
