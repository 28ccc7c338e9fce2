"""Values, gradients and second gradients of operations beside those of PyTorch, live."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygraph as tg

pytestmark = pytest.mark.oracle


class Lazily:
    """A module that is loaded when something of it is asked for: collecting these tests loads nothing."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        if name.startswith("_"):
            # What pytest asks of everything that it finds in a file.
            raise AttributeError(name)
        return getattr(pytest.importorskip(self.module), name)


torch, F = Lazily("torch"), Lazily("torch.nn.functional")

RNG = np.random.default_rng(0)
X = RNG.choice([-1.0, 1.0], (3, 4)) * RNG.uniform(0.2, 2.0, (3, 4))
HUGE = np.array([-1e200, -800.0, -30.0, 30.0, 800.0, 1e200])
INSIDE = RNG.uniform(-0.9, 0.9, (3, 4))
IMAGE = RNG.standard_normal((2, 4, 3, 4))
LOGS = np.log(RNG.dirichlet(np.ones(3), 5))
CHANCES = RNG.dirichlet(np.ones(3), 5)
CLASSES = np.array([0, 2, 1, 1, 0])
SIGNS = np.sign(X).astype(int)
PLACES = np.array([2, 0, 0, -1])
SPOTS = np.array([[2, 0, 0, 1], [1, 1, 2, 0]])
ZEROS = np.array([[2.0, 3.0, -4.0], [2.0, 0.0, 5.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])


def whole(indices):
    return torch.tensor(indices % 3)


def called(name, *x):
    return getattr(torch, name)(*x)


SAME = ["sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "reciprocal", "floor", "ceil", "trunc", "round"]
UNARY = {
    "elu": lambda x: F.elu(x),
    "selu": lambda x: F.selu(x),
    "celu": lambda x: F.celu(x),
    "relu6": lambda x: F.relu6(x),
    "hard_tanh": lambda x: F.hardtanh(x),
    "hard_swish": lambda x: F.hardswish(x),
    "silu": lambda x: F.silu(x),
    "mish": lambda x: F.mish(x),
    "softsign": lambda x: F.softsign(x),
    "log_sigmoid": lambda x: F.logsigmoid(x),
    **{name: partial(called, name) for name in SAME},
}
CASES = {
    **{name: (getattr(tg, name), function, [X]) for name, function in UNARY.items()},
    **{name: (getattr(tg, name), partial(called, name), [INSIDE]) for name in ("asin", "acos", "atanh")},
    "acosh": (tg.acosh, partial(called, "acosh"), [abs(X) + 1.5]),
    "hypot": (tg.hypot, partial(called, "hypot"), [X, INSIDE]),
    "elu alpha": (lambda x: tg.elu(x, alpha=0.3), lambda x: F.elu(x, 0.3), [X]),
    "celu alpha": (lambda x: tg.celu(x, alpha=0.5), lambda x: F.celu(x, 0.5), [X]),
    "hard sigmoid": (lambda x: tg.hard_sigmoid(x, alpha=1 / 6), lambda x: F.relu6(x + 3) / 6, [2.3 * X]),
    "hard swish far": (tg.hard_swish, lambda x: F.hardswish(x), [2.3 * X]),
    "thresholded": (lambda x: tg.thresholded_relu(x, alpha=0.5), lambda x: F.threshold(x, 0.5, 0.0), [X]),
    "prelu": (
        lambda x, a: tg.prelu(x, tg.reshape(a, (4, 1, 1))),
        lambda *x: F.prelu(*x),
        [IMAGE, np.array([0.1, 0.2, -0.3, 0.0])],
    ),
    "mod": (tg.mod, partial(called, "remainder"), [X, INSIDE]),
    "fmod": (lambda x, y: tg.mod(x, y, fmod=True), partial(called, "fmod"), [X, INSIDE]),
    "prod": (tg.prod, partial(called, "prod"), [X]),
    "prod of zeros": (lambda x: tg.prod(x, axis=1), lambda x: torch.prod(x, 1), [ZEROS]),
    "cumsum": (lambda x: tg.cumsum(x, 1), lambda x: torch.cumsum(x, 1), [X]),
    "l1_norm": (lambda x: tg.l1_norm(x, 1), lambda x: torch.linalg.vector_norm(x, 1, dim=1), [X]),
    "l2_norm": (lambda x: tg.l2_norm(x, 0), lambda x: torch.linalg.vector_norm(x, dim=0), [X]),
    "gather": (lambda x: tg.gather(x, PLACES, 0), lambda x: torch.index_select(x, 0, whole(PLACES)), [X]),
    "gather_elements": (lambda x: tg.gather_elements(x, SPOTS), lambda x: torch.gather(x, 0, torch.tensor(SPOTS)), [X]),
    "scatter_add": (
        lambda x: tg.scatter_add(x, PLACES % 3, 5, 1),
        lambda x: torch.zeros(3, 5, dtype=x.dtype).index_add(1, whole(PLACES), x),
        [X],
    ),
    "scatter_add_elements": (
        lambda x: tg.scatter_add_elements(x[:2], SPOTS, (3, 4)),
        lambda x: torch.zeros(3, 4, dtype=x.dtype).scatter_add(0, torch.tensor(SPOTS), x[:2]),
        [X],
    ),
    "embedding": (lambda w: tg.embedding(w, SPOTS), lambda w: F.embedding(torch.tensor(SPOTS), w), [X]),
    "top_k": (lambda x: tg.top_k(x, 2), lambda x: torch.topk(x, 2).values, [X]),
    "top_k smallest": (
        lambda x: tg.top_k(x, 2, axis=0, largest=False),
        lambda x: torch.topk(x, 2, dim=0, largest=False).values,
        [X],
    ),
    "split": (
        lambda x: tg.split(x, [1, 3], axis=1)[1] * tg.split(x, 4, axis=1)[3],
        lambda x: torch.split(x, [1, 3], dim=1)[1] * torch.split(x, 1, dim=1)[3],
        [X],
    ),
    "tile": (lambda x: tg.tile(x, (2, 3, 1)), lambda x: torch.tile(x, (2, 3, 1)), [X]),
    "triu": (lambda x: tg.trilu(x, 1), lambda x: torch.triu(x, 1), [X]),
    "tril": (lambda x: tg.trilu(x, -1, upper=False), lambda x: torch.tril(x, -1), [X]),
    "pixel shuffle": (
        lambda x: tg.depth_to_space(x, 2, mode="CRD"),
        lambda x: F.pixel_shuffle(x, 2),
        [IMAGE],
    ),
    "pixel unshuffle": (
        lambda x: tg.space_to_depth(x[:, :, :2], 2, mode="CRD"),
        lambda x: F.pixel_unshuffle(x[:, :, :2], 2),
        [IMAGE],
    ),
    "nearest": (
        lambda x: tg.resize(x, size=(7, 3), coordinates="asymmetric", rounding="floor"),
        lambda x: F.interpolate(x, size=(7, 3), mode="nearest"),
        [IMAGE],
    ),
    "bilinear": (
        lambda x: tg.resize(x, size=(7, 3), mode="linear"),
        lambda x: F.interpolate(x, size=(7, 3), mode="bilinear"),
        [IMAGE],
    ),
    "bicubic": (
        lambda x: tg.resize(x, size=(7, 3), mode="cubic"),
        lambda x: F.interpolate(x, size=(7, 3), mode="bicubic"),
        [IMAGE],
    ),
    "bicubic, corners": (
        lambda x: tg.resize(x, size=(3, 9), mode="cubic", coordinates="align_corners"),
        lambda x: F.interpolate(x, size=(3, 9), mode="bicubic", align_corners=True),
        [IMAGE],
    ),
    "trilinear, corners": (
        lambda x: tg.resize(x[None], size=(2, 5, 1), mode="linear", coordinates="align_corners"),
        lambda x: F.interpolate(x[None], size=(2, 5, 1), mode="trilinear", align_corners=True),
        [IMAGE],
    ),
    "nearest exact": (
        lambda x: tg.resize(x, scale=2.0, rounding="round_prefer_ceil"),
        lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"),
        [IMAGE],
    ),
    "pad reflect": (
        lambda x: tg.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode="reflect"),
        lambda x: F.pad(x, (3, 0, 1, 2), "reflect"),
        [IMAGE],
    ),
    "pad edge": (
        lambda x: tg.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode="edge"),
        lambda x: F.pad(x, (3, 0, 1, 2), "replicate"),
        [IMAGE],
    ),
    "pad wrap": (
        lambda x: tg.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode="wrap"),
        lambda x: F.pad(x, (3, 0, 1, 2), "circular"),
        [IMAGE],
    ),
    "l1": (tg.l1, lambda *x: F.l1_loss(*x), [X, INSIDE]),
    "huber": (lambda p, t: tg.huber(p, t, delta=0.7), lambda p, t: F.huber_loss(p, t, delta=0.7), [X, INSIDE]),
    "smooth_l1": (
        lambda p, t: tg.smooth_l1(p, t, beta=0.7),
        lambda p, t: F.smooth_l1_loss(p, t, beta=0.7),
        [X, INSIDE],
    ),
    "hinge": (lambda s: tg.hinge(s, SIGNS), lambda s: torch.clamp(1 - torch.tensor(SIGNS) * s, min=0).mean(), [X]),
    "nll": (lambda z: tg.nll(z, CLASSES), lambda z: F.nll_loss(z, torch.tensor(CLASSES)), [LOGS]),
    "kl_divergence": (tg.kl_divergence, lambda z, y: F.kl_div(z, y, reduction="batchmean"), [LOGS, CHANCES]),
}

