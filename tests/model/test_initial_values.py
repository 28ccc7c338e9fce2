"""The initial values of parameters: seeds, distributions and their limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tests.tools.models import X, net


def drawn(init, shape=(200, 100), seed=0, **options):
    """The initial value of a parameter."""
    model = net("a = x + sum(W)", {"W": {"shape": list(shape), "init": init, **options}}, seed=seed)
    return model.parameters["W"].value


def test_the_same_seed_gives_the_same_values():
    assert_array_equal(drawn("normal", seed=3), drawn("normal", seed=3))


@pytest.mark.parametrize("init", ["normal", "uniform", "he_normal", "glorot_uniform"])
def test_another_seed_gives_other_values(init):
    assert (drawn(init, seed=3) != drawn(init, seed=4)).mean() > 0.99


def test_the_seed_of_the_training_table_is_the_default():
    parameters = {"W": {"shape": [4], "init": "normal"}}
    by_table = net("a = x * W", parameters, training={"seed": 5})
    assert_array_equal(by_table.parameters["W"].value, net("a = x * W", parameters, seed=5).parameters["W"].value)


def test_parameters_of_one_shape_differ():
    spec = {"shape": [4], "init": "normal"}
    model = net("a = x * V + W", {"V": spec, "W": spec})
    assert (model.parameters["V"].value != model.parameters["W"].value).all()


def test_a_further_parameter_changes_no_other():
    spec = {"shape": [4], "init": "normal"}
    one = net("a = x * W", {"W": spec})
    two = net("a = x * V * W", {"V": spec, "W": spec})
    assert_array_equal(two.parameters["W"].value, one.parameters["W"].value)


def test_initialize_draws_again():
    model = tg.load_model("xor")
    first = model.parameters["W1"].value
    model.initialize(seed=1)
    second = model.parameters["W1"].value
    assert (first != second).all()
    assert_array_equal(second, tg.load_model("xor", seed=1).parameters["W1"].value)
    model.initialize(seed=0)
    assert_array_equal(model.parameters["W1"].value, first)


def test_initialize_without_a_seed_goes_back_to_the_beginning():
    model = tg.load_model("xor", seed=4)
    first = model.parameters["W1"].value
    model.parameters["W1"].value = np.zeros((2, 4))
    model.initialize()
    assert_array_equal(model.parameters["W1"].value, first)


@pytest.mark.parametrize("seed", [-1, 1.5, "one"])
def test_a_seed_is_a_whole_number_from_0(seed):
    model = tg.load_model("xor")
    with pytest.raises(tg.TinygraphError, match="seed"):
        model.initialize(seed)
    with pytest.raises(tg.TinygraphError, match="seed"):
        tg.load_model("xor", seed=seed)


def test_zeros_ones_and_constant():
    assert_array_equal(drawn("zeros", (3, 2)), np.zeros((3, 2)))
    assert_array_equal(drawn("ones", (3, 2)), np.ones((3, 2)))
    assert_array_equal(drawn("constant", (3, 2), value=0.25), np.full((3, 2), 0.25))


def test_normal_has_the_mean_and_deviation_asked_for():
    value = drawn("normal", mean=3.0, std=2.0)
    assert_allclose([value.mean(), value.std()], [3.0, 2.0], atol=0.05)


def test_uniform_fills_the_range_asked_for():
    value = drawn("uniform", low=-1.0, high=3.0)
    assert value.min() >= -1
    assert value.max() <= 3
    assert_allclose([value.mean(), value.std()], [1.0, 4 / np.sqrt(12)], atol=0.05)


@pytest.mark.parametrize(("shape", "inputs"), [((200, 100), 200), ((64, 32, 3, 5), 32 * 15)])
def test_he_normal_has_variance_two_over_inputs(shape, inputs):
    value = drawn("he_normal", shape)
    assert abs(value.mean()) < 0.02 * value.std()
    assert_allclose(value.std(), np.sqrt(2 / inputs), rtol=0.02)
    assert np.abs(value).max() > 3.5 * value.std()


def test_a_row_of_weights_counts_its_size_as_its_inputs():
    assert_allclose(drawn("he_normal", (20000,)).std(), np.sqrt(2 / 20000), rtol=0.02)


@pytest.mark.parametrize(("shape", "fans"), [((200, 100), 300), ((64, 32, 3, 5), 96 * 15)])
def test_glorot_uniform_stays_within_its_limit(shape, fans):
    value, limit = drawn("glorot_uniform", shape), np.sqrt(6 / fans)
    assert np.abs(value).max() <= limit * (1 + 1e-6)
    assert np.abs(value).max() > 0.99 * limit
    assert_allclose(value.std(), limit / np.sqrt(3), rtol=0.02)


def test_float64_models_draw_the_same_numbers_unrounded():
    spec = {"W": {"shape": [4], "init": "normal"}}
    wide, narrow = (net("a = x * W", spec, dtype=dtype).parameters["W"].value for dtype in ("float64", "float32"))
    assert wide.dtype == np.float64
    assert (wide != narrow).any()
    assert_array_equal(wide.astype("float32"), narrow)


def test_a_parameter_may_be_one_number():
    model = net("a = x * s", {"s": {"shape": [], "init": "constant", "value": 3}})
    assert model.parameters["s"].shape == ()
    assert_allclose(model.predict(X), 3 * X)
