"""Tensor: leaves, properties, protection of values, dtypes, and recording with and without values."""

import copy
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg

LEAVES = {
    "tensor": lambda: tg.tensor([[1.0, 2.0, 3.0]], name="x"),
    "parameter": lambda: tg.parameter([[1.0, 2.0, 3.0]], name="x"),
    "input": lambda: tg.input("x", (1, 3), dtype="float64"),
    "constant": lambda: tg.constant([[1.0, 2.0, 3.0]], name="x"),
}


# ---- leaves and their properties


@pytest.mark.parametrize("kind", LEAVES)
def test_leaf_properties(kind):
    leaf = LEAVES[kind]()
    assert leaf.kind == kind
    assert leaf.name == "x"
    assert leaf.op is None
    assert leaf.inputs == ()
    assert leaf.grad is None
    assert (leaf.shape, leaf.ndim, leaf.size) == ((1, 3), 2, 3)
    assert leaf.dtype == np.dtype("float64")
    assert leaf.has_value == (kind != "input")


def test_node_properties():
    x, y = tg.tensor(np.ones((2, 3)), name="x"), tg.tensor(np.ones(3), name="y")
    z = x + y
    assert z.kind == "node"
    assert z.name is None
    assert z.op.name == "add"
    assert len(z.inputs) == 2
    assert z.inputs[0] is x
    assert z.inputs[1] is y
    assert (z.shape, z.ndim, z.size, z.has_value) == ((2, 3), 2, 6, True)


def test_a_node_can_be_given_a_name():
    z = tg.tensor(1.0) + 1
    z.name = "z"
    assert z.name == "z"


def test_shape_is_a_tuple_of_python_integers():
    for tensor in [LEAVES["input"](), tg.input("x", np.array([2, 3])), tg.tensor(np.ones((2, 3))) @ np.ones((3, 4))]:
        assert type(tensor.shape) is tuple
        assert all(type(size) is int for size in tensor.shape)


def test_scalar_and_empty_tensors():
    assert (tg.tensor(2.0).shape, tg.tensor(2.0).size) == ((), 1)
    assert (tg.tensor(np.ones((0, 3))).shape, tg.tensor(np.ones((0, 3))).size) == ((0, 3), 0)


def test_the_value_is_always_an_array():
    for tensor in (tg.tensor(2.0), tg.tensor(2.0) * 3, tg.tensor([1.0, 2.0]).sum(), tg.tensor([1.0])[0]):
        assert type(tensor.value) is np.ndarray


def test_names_are_optional_except_for_inputs():
    assert tg.tensor(1.0).name is None
    assert tg.parameter(1.0).name is None
    with pytest.raises(TypeError):
        tg.input((2, 3))


def test_a_tensor_of_a_tensor_takes_its_value_and_no_history():
    x = tg.tensor([1.0, 2.0], name="x")
    y = tg.tensor(x * 2)
    assert_array_equal(y.value, [2.0, 4.0])
    assert y.op is None


def test_dtype_argument_converts():
    assert tg.tensor([1, 2], dtype="float32").dtype == np.float32
    assert tg.parameter([1.5], dtype=np.float32).dtype == np.float32
    assert tg.input("x", (2,), dtype=int).dtype == np.dtype(int)


def test_inputs_are_float32_unless_told():
    assert tg.input("x", (2,)).dtype == np.float32


def test_repr_shows_name_shape_and_value():
    text = repr(tg.tensor([1.0, 2.0], name="Z2"))
    assert "Z2" in text
    assert "1." in text


def test_repr_of_a_shape_only_tensor_needs_no_value():
    text = repr(tg.relu(tg.input("x", (2, 3))))
    assert "(2, 3)" in text
    assert "float32" in text


def test_detach_has_the_value_and_no_history():
    x = tg.tensor([3.0])
    y = (x * x).detach()
    assert y.op is None
    assert_array_equal(y.value, [9.0])
    (dx,) = tg.grad((y * x).sum(), [x])
    assert_array_equal(dx.value, [9.0])


def test_detach_of_a_shape_only_tensor_is_an_error_that_says_so():
    with pytest.raises(tg.TinygraphError):
        tg.input("x", (2,)).detach()


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_leaf_is_protected_too(clone):
    x = tg.parameter([1.0, 2.0], name="x")
    twin = clone(x)
    assert (twin.name, twin.kind) == ("x", "parameter")
    assert_array_equal(twin.value, x.value)
    assert not twin.value.flags.writeable


