"""The operations and their mistakes, read from ``operations/*.toml``, and run in modules of their own."""

import importlib.util
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "operations"
HEADER = "from typing import ClassVar\n\nimport numpy as np\n\nimport tinygraph as tg\n"


@dataclass(frozen=True)
class Mistake:
    """One mistake: what is wrong, the text that is replaced, by what, and the causes that a hint may name."""

    what: str
    old: str
    new: str
    causes: list[str]


@dataclass(frozen=True)
class Case:
    """An operation: its source text, and mistakes that change a gradient in ``calls`` or, for ties, in ``ties``.

    ``stands_for`` is the function whose derivative the rule gives, where that is not the operation's.
    """

    name: str
    source: str
    calls: str
    ties: str
    mistakes: list[Mistake]
    file: str
    stands_for: str = ""

    @property
    def aside(self) -> bool:
        """Whether the operation is set aside, which the name of its file says."""
        return self.file.startswith("aside")

    def mistaken(self, mistake: Mistake) -> str:
        """Return the source with a mistake in it."""
        if self.source.count(mistake.old) != 1:
            raise ValueError(f"{self.name}, {mistake.what!r}: the text is not there exactly once")
        return self.source.replace(mistake.old, mistake.new)


def cases() -> Iterator[Case]:
    """Read all operations, in the order of the files."""
    for path in sorted(FOLDER.glob("*.toml")):
        for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            mistakes = []
            for what, old, new, causes in entry["mistakes"]:
                mistakes.append(Mistake(what, old.replace("\\n", "\n"), new.replace("\\n", "\n"), causes.split()))
            yield Case(
                name,
                entry["source"].lstrip(),
                entry["calls"],
                entry.get("ties", "[]"),
                mistakes,
                path.name,
                entry.get("stands_for", ""),
            )


@cache
def sources() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the files, which is removed when the process that made it ends: make it before forking."""
    return tempfile.TemporaryDirectory(prefix="strangers")


def load(name: str, source: str):
    """Import a source text from a file of its own, as that of a stranger, and return the operation that it defines."""
    path = Path(tempfile.mkdtemp(dir=sources().name)) / f"stranger_{name}.py"
    path.write_text(HEADER + source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)
