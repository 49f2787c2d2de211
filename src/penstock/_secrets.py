"""What must not be shown: which fields hold secrets, and how secrets are taken out of what a peer says."""

from __future__ import annotations

import html
import re
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The names that RFCs define, and what the rest of the world calls its keys ("x-api-key", "x-session-token"); but not
# :authority, and not the challenges of a server.
_SECRET: Final = re.compile(rb"auth(?!ority$|enticate$)|cookie|key|token|secret|password|credential|session|signature")

#: A secret shorter than this occurs by chance, so that what is missing from a text would tell it.
_SHORT: Final = 6

#: A piece of a secret as long as this, at the end of what was kept, is taken for its beginning.
_SHORTEST_PIECE: Final = 4


def is_secret(name: bytes) -> bool:
    """Whether the value of a field with this lower-case name must not be shown."""
    return _SECRET.search(name) is not None


def hide_secrets(said: bytes, secrets: Iterable[bytes]) -> bytes:
    """A text without some secrets, in whichever of the usual forms and in whichever case they stand there.

    Nothing of it, where one that occurs is so short that its absence would show it.
    """
    forms = {form for secret in secrets for form in _forms(secret) if form}
    for form in sorted(forms, key=len, reverse=True):
        found = re.compile(re.escape(form), re.IGNORECASE)
        if found.search(said):
            if len(form) < _SHORT:
                return b""
            said = found.sub(b"***", said)
        said = _without_piece(said, form)
    return said


def _forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it is, as URLs, pages and header fields write it, and as errors quote it."""
    yield secret
    yield quote(secret, safe="").encode()
    text = secret.decode("latin-1")
    for escaped in (html.escape(text), html.escape(text, quote=False), _with_numbers(text)):
        yield escaped.encode("latin-1")
    for encoded in (b64encode(secret), urlsafe_b64encode(secret)):
        yield encoded
        yield encoded.rstrip(b"=")
    yield secret.decode("ascii", "backslashreplace").encode("unicode_escape")


def _with_numbers(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _without_piece(said: bytes, form: bytes) -> bytes:
    """What was cut off may have ended in the middle of a secret."""
    end, start = said[-len(form) :].lower(), form.lower()
    cut = next((size for size in range(len(form), _SHORTEST_PIECE - 1, -1) if end.endswith(start[:size])), 0)
    return said[: len(said) - cut]