def test_a_leaf_can_travel_to_another_process():
    older = [tg.tensor(1.0) for _ in range(100)]
    program = """
import pickle, sys, tinygraph as tg
x = pickle.load(sys.stdin.buffer)
print(tg.grad(x * x, [x])[0].item())
"""
    parcel = pickle.dumps(tg.parameter(3.0, name="x"))
    root = Path(tg.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", program], input=parcel, capture_output=True, cwd=root, check=False)
    assert result.stderr == b""
    assert float(result.stdout) == 6.0
    assert len(older) == 100


def test_a_deep_graph_is_copied_or_refused_without_recursion():
    y = tg.tensor(1.0)
    for _ in range(2000):
        y = y * 1.0
    try:
        twin = copy.deepcopy(y)
    except (TypeError, tg.TinygraphError):
        return
    assert float(twin) == 1.0


# ---- what is refused


@pytest.mark.parametrize("make", [tg.tensor, tg.parameter, tg.constant])
@pytest.mark.parametrize(
    "value", ["text", ["a", "b"], np.array([1, None], dtype=object), None, [Fraction(1, 2)], {"a": 1}, b"x"]
)
def test_values_that_are_not_numbers_are_refused(make, value):
    with pytest.raises(tg.DTypeError):
        make(value)


def test_dates_and_records_are_refused():
    with pytest.raises(tg.DTypeError, match="datetime64"):
        tg.tensor(np.array(["2020-01-01"], dtype="datetime64[D]"))
    with pytest.raises(tg.DTypeError):
        tg.tensor(np.zeros(2, dtype=[("a", float)]))


@pytest.mark.parametrize("make", [tg.tensor, tg.parameter, tg.constant])
def test_rows_of_unequal_length_are_refused_in_plain_words(make):
    with pytest.raises(tg.ShapeError, match="length") as caught:
        make([[1.0, 2.0], [3.0]])
    assert "setting an array element with a sequence" not in str(caught.value)


def test_an_error_about_a_named_leaf_names_it():
    with pytest.raises(tg.ShapeError, match="W3"):
        tg.parameter([[1.0, 2.0], [3.0]], name="W3")
    with pytest.raises(tg.DTypeError, match="W3"):
        tg.parameter("zeros", name="W3")


@pytest.mark.parametrize("shape", [(-1, 3), (2, -5), (2.5,), ("a",), (None, 3)])
def test_an_input_with_an_impossible_shape_is_refused(shape):
    with pytest.raises(tg.ShapeError, match="Inp"):
        tg.input("Inp", shape)


@pytest.mark.parametrize("dtype", ["str", object, "banana", "datetime64[D]"])
def test_an_impossible_dtype_is_refused(dtype):
    with pytest.raises(tg.DTypeError):
        tg.input("Inp", (2,), dtype=dtype)
    with pytest.raises(tg.DTypeError):
        tg.tensor([1.0, 2.0], dtype=dtype)


def test_a_dtype_that_loses_the_imaginary_part_is_refused():
    with pytest.raises(tg.DTypeError):
        tg.tensor([1j, 2.0], dtype="float64")


@pytest.mark.parametrize("name", [3, ["x"]])
def test_a_name_that_is_not_text_is_refused(name):
    for make in (lambda: tg.tensor(1.0, name=name), lambda: tg.input(name, (2,))):
        with pytest.raises((tg.TinygraphError, TypeError)):
            make()


def test_the_value_of_a_shape_only_tensor_is_not_there():
    x = tg.input("Inp", (2,))
    with pytest.raises(tg.ValueUnavailable, match="Inp"):
        _ = x.value
    with pytest.raises(tg.ValueUnavailable):
        _ = (x + 1).value


@pytest.mark.parametrize("convert", [bool, float, int, np.asarray, lambda x: x.item()])
def test_a_shape_only_tensor_is_no_number(convert):
    with pytest.raises(tg.ValueUnavailable):
        convert(tg.input("Inp", ()))


def test_unknown_attributes_of_a_tensor_cannot_be_set_by_mistake():
    with pytest.raises(AttributeError):
        tg.tensor(1.0).values = 2.0


# ---- values are protected


@pytest.mark.parametrize("make", [tg.tensor, tg.parameter, tg.constant])
def test_changing_the_array_handed_in_changes_nothing(make):
    array = np.array([1.0, 2.0])
    x = make(array)
    array[:] = 7
    assert_array_equal(x.value, [1.0, 2.0])


def test_changing_an_array_used_in_an_operation_changes_nothing():
    array, x = np.array([1.0, 2.0]), tg.tensor([3.0, 4.0])
    y = x * array
    array[:] = 7
    (dx,) = tg.grad(y.sum(), [x])
    assert_array_equal(dx.value, [1.0, 2.0])


def test_changing_an_array_used_as_an_index_changes_nothing():
    positions, x = np.array([0, 1]), tg.tensor([3.0, 4.0, 5.0])
    y = x[positions]
    positions[:] = 2
    (dx,) = tg.grad(y.sum(), [x])
    assert_array_equal(dx.value, [1.0, 1.0, 0.0])


def test_values_of_leaves_and_nodes_are_read_only():
    x = tg.tensor([[1.0, 2.0]])
    for tensor in (x, x + 1, tg.reshape(x, (2,)), x.T, x[0], tg.tensor(1.0) + 1):
        assert not tensor.value.flags.writeable


def test_a_change_in_place_is_an_error_where_it_is_tried():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        x.value[0] = 5
    with pytest.raises(ValueError):
        x.value += 1
    with pytest.raises(ValueError):
        np.add(x.value, 1, out=x.value)
    assert_array_equal(x.value, [1.0, 2.0])


@pytest.mark.parametrize("how", [lambda p: p, copy.copy, lambda p: setattr(p, "value", p.value * 2) or p])
def test_a_value_cannot_be_made_writable(how):
    """Plans and devices keep copies of the values of leaves, and look only for new ones."""
    made = [make(np.ones((2, 3)).T) for make in (tg.tensor, tg.parameter, tg.state)]
    for name in ("notes_cnn_norm", "notes_ann"):
        model = tg.load_model(name)
        made += [*model.parameters.values(), *model.state.values()]
    for leaf in map(how, made):
        for array in (leaf.value, np.asarray(leaf)):
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True


def test_a_view_taken_by_asarray_is_protected_or_a_copy():
    x = tg.tensor([1.0, 2.0])
    array = np.asarray(x)
    if array.flags.writeable:
        array[:] = 7
    assert_array_equal(x.value, [1.0, 2.0])


def test_item_assignment_is_refused():
    with pytest.raises(tg.TinygraphError, match=r"not changed in place; make another, with tg.where or tg.put"):
        tg.tensor([1.0, 2.0])[0] = 5.0


def test_an_operator_in_place_makes_a_new_tensor():
    x = y = tg.tensor([1.0])
    y += 1
    assert y is not x
    assert_array_equal(x.value, [1.0])


def test_assigning_a_value_to_a_leaf_copies_it():
    x, array = tg.parameter([1.0, 2.0]), np.array([3.0, 4.0])
    x.value = array
    array[:] = 7
    assert_array_equal(x.value, [3.0, 4.0])
    assert not x.value.flags.writeable


def test_an_assigned_value_takes_the_dtype_of_the_leaf():
    x = tg.parameter(np.zeros(2, "float32"))
    x.value = np.array([1.5, 2.5])
    assert x.value.dtype == x.dtype == np.float32
    x.value = [1, 2]
    assert x.dtype == np.float32


@pytest.mark.parametrize("value", [np.ones(3), np.ones((1, 2)), 1.0, [[1.0], [2.0]]])
def test_an_assigned_value_must_have_the_shape_of_the_leaf(value):
    x = tg.parameter([1.0, 2.0], name="B1")
    with pytest.raises(tg.ShapeError, match="B1"):
        x.value = value
    assert_array_equal(x.value, [1.0, 2.0])


@pytest.mark.parametrize("value", [[1j, 2.0], ["a", "b"], None])
def test_an_assigned_value_must_be_numbers_that_fit(value):
    x = tg.parameter([1.0, 2.0], name="B1")
    with pytest.raises(tg.DTypeError, match="B1"):
        x.value = value


def test_an_assigned_float_does_not_fit_an_integer_leaf():
    with pytest.raises(tg.DTypeError):
        tg.tensor([1, 2]).value = [1.5, 2.5]


def test_the_value_of_a_node_cannot_be_assigned():
    y = tg.tensor([1.0]) + 1
    with pytest.raises(tg.TinygraphError):
        y.value = [5.0]
    assert_array_equal(y.value, [2.0])


def test_earlier_results_keep_their_values_after_an_assignment():
    x = tg.parameter([1.0])
    y = x * 2
    x.value = [5.0]
    assert_array_equal(y.value, [2.0])
    assert_array_equal((x * 2).value, [10.0])


def test_a_gradient_through_a_recording_made_before_an_assignment_is_stale():
    x = tg.parameter([3.0], name="K1")
    y = (x * x).sum()
    x.value = [5.0]
    with pytest.raises(tg.StaleValueError, match="K1"):
        tg.grad(y, [x])
    with pytest.raises(tg.StaleValueError, match="K1"):
        y.backward()
    (dx,) = tg.grad((x * x).sum(), [x])
    assert_array_equal(dx.value, [10.0])


def test_a_failed_backward_leaves_no_gradient():
    x, y = tg.parameter([3.0]), tg.parameter([4.0])
    loss = (x * y).sum()
    y.value = [5.0]
    with pytest.raises(tg.StaleValueError):
        loss.backward()
    assert x.grad is None
    assert y.grad is None


def test_a_stale_leaf_on_the_way_to_another_leaf_is_noticed():
    x, w = tg.tensor([3.0]), tg.parameter([2.0], name="w")
    y = (x * w).sum()
    w.value = [7.0]
    with pytest.raises(tg.StaleValueError, match="w"):
        tg.grad(y, [x])


def test_a_recording_mixed_of_old_and_new_values_is_stale():
    w = tg.parameter([2.0], name="w")
    old = w * w
    w.value = [7.0]
    with pytest.raises(tg.StaleValueError):
        tg.grad((old * w).sum(), [w])


def test_a_second_derivative_after_an_assignment_is_stale():
    x = tg.parameter(3.0, name="x")
    (dx,) = tg.grad(x * x * x, [x])
    x.value = 5.0
    with pytest.raises(tg.StaleValueError):
        tg.grad(dx, [x])


def test_a_recording_without_the_assigned_leaf_stays_fresh():
    x, other = tg.parameter(3.0), tg.parameter(1.0)
    y = x * x
    other.value = 2.0
    (dx,) = tg.grad(y, [x])
    assert float(dx) == 6.0


def test_a_shape_only_recording_never_goes_stale():
    x, w = tg.input("x", (), dtype="float64"), tg.parameter(2.0, name="w")
    y = x * w * w
    w.value = 3.0
    (dw,) = tg.grad(y, [w])
    assert tg.run([y, dw], {"x": 5.0}) == (45.0, 30.0)


# ---- dtypes


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"])
def test_arrays_keep_their_dtype(dtype):
    assert tg.tensor(np.ones(2, dtype)).dtype == dtype


def test_python_numbers():
    assert tg.tensor(1.0).dtype == np.float64
    assert tg.tensor([1.0, 2.0]).dtype == np.float64
    assert tg.tensor([1, 2]).dtype == np.array([1, 2]).dtype
    assert tg.tensor(True).dtype == bool


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x + 1.0,
        lambda x: 1 - x,
        lambda x: 2.5 * x,
        lambda x: x / 3,
        lambda x: x**2,
        lambda x: 2.0**x,
        lambda x: tg.maximum(x, 0.0),
        lambda x: tg.where(x > 0, x, 0.0),
        lambda x: tg.clip(x, 0.0, 1.0),
        lambda x: tg.sigmoid(x),
        lambda x: tg.gelu(x),
        lambda x: tg.mean(x),
        lambda x: tg.softmax(x),
        lambda x: tg.logsumexp(x),
        lambda x: x @ x,
        lambda x: x.T,
        lambda x: -x,
    ],
)
def test_float32_stays_float32_in_values_and_gradients(compute):
    x = tg.tensor(np.array([0.5, -0.25, 2.0], "float32"))
    y = compute(x)
    (dx,) = tg.grad(y, [x], cotangent=np.ones(y.shape, "float32"))
    assert y.dtype == y.value.dtype == np.float32
    assert dx.dtype == dx.value.dtype == np.float32


