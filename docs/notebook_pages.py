"""Run the example notebooks and write each as a page: ``python docs/notebook_pages.py docs``; building the documentation does.

The notebooks hold no results: what a page shows is what this version of tinygraph gives.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

# More than any text in a notebook has in a row.
FENCE = "`" * 10
_ESCAPES = re.compile(r"\x1b\[[\d;]*m")


def executed(path: Path) -> Any:
    """Return a notebook with the results of its cells, run in a new process and an empty folder.

    A cell that fails, without the tag ``raises-exception``, is an error.
    """
    notebook = nbformat.read(path, as_version=4)
    logging.getLogger("traitlets").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
        config, resources = Config(), {"metadata": {"path": folder}}
        if os.name == "posix":
            # Otherwise the kernel listens on ports, and warns of it.
            config.KernelManager.update(transport="ipc", ip=f"{sockets}/k")
        client = NotebookClient(notebook, config=config, resources=resources, coalesce_streams=True, timeout=120)
        return client.execute()


def page(notebook: Any) -> str:
    """Return an executed notebook as Markdown with its results as HTML."""
    parts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"{FENCE}python\n{cell.source}\n{FENCE}")
            parts += [shown for output in cell.outputs for shown in _shown(output)]
    return "\n\n".join(parts) + "\n"


def _shown(output: Any) -> Iterator[str]:
    if output.output_type == "stream":
        yield f"{FENCE}text\n{output.text.rstrip()}\n{FENCE}"
    elif output.output_type == "error":
        yield f"{FENCE}text\n{_ESCAPES.sub('', chr(10).join(output.traceback)).rstrip()}\n{FENCE}"
    elif found := output.data.get("text/html") or output.data.get("image/svg+xml"):
        element = found[max(found.find("<svg"), 0) :] if found.lstrip().startswith("<?xml") else found
        yield f'{FENCE}{{raw}} html\n<div class="result">{element}</div>\n{FENCE}'
    else:
        yield f"{FENCE}text\n{output.data['text/plain']}\n{FENCE}"


def write_pages(folder: Path) -> None:
    """Run every notebook of ``notebooks`` in a folder and write its page next to it."""
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        target = path.with_suffix(".md")
        text = f"{page(executed(path))}\nTo run it yourself: {{download}}`{path.name}`.\n"
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
