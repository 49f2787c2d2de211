"""The one error of the demo: something a user can read and act on."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the message says what is missing and what to do."""
