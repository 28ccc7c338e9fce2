"""Every bundled model trains on XLA as on the plan; every operation's own samples give what plain evaluation gives."""

import itertools

import numpy as np
import pytest

import tinygraph as tg

jax = pytest.importorskip("jax")
from tests.conformance.operations import calls
from tests.engines.xla.models import NAMES, OPTIMIZERS, difference, model_in, size_for
from tinygraph.engines.plan.node import nodes_of
from tinygraph.engines.xla.lower import Lowering
from tinygraph.engines.xla.table import TABLE, TRANSPOSED


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "optimizer"), [*itertools.product(NAMES, OPTIMIZERS)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_twenty_steps_are_those_of_the_plan(name, optimizer, dtype):
    losses, moved = difference(name, OPTIMIZERS[optimizer], dtype, size_for(name), odd=False)
    assert losses < (1e-12 if dtype == "float64" else 1e-5)
    assert dtype == "float32" or moved < 1e-11


@pytest.mark.parametrize("name", [name for name, f in tg.operations().items() if f.__module__.startswith("tinygraph.")])
def test_every_record_runs_under_jit_and_none_on_the_host(name):
    """Forward and gradients of all samples of an operation, as one program."""
    outputs, feeds = [], {}
    for call in calls([name]):
        if call.result() is None:
            continue
        leaves = [tg.input(f"x{len(feeds) + i}", x.shape, x.dtype) for i, x in enumerate(call.inputs)]
        y = call(leaves)
        feeds |= {leaf.name: x for leaf, x in zip(leaves, call.inputs, strict=True)}
        floating = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
        dy = np.random.default_rng(7).standard_normal(y.shape)
        outputs += [y, *(tg.grad(y, floating, dy, "zeros") if y.dtype.kind == "f" and floating else [])]
    graph = tg.Graph(outputs)
    given = {leaf: feeds[name] for name, leaf in graph.inputs.items()}
    lowering = Lowering(nodes_of(graph), [], 1)
    with jax.enable_x64(True):
        program = jax.jit(lambda values: lowering(dict(zip(given, values, strict=True)))).lower(list(given.values()))
        # What is optimized is tested by models; without that, compilation takes two thirds of the time.
        found, good = program.compile({"xla_backend_optimization_level": "0"})(list(given.values()))
    assert not lowering.on_host
    assert good
    with np.errstate(all="ignore"):
        wanted = tg.run(graph, {name: feeds[name] for name in graph.inputs})
    for x, y in zip(found, wanted, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-12)


def test_the_table_is_small():
    """Entries are for what XLA has its own word for, and transposes need none."""
    assert len(TABLE) <= 12
    assert not set(TABLE) & set(TRANSPOSED)


def test_nothing_global_changes():
    model = model_in("float64", "xor")
    model.compile_step("sgd", 4, engine="xla")
    assert jax.numpy.asarray(1.0).dtype == np.float32


@pytest.mark.parametrize(("precision", "close"), [("full", 1e-6), ("fast", 1e-6), ("bfloat16", 2e-2)])
def test_products_have_the_precision_asked_for(precision, close):
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((2, 3, 8, 8)).astype("f"), rng.standard_normal((4, 3, 3, 3)).astype("f")
    W = rng.standard_normal((6, 5)).astype("f")
    y = tg.conv2d(tg.input("x", x.shape), tg.parameter(k, name="k"))
    z = y @ tg.parameter(W, name="W")
    graph = tg.Graph([z, *tg.grad((z * z).sum(), [tg.Graph(z).parameters["k"]])])
    found, wanted = tg.compile(graph, engine="xla", precision=precision)({"x": x}), tg.run(graph, {"x": x})
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == np.float32
        assert np.abs(a - b).max() <= close * np.abs(b).max()
    if precision == "bfloat16":
        assert np.abs(found[0] - wanted[0]).max() > 1e-4 * np.abs(wanted[0]).max()
