"""The size of the house: ``python -m tests.house`` prints the lines of code of every room.

A line of code is a line that holds code: docstrings, comments and blank lines do not count.
"""

import io
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tinygraph"
# 20,000 for version 0.2.0, and for what came after it: 2,000 for values in model files, complete pictures, worksheets and
# notebooks; 2,900 for training on data of one's own; 650 for work that is not a small CNN, and for small steps; 1,300 for the
# engine on XLA and its processes; 600 for generated kernels; 1,750 for the inputs, verdicts and hints of certificates. Whoever
# raises it says for what.
LIMIT = 29_400
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> int:
    """Return how many lines of a source text hold code.

    >>> code_lines('"A docstring."\\nx = 1  # why\\n\\ny = (\\n    2\\n)\\n')
    4
    """
    lines: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        # A string that is a statement of its own is a docstring.
        if token.type == tokenize.STRING and begins:
            begins = False
            continue
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            begins = True
        elif token.type not in _NO_CODE:
            begins = False
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines)


def rooms() -> Counter[str]:
    """Return the lines of code of every room of the package."""
    found: Counter[str] = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        found[room] += code_lines(path.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Print the rooms, the largest first, their sum, and its limit."""
    found = rooms()
    for room, lines in [*found.most_common(), ("in all", found.total()), ("at most", LIMIT)]:
        print(f"{room:20}{lines:8,}")


if __name__ == "__main__":
    main()
