"""In IPython and notebooks a mistake shows the user's own lines and the message, and none of the package's lines."""

import subprocess
import sys

import pytest

pytest.importorskip("IPython")

CELLS = {
    "an equation": "tg.Model({'x': [4]}, {'W': {'shape': [3, 2], 'init': 'ones'}}, 'a = x @ W', 'a')",
    "a function": "def mine():\n    return tg.fit(xor, (np.zeros((4, 2)), np.full((4, 1), 7)))\nmine()",
    "an operation": "@tg.op\ndef slip(x):\n    return x[:, 99]\nslip(tg.tensor(np.ones((2, 3))))",
    "an interruption": "def stop(progress):\n    raise KeyboardInterrupt\ntg.fit(xor, callback=stop)",
    "everything": "%xmode Verbose\ntg.tensor([1.0]) @ tg.tensor([[1.0], [2.0]])",
}
SCRIPT = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%colors NoColor")
shell.run_cell("import numpy as np, tinygraph as tg; xor = tg.load_model('xor')")
for code in {cells!r}:
    print("=====")
    shell.run_cell(code)
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What IPython prints for each cell, by its name."""
    command = [sys.executable, "-c", SCRIPT.format(cells=[*CELLS.values()])]
    home = {"IPYTHONDIR": str(tmp_path_factory.mktemp("ipython")), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=home, check=True)
    return dict(zip(CELLS, done.stdout.split("=====\n")[1:], strict=True))


@pytest.mark.parametrize(
    ("name", "lines", "last"),
    [
        ("an equation", 8, "    a = x @ W"),
        ("a function", 12, "DataError: labels 'y': bce: labels must lie between 0 and 1; found 7"),
        (
            "an operation",
            22,
            "OperationError: slip: forward failed: IndexError: index 99 is out of bounds for axis 1 with size 3",
        ),
        ("an interruption", 8, "TrainingInterrupted: training was interrupted after 0 epochs"),
    ],
)
def test_a_mistake_shows_the_lines_of_the_user(shown, name, lines, last):
    text = shown[name].rstrip()
    assert text.splitlines()[-1].startswith(last)
    assert len(text.splitlines()) <= lines
    assert CELLS[name].splitlines()[-1] in text
    assert "tinygraph/" not in text


def test_the_line_of_the_user_that_failed_is_shown_too(shown):
    assert "return x[:, 99]" in shown["an operation"]
    assert "\nIndexError: index 99" in shown["an operation"]


def test_all_lines_can_be_shown(shown):
    assert "graph/function.py" in shown["everything"].replace("\\", "/")
