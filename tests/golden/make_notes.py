"""Write the golden derived notes: `python -m tests.golden.make_notes`.

What has changed is to be read line by line against the lecture notes before it is kept.
"""

import dataclasses
from pathlib import Path

import tinygraph as tg
from tinygraph.notes.compose import document_of
from tinygraph.notes.markdown import markdown_text

FOLDER = Path(__file__).parent / "notes"
MODELS = ("notes_cnn", "notes_ann", "residual")
# Numbers differ between machines in their last digits, and the picture has golden files of its own.
SECTIONS = ("reading", "forward", "loss", "backward", "update", "symbols", "worksheet", "solution")


def golden(name):
    """Return the derived notes of a model as Markdown, without numbers and picture."""
    document = document_of(tg.load_model(name))
    sections = tuple(section for section in document.sections if section.slug in SECTIONS)
    return markdown_text(dataclasses.replace(document, sections=sections))


if __name__ == "__main__":
    for name in MODELS:
        (FOLDER / f"{name}.md").write_text(golden(name), encoding="utf-8", newline="\n")
