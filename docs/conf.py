"""Settings of the documentation: ``sphinx-build -W -b html docs docs/_build/html``."""

import pathlib
import sys

from docutils.nodes import SkipNode

import tinygraph
from tinygraph.describe.symbols import mathml

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from notebook_pages import write_pages
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
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
nitpicky = False
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["tinygraph.css"]


def write_operations(app):
    """Write the page of all operations from their own records."""
    write_page(pathlib.Path(app.srcdir))


def write_live_page(app, error):
    """Write the page of the notes that readers of the documentation step through."""
    if error is None and app.builder.format == "html":
        tinygraph.notes(tinygraph.load_model("notes_cnn"), pathlib.Path(app.outdir) / "notes_cnn.html")


def write_notebooks(app):
    """Run the notebooks and write their pages."""
    write_pages(pathlib.Path(app.srcdir))


def inline_formula(translator, node):
    """Write a formula as MathML, which browsers show without a script and without a network."""
    translator.body.append(mathml(node.astext()))
    raise SkipNode


def displayed_formula(translator, node):
    """Write a formula on a line of its own, which scrolls where it is wider than the page."""
    translator.body.append(f'<div class="formula">{mathml(node.astext(), display=True)}</div>\n')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("builder-inited", write_operations)
    app.connect("build-finished", write_live_page)
    app.connect("builder-inited", write_notebooks)
