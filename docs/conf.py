"""Settings of the documentation: ``sphinx-build -W -b html docs docs/_build/html``."""

import inspect
import pathlib

import tinygraph
from tinygraph.cli.gradients import gradient_lines
from tinygraph.cli.ops import attribute_texts
from tinygraph.graph.attributes import describe

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
    intro = "Made from the operations' own records. In formulas ⋆ is correlation and ∗ true convolution."
    lines = ["# Operations", "", intro, ""]
    families = {}
    for name, function in tinygraph.operations().items():
        if function.__module__.startswith("tinygraph.ops."):
            families.setdefault(function.op.family, []).append((name, function))
    for family, members in families.items():
        lines += [f"## {family.capitalize()}", ""]
        for name, function in members:
            lines += [f"### {name}", "", "```python", f"{name}{function.__signature__}", "```", ""]
            lines += [
                f"Formula: `{function.op.readable_formula()}`",
                "",
                "```text",
                *gradient_lines(function.op),
                "```",
                "",
                *attribute_lines(function.op),
                "```{eval-rst}",
                inspect.cleandoc(function.__doc__),
                "```",
                "",
            ]
    (pathlib.Path(app.srcdir) / "operations.md").write_text("\n".join(lines), encoding="utf-8")


def attribute_lines(op):
    """Return a list of an operation's attributes, with what they may be and their defaults."""
    texts = dict(zip(op.attribute_annotations(), attribute_texts(op), strict=True))
    found = [f"- `{text}`: {describe(op.attribute_annotations()[name])}" for name, text in texts.items()]
    return [*found, ""] if found else []


def setup(app):
    app.connect("builder-inited", write_operations)
