"""An engineer trains on data of their own: pictures, a table, IDX files. Train, kill, resume, evaluate, predict."""

import csv
import gzip
import json
import re
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.interruptions import PROGRAM
from tests.tools.models import files_of_page
from tinygraph.train import Checkpoint

pytest.importorskip("PIL")
IDX = {
    'data = "pictures"': 'data = "mnist"',
    "[1, 12, 12]": "[1, 8, 8]",
    '["f.shape[1]", 3]': '["f.shape[1]", 10]',
    "shape = [3], init": "shape = [10], init",
}


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def work(run):
    """The files of the page of first steps in the current folder, and the digits as IDX files with a model."""
    files = files_of_page("first-steps.md")
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")
    exec(files["make_data.py"], {})
    digits = tg.load_data("digits")
    Path("mnist").mkdir()
    for part, (images, labels) in (("train", digits.train), ("t10k", digits.test)):
        write_idx(Path("mnist", f"{part}-images-idx3-ubyte.gz"), 255 * images[:300, 0])
        write_idx(Path("mnist", f"{part}-labels-idx1-ubyte.gz"), labels[:300])
    text = files["pictures.toml"]
    for old, new in IDX.items():
        assert old in text
        text = text.replace(old, new)
    Path("digits.toml").write_text(text, encoding="utf-8")
    return run


def train_and_kill(model, out):
    """Start a training that would take long, and kill it once it has written a checkpoint."""
    command = [*PROGRAM, "train", f"{model}.toml", "--epochs", "100000", "--out", out]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while not Path(out, "checkpoint.safetensors").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.05)
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("model", "classes"),
    [
        ("flowers", ["setosa", "versicolor", "virginica"]),
        ("pictures", ["eight", "five", "three"]),
        ("digits", [str(digit) for digit in range(10)]),
    ],
)
def test_train_kill_resume_evaluate_predict(work, model, classes):
    train_and_kill(model, "killed")
    epochs = max(30, 5 + len(Checkpoint.load("killed/checkpoint.safetensors").history))
    assert work("train", f"{model}.toml", "--epochs", epochs, "--out", "whole").exit_code == 0
    resumed = work("train", f"{model}.toml", "--epochs", epochs, "--out", "killed", "--resume")
    assert resumed.exit_code == 0, resumed.output
    for name in ("weights.safetensors", "best.safetensors"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()

    weights = "killed/best.safetensors"
    result = work("evaluate", f"{model}.toml", "--weights", weights, "--out", "found")
    assert result.exit_code == 0
    found = json.loads(Path("found", "metrics.json").read_text(encoding="utf-8"))
    assert found["accuracy"] > 0.8
    report = result.stdout.partition("precision")[2]
    assert [line.split()[0] for line in report.splitlines()[1 : len(classes) + 1]] == classes

    result = work("predict", f"{model}.toml", "--weights", weights, "--part", "all", "--out", "predicted.csv")
    assert result.exit_code == 0
    with open("predicted.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["predicted"] for row in rows} == set(classes)
    assert np.mean([row["predicted"] == row["label"] for row in rows]) > 0.8


def test_one_picture_without_a_label(work):
    assert work("train", "pictures.toml", "--epochs", 15).exit_code == 0
    result = work(
        "predict", "pictures.toml", "--weights", "runs/pictures/weights.safetensors", "--data", "pictures/eight/01.png"
    )
    assert re.search(r"^01\.png +eight ", result.stdout, re.MULTILINE)
