"""The page of all operations: ``python docs/operations_page.py docs``. The documentation is built with it."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph.cli.ops import attribute_texts, by_family, explanation, first_sample, gradient_lines, recorded
from tinygraph.describe.derive import Derivation, Line
from tinygraph.describe.subject import Subject, subject_of, values_of
from tinygraph.draw import Card, Picture
from tinygraph.draw.build import drawing_of
from tinygraph.errors import RenderError
from tinygraph.graph.attributes import Sample, describe
from tinygraph.graph.backprop import backward_of
from tinygraph.graph.op import Op

INTRODUCTION = """\
# Operations

Made from the operations' own records whenever this documentation is built (`python docs/operations_page.py docs`);
`tinygraph ops NAME` prints what is known of one of them, and of your own.

An entry has the formula, in mathematics and in plain text; the gradient rule, as it was recorded for the operation's
first sample; and a picture of that sample, from the inputs down to the result and back. There $L$ is whatever is computed
further on, and its gradient for the result is drawn at random. In formulas ⋆ is correlation, ∗ true convolution and
$\\odot$ the product element by element; $mn$ is a place in an image and $xy$ that of the window that holds it.
"""
# Titles that say more of a family than its name.
TITLES = {
    "elementwise": "Arithmetic, element by element",
    "comparison": "Comparison and choice",
    "reduction": "Sums, means and extremes",
    "shape": "Shapes",
    "indexing": "Parts of arrays",
    "linear": "Matrix products",
    "convolution": "Convolution",
    "pooling": "Pooling",
    "activation": "Activation functions",
    "loss": "Losses",
}
# A sentence ends with a stop before a capital, but for that of an initial.
_SOURCE = re.compile(r"\s*\bSource:\s+(?P<said>.*?)(?<!\b[A-Z])\.(?=\s+[A-Z]|\s*$)", re.S)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python docs/operations_page.py", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    page = write_page(parser.parse_args().folder)
    print(f"{page}: {page.stat().st_size:,} bytes")


def write_page(folder: Path) -> Path:
    """Write ``operations.md`` in a folder, the pictures into ``operations`` next to it, and return the page's path."""
    pictures = folder / "operations"
    pictures.mkdir(exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    families = built_in()
    lines = [INTRODUCTION, *contents(families)]
    for family, ops in families.items():
        lines += [f"(family-{family})=", f"## {title_of(family)}", ""]
        for op in ops:
            lines += entry(op, pictures)
    page = folder / "operations.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def built_in() -> dict[str, list[type[Op]]]:
    """Return the operations of the package by family."""
    every = (function.op for function in tg.operations().values())
    return by_family(op for op in every if op.__module__.startswith("tinygraph.ops."))


def title_of(family: str) -> str:
    """Return a family as a heading."""
    return TITLES.get(family, family.replace("_", " ").capitalize())


def contents(families: dict[str, list[type[Op]]]) -> Iterator[str]:
    """Yield the table of contents."""
    yield "| family | operations |\n|---|---|"
    for family, ops in families.items():
        links = " · ".join(f"[{op.name}](#op-{op.name})" for op in ops)
        yield f"| [{title_of(family)}](#family-{family}) | {links} |"
    yield ""


def entry(op: type[Op], pictures: Path) -> Iterator[str]:
    """Yield the lines of one operation."""
    source, about = source_of(op)
    _, example = explanation(op)
    yield f"(op-{op.name})=\n### {op.name}\n"
    yield f"```python\n{signature(op)}\n```\n"
    yield f"```{{eval-rst}}\n{about}\n```\n"
    sample = first_sample(op)
    subject = None if sample is None else subject_of_sample(op, sample)
    if subject is not None:
        yield typeset(subject)
    yield f"**Formula** `{op.readable_formula()}`\n"
    yield "**Gradient**\n"
    yield "\n".join(["```text", *gradient_lines(op), "```", ""])
    if subject is not None:
        yield drawn(op, subject, pictures)
    attributes = dict(zip(op.attribute_annotations(), attribute_texts(op), strict=True))
    if attributes:
        yield "**Attributes**\n"
        kinds = op.attribute_annotations()
        yield "\n".join([*(f"- `{text}`: {describe(kinds[name])}" for name, text in attributes.items()), ""])
    yield f"**Source** {source}\n"
    yield "\n".join(["**Example**\n", "```pycon", *example, "```", ""])


def signature(op: type[Op]) -> str:
    """Return how an operation is called, without the types of its attributes, which have a list of their own."""
    found = op.function.__signature__
    bare = [parameter.replace(annotation=parameter.empty) for parameter in found.parameters.values()]
    written = str(found.replace(parameters=bare, return_annotation=found.empty))
    several = f"*{op.parameters[0]}"
    return f"{op.name}{written.replace(several, f'[{several[1:]}, ...], *') if op.variadic else written}"


def source_of(op: type[Op]) -> tuple[str, str]:
    """Return where an operation's formula is from, and what else its docstring says, without the example."""
    text = inspect.cleandoc(op.__doc__ or "").partition(">>>")[0].strip()
    found = _SOURCE.search(text)
    about = text if found is None else f"{text[: found.start()]}{text[found.end() :]}".strip()
    said = [] if found is None else [" ".join(found["said"].split())]
    ids = notes_ids(about)
    if ids:
        said.append(f"notes {', '.join(ids)}")
    if not said and (like := re.search(r"\b[Aa]s (``\w+``)", about)):
        said.append(f"as {like[1]}")
    linked = re.sub(r"``(\w+)``", _linked, "; ".join(said))
    return re.sub(r"\bnotes(?= [FBAUWE]\d)", "[the lecture notes](notes.md),", linked), about


def notes_ids(text: str) -> list[str]:
    """Return the ids of the statements of the lecture notes that a text names, each once."""
    words = re.sub(r"``.*?``", "", text, flags=re.S)
    named = re.findall(r"\(([^()]*)\)", words) if re.search(r"\bnotes\b", words) else []
    return list(dict.fromkeys(re.findall(r"\b[FBAUWE]\d+\b", " ".join(named))))


def _linked(name: re.Match[str]) -> str:
    known = tg.operations().get(name[1])
    return f"[`{name[1]}`](#op-{name[1]})" if known is not None and name.string.startswith("as ") else name[0]


def subject_of_sample(op: type[Op], sample: Sample) -> Subject:
    """Return an operation on a sample as what can be drawn and written: with its rule, and with numbers."""
    inputs, y, dy = recorded(op, sample)
    plain = subject_of(y, backward=False)
    backward = None
    if y.dtype.kind == "f" and op.vjp is not Op.vjp:
        found = backward_of(y, inputs, dy)
        backward = found if len(found.gradients) > 1 else None
    subject = Subject("", plain.items, backward, "", {}, plain.outputs)
    feeds = dict(zip(inputs, sample.inputs, strict=True))
    if backward is not None:
        feeds[dy] = np.random.default_rng(1).uniform(0.5, 2.0, y.shape).round(2)
    return replace(subject, values=values_of(subject, feeds))


def typeset(subject: Subject) -> str:
    """Return the formula of an operation and those of its rule in TeX, each on a line of its own."""
    derivation = Derivation(subject)
    lines = [line for _, _, line in derivation.forward_lines()]
    if subject.backward is not None:
        lines += [line for _, node, line in derivation.backward_lines() if node.op is not None]
    return "\n".join(f"$$\n{_displayed(line)}\n$$\n" for line in lines)


def _displayed(line: Line) -> str:
    return line.formula.tex + (rf" \quad \text{{({line.remark})}}" if line.remark else "")


def drawn(op: type[Op], subject: Subject, pictures: Path) -> str:
    """Return the Markdown of an operation's picture; where nothing can render it, its lanes as text."""

    def without_seed(card: Card) -> Card:
        return replace(card, rules=tuple(rule for rule in card.rules if not rule.endswith(" = input")))

    drawing = drawing_of(subject, edit=without_seed)
    if drawing.output:
        drawing = replace(drawing, output="L")
    picture = Picture(drawing)
    try:
        svg = picture.svg()
    except RenderError:
        return f"```text\n{picture}\n```\n"
    (pictures / f"{op.name}.svg").write_text(svg, encoding="utf-8")
    return f"![{op.name} on its first sample, with its gradient rule](operations/{op.name}.svg)\n"


if __name__ == "__main__":
    main()