EINSUMS = {
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ii": [(3, 3)],
    "iij->j": [(3, 3, 2)],
    "ij->": [(2, 3)],
    "...ij,...jk->...ik": [(2, 1, 2, 3), (4, 3, 2)],
    "bi,ij,bj->b": [(3, 2), (2, 4), (3, 4)],
    "ij,ji": [(2, 3), (3, 2)],
    "i,j->ij": [(2,), (3,)],
    "bhqd,bhkd->bhqk": [(2, 2, 3, 4), (2, 2, 3, 4)],
}
for equation, shapes in EINSUMS.items():
    CASES[f"einsum {equation}"] = (
        lambda *x, equation=equation: tg.einsum(list(x), equation),
        lambda *x, equation=equation: torch.einsum(equation, *x),
        [RNG.standard_normal(shape) for shape in shapes],
    )


def of_tinygraph(function, arrays, weights):
    leaves = [tg.tensor(x) for x in arrays]
    y = function(*leaves)
    first = tg.grad(y, leaves, cotangent=weights(y.shape), unreached="zeros")
    total = tg.add_all([(dx * weights(dx.shape)).sum() for dx in first])
    second = tg.grad(total, leaves, unreached="zeros")
    return [y.value, *(dx.value for dx in first), *(dx.value for dx in second)]


