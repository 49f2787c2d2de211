"""What may stand in a head (RFC 9110 §5), for everybody who checks a piece of one."""

from __future__ import annotations

import re
from typing import Final

#: A token (§5.6.2), as part of a larger pattern.
TOKEN_PATTERN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN: Final = re.compile(TOKEN_PATTERN)

#: A field value (§5.5): field-vchar, SP and HTAB; obs-text is allowed because latin-1 values exist in the wild. No edge
#: space.
VALUE: Final = re.compile(rb"(?![\t ])[\t\x20-\x7e\x80-\xff]*+(?<![\t ])")
