"""The server at https://api.example.com that the examples of the documentation talk to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h11
import trio

from .certificates import server_context

HOST = "api.example.com"

Answer = tuple[int, str, bytes]


def _models(_: bytes) -> Answer:
    return _json({"data": [{"id": "ada"}, {"id": "grace"}]})


def _chat(body: bytes) -> Answer:
    if json.loads(body).get("stream"):
        events = [*(f'data: {{"delta": "{word}"}}\n\n' for word in ("warm", "water")), "data: [DONE]\n\n"]
        return 200, "text/event-stream", "".join(events).encode()
    return _json({"choices": [{"message": {"content": "warm water"}}]})


def _upload(body: bytes) -> Answer:
    return _json({"received": len(body)})


def _transcribe(body: bytes) -> Answer:
    # A form with a file, as `multipart/form-data` has it.
    return _json({"text": "warm water"} if b'; filename="speech.wav"' in body else {"error": "no file"})


def _json(value: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()


ROUTES: dict[tuple[str, str], Callable[[bytes], Answer]] = {
    ("GET", "/v1/models"): _models,
    ("GET", "/v1/log"): lambda _: (200, "text/plain", b"opened\nserved\nclosed\n"),
    ("GET", "/v1/log.jsonl"): lambda _: (200, "application/jsonl", b'{"level": "info"}\n{"level": "error"}\n'),
    ("GET", "/v1/jobs/17/events"): lambda _: (
        200,
        "text/event-stream",
        b"id: 1\ndata: began\n\nid: 2\nevent: done\ndata: ended\n\n",
    ),
    ("GET", "/v1/file"): lambda _: (200, "application/octet-stream", bytes(200_000)),
    ("POST", "/v1/chat/completions"): _chat,
    ("POST", "/v1/upload"): _upload,
    ("POST", "/v1/audio/transcriptions"): _transcribe,
    **{
        ("GET", f"/v1/models/{name}"): lambda _, name=name: _json({"id": name, "owner": f"{name}@example.com"})  # type: ignore[misc]
        for name in ("ada", "grace", "hedy")
    },
}


def answer(method: str, target: str, body: bytes) -> Answer:
    """What the server says; 404 where it knows nothing."""
    route = ROUTES.get((method, target.partition("?")[0]))
    return _json({"error": "not found"}, 404) if route is None else route(body)


async def _serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
    connection = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    body = b""
    try:
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if connection.they_are_waiting_for_100_continue:
                        asking = h11.InformationalResponse(status_code=100, headers=[])
                        await stream.send_all(connection.send(asking))
                    connection.receive_data(await stream.receive_some(65536))
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    assert request is not None
                    status, kind, content = answer(request.method.decode(), request.target.decode(), body)
                    fields = [("content-type", kind), ("content-length", str(len(content)))]
                    await stream.send_all(
                        connection.send(h11.Response(status_code=status, headers=fields))
                        + connection.send(h11.Data(data=content))
                        + connection.send(h11.EndOfMessage())
                    )
                    connection.start_next_cycle()
                else:
                    return
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
        return


@contextmanager
def running_example_server() -> Iterator[int]:
    """Run the server in a thread of its own, so that examples may call `trio.run` themselves; yields the port."""
    ready = threading.Event()
    ports: list[int] = []
    stops: list[Callable[[], object]] = []

    async def main() -> None:
        listeners = await trio.open_ssl_over_tcp_listeners(
            0, server_context(HOST), host="127.0.0.1", https_compatible=True
        )
        ports.append(listeners[0].transport_listener.socket.getsockname()[1])
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            stops.append(lambda: token.run_sync_soon(scope.cancel))
            ready.set()
            await trio.serve_listeners(_serve, listeners)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the server of the examples did not come up")
    try:
        yield ports[0]
    finally:
        stops[0]()
        thread.join()
