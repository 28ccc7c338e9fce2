"""Training with normalizations and dropout: by a plan in tiles, and step by step as PyTorch trains."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg
from tinygraph.engines.plan import tiles
from tinygraph.train import SGD, initial_state, training_step

EVERYTHING = {
    "inputs": {"x": [6, 4], "y": {"shape": [], "dtype": "int64"}},
    "parameters": {
        "W": {"shape": ["f.shape[1]", 3], "init": "he_normal"},
        "b": {"shape": [3], "init": "zeros"},
        "g": {"shape": [6], "init": "uniform", "low": 0.5, "high": 1.5},
        "s": {"shape": [6], "init": "normal", "std": 0.1},
        "h": {"shape": [4], "init": "ones"},
        "u": {"shape": [4], "init": "zeros"},
    },
    "state": {
        "key": {"shape": [], "init": "seed", "next": "key + 1"},
        "seen": {"shape": [], "init": "zeros", "next": "seen + 1"},
    },
    "equations": """
        L = layer_norm(x, h, u)
        G = group_norm(L, g, s, groups=2)
        I = instance_norm(G, g, s)
        R = local_response_norm(I, size=3, alpha=0.5)
        f = flatten(dropout(R, key, rate=0.3))
        Z = dropout(f, key) @ W + b
        spread = mean(variance(Z, axis=1))
        cost = cross_entropy(Z, y) + 0.01 * spread
    """,
    "output": "Z",
    "loss": "cost",
    "dtype": "float64",
}


@pytest.fixture
def small_tiles(monkeypatch):
    """Plans cut batches of any size."""
    for name, value in {"CACHE_BYTES": 1, "LEAST_SAMPLES": 7, "LEAST_SAMPLES_ON_THREADS": 7}.items():
        monkeypatch.setattr(tiles, name, value)
    for cost in ("START", "WAIT", "MOVE", "SHARE"):
        monkeypatch.setattr(tiles, cost, 0.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_take_their_part_of_what_is_left_out(small_tiles, threads):
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((50, 6, 4)), "y": rng.integers(0, 3, 50)}
    plain, cut = tg.Model(**EVERYTHING), tg.Model(**EVERYTHING)
    optimizer = SGD(0.3, momentum=0.9)
    step, state = training_step(plain, optimizer, 50), initial_state(plain, optimizer)
    other = cut.compile_step(optimizer, 50, threads=threads)
    assert len(other.schedule.tiles) > 4
    for _ in range(4):
        output, loss = step(feeds, state)
        found, again = other(feeds)
        assert_allclose(found, output, rtol=1e-10, atol=1e-12)
        assert_allclose(again, loss, rtol=1e-12)
    for name, tensor in {**plain.parameters, **plain.state}.items():
        assert_allclose({**cut.parameters, **cut.state}[name].value, tensor.value, rtol=1e-9, atol=1e-12)
    assert cut.state["seen"].value == 4


@pytest.mark.parametrize(
    ("equation", "cut"),
    [
        ("batch_norm(x, g, g, g, g, training=True)", True),
        ("batch_norm(x, g, g, g, g)", True),
        ("standardize(x, axis=(0, 2))", True),
        ("standardize(x, axis=None)", True),
        ("standardize(x, axis=1)", True),
        ("variance(x, axis=0) + x", True),
        ("variance(x, axis=(1, 2), keepdims=True) + x", True),
        ("moving_sum(x, 1, 1, axis=0)", False),
        ("moving_sum(x, 1, 1, axis=1)", True),
        ("instance_norm(x, g, g)", True),
        ("group_norm(x, g, g, groups=3)", True),
    ],
)
def test_normalizations_are_cut_unless_they_mix_samples_and_compute_the_same(small_tiles, equation, cut):
    model = tg.Model(
        inputs={"x": [6, 4]},
        parameters={"g": {"shape": [6], "init": "uniform", "low": 0.5, "high": 1.5}},
        equations=f"p = {equation} * g[0]\ncost = mean(p * p * p)",
        output="p",
        loss="cost",
        dtype="float64",
    )
    x = np.random.default_rng(1).standard_normal((40, 6, 4))
    graph = model.graph(40)
    gradients = tg.grad(graph.outputs[1], [graph.inputs["x"], graph.parameters["g"]])
    plan = tg.compile([*graph.outputs, *gradients], 40, threads=1)
    assert plan.schedule.mixes_samples is not cut
    assert (len(plan.schedule.tiles) > 1) is cut
    for found, expected in zip(plan({"x": x}), tg.run([*graph.outputs, *gradients], {"x": x}), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


# ---- beside PyTorch

BATCHES = 12
NET = {
    "inputs": {"x": [2, 6, 6], "y": {"shape": [], "dtype": "int64"}},
    "parameters": {
        "K": {"shape": [4, 2, 3, 3], "init": "he_normal"},
        "G": {"shape": [4], "init": "uniform", "low": 0.5, "high": 1.5},
        "B": {"shape": [4], "init": "normal", "std": 0.1},
        "W": {"shape": ["f.shape[1]", 3], "init": "he_normal"},
        "b": {"shape": [3], "init": "zeros"},
    },
    "state": {
        "mean": {"shape": [4], "init": "zeros", "next": "running_mean(mean, Z)"},
        "variance": {"shape": [4], "init": "ones", "next": "running_variance(variance, Z)"},
    },
    "equations": """
        Z = conv2d(x, K, padding=1)
        N = batch_norm(Z, G, B, mean, variance)
        f = flatten(max_pool2d(relu(N), 2))
        S = f @ W + b
        cost = cross_entropy(S, y)
    """,
    "output": "S",
    "loss": "cost",
    "dtype": "float64",
}
# Loss of each batch, and the running statistics after the last, by PyTorch 2.13 in float64 (pytorchs, below).
LOSSES = [
    2.658573387168739,
    1.4236480321460983,
    1.1916653779315913,
    2.18991840553507,
    1.079538326216348,
    1.4026983957945525,
    1.2000774289392016,
    1.1757298300452013,
    1.1388781658308145,
    1.1196919827947451,
    1.1280605264277552,
    1.0893994257541175,
]
MEAN = [0.005826098712733351, -0.024917854140820234, -0.012477032444961272, -0.015149673788430042]
VARIANCE = [1.1850185530332003, 1.6762390237557592, 1.3647271072526932, 1.4656130454374519]
PREDICTED = [0.021595275070266793, -0.059366429499785864, 0.037771154429519185]


def batches():
    rng = np.random.default_rng(5)
    return [(rng.standard_normal((8, 2, 6, 6)), rng.integers(0, 3, 8)) for _ in range(BATCHES)]


def trained() -> tuple[list[float], Any, Any, Any]:
    """Losses, running statistics, and the prediction of one sample."""
    model = tg.Model(**NET)
    step = model.compile_step(SGD(0.1, momentum=0.9), 8)
    losses = [step({"x": x, "y": y})[1] for x, y in batches()]
    predicted = model.predict(batches()[0][0][:1])[0]
    return losses, model.state["mean"].value, model.state["variance"].value, predicted


def pytorchs() -> tuple[list[float], Any, Any, Any]:
    """The same by PyTorch, from the same parameters."""
    import torch
    from torch import nn

    first = {name: torch.tensor(p.value) for name, p in tg.Model(**NET).parameters.items()}
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 3),
    ).double()
    with torch.no_grad():
        for name, value in {"0.weight": "K", "1.weight": "G", "1.bias": "B", "5.bias": "b"}.items():
            net.get_parameter(name).copy_(first[value])
        net.get_parameter("5.weight").copy_(first["W"].T)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    losses = []
    for x, y in batches():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        predicted = net(torch.tensor(batches()[0][0][:1]))[0].numpy()
    return losses, net[1].running_mean.numpy(), net[1].running_var.numpy(), predicted


def test_training_with_running_statistics_follows_pytorch():
    for found, expected in zip(trained(), (LOSSES, MEAN, VARIANCE, PREDICTED), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.oracle
def test_training_with_running_statistics_follows_pytorch_live():
    pytest.importorskip("torch")
    for found, expected in zip(trained(), pytorchs(), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("compiled_step", [True, False])
@pytest.mark.parametrize("places", [[], [1], [2]])
def test_a_last_batch_of_one_leaves_the_running_variance_alone(places, compiled_step):
    model = tg.Model(
        inputs={"x": [3, *places], "y": [3, *places]},
        parameters={"g": {"shape": [3], "init": "ones"}, "s": {"shape": [3], "init": "zeros"}},
        state={
            "mean": {"shape": [3], "init": "zeros", "next": "running_mean(mean, x)"},
            "variance": {"shape": [3], "init": "ones", "next": "running_variance(variance, x)"},
        },
        equations="B = batch_norm(x, g, s, mean, variance)\ncost = mse(B, y)",
        output="B",
        loss="cost",
    )
    x = np.random.default_rng(0).normal(5, 2, (41, 3, *places)).astype("float32")
    expected, order = np.ones(3), np.random.default_rng([0, 1]).permutation(41)
    for start in range(0, 40 if places != [2] else 41, 8):
        batch = np.moveaxis(x[order[start : start + 8]], 1, -1).reshape(-1, 3)
        expected = 0.9 * expected + 0.1 * batch.var(axis=0, ddof=1)
    tg.fit(model, (x, x), SGD(0.1), epochs=1, batch_size=8, seed=0, compiled=compiled_step)
    assert_allclose(model.state["variance"].value, expected, rtol=1e-5)