def test_float32_beside_float64_is_float64_and_each_gradient_has_its_own():
    x, y = tg.tensor(np.ones(2, "float32")), tg.tensor(np.ones(2))
    z = x * y
    assert z.dtype == np.float64
    dx, dy = tg.grad(z.sum(), [x, y])
    assert (dx.dtype, dx.value.dtype) == (np.float32, np.float32)
    assert (dy.dtype, dy.value.dtype) == (np.float64, np.float64)


def test_integers_follow_numpy():
    x = tg.tensor([1, 2, 3])
    assert (x + x).dtype == x.dtype
    assert (x * 2).dtype == x.dtype
    assert (x / 2).dtype == np.float64
    assert (x + 0.5).dtype == np.float64
    assert (x.mean()).dtype == np.float64


def test_small_integers_are_summed_as_numpy_sums_them():
    x = tg.tensor(np.full(4, 100, "int8"))
    assert x.sum().dtype == np.ones(1, "int8").sum().dtype
    assert int(x.sum()) == 400


def test_comparisons_are_boolean():
    x = tg.tensor([1.0, 2.0])
    for y in (x > 1, x >= 1, x < 1, x <= 1, x == 1, x != 1):
        assert y.dtype == y.value.dtype == bool


# ---- eager and shape-only recordings agree

