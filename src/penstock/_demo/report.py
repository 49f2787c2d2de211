"""The demo's figures as a JSON document, for whoever wants to compare runs."""

from __future__ import annotations

import json
import os
import platform
import ssl
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs

from .certificates import KEY_NAME
from .failure import DemoError
from .figures import Measurement, Run, Verdict
from .settings import Settings


def write_report(file: Path, settings: Settings, runs: Sequence[Run], verdicts: Sequence[Verdict]) -> None:
    """Write everything that was measured; durations are seconds.

    Raises:
        DemoError: the file cannot be written.
    """
    document = {
        "penstock": version("penstock"),
        "machine": {
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
            "system": platform.system(),
            "cores": os.cpu_count(),
        },
        "certificate_key": KEY_NAME,
        "settings": attrs.asdict(settings),
        "runs": [_figures(run) for run in runs],
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }
    try:
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DemoError(f"cannot write {file}: {error.strerror}") from None


def _figures(run: Run) -> dict[str, Any]:
    return {
        **run._asdict(),
        "unpooled": _with_derived(run.unpooled, run.round_trip),
        "pooled": _with_derived(run.pooled, run.round_trip),
        "latency_ratio": run.latency_ratio,
        "throughput_ratio": run.throughput_ratio,
        "overhead_reduction": run.overhead_reduction,
    }


def _with_derived(found: Measurement, round_trip: float) -> dict[str, Any]:
    return {
        **found._asdict(),
        "requests_per_second": found.requests_per_second,
        "handshakes_per_second": found.handshakes_per_second,
        "cpu_per_request": found.cpu_per_request,
        "overhead": found.overhead(round_trip),
        "overhead_share": found.overhead_share(round_trip),
    }
