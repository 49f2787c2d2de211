"""Names and values that a caller passes as mappings or pairs, encoded as forms encode them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

FieldValue = str | int | float | bool | None
Fields = Mapping[str, FieldValue | Sequence[FieldValue]] | Iterable[tuple[str, FieldValue]]

# What stands for itself.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


def encode_fields(fields: Fields, what: str) -> str:
    """Encode as application/x-www-form-urlencoded (the URL standard §5.2): a space is "+", text is UTF-8.

    A list of values repeats its name, True and False are "true" and "false", and None leaves its name out.

    Args:
        fields: a mapping, or pairs where the order of repeated names matters.
        what: the caller's word for them, used in messages.

    Raises:
        TypeError: something else was passed; the message names it.
        ValueError: a text has no UTF-8 form.
    """
    return "&".join([f"{_quote(name)}={_quote(text)}" for name, text in to_texts(fields, what)])


def to_texts(fields: Fields, what: str) -> list[tuple[str, str]]:
    """Names and texts, not encoded; arguments and errors are those of `encode_fields`."""
    texts: list[tuple[str, str]] = []
    for pair in _to_pairs(fields, what):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{what} must be pairs of a name and a value, not {type(pair).__name__}")
        name, value = pair
        if not isinstance(name, str):
            raise TypeError(f"a name in {what} must be a str, not {type(name).__name__}")
        values = value if isinstance(value, (list, tuple)) else (value,)
        texts += [(name, _to_text(single, name, what)) for single in values if single is not None]
    return texts


def _to_pairs(fields: object, what: str) -> Iterable[Any]:
    if isinstance(fields, Mapping):
        return fields.items()
    if isinstance(fields, Iterable) and not isinstance(fields, str | bytes | bytearray):
        return fields
    hint = "append it to the URL" if what == "params" else "pass a finished body as content="
    raise TypeError(f"{what} must be a mapping or pairs, not {type(fields).__name__}; {hint}")


def _quote(text: str) -> str:
    return text if type(text) is str and _PLAIN.fullmatch(text) is not None else quote_plus(text)


def _to_text(value: object, name: str, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError(f"{what}[{name!r}] must be str, int, float, bool or None, not {type(value).__name__}")
