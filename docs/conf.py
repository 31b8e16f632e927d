"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "HTCDaskGateway"
author = "The HTCDaskGateway developers"
project_copyright = author
version = release = installed("htcdaskgateway")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "docs._ext.error_pages",
    "docs._ext.outside_links",
]
exclude_patterns = ["_build"]
smartquotes = False  # commands are to be copied
default_role = "py:obj"  # what single backticks mean in docstrings

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autodoc_typehints = "none"  # the docstrings have them
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"HTCDaskGateway {release}"
html_copy_source = False
html_show_sphinx = False
