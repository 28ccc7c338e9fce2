"""What the tests of the plan share: feeds, a weight that makes plans cut tiles, the comparison of results."""

from functools import lru_cache
from pathlib import Path

import numpy as np

import tinygraph as tg

MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "models").glob("*.toml"))
# Relative to the largest number of an array, or to the least, where all that is left may be rounding.
LEAST = 0.01
ROUNDING = {"float64": 1e-12, "complex128": 1e-12, "float32": 1e-4, "float16": 5e-3}


def agree(found, expected, float64=ROUNDING["float64"]):
    """Assert that results are those of plain evaluation: arrays of its shapes, its dtypes, and its values but for rounding."""
    assert type(found) is tuple
    assert len(found) == len(expected)
    for number, (x, wanted) in enumerate(zip(found, expected, strict=True)):
        what = f"output {number}"
        assert type(x) is np.ndarray, what
        assert (x.shape, x.dtype) == (wanted.shape, wanted.dtype), what
        if wanted.dtype.kind not in "fc":
            np.testing.assert_array_equal(x, wanted, err_msg=what)
        else:
            scale = np.max(np.abs(wanted), initial=LEAST, where=np.isfinite(wanted))
            allowed = (ROUNDING | {"float64": float64})[wanted.dtype.name] * scale
            np.testing.assert_allclose(x, wanted, rtol=0, atol=allowed, err_msg=what)


def agrees_with_plain(outputs, feeds, batch_size=None, threads=2, float64=ROUNDING["float64"]):
    """Assert that a plan gives the results of ``tg.run``, also when it runs again; return the plan."""
    expected = tg.run(outputs, feeds)
    plan = tg.compile(outputs, batch_size, threads)
    for _ in range(2):
        agree(plan(feeds), expected, float64)
    return plan


def in_float64(name):
    """Return a bundled model in float64."""
    path = Path(__file__).parents[2] / "models" / f"{name}.toml"
    return tg.Model.from_toml('dtype = "float64"\n' + path.read_text(encoding="utf-8"))


def feeds_for(model, count, seed=0):
    """Return random samples and labels for a model."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name, declared in model.inputs.items():
        shape = (count, *declared.shape)
        if declared.dtype.kind == "i":
            feeds[name] = rng.integers(0, model.record(2).output.shape[-1], shape)
        elif name in model.labels:
            feeds[name] = rng.integers(0, 2, shape).astype(declared.dtype)
        else:
            feeds[name] = rng.standard_normal(shape).astype(declared.dtype)
    return feeds


def ballast(batch):
    """Return an output and the feeds of an input that make so much work of ``batch`` samples that a plan cuts it into tiles."""
    samples = _long_samples(batch)
    x = tg.input("ballast", samples.shape)
    return (tg.relu(x * 2) + x).sum(axis=1), {"ballast": samples}


@lru_cache
def _long_samples(batch):
    return np.random.default_rng(batch).standard_normal((batch, 2**20 // batch), np.float32)
