"""Lines: displayed equations in the order in which lecturers write them, under headings, with ids of the lecture notes."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from tinygraph.describe.crosswalk import statements_of
from tinygraph.describe.subject import Rule, Subject
from tinygraph.describe.symbols import Formula
from tinygraph.notes.document import Document, Equations, Line, Section


def line_of(slug: str, formula: Formula, remark: str = "", label: str | None = None) -> Line:
    """Return a displayed equation; the slug is made one that can stand in a link."""
    return Line(
        re.sub(r"[^A-Za-z0-9_.-]+", "-", slug).strip("-") or "x", slug if label is None else label, formula, (), remark
    )


def grouped(found: Iterable[tuple[str, Line]]) -> Iterator[Equations]:
    """Yield the equations of each run of lines in one block of the model; back outside, a heading says so too."""
    inside = False
    for group, lines in itertools.groupby(found, key=itemgetter(0)):
        inside = inside or bool(group)
        heading = f"Block {group}" if group else "Outside the blocks" if inside else ""
        yield Equations(tuple(line for _, line in lines), heading)


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Return rules with gradients of parameters first, as lecturers write them, where no step on the way is in between."""
    rules = list(rules)
    contributions = {rule.node for rule in rules if rule.kind == "contribution"}
    if any(x in contributions for rule in rules if rule.kind == "inner" for x in rule.node.inputs):
        return rules
    head = [rule for rule in rules if rule.kind != "contribution"]
    tail = [rule for rule in rules if rule.kind == "contribution"]
    # A weight or kernel has more axes than the bias beside it, and comes before it.
    axes = [rule.target.ndim if rule.target is not None and rule.target.kind == "parameter" else -1 for rule in tail]
    return head + [tail[i] for i in sorted(range(len(tail)), key=axes.__getitem__, reverse=True)]


def with_ids(sections: Iterable[Section]) -> Iterator[Section]:
    """Give every line the ids of the statements of the notes that it is, and a slug of its own."""
    sections = list(sections)
    document = Document("", tuple(sections))
    texts = {line.formula.text for line in document.lines()}
    taken: set[str] = set()
    for section in sections:
        blocks = []
        for block in section.blocks:
            if isinstance(block, Equations):
                block = dataclasses.replace(block, lines=tuple(_finished(line, texts, taken) for line in block.lines))
            blocks.append(block)
        yield dataclasses.replace(section, blocks=tuple(blocks))


def recognized(lines: Sequence[Line]) -> list[Line]:
    """Return lines with the ids of the statements of the notes that they are."""
    texts = {line.formula.text for line in lines}
    return [dataclasses.replace(line, ids=statements_of(line.formula.text, texts)) for line in lines]


def _finished(line: Line, texts: set[str], taken: set[str]) -> Line:
    slug, i = line.slug, 1
    while slug.lower() in taken:
        i += 1
        slug = f"{line.slug}-{i}"
    taken.add(slug.lower())
    return dataclasses.replace(line, slug=slug, ids=statements_of(line.formula.text, texts))


def samples_of(subject: Subject) -> str:
    """Return in words how many samples the inputs of a model hold."""
    count = next((item.node.shape[0] for item in subject.items if item.node.kind == "input" and item.node.ndim), 1)
    return "this sample" if count == 1 else f"these {count} samples"
