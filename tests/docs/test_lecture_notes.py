"""The lecture notes are true here: every equation of docs/notes.md against a transcription in plain NumPy.

Test names and parameters begin with the id of the statement they show, so ``pytest -k B8`` finds its test. Every
transcription takes tinygraph's values of the symbols on the right-hand side and must give the symbol on the left.
Star is cross-correlation, as in the page: ``star(image, kernel)`` slides the kernel without turning it.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.lecture_notes import PARAMETERS, close, gradient_of, image, named, record


def star(image, kernel):
    """Cross-correlation of two matrices: at (m, n), the sum of kernel times the part of the image under it."""
    rows, columns = kernel.shape
    result = np.empty((image.shape[0] - rows + 1, image.shape[1] - columns + 1))
    for m, n in np.ndindex(result.shape):
        result[m, n] = np.sum(image[m : m + rows, n : n + columns] * kernel)
    return result


def padded(image, amount):
    return np.pad(image, amount)


def rotated(kernel):
    return kernel[::-1, ::-1]


# ---- Forward


def convolution(x, kernels, biases, padding):
    """Conv(x, K) + B of the notes: for each filter, one correlation per channel, summed, and one number added."""
    return np.array(
        [
            [sum(map(star, (padded(c, padding) for c in sample), K)) + B for K, B in zip(kernels, biases, strict=True)]
            for sample in x
        ]
    )


def test_F1_first_convolution(cnn):
    close(cnn["Z1"], convolution(cnn["Inp"], cnn["K1"], cnn["B1"], cnn.padding))


def test_F2_first_relu(cnn):
    close(cnn["C1"], np.where(cnn["Z1"] > 0, cnn["Z1"], 0))


def test_F3_average_pool(cnn):
    P1 = np.empty(cnn["P1"].shape)
    for i, c, x, y in np.ndindex(P1.shape):
        P1[i, c, x, y] = sum(cnn["C1"][i, c, 2 * x + u, 2 * y + v] for u in (0, 1) for v in (0, 1)) / 4
    close(cnn["P1"], P1)


def test_F4_second_convolution(cnn):
    close(cnn["Z2"], convolution(cnn["P1"], cnn["K2"], cnn["B2"], cnn.padding))


def test_F5_second_relu(cnn):
    close(cnn["C2"], np.where(cnn["Z2"] > 0, cnn["Z2"], 0))


def test_F6_max_pool(cnn):
    P2 = np.empty(cnn["P2"].shape)
    for i, c, x, y in np.ndindex(P2.shape):
        P2[i, c, x, y] = max(cnn["C2"][i, c, 2 * x + u, 2 * y + v] for u in (0, 1) for v in (0, 1))
    close(cnn["P2"], P2)


def test_F7_flatten(cnn):
    m, channels, height, width = cnn["P2"].shape
    f = np.empty((m, channels * height * width))
    for i, c, x, y in np.ndindex(cnn["P2"].shape):
        f[i, (c * height + x) * width + y] = cnn["P2"][i, c, x, y]
    close(cnn["f"], f)


def test_F8_dense_layer_on_columns(cnn):
    W3 = cnn["W3"].T
    for i in range(cnn.m):
        f = cnn["f"][i].reshape(-1, 1)
        close(cnn["Z3"][i], (W3 @ f)[:, 0] + cnn["B3"])


def test_F9_sigmoid(cnn):
    close(cnn["a"], 1 / (1 + np.exp(-cnn["Z3"])))


def losses(y, a):
    return [-(y_i * np.log(a_i) + (1 - y_i) * np.log(1 - a_i)) for y_i, a_i in zip(y[:, 0], a[:, 0], strict=True)]


def test_F10_cost(cnn):
    close(cnn["cost"], sum(losses(cnn["y"], cnn["a"])) / cnn.m)


def test_F11_loss_is_the_cost_of_one_sample(cnn):
    single = [tg.bce(cnn["a"][i : i + 1], cnn["y"][i : i + 1]) for i in range(cnn.m)]
    close(single, losses(cnn["y"], cnn["a"]))
    close(cnn["cost"], np.mean(single))


# ---- Backward


def test_B1_output_error(cnn):
    close(cnn["dZ3"], (cnn["a"] - cnn["y"]) / cnn.m)


def test_B2_weight_gradient_on_columns(cnn):
    dW3 = np.zeros(cnn["W3"].T.shape)
    for i in range(cnn.m):
        dZ3, f = cnn["dZ3"][i].reshape(-1, 1), cnn["f"][i].reshape(-1, 1)
        dW3 += dZ3 @ f.T
    close(cnn["dW3"], dW3.T)


def test_B3_bias_gradient(cnn):
    dB3 = np.zeros(1)
    for i in range(cnn.m):
        dB3 += cnn["dZ3"][i]
    close(cnn["dB3"], dB3)


def test_B4_feature_gradient_on_columns(cnn):
    W3 = cnn["W3"].T
    for i in range(cnn.m):
        dZ3 = cnn["dZ3"][i].reshape(-1, 1)
        close(cnn["df"][i].reshape(-1, 1), W3.T @ dZ3)


def test_B5_reshape(cnn):
    dP2 = np.empty(cnn["P2"].shape)
    height, width = dP2.shape[2:]
    for i, c, x, y in np.ndindex(dP2.shape):
        dP2[i, c, x, y] = cnn["df"][i, (c * height + x) * width + y]
    close(cnn["dP2"], dP2)


def test_B6_gradient_goes_to_the_maximum(cnn):
    C2, dP2 = cnn["C2"], cnn["dP2"]
    dC2 = np.zeros(C2.shape)
    for i, c, x, y in np.ndindex(dP2.shape):
        places = [(2 * x + u, 2 * y + v) for u in (0, 1) for v in (0, 1)]
        m, n = max(places, key=lambda place: C2[i, c, *place])
        dC2[i, c, m, n] = dP2[i, c, x, y]
    close(cnn["dC2"], dC2)


def relu_gradient(dC, Z):
    dZ = np.empty(Z.shape)
    for place in np.ndindex(Z.shape):
        dZ[place] = dC[place] * (1 if Z[place] > 0 else 0)
    return dZ


def test_B7_second_relu_gradient(cnn):
    close(cnn["dZ2"], relu_gradient(cnn["dC2"], cnn["Z2"]))


def kernel_gradient(x, dZ, padding):
    """conv(x, dZ) of the notes: each padded input channel correlated with dZ of each filter, summed over samples."""
    return np.array(
        [
            [sum(star(padded(x[i, c], padding), dZ[i, k]) for i in range(len(x))) for c in range(x.shape[1])]
            for k in range(dZ.shape[1])
        ]
    )


def test_B8_second_kernel_gradient(cnn):
    close(cnn["dK2"], kernel_gradient(cnn["P1"], cnn["dZ2"], cnn.padding))


def bias_gradient(dZ):
    """sum(dZ) of the notes, per filter: over samples and positions."""
    dB = np.zeros((dZ.shape[1], 1, 1))
    for i, k, x, y in np.ndindex(dZ.shape):
        dB[k, 0, 0] += dZ[i, k, x, y]
    return dB


def test_B9_second_bias_gradient(cnn):
    close(cnn["dB2"], bias_gradient(cnn["dZ2"]))


def test_B10_full_correlation_with_the_rotated_kernel(cnn):
    K2, dZ2 = cnn["K2"], cnn["dZ2"]
    around = K2.shape[-1] - 1 - cnn.padding
    dP1 = np.zeros(cnn["P1"].shape)
    for i, c in np.ndindex(dP1.shape[:2]):
        for k in range(len(K2)):
            dP1[i, c] += star(padded(dZ2[i, k], around), rotated(K2[k, c]))
    close(cnn["dP1"], dP1)


def test_B11_a_quarter_to_each_place_of_the_window(cnn):
    dC1 = np.zeros(cnn["C1"].shape)
    for i, c, m, n in np.ndindex(dC1.shape):
        dC1[i, c, m, n] = 1 / 4 * cnn["dP1"][i, c, m // 2, n // 2]
    close(cnn["dC1"], dC1)


def test_B12_first_relu_gradient(cnn):
    close(cnn["dZ1"], relu_gradient(cnn["dC1"], cnn["Z1"]))


def test_B13_first_kernel_gradient(cnn):
    close(cnn["dK1"], kernel_gradient(cnn["Inp"], cnn["dZ1"], cnn.padding))


def test_B14_first_bias_gradient(cnn):
    close(cnn["dB1"], bias_gradient(cnn["dZ1"]))


@pytest.mark.parametrize(
    "symbol",
    [
        pytest.param(symbol, id=note)
        for note, symbol in zip(
            [f"B{i}" for i in range(1, 15)],
            ["Z3", "W3", "B3", "f", "P2", "C2", "Z2", "K2", "B2", "P1", "C1", "Z1", "K1", "B1"],
            strict=True,
        )
    ],
)
def test_gradient_carries_the_name_of_the_notes(cnn, symbol):
    gradient = cnn.gradients[symbol]
    assert gradient.name == "d" + symbol
    assert gradient.shape == cnn.tensors[symbol].shape


def test_B3_has_its_own_name_where_it_is_the_same_array_as_dZ3():
    f, W3 = tg.tensor([[1.0, 2.0]], name="f"), tg.parameter([[0.5], [-1.0]], name="W3")
    B3 = tg.parameter([[0.25]], name="B3")
    Z3 = named("Z3", f @ W3 + B3)
    cost = tg.bce(tg.sigmoid(Z3), np.array([[1.0]]))
    dZ3, dB3 = tg.grad(cost, [Z3, B3])
    close(dB3.value, dZ3.value)
    assert (dZ3.name, dB3.name) == ("dZ3", "dB3")
    (dB3_alone,) = tg.grad(cost, [B3])
    assert dB3_alone.name == "dB3"


@pytest.mark.parametrize(
    ("symbol", "operation"),
    [
        pytest.param("B3", "sum_to", id="B3"),
        pytest.param("P2", "reshape", id="B5"),
        pytest.param("C2", "max_unpool2d", id="B6"),
        pytest.param("K2", "conv2d_kernel_gradient", id="B8"),
        pytest.param("B2", "sum_to", id="B9"),
        pytest.param("P1", "conv_transpose2d", id="B10"),
        pytest.param("C1", "avg_unpool2d", id="B11"),
        pytest.param("K1", "conv2d_kernel_gradient", id="B13"),
        pytest.param("B1", "sum_to", id="B14"),
    ],
)
def test_rule_records_the_operation_that_the_page_names(cnn, symbol, operation):
    assert cnn.gradients[symbol].op.name == operation


@pytest.mark.parametrize(
    "symbol",
    [
        pytest.param("W3", id="B2"),
        pytest.param("B3", id="B3"),
        pytest.param("K2", id="B8"),
        pytest.param("B2", id="B9"),
        pytest.param("K1", id="B13"),
        pytest.param("B1", id="B14"),
    ],
)
def test_gradient_of_the_cost_is_the_mean_over_single_samples(cnn, symbol):
    leaves = {name: cnn.tensors[name] for name in PARAMETERS}
    total = 0
    for i in range(cnn.m):
        sample = {"Inp": tg.tensor(cnn["Inp"][i : i + 1]), "y": tg.tensor(cnn["y"][i : i + 1])}
        single = record(**leaves, **sample, padding=cnn.padding)
        total = total + tg.grad(single["cost"], [leaves[symbol]])[0].value
    close(cnn["d" + symbol], total / cnn.m)


# ---- The dense network (ANN) slide: samples are the columns of A1, A2, A3, Y


ACTIVATIONS = {
    "tanh": lambda Z: 1 - np.tanh(Z) ** 2,
    "sigmoid": lambda Z: np.exp(-Z) / (1 + np.exp(-Z)) ** 2,
    "relu": lambda Z: np.where(Z > 0, 1.0, 0.0),
}


@pytest.fixture(scope="module", params=list(itertools.product(ACTIVATIONS, ["sigmoid", "softmax"])), ids="-".join)
def ann(request):
    """One hidden layer with the activation f2, and one sigmoid output or three classes; m = 5 samples."""
    f2, out = request.param
    rng = np.random.default_rng(7)
    m, outputs = 5, 1 if out == "sigmoid" else 3
    A1 = tg.tensor(rng.normal(size=(m, 4)), name="A1")
    W2, B2 = tg.parameter(rng.normal(size=(4, 6)), name="W2"), tg.parameter(rng.normal(size=6), name="B2")
    W3, B3 = tg.parameter(rng.normal(size=(6, outputs)), name="W3"), tg.parameter(rng.normal(size=outputs), name="B3")
    Y = np.eye(3)[[0, 2, 1, 1, 0]][:, :outputs]
    Z2 = A1 @ W2 + B2
    A2 = tg.operation(f2)(Z2)
    Z3 = A2 @ W3 + B3
    A3 = tg.operation(out)(Z3)
    cost = tg.bce(A3, Y) if out == "sigmoid" else tg.cross_entropy(Z3, Y)
    dZ2, dZ3, dW3, dB3 = (gradient.value for gradient in tg.grad(cost, [Z2, Z3, W3, B3]))
    columns = {"A2": A2.value.T, "A3": A3.value.T, "Y": Y.T, "Z2": Z2.value.T, "W3": W3.value.T}
    return SimpleNamespace(m=m, f2=ACTIVATIONS[f2], dZ2=dZ2, dZ3=dZ3, dW3=dW3, dB3=dB3, **columns)


def test_A1_output_error(ann):
    close(ann.dZ3, (ann.A3 - ann.Y).T / ann.m)


def test_A2_weight_gradient(ann):
    dZ3 = ann.A3 - ann.Y
    close(ann.dW3, (1 / ann.m * dZ3 @ ann.A2.T).T)


def test_A3_bias_gradient(ann):
    dZ3 = ann.A3 - ann.Y
    close(ann.dB3, 1 / ann.m * np.sum(dZ3, 1))


def test_A4_hidden_error(ann):
    dZ3 = ann.A3 - ann.Y
    close(ann.dZ2, ((ann.W3.T @ dZ3) * ann.f2(ann.Z2)).T / ann.m)


# ---- Update


@pytest.mark.parametrize("learning_rate", [0.5, 1e-3])
@pytest.mark.parametrize("symbol", [pytest.param(s, id=f"U{i}") for i, s in enumerate(PARAMETERS, start=1)])
def test_update(cnn, symbol, learning_rate):
    optimizer = tg.SGD(learning_rate=learning_rate)
    parameter, gradient = cnn.tensors[symbol], cnn.gradients[symbol]
    before = parameter.value.copy()
    state = optimizer.initial_state(parameter)
    assert state == ()
    expected = before - learning_rate * gradient.value
    for theta, dtheta in [(parameter, gradient), (before.copy(), gradient.value)]:
        updated, state = optimizer.update(theta, dtheta, state)
        close(updated, expected)
        assert type(updated) is type(theta)
        assert state == ()
    np.testing.assert_array_equal(parameter.value, before)


def test_updates_U1_to_U6_together_lower_the_cost(cnn):
    optimizer = tg.SGD(learning_rate=1e-3)
    updated = {
        symbol: optimizer.update(cnn[symbol], cnn["d" + symbol], optimizer.initial_state(cnn[symbol]))[0]
        for symbol in PARAMETERS
    }
    parameters = {symbol: tg.parameter(value) for symbol, value in updated.items()}
    after = record(Inp=cnn.tensors["Inp"], y=cnn.tensors["y"], **parameters, padding=cnn.padding)["cost"].value
    slope = sum(np.sum(cnn["d" + symbol] ** 2) for symbol in PARAMETERS)
    assert cnn["cost"] - after == pytest.approx(1e-3 * slope, rel=0.1)


# ---- Worked numbers


def test_W1_max_pool():
    C2 = image([[1, 2], [3, 4]])
    P2 = tg.max_pool2d(C2, 2)
    assert P2.value.tolist() == [[[[4]]]]
    assert gradient_of(P2, C2, [[2]]).tolist() == [[0, 0], [0, 2]]


def test_W2_relu():
    Z2 = image([[1.02, -0.25], [-3.45, 2.2]])
    assert gradient_of(tg.relu(Z2), Z2, [[1, 1], [1, 1]]).tolist() == [[1, 0], [0, 1]]


def test_W3_average_pool():
    C1 = image([[1, 2], [3, 4]])
    P1 = tg.avg_pool2d(C1, 2)
    assert P1.value.tolist() == [[[[2.5]]]]
    assert gradient_of(P1, C1, [[4]]).tolist() == [[1, 1], [1, 1]]
