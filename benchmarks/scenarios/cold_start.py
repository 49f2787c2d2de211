"""What importing Penstock costs, and a program's very first response, beyond the same done by hand."""

from __future__ import annotations

import argparse
import compileall
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from ..cores import choose_cores
from ..nginx import running_nginx
from ..table import Spread, render, spread, verdict

#: Milliseconds that `import penstock` may cost beyond `import trio, h11`.
IMPORT_LIMIT = 50.0

#: Milliseconds that import, pool and first plain response may cost beyond h11 on a trio socket.
RESPONSE_LIMIT = 80.0

_CLOCK = "import time; started = time.perf_counter()\n"
_REPORT = "\nprint((time.perf_counter() - started) * 1000)"

IMPORTS_BY_HAND = "import trio, h11"

IMPORTS = "import trio, h11, penstock"

RESPONSE_BY_HAND = """
import h11
import trio


async def main():
    stream = await trio.open_tcp_stream("127.0.0.1", {port})
    async with stream:
        connection = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target="/", headers=[("host", "127.0.0.1")])
        await stream.send_all(connection.send(request) + connection.send(h11.EndOfMessage()))
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        assert len(body) == 120


trio.run(main)
"""

RESPONSE = """
import penstock
import trio


async def main():
    async with penstock.Pool() as pool, penstock.Client(pool=pool) as client:
        response = await client.get("http://127.0.0.1:{port}/")
        assert len(response.content) == 120


trio.run(main)
"""


def _milliseconds(program: str, core: int | None) -> float:
    """Run the program in a fresh interpreter; what it reports."""
    pin = "" if core is None else f"import os; os.sched_setaffinity(0, {{{core}}})\n"
    command = [sys.executable, "-c", pin + _CLOCK + program + _REPORT]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(finished.stdout.split()[-1])


def _compile() -> None:
    """Leave byte code beside Penstock's source, as an installer does for every package."""
    spec = find_spec("penstock")
    if spec is not None:
        for folder in spec.submodule_search_locations or ():
            compileall.compile_dir(folder, quiet=2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--samples", type=int, default=15, help="fresh processes for each program, taken in turn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return everything as data."""
    cores = choose_cores()
    _compile()
    with running_nginx(cores.server) as nginx:
        port = nginx.http1.port
        programs = {
            "import": (IMPORTS_BY_HAND, IMPORTS, IMPORT_LIMIT),
            "first response": (RESPONSE_BY_HAND.format(port=port), RESPONSE.format(port=port), RESPONSE_LIMIT),
        }
        samples: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in programs}
        for number in range(options.samples + 1):
            for name, (by_hand, with_penstock, _) in programs.items():
                pair = _milliseconds(by_hand, cores.client), _milliseconds(with_penstock, cores.client)
                if number:  # the first round fills the caches of the disk and of the compiler
                    samples[name][0].append(pair[0])
                    samples[name][1].append(pair[1])
    rows: list[list[str]] = []
    verdicts: list[dict[str, Any]] = []
    for name, (_, _, limit) in programs.items():
        theirs, ours = (spread(taken) for taken in samples[name])
        beyond = ours.median - theirs.median
        rows.append(_row(name, theirs, ours, beyond, limit))
        verdicts.append(
            {"name": name, "by_hand_ms": theirs.median, "penstock_ms": ours.median, "found": beyond, "limit": limit}
            | {"met": beyond <= limit}
        )
    print(render(["ms in a fresh process", "by hand", "penstock", "beyond", "limit", "target"], rows) + "\n")
    return {"targets": verdicts}


def _row(name: str, by_hand: Spread, ours: Spread, beyond: float, limit: float) -> list[str]:
    return [name, f"{by_hand:.0f}", f"{ours:.0f}", f"{beyond:.0f}", f"{limit:.0f}", verdict(beyond <= limit)]
