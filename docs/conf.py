"""How the pages are built. Every warning is an error: `nox -s docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

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
