"""The course of the demo: start the children, measure four times, stop the children."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from .certificates import make_certificates
from .child import Child
from .figures import Measurement, Run
from .load import Order, Sample
from .loopback import HOST
from .server import Counts
from .settings import Settings

#: Requests of each kind before anything is measured, so that modules and TLS contexts are loaded.
_WARM_UP_REQUESTS = 20
_WARM_UP_SECONDS = 1.0


class Task(NamedTuple):
    """One of the four measurements, as the display names it."""

    run: str
    concurrency: int
    round_trip: float
    keep_alive: bool


class Display(Protocol):
    """What is told about the course."""

    def begin(self, task: Task) -> None:
        """A measurement starts."""

    def advance(self, task: Task, fraction: float, requests_per_second: float, p50: float | None) -> None:
        """A measurement goes on; `fraction` of it (0 to 1) is over, `p50` is the recent median latency in seconds."""

    def end(self, task: Task, measurement: Measurement) -> None:
        """A measurement is over."""


def plan(settings: Settings) -> tuple[tuple[Task, Task], tuple[Task, Task]]:
    """The two runs, each without and with pooling."""
    runs = (
        ("unsaturated", settings.unsaturated_concurrency, settings.round_trip),
        ("saturated", settings.saturated_concurrency, 0.0),
    )
    unsaturated, saturated = ((Task(*run, keep_alive=False), Task(*run, keep_alive=True)) for run in runs)
    return unsaturated, saturated


class Stage(NamedTuple):
    """The children at work and where they are.

    Attributes:
        settings: what the user set.
        authority: file of the trusted certificate.
        server: the process that counts.
        load: the process that sends requests.
        port: the server's.
        relay_port: the relay's, which leads to the server with the emulated round trip.
    """

    settings: Settings
    authority: Path
    server: Child
    load: Child
    port: int
    relay_port: int

    def measure(self, task: Task, display: Display) -> Measurement:
        """Carry out one measurement and show how it goes."""
        order = Order(
            url=f"https://{HOST}:{self.relay_port if task.round_trip else self.port}/v1/models",
            authority=str(self.authority),
            keep_alive=task.keep_alive,
            concurrency=task.concurrency,
            seconds=self.settings.seconds,
            requests=self.settings.requests,
            spread=task.round_trip,
        )
        warm_up = order._replace(seconds=_WARM_UP_SECONDS, spread=0.0, requests=_WARM_UP_REQUESTS)
        self._carry_out(warm_up._replace(url=f"https://{HOST}:{self.port}/"), task, None)
        display.begin(task)
        before = Counts(**self.server.ask({}))
        sample = self._carry_out(order, task, display)
        counts = Counts(**self.server.ask({})).since(before)
        measurement = Measurement(
            *sample,
            connections=counts.connections,
            handshakes=counts.handshakes,
            resumed=counts.resumed,
            server_work=counts.work_seconds / counts.requests,
        )
        display.end(task, measurement)
        return measurement

    def _carry_out(self, order: Order, task: Task, display: Display | None) -> Sample:
        self.load.say(order._asdict())
        while "sample" not in (message := self.load.hear()):
            if display is not None:
                display.advance(task, **message)
        return Sample(**message["sample"])


@contextmanager
def stage(settings: Settings) -> Iterator[Stage]:
    """Start the children and make sure that nothing is left of them.

    Raises:
        DemoError: a child cannot start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        certificates = make_certificates(folder)
        load = stack.enter_context(Child("load"))
        server = stack.enter_context(Child("server", certificates.chain, certificates.key, settings.port))
        port = server.hear()["port"]
        certificates.key.unlink()
        relay = stack.enter_context(Child("relay", port, settings.round_trip))
        relay_port = relay.hear()["port"]
        load.hear()
        yield Stage(settings, certificates.authority, server, load, port, relay_port)


def measure(settings: Settings, display: Display) -> tuple[Run, Run]:
    """Do the whole demo: the unsaturated and the saturated run.

    Raises:
        DemoError: a child cannot start, or a request failed.
    """
    with stage(settings) as stand:
        unsaturated, saturated = (
            Run(
                without.run,
                without.concurrency,
                without.round_trip,
                unpooled=stand.measure(without, display),
                pooled=stand.measure(with_pool, display),
            )
            for without, with_pool in plan(settings)
        )
    return unsaturated, saturated
