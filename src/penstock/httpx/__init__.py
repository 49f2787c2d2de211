"""A transport for the async clients of httpx, httpx2 and httpxyz, and for every SDK that takes such a client.

None of the three is imported here, and none is needed to install Penstock: which of them calls is seen when it does.
"""

from __future__ import annotations

from ._transport import PenstockTransport as PenstockTransport

PenstockTransport.__module__ = __name__
