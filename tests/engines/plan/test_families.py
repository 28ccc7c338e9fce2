"""Batches of further operations are cut into tiles, and give what is computed in one piece."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import agrees_with_plain, ballast
from tinygraph.engines.plan.node import nodes_of
from tinygraph.engines.plan.tiles import analyse
from tinygraph.graph.batch import Each

BATCH = 66
IDS = np.random.default_rng(3).integers(0, 5, (BATCH, 3))
CLASSES = IDS[:, 0]

# Each takes x (samples of 4 features), w (5, 4) and v (3, 4), ids (samples of 3) and images (2, 4, 4).
CUT = {
    "embedding": lambda x, w, v, ids, images: tg.embedding(w, ids),
    "embedding, averaged": lambda x, w, v, ids, images: tg.mean(tg.embedding(w, ids), axis=1) * x,
    "gather rows": lambda x, w, v, ids, images: tg.gather(tg.constant(np.eye(5)[:, :4]) * w, ids, 0),
    "gather columns": lambda x, w, v, ids, images: tg.gather(x, np.array([[3, 0], [0, 1]]), 1),
    "gather of columns": lambda x, w, v, ids, images: tg.gather(w, ids, axis=1),
    "gather before": lambda x, w, v, ids, images: tg.gather(tg.transpose(x), np.array([[3, 0], [0, 1]]), 0),
    "gather_elements": lambda x, w, v, ids, images: tg.gather_elements(x, ids, axis=1),
    "gather_nd": lambda x, w, v, ids, images: tg.gather_nd(x, tg.expand_dims(ids, -1), batch_dims=1),
    "pad": lambda x, w, v, ids, images: tg.pad(images, ((0, 0), (0, 0), (1, 2), (0, 1)), mode="reflect"),
    "resize": lambda x, w, v, ids, images: tg.resize(images, scale=1.5),
    "blocks": lambda x, w, v, ids, images: tg.space_to_depth(images, 2) * tg.space_to_depth(images, 2, mode="CRD"),
    "top_k": lambda x, w, v, ids, images: tg.top_k(x, 2),
    "cumsum": lambda x, w, v, ids, images: tg.cumsum(x, 1),
    "norms": lambda x, w, v, ids, images: tg.l2_norm(x, 1) + tg.l1_norm(x, 1),
    "tile": lambda x, w, v, ids, images: tg.tile(x, (1, 3)),
    "trilu": lambda x, w, v, ids, images: tg.trilu(images, 1),
    "einsum": lambda x, w, v, ids, images: tg.einsum([x, w], "bi,ji->bj"),
    "einsum summed": lambda x, w, v, ids, images: tg.einsum([x, x, w], "bi,bj,ki->kj"),
    "bilinear": lambda x, w, v, ids, images: tg.einsum([x, w, x, tg.constant(np.ones((5, 4)))], "bi,ki,bj,kj->bk"),
    "hard tanh": lambda x, w, v, ids, images: tg.hard_tanh(x, low=-0.5),
    "l1": lambda x, w, v, ids, images: tg.l1(x, x * x),
    "huber": lambda x, w, v, ids, images: tg.huber(x, tg.sin(x)),
    "kl": lambda x, w, v, ids, images: tg.kl_divergence(tg.log_softmax(x), tg.softmax(2 * x)),
}
MIXED = {
    "rows of samples": lambda x, w, v, ids, images: tg.gather(x, np.array([0, 5, 5]), 0),
    "looked up in samples": lambda x, w, v, ids, images: tg.embedding(x, ids),
    "running sum over samples": lambda x, w, v, ids, images: tg.cumsum(x, 0),
    "largest samples": lambda x, w, v, ids, images: tg.top_k(x, 3, axis=0),
    "product over samples": lambda x, w, v, ids, images: tg.prod(x, axis=0),
    "samples tiled": lambda x, w, v, ids, images: tg.tile(x, (2, 1)),
    "triangle of samples": lambda x, w, v, ids, images: tg.trilu(x),
    "all with all": lambda x, w, v, ids, images: tg.einsum([x, x], "bi,ci->bc"),
    "diagonal": lambda x, w, v, ids, images: tg.einsum([tg.einsum([x, x], "bi,ci->bc")], "bb->b"),
    "scattered samples": lambda x, w, v, ids, images: tg.scatter_add(x, CLASSES, 5),
    "elements of samples": lambda x, w, v, ids, images: tg.gather_elements(x, IDS[:, :1] % 4, axis=0),
    "coordinates": lambda x, w, v, ids, images: tg.gather_nd(x, ids[:, :1]),
}


def leaves():
    rng = np.random.default_rng(0)
    x, ids = tg.input("x", (BATCH, 4), "float64"), tg.input("ids", (BATCH, 3), "int64")
    images = tg.input("images", (BATCH, 2, 4, 4), "float64")
    w = tg.parameter(rng.standard_normal((5, 4)), name="w")
    v = tg.parameter(rng.standard_normal((3, 4)), name="v")
    feeds = {"x": rng.standard_normal((BATCH, 4)), "ids": IDS % 4, "images": rng.standard_normal((BATCH, 2, 4, 4))}
    return (x, w, v, ids, images), feeds


def recorded(case):
    given, feeds = leaves()
    y = (CUT | MIXED)[case](*given)
    wanted = [leaf for leaf in given if leaf.dtype == float and leaf in tg.Graph(y).leaves]
    weight, fed = ballast(BATCH)
    outputs = [y, *tg.grad((y * y).sum(), wanted, unreached="zeros"), weight]
    names = tg.Graph(outputs).inputs
    return given, outputs, {name: value for name, value in (feeds | fed).items() if name in names}


def analysed(outputs):
    graph = tg.Graph(outputs)
    return analyse(nodes_of(graph), dict.fromkeys(graph.inputs.values(), 0), BATCH)


@pytest.mark.parametrize("case", CUT)
def test_samples_are_told_apart(case):
    _, outputs, _ = recorded(case)
    found = analysed(outputs)
    assert found is not None
    assert any(isinstance(tiling.state, Each) for tiling in found.values())


@pytest.mark.parametrize("case", MIXED)
def test_mixed_samples_are_not_cut(case):
    given, _, _ = recorded(case)
    assert analysed([MIXED[case](*given) * 1.0]) is None


@pytest.mark.parametrize("case", [*CUT, *MIXED])
def test_tiles_give_what_one_piece_gives(case):
    _, outputs, feeds = recorded(case)
    plan = agrees_with_plain(outputs, feeds, BATCH, threads=2)
    assert bool(re.search(r"tiles: \d", plan.describe())) == (case in CUT)
