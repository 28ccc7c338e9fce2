"""Models of one's own from the command line: two inputs, a loss and a metric of one's own, a backbone from other weights."""

import csv
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import tinygraph as tg

SIAMESE = """
[inputs]
left = [1, 8, 8]
right = [1, 8, 8]
same = [1]

[parameters]
W = { shape = [64, 16], init = "glorot_uniform" }
b = { shape = [16], init = "zeros" }
far = { value = [1.0] }

[model]
equations = '''
p = tanh(flatten(left) @ W + b)
q = tanh(flatten(right) @ W + b)
d = sum((p - q) ** 2, axis=1, keepdims=True)
a = sigmoid(far - d)
cost = bce(a, same)
'''
output = "a"
loss = "cost"

[training]
data = "pairs.npz"
epochs = 30
optimizer = "adam"
learning_rate = 0.01
"""
OWN_LOSS = """
[inputs]
x = [2]
y = [1]

[parameters]
W = { shape = [2, 1], init = "zeros" }
b = { shape = [1], init = "zeros" }

[model]
equations = '''
p = x @ W + b
cost = mean(softplus(p - y) + softplus(y - p))
near = mean(cast(abs(p - y) < 0.2, "float32"))
'''
output = "p"
loss = "cost"
metric = "near"

[training]
data = "plane.csv"
epochs = 60
learning_rate = 0.5
"""
BACKBONE = """
[inputs]
Inp = [1, 8, 8]
y = { shape = [], dtype = "int64" }

[parameters]
K1 = { shape = [8, 1, 3, 3], init = "he_normal", trainable = false }
B1 = { shape = [8, 1, 1], init = "zeros" }
W = { shape = ["f.shape[1]", CLASSES], init = "glorot_uniform" }
b = { shape = [CLASSES], init = "zeros" }

[model]
equations = '''
C1 = relu(conv2d(Inp, K1, padding=1) + B1)
f = flatten(max_pool2d(C1, 2))
z = f @ W + b
a = softmax(z)
cost = cross_entropy(z, y)
'''
output = "a"
loss = "cost"

[training]
epochs = 5
"""


def test_a_model_with_two_inputs(run):
    Path("siamese.toml").write_text(SIAMESE, encoding="utf-8")
    (images, digits), rng = tg.load_data("digits").train, np.random.default_rng(0)
    left, right = rng.permutation(len(digits)), rng.permutation(len(digits))
    # As many pairs of the same digit as of different ones.
    alike = np.flatnonzero(digits[left] == digits[right])
    chosen = np.concatenate([alike, np.flatnonzero(digits[left] != digits[right])[: len(alike)]])
    left, right = left[chosen], right[chosen]
    same = (digits[left] == digits[right]).astype(np.float32)[:, None]
    np.savez("pairs.npz", left=images[left], right=images[right], same=same)
    assert run("train", "siamese.toml").exit_code == 0
    weights = ("--weights", "runs/siamese/weights.safetensors")
    result = run("evaluate", "siamese.toml", *weights, "--part", "train")
    assert result.exit_code == 0
    assert float(result.stdout.partition("accuracy ")[2].split(",")[0]) > 0.8
    for command in ("predict", "draw", "notes", "check", "explain", "equations"):
        options = {
            "draw": ["--data", "pairs.npz", "--sample", 3, "-o", "s.gv"],
            "notes": ["-o", "s.md"],
            "explain": ["dW[2,0]"],
        }
        result = run(command, "siamese.toml", *options.get(command, []), *(weights if command == "predict" else ()))
        assert result.exit_code == 0, result.output


def test_a_loss_and_a_metric_of_ones_own(run):
    Path("plane.toml").write_text(OWN_LOSS, encoding="utf-8")
    rng = np.random.default_rng(0)
    with open("plane.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["first", "second", "y"])
        for first, second in rng.normal(size=(200, 2)):
            table.writerow([first, second, 2 * first - second + 0.5])
    result = run("train", "plane.toml")
    assert result.exit_code == 0, result.output
    assert "test near 1.0000" in result.stdout
    history = list(csv.DictReader(Path("runs/plane/history.csv").read_text(encoding="utf-8").splitlines()))
    assert float(history[0]["near"]) < 0.5
    assert float(history[-1]["test_near"]) == 1
    result = run("evaluate", "plane.toml", "--weights", "runs/plane/weights.safetensors")
    assert "near 1.0000" in result.stdout
    np.testing.assert_allclose(load_file("runs/plane/weights.safetensors")["W"], [[2], [-1]], atol=0.05)


def test_a_backbone_that_is_loaded_and_frozen(run):
    (images, digits) = tg.load_data("digits").train
    for classes in (10, 3):
        kept = digits < classes
        np.savez(f"digits{classes}.npz", x=images[kept], y=digits[kept])
    Path("net3.toml").write_text(BACKBONE.replace("CLASSES", "3"), encoding="utf-8")
    Path("net10.toml").write_text(
        BACKBONE.replace("CLASSES", "10").replace(", trainable = false", ""), encoding="utf-8"
    )
    assert run("train", "net10.toml", "--data", "digits10.npz").exit_code == 0
    weights = "runs/net10/weights.safetensors"
    # The layer for ten classes does not fit three.
    refused = run("train", "net3.toml", "--data", "digits3.npz", "--weights", weights)
    assert refused.exit_code == 2
    assert "'W'" in refused.stderr
    options = ("--data", "digits3.npz", "--weights", weights, "--only", "K1", "--only", "B1", "--freeze", "B1")
    result = run("train", "net3.toml", *options)
    assert result.exit_code == 0, result.output
    before, after = load_file(weights), load_file("runs/net3/weights.safetensors")
    for name in ("K1", "B1"):
        assert after[name].tobytes() == before[name].tobytes()
    assert after["W"].shape == (128, 3)
    result = run("evaluate", "net3.toml", "--data", "digits3.npz", "--weights", "runs/net3/weights.safetensors")
    assert float(result.stdout.partition("accuracy ")[2].split(",")[0]) > 0.9
