"""An LLM gateway: clients speak to it, it speaks to a provider with a key that they never see.

An ASGI application of Starlette on hypercorn and trio. The pool lives as long as the application. Answers are passed on
byte by byte as they come; when a client leaves, the provider hears of it at once and stops generating.

    pip install starlette "hypercorn[trio]"
    OPENAI_API_KEY=… python gateway.py
    curl localhost:8000/v1/chat/completions -H 'X-Tenant: acme' -d '{"model": "gpt-5-mini", "stream": true, …}'
"""

from __future__ import annotations

import os
import signal
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import penstock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

PROVIDER = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
CONFIG = penstock.PoolConfig.from_env(
    max_connections_per_host=100,
    max_waiters=500,
    pool_timeout=10.0,
    first_byte_timeout=120.0,
    read_timeout=60.0,
    # An answer that began is passed on as it is; one that refuses is asked for again here, once for everybody.
    retry=penstock.RetryPolicy(max_attempts=3, retry_after_max=5.0),
)
LARGEST_QUESTION = 10 * 1024 * 1024

# What speaks of this hop only (RFC 9110 §7.6.1), and what our own server says.
NOT_PASSED_ON = {
    "connection", "date", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding",
    "server", "upgrade",
}  # fmt: skip


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, penstock.Client]]:
    """One pool for the whole application: it is there before the first request, and drained after the last."""
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    async with penstock.Pool(CONFIG) as pool, penstock.Client(pool, base_url=PROVIDER, headers=headers) as client:
        app.state.pool = pool
        yield {"client": client}
        await pool.drain()


class PassedOn(Response):
    """The provider's answer, on its way through. It ends when the client leaves, and the request behind it with it."""

    def __init__(self, client: penstock.Client, path: str, question: bytes, tenant: str | None) -> None:
        self.client = client
        self.path = path
        self.question = question
        self.tenant = tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_with_the_client, receive, nursery.cancel_scope)
            try:
                await self._pass_on(send)
            except (penstock.PoolFull, penstock.PoolTimeout) as error:
                await refusal(503, error)(scope, receive, send)
            except penstock.TimeoutException as error:
                await refusal(504, error)(scope, receive, send)
            except penstock.RequestError as error:
                await refusal(502, error)(scope, receive, send)
            nursery.cancel_scope.cancel()

    async def _pass_on(self, send: Send) -> None:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        async with self.client.stream(
            "POST", self.path, content=self.question, headers=headers, tenant=self.tenant
        ) as answer:
            kept = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in answer.headers.multi_items()
                if name not in NOT_PASSED_ON
            ]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            try:
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except penstock.RequestError:
                # The head has left; to break off is the only way to say that the rest is missing.
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _leave_with_the_client(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


def refusal(status: int, error: Exception) -> JSONResponse:
    return JSONResponse({"error": {"type": type(error).__name__, "message": str(error)}}, status)


async def pass_on(request: Request) -> Response:
    """Take a question whole, so that it can be asked again, and pass its answer on piece by piece."""
    question = bytearray()
    try:
        async with aclosing(request.stream()) as pieces:
            async for piece in pieces:
                question += piece
                if len(question) > LARGEST_QUESTION:
                    return refusal(413, ValueError(f"a question may have {LARGEST_QUESTION} bytes"))
    except ClientDisconnect:
        # There is nobody to answer.
        return Response(status_code=400)
    path = request.url.path.removeprefix("/v1")
    # A gateway that knows its clients takes the tenant from their credentials.
    return PassedOn(request.state.client, path, bytes(question), request.headers.get("x-tenant"))


async def statistics(request: Request) -> Response:
    """How the pool is doing, for those who operate the gateway."""
    now = request.app.state.pool.statistics()
    return JSONResponse({"active": now.active, "idle": now.idle, "waiting": now.waiting, **now.counts._asdict()})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", pass_on, methods=["POST"]),
        Route("/v1/responses", pass_on, methods=["POST"]),
        Route("/statistics", statistics),
    ],
    lifespan=lifespan,
)


async def main() -> None:
    config = Config()
    config.bind = [os.environ.get("BIND", "127.0.0.1:8000")]
    await serve(app, config, shutdown_trigger=told_to_stop)


async def told_to_stop() -> None:
    """Answers that are under way are finished, for as long as hypercorn's `graceful_timeout` allows."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        await anext(signals)


if __name__ == "__main__":
    trio.run(main)
