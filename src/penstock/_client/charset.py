"""Which text codec a Content-Type names."""

from __future__ import annotations

import codecs

# Not for text from a server: quadratic time, Python's own escapes, codecs that only raise.
_REFUSED = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"})


def find_charset(content_type: str) -> str | None:
    """The Python name of the charset parameter's codec; None where none is named or it is not known."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return _to_codec(value.strip().strip("\"'"))
    return None


def _to_codec(label: str) -> str | None:
    if not label.isascii():
        return None
    try:
        name = codecs.lookup(label).name
        # A codec from bytes to bytes is no charset; decoding an empty string would not tell.
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return None
    return None if name.replace("_", "-") in _REFUSED else name