PROGRAMS = {
    "add": lambda x, k: x + k,
    "scalar": lambda x, k: 2 * x - 1,
    "broadcast": lambda x, k: x * k[0],
    "divide": lambda x, k: x / k,
    "power": lambda x, k: x**3,
    "compare": lambda x, k: x > k,
    "matmul": lambda x, k: x @ k.T,
    "sum": lambda x, k: tg.sum(x, axis=0),
    "keepdims": lambda x, k: tg.mean(x * k, axis=(0, 1), keepdims=True),
    "max": lambda x, k: x.max(axis=-1),
    "reshape": lambda x, k: tg.reshape(x, (3, -1)),
    "flatten": lambda x, k: tg.flatten(x, start_axis=0),
    "index": lambda x, k: x[1:, ::2],
    "integer index": lambda x, k: x[:, [0, 0, 1]],
    "pad": lambda x, k: tg.pad(x, ((1, 0), (0, 2))),
    "concatenate": lambda x, k: tg.concatenate([x, k, x], axis=1),
    "expand": lambda x, k: tg.expand_dims(x, 1),
    "where": lambda x, k: tg.where(x > 0, k, 0),
    "softmax": lambda x, k: tg.softmax(x, axis=0),
    "mse": lambda x, k: tg.mse(x, k),
    "numpy": lambda x, k: np.exp(x) + np.sum(k, axis=1, keepdims=True),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_recording_without_values_has_the_shape_and_dtype_of_one_with(program, dtype):
    x, k = np.ones((2, 3), dtype), np.full((2, 3), 2, dtype)
    eager = PROGRAMS[program](tg.tensor(x), tg.tensor(k))
    recorded = PROGRAMS[program](tg.input("x", (2, 3), dtype), tg.input("k", (2, 3), dtype))
    assert not recorded.has_value
    assert (recorded.shape, recorded.dtype) == (eager.shape, eager.dtype)
    assert (eager.value.shape, eager.value.dtype) == (eager.shape, eager.dtype)


def test_one_input_without_value_makes_the_result_shape_only():
    y = tg.tensor(np.ones((2, 3))) + tg.input("x", (3,))
    assert not y.has_value
    assert y.shape == (2, 3)


def test_arrays_alone_compute_and_record_nothing():
    y = tg.add(np.ones(2), 1.0)
    assert type(y) is np.ndarray
    assert_array_equal(y, [2.0, 2.0])


def test_a_wrong_shape_is_refused_alike_with_and_without_values():
    messages = []
    for x, y in [
        (tg.tensor(np.ones((2, 3)), name="x"), tg.tensor(np.ones((4, 5)), name="y")),
        (tg.input("x", (2, 3), "float64"), tg.input("y", (4, 5), "float64")),
    ]:
        with pytest.raises(tg.ShapeError) as caught:
            _ = x @ y
        messages.append(str(caught.value))
    for part in ("matmul", "(2, 3)", "(4, 5)", "x", "y"):
        assert all(part in message for message in messages)
