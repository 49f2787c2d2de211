"""JSON as the standard library does it, imported when it is first needed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def find_dumps() -> Callable[[Any], str]:
    """Compact, UTF-8 unescaped, and without NaN and Infinity, which JSON does not have."""
    import json

    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@cache
def find_loads() -> Callable[[bytes], Any]:
    """Reads bytes in UTF-8, UTF-16 or UTF-32."""
    import json

    return json.loads
