"""Settings of the documentation: ``sphinx-build -W -b html docs docs/_build/html``."""

import pathlib
import sys

import tinygraph

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from operations_page import write_page

project = "tinygraph"
author = "The tinygraph authors"
copyright = "2026, The tinygraph authors"
version = release = tinygraph.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tinygraph {release}"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpicky = False


def write_operations(app):
    """Write the page of all operations from their own records."""
    write_page(pathlib.Path(app.srcdir))


def setup(app):
    app.connect("builder-inited", write_operations)
