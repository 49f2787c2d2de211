"""Programs whose first response is measured, each from its first import on, each made as its library says."""

from __future__ import annotations

from typing import NamedTuple


class Program(NamedTuple):
    """What a fresh process runs.

    Attributes:
        module: what has to be installed.
        imports: statements that load the library.
        context: an expression, an async context manager for the client.
        response: statements that leave the answer's body in `body`; `client` is the client, `url` the server's.
        run: how its loop runs `main`.
    """

    module: str
    imports: str
    context: str
    response: str
    run: str

    def text(self, url: str) -> str:
        """The program. It prints the milliseconds that each of its three steps took, as JSON."""
        return TEMPLATE.format(**self._asdict(), url=url, steps=self.response.strip().replace("\n", "\n        "))


TEMPLATE = """
import json
from time import perf_counter as clock

started = clock()
{imports}

imported = clock()
url = "{url}/"


async def main():
    before = clock()
    async with {context} as client:
        created = clock()
        {steps}
        answered = clock()
        assert len(body) == 120
        steps = imported - started, created - before, answered - created
        print(json.dumps([step * 1000 for step in steps]))


{run}
"""

#: h11 on a trio socket, as one would write it: what no client can go below. Its "client" is the connection.
BY_HAND = Program(
    "h11",
    "import trio, h11",
    'await trio.open_tcp_stream("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))',
    """
connection = h11.Connection(h11.CLIENT)
request = h11.Request(method="GET", target="/", headers=[("host", "127.0.0.1")])
await client.send_all(connection.send(request) + connection.send(h11.EndOfMessage()))
body = b""
while True:
    event = connection.next_event()
    if event is h11.NEED_DATA:
        connection.receive_data(await client.receive_some(65536))
    elif isinstance(event, h11.Data):
        body += event.data
    elif isinstance(event, h11.EndOfMessage):
        break
""",
    "trio.run(main)",
)

PENSTOCK = Program(
    "penstock", "import trio, penstock", "penstock.Client()", "body = (await client.get(url)).content", "trio.run(main)"
)
HTTPX2 = Program(
    "httpx2", "import trio, httpx2", "httpx2.AsyncClient()", "body = (await client.get(url)).content", "trio.run(main)"
)
HTTPX = Program(
    "httpx", "import trio, httpx", "httpx.AsyncClient()", "body = (await client.get(url)).content", "trio.run(main)"
)
AIOHTTP = Program(
    "aiohttp",
    "import asyncio, aiohttp",
    "aiohttp.ClientSession()",
    "async with client.get(url) as response:\n    body = await response.read()",
    "asyncio.run(main())",
)
PYREQWEST = Program(
    "pyreqwest",
    "import asyncio\nfrom pyreqwest.client import ClientBuilder",
    "ClientBuilder().build()",
    "body = await (await client.get(url).build().send()).bytes()",
    "asyncio.run(main())",
)
