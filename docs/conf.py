"""How the pages are built. Every warning is an error: `nox -s docs`."""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.ext.napoleon.docstring import GoogleDocstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "tools"))

import draw_states

draw_states.write()

project = "Penstock"
author = "The Penstock developers"
version = release = version_of("penstock")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "tools"]
# Docstrings put code in single backticks.
default_role = "code"

html_theme = "furo"
html_title = "Penstock"

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autoclass_content = "class"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
napoleon_use_ivar = True
nitpick_ignore = [
    # Of other projects, whose pages a build without network cannot look up.
    ("py:class", "ssl.SSLContext"),
    ("py:exc", "h11.RemoteProtocolError"),
    # Private names of types; the text beside them says which values there are.
    ("py:class", "PinSet"),
    ("py:class", "RequestSent"),
    ("py:class", "TLSVersion"),
]


def setup(app: Sphinx) -> None:
    """Have napoleon read properties as methods: it takes what stands before a colon in their first line for a type."""

    def read_as_method(  # noqa: PLR0917 - Sphinx calls it like this
        app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
    ) -> None:
        if what == "property":
            lines[:] = GoogleDocstring(inspect.getdoc(obj) or "", app.config, app, "method", name, obj, options).lines()

    app.connect("autodoc-process-docstring", read_as_method, priority=900)