def of_torch(function, arrays, weights):
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = function(*leaves)
    given = torch.tensor(weights(tuple(y.shape)))
    first = torch.autograd.grad(y, leaves, given, create_graph=True, materialize_grads=True)
    total = sum((dx * torch.tensor(weights(tuple(dx.shape)))).sum() for dx in first)
    second = [torch.zeros_like(x) for x in leaves]
    if total.requires_grad:
        second = torch.autograd.grad(total, leaves, materialize_grads=True)
    return [y.detach().numpy(), *(dx.detach().numpy(force=True) for dx in (*first, *second))]


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_of_both_orders_are_those_of_pytorch(case):
    ours, theirs, arrays = CASES[case]

    def weights(shape):
        return np.random.default_rng(7).standard_normal(shape)

    found, expected = of_tinygraph(ours, arrays, weights), of_torch(theirs, arrays, weights)
    for value, right in zip(found, expected, strict=True):
        assert_allclose(value, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "name", ["elu", "selu", "celu", "silu", "mish", "softsign", "log_sigmoid", "hard_swish", "atan", "asinh"]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_huge_numbers_give_what_pytorch_gives(name, dtype):
    array = (HUGE if dtype == "float64" else np.clip(HUGE, -1e30, 1e30)).astype(dtype)
    x, theirs = tg.tensor(array), torch.tensor(array, requires_grad=True)
    y = getattr(tg, name)(x)
    y.sum().backward()
    right = UNARY[name](theirs)
    right.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert_allclose(y.value, right.detach().numpy(), rtol=1e-5)
    assert_allclose(x.grad.value, theirs.grad.numpy(), rtol=1e-4, atol=1e-30)
