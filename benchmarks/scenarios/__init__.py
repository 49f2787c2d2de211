"""What is measured: one module for each scenario, in the order in which all of them run.

Each has a docstring, whose first line says what it measures, and two functions: `add_arguments(parser)` describes its
options, each with a default, and `run(options)` measures, prints, and returns everything as data. A list under
`"targets"` in there has one object for each target, with `"met"` among its keys.
"""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = (
    "requests",
    "http2",
    "posts",
    "downloads",
    "uploads",
    "events",
    "cold_start",
    "handshakes",
    "origins",
    "spike",
    "stalled_origin",
    "streams",
    "core_operations",
)


def load() -> dict[str, ModuleType]:
    """Every scenario under its name."""
    return {name: importlib.import_module(f".{name}", __package__) for name in NAMES}
