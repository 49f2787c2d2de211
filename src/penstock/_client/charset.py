"""Which text codec a Content-Type names.

Python remembers every name of a codec it is asked for, known or not, for ever. So it is asked only for names from its
own list, in one spelling.
"""

from __future__ import annotations

import codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

#: What Python lists under another name, and the charsets that have no other name than their own. Not among them: what
#: takes quadratic time (idna, punycode), Python's own escapes, codecs that only raise.
_CODECS: Final = frozenset(aliases.values()) | {
    "cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_t", "koi8_u", "utf_8_sig",
}  # fmt: skip

#: Longer than any name of a charset.
_MAX_LABEL: Final = 40


def find_charset(content_type: str) -> str | None:
    """The Python name of the charset parameter's codec; None where none is named or it is not known."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return _to_codec(value.strip().strip("\"'"))
    return None


def _to_codec(label: str) -> str | None:
    if not label.isascii() or len(label) > _MAX_LABEL:
        return None
    known = normalize_encoding(label).lower().replace(".", "_")
    known = aliases.get(known, known)
    if known not in _CODECS:
        return None
    try:
        name = codecs.lookup(known).name
        # A codec from bytes to bytes is no charset; decoding an empty string would not tell.
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return None
    return name
