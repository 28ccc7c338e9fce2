"""The data that travel with the package, data from files, and the check that refuses what a model cannot use."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.benchmarks.torch_job import load_digits
from tinygraph.model import Model, load_model
from tinygraph.notes.notes import samples_of as samples_by_name
from tinygraph.train import check_data, fit, load_data, read_arrays
from tinygraph.train.data import divided, samples_of
from tinygraph.train.feeds import feeds_of
from tinygraph.train.source import Source

# From the description that the data set's authors wrote: how many of each digit its test set holds.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_the_uci_test_set():
    digits = load_data("digits")
    x, y, _ = digits.part("all")
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    assert np.bincount(y).tolist() == COUNTS
    assert (x.min(), x.max()) == (0, 1)
    assert (x * 16).sum() == 561718
    # The first line of optdigits.tes: a zero.
    assert (x[0, 0, 2] * 16).tolist() == [0, 3, 15, 2, 0, 11, 8, 0]
    assert y[0] == 0


def test_a_fifth_of_each_digit_is_for_the_test():
    digits = load_data("digits")
    assert [len(part) for part in (*digits.train, *digits.test)] == [1438, 1438, 359, 359]
    for count, tested in zip(COUNTS, np.bincount(digits.test[1]), strict=True):
        assert abs(tested - count / 5) < 1


def test_the_peer_of_the_benchmark_trains_on_the_same_digits():
    data = load_data("digits_odd")
    for found, expected in zip(load_digits(), (*data.train, *data.test), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_odd_digits_have_the_same_images_and_the_parity():
    digits, odd = load_data("digits"), load_data("digits_odd")
    for part in ("train", "test"):
        (x, y), (x_odd, y_odd) = getattr(digits, part), getattr(odd, part)
        np.testing.assert_array_equal(x, x_odd)
        assert y_odd.dtype == np.float32
        np.testing.assert_array_equal(y_odd, (y % 2)[:, None])


@pytest.mark.parametrize("name", ["digits28", "digits28_odd"])
def test_digits28_repeat_each_pixel_in_a_border(name):
    small, large = load_data(name.replace("28", "")), load_data(name)
    x = large.train[0]
    assert x.shape == (1438, 1, 28, 28)
    for i in range(3):
        np.testing.assert_array_equal(x[:, :, 2 + i : -2 : 3, 4 - i : -2 : 3], small.train[0])
    x = x.copy()
    x[:, :, 2:-2, 2:-2] = 0
    assert not x.any()
    np.testing.assert_array_equal(large.train[1], small.train[1])


def test_xor_is_trained_and_tested_on_its_four_points():
    xor = load_data("xor")
    (x, y), (x_test, y_test) = xor.train, xor.test
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((4, 2), (4, 1), np.float32, np.float32)
    np.testing.assert_array_equal(y[:, 0], np.logical_xor(*x.T))
    np.testing.assert_array_equal(x, x_test)
    np.testing.assert_array_equal(y, y_test)


@pytest.mark.parametrize("name", ["digits", "xor"])
def test_what_is_loaded_is_the_callers_own(name):
    load_data(name).train[0][:] = -1
    assert load_data(name).train[0].min() == 0


def test_descriptions_name_the_source():
    assert "UCI" in load_data("digits_odd").description


# Files


def saved(folder, **arrays):
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def test_npz_with_x_and_y_tests_on_a_random_fifth(tmp_path):
    path = saved(tmp_path, x=np.arange(11.0), y=np.arange(11))
    data = load_data(path)
    assert data.name == "mine"
    assert len(data.test[1]) == 2
    assert data.split == "one in five, drawn with seed 0"
    for x, y in (data.train, data.test):
        assert x.tolist() == y.tolist() == sorted(y)
    assert sorted([*data.train[1], *data.test[1]]) == list(range(11))
    assert data.part("all")[0].tolist() == list(range(11))
    assert data.test[1].tolist() == load_data(path).test[1].tolist() != load_data(path, seed=1).test[1].tolist()


FIVE = np.arange(500) % 5
CLASSES = {
    "numbers in turn": FIVE,
    "numbers in order": np.sort(FIVE),
    "whole floats": FIVE.astype(float),
    "a column": FIVE[:, None].astype("uint8"),
    "booleans": FIVE > 2,
    "one-hot": np.eye(5, dtype="float32")[FIVE],
    "unequal": np.repeat([0, 1], [490, 10]),
}


@pytest.mark.parametrize("labels", CLASSES)
def test_the_test_part_holds_a_fifth_of_each_class(tmp_path, labels):
    y = CLASSES[labels]
    data = load_data(saved(tmp_path, x=np.zeros(500), y=y))
    assert data.split == "one in five of each class, drawn with seed 0"
    numbers = y.argmax(1) if labels == "one-hot" else y.ravel().astype(int)
    assert np.bincount(numbers[data.drawn]).tolist() == (np.bincount(numbers) / 5).tolist()


def test_samples_are_numbered_as_in_their_file(tmp_path):
    x = np.random.default_rng(0).random((20, 2)).astype("float32")
    path = saved(tmp_path, x=x, y=np.arange(20)[:, None] % 2)
    np.testing.assert_array_equal(samples_of(load_model("xor"), path)["x"], x)
    for number in (0, 7, 19):
        sample = samples_by_name(load_model("xor"), path, number)[f"sample {number}"]
        np.testing.assert_array_equal(sample["x"], x[number : number + 1])
    x_test = x[:3] + 1
    own = saved(tmp_path, x=x, y=np.zeros((20, 1)), x_test=x_test, y_test=np.zeros((3, 1)))
    np.testing.assert_array_equal(samples_of(load_model("xor"), own)["x"], np.concatenate([x, x_test]))


def test_several_labels_are_divided_by_those_that_are_classes():
    data = divided("mine", Source([(np.zeros(500), {"weight": np.linspace(0, 1, 500), "y": FIVE})]), 0)
    assert np.bincount(data.test[1]["y"]).tolist() == [20] * 5
    assert data.split == "one in five of each class, drawn with seed 0"


NO_CLASSES = {
    "broken numbers": np.linspace(0, 1, 100),
    "counts of almost as many values": np.arange(100) // 1.5,
    "several binary labels": np.arange(300).reshape(100, 3) % 2,
}


@pytest.mark.parametrize("labels", NO_CLASSES)
def test_other_labels_are_divided_at_random(tmp_path, labels):
    data = load_data(saved(tmp_path, x=np.zeros(100), y=NO_CLASSES[labels]))
    assert data.split == "one in five, drawn with seed 0"
    assert len(set(data.drawn.tolist())) == len(data.test[0]) == 20


def test_a_network_learns_labels_that_repeat_every_five_samples(tmp_path):
    x = np.eye(5, dtype="float32")[FIVE]
    model = Model(
        inputs={"x": [5], "y": {"shape": [], "dtype": "int64"}},
        parameters={"W": {"shape": [5, 5], "init": "zeros"}},
        equations="z = x @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )
    assert fit(model, saved(tmp_path, x=x, y=FIVE), epochs=5)[-1].test_accuracy == 1


def test_npz_with_fewer_than_five_samples_tests_on_what_it_trains_on(tmp_path):
    data = load_data(str(saved(tmp_path, x=np.arange(4.0), y=np.arange(4))))
    assert data.train[1].tolist() == data.test[1].tolist() == [0, 1, 2, 3]


def test_npz_with_a_test_set_of_its_own(tmp_path):
    data = load_data(saved(tmp_path, x=np.zeros(6), y=np.zeros(6), x_test=np.ones(2), y_test=np.ones(2)))
    assert len(data.train[0]) == 6
    assert data.test[0].tolist() == [1, 1]


def test_load_data_checks_against_the_model(tmp_path):
    path = saved(tmp_path, x=np.zeros((6, 2)), y=np.full((6, 1), 2.0))
    assert len(load_data(path).train[0]) == 5
    with pytest.raises(tg.DataError, match="labels 'y': bce: labels must lie between 0 and 1; found 2"):
        load_data(path, load_model("xor"))
    y = np.zeros((5, 1))
    path = saved(tmp_path, x=np.zeros((5, 2)), y=y, x_test=np.full((5, 2), np.nan), y_test=y)
    with pytest.raises(tg.DataError, match=r"mine\.npz: x_test is not finite in 10 of 10 elements"):
        load_data(path, load_model("xor"))


FILE_MISTAKES = {
    "no y": ({"x": np.zeros(3), "labels": np.zeros(3)}, "'y' is missing; the file has 'x' and 'labels'"),
    "no x": ({"y": np.zeros(3)}, "'x' is missing"),
    "half a test set": (
        {"x": np.zeros(3), "y": np.zeros(3), "x_test": np.zeros(3)},
        "'x_test' and 'y_test' go together",
    ),
    "lengths": ({"x": np.zeros(3), "y": np.zeros(2)}, "x has 3 samples and y has 2"),
    "no samples": ({"x": np.zeros(3), "y": np.array(1.0)}, "y is a single number; expected an array with"),
    "numbers alone": ({"x": np.float32(3), "y": np.int64(3)}, "x is a single number; expected an array with"),
    "lengths of the test set": (
        {"x": np.zeros(3), "y": np.zeros(3), "x_test": np.zeros(3), "y_test": np.zeros(2)},
        "x_test has 3 samples and y_test has 2",
    ),
    "objects": (
        {"x": np.array([None, {}]), "y": np.zeros(2)},
        "cannot be read as an .npz file (it holds Python objects; expected arrays of numbers)",
    ),
    "NaN": ({"x": np.where(np.arange(20) == 9, np.nan, 1.0), "y": np.zeros(20)}, "x is not finite in 1 of 20 elements"),
}


@pytest.mark.parametrize("mistake", FILE_MISTAKES)
def test_file_that_is_no_data_set(tmp_path, mistake):
    arrays, message = FILE_MISTAKES[mistake]
    with pytest.raises(tg.DataError, match=re.escape(message)) as error:
        load_data(saved(tmp_path, **arrays))
    assert "mine.npz" in str(error.value)


def test_data_are_pairs():
    x, y = np.zeros((4, 2)), np.zeros((4, 1))
    for train, test in ((x, None), ((x, y, y), None), ((x, y), (x,)), ((x, y), 3)):
        with pytest.raises(tg.DataError, match=r"must be a pair \(x, y\); found"):
            tg.Data("mine", train, test)
    with pytest.raises(tg.DataError, match="the parts of data are 'train', 'test' and 'all'; found 'tset'"):
        load_data("xor").part("tset")


def test_labels_without_numbers_are_no_classes(tmp_path):
    assert load_data(saved(tmp_path, x=np.zeros(10), y=np.zeros((10, 0)))).split == "one in five, drawn with seed 0"


def test_missing_file():
    with pytest.raises(tg.DataError, match=r"nowhere\.npz: there is no such file"):
        load_data("nowhere.npz")


def test_unknown_name_offers_the_nearest():
    with pytest.raises(tg.UnknownNameError, match="'digit'; did you mean 'digits'"):
        load_data("digit")


def test_folder_is_no_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(tg.DataError, match=r"the folder holds no \.npy and IDX files, and no images"):
        load_data(tmp_path / "folder.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_damaged_file(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(tg.DataError, match=r"bad\.npz: cannot be read"):
        load_data(path)


def test_file_with_damaged_bytes_inside(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=100), y=np.zeros(100))
    content = bytearray(path.read_bytes())
    content[200:230] = bytes(30)
    path.write_bytes(content)
    assert zipfile.is_zipfile(path)
    with pytest.raises(tg.DataError, match="cannot be read"):
        load_data(path)


def test_any_damaged_byte_is_a_data_error_or_harmless(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=np.arange(6.0), y=np.arange(6))
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            load_data(path)
        except tg.DataError:
            refused += 1
    assert refused > len(whole) / 4


def with_one(shape, index, value):
    array = np.zeros(shape)
    array[index] = value
    return array


PLACES = {
    "sample 7": ({"x": with_one((20, 2), (7, 1), np.nan)}, "x", "(7, 1) of shape (20, 2)"),
    "sample 9": ({"x": with_one((20, 2), (9, 0), -np.inf)}, "x", "(9, 0) of shape (20, 2)"),
    "label": ({"y": with_one((20, 1), (19, 0), np.nan)}, "y", "(19, 0) of shape (20, 1)"),
    "test set": ({"x_test": with_one((3, 2), (2, 0), np.nan), "y_test": np.zeros((3, 1))}, "x_test", "(2, 0) of shape"),
    "test labels": ({"x_test": np.zeros((3, 2)), "y_test": with_one((3, 1), (1, 0), np.nan)}, "y_test", "(1, 0) of"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("use", [load_data, read_arrays, lambda path: fit(load_model("xor"), path)])
def test_bad_value_in_a_file_is_reported_where_it_stands(tmp_path, place, use):
    arrays, name, index = PLACES[place]
    path = saved(tmp_path, **{"x": np.zeros((20, 2)), "y": np.zeros((20, 1)), **arrays})
    with pytest.raises(tg.DataError) as error:
        use(path)
    assert str(error.value).startswith(f"{path}: {name} is not finite in 1 of ")
    assert f"at index {index}" in str(error.value)


def test_misfit_of_a_file_is_reported_with_its_own_shapes_and_names(tmp_path):
    path = saved(tmp_path, x=np.zeros((20, 3)), y=np.zeros((20, 1)))
    with pytest.raises(
        tg.DataError, match=r"mine\.npz: x: the model's input 'x' takes \(m, 2\); found shape \(20, 3\)"
    ):
        fit(load_model("xor"), path)
    good = {"x": np.zeros((20, 2)), "y": np.zeros((20, 1))}
    path = saved(tmp_path, **good, x_test=good["x"], y_test=good["y"] + 2)
    with pytest.raises(tg.DataError, match=r"mine\.npz: labels 'y_test': bce: labels must lie between 0 and 1"):
        load_data(path, load_model("xor"))


def test_arrays_of_a_file_without_labels(tmp_path):
    arrays = read_arrays(str(saved(tmp_path, x=np.arange(3), names=np.array(["a", "b"]))))
    assert arrays["x"].tolist() == [0, 1, 2]
    assert arrays["names"].tolist() == ["a", "b"]


def test_file_is_closed_after_reading(tmp_path):
    path = saved(tmp_path, x=np.arange(3.0))
    read_arrays(path)
    folder = Path("/proc/self/fd")
    if folder.is_dir():
        assert str(path) not in {str(file.resolve()) for file in folder.iterdir()}
    path.unlink()


FOREIGN = {"empty": (b"", "(it is empty)"), "text": (b"a,b\n1,2\n", "(it is not an archive of arrays, as numpy.savez")}


@pytest.mark.parametrize("content", FOREIGN)
def test_file_that_is_no_archive_gets_no_unsafe_advice(tmp_path, content):
    written, message = FOREIGN[content]
    (tmp_path / "table.npz").write_bytes(written)
    with pytest.raises(tg.DataError, match=re.escape(message)) as error:
        load_data(tmp_path / "table.npz")
    assert "pickle" not in str(error.value)


def test_archive_of_other_things_has_no_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "pages.npz", "w") as archive:
        archive.writestr("x", "text")
    with pytest.raises(tg.DataError, match=r"pages\.npz: an array called 'x' is missing; the file has none"):
        load_data(tmp_path / "pages.npz")


def test_single_array_is_not_enough(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(tg.DataError, match=r"one\.npy: a single array; with labels, a folder has x\.npy and y\.npy"):
        load_data(tmp_path / "one.npy")


# Checks against a model


def classifier(labels):
    """A model of three classes on pairs of numbers; ``labels`` declares the input y."""
    return Model(
        inputs={"x": [2], "y": labels},
        parameters={"W": {"shape": [2, 3], "init": "normal"}},
        equations="z = x @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )


def two_inputs():
    """A model of two inputs, with weights of the samples beside their labels."""
    return Model(
        inputs={"left": [2], "right": [3], "y": [1], "weight": [1]},
        parameters={"A": {"shape": [2, 1], "init": "normal"}, "B": {"shape": [3, 1], "init": "normal"}},
        equations="p = left @ A + right @ B\ncost = mean(weight * (p - y) ** 2)",
        output="p",
        loss="cost",
    )


X, Y = np.zeros((4, 2)), np.zeros((4, 1))
NAN, INFINITE = X.copy(), X.copy()
NAN[2, 1], INFINITE[1, 0] = np.nan, -np.inf
XOR_MISTAKES = {
    "empty": (np.zeros((0, 2)), np.zeros((0, 1)), "x is empty: its shape is (0, 2)"),
    "one number": (3.0, Y, "x: the model's input 'x' takes (m, 2); found shape ()"),
    "wrong width": (np.zeros((4, 3)), Y, "x: the model's input 'x' takes (m, 2); found shape (4, 3)"),
    "fits reshaped": (np.zeros((4, 1, 2)), Y, "x.reshape(-1, 2) would fit"),
    "one sample": (np.zeros(2), Y, "; for a single sample write x[None]"),
    "flat labels": (X, np.zeros(4), "y: the model's input 'y' takes (m, 1); found shape (4,)"),
    "NaN": (NAN, Y, "x is not finite in 1 of 8 elements, the first, nan, at index (2, 1)"),
    "infinite": (INFINITE, Y, "the first, -inf, at index (1, 0)"),
    "NaN label": (X, np.full((4, 1), np.nan), "y is not finite in 4 of 4 elements"),
    "beyond float32": (
        np.full((4, 2), 1e300),
        Y,
        "holds float32, which ends at 3.4028234663852886e+38; found 1e+300 (float64)",
    ),
    "lengths": (X, np.zeros((3, 1)), "the same number of samples; x has 4, y has 3"),
    "label above 1": (X, Y + 1.5, "labels 'y': bce: labels must lie between 0 and 1; found 1.5"),
    "label below 0": (X, Y - 1, "labels 'y': bce: labels must lie between 0 and 1; found -1"),
    "no labels": (X, None, "the model's loss needs labels for 'y', and y is None"),
    "text": (np.array([["a", "b"]]), Y, "x: expected numbers; found <U1"),
    "tensors": ([tg.tensor([0.0, 1.0])], Y, "x: a list of tensors would lose what they were made from"),
    "masked": (np.ma.masked_equal(X, 0), Y, "x: a masked array would lose its mask"),
    "complex": (X + 1j, Y, "x must hold real numbers; found complex128"),
    "ragged": ([[1.0], [1.0, 2.0]], Y, "x: rows of unequal length"),
}


@pytest.mark.parametrize("mistake", XOR_MISTAKES)
def test_data_that_a_model_cannot_use(mistake):
    x, y, message = XOR_MISTAKES[mistake]
    with pytest.raises(tg.DataError, match=re.escape(message)):
        check_data(load_model("xor"), x, y)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_numbers_are_cast_to_the_models_dtype(dtype):
    xor = load_model("xor")
    check_data(xor, X.astype(dtype), Y.astype(dtype))
    feeds = feeds_of(xor, X.astype(dtype), Y.astype(dtype))
    assert [array.dtype for array in feeds.values()] == [np.float32, np.float32]


CLASS_MISTAKES = {
    "too large": (np.array([0, 3, 1]), "labels 'y': cross_entropy: class numbers must lie in 0 to 2; found 0 to 3"),
    "negative": (np.array([0, -1, 1]), "found -1 to 1"),
    "broken numbers": (
        np.array([0, 1.5, 1]),
        "y: the model's input 'y' holds int64, which takes integers from",
    ),
    "one-hot": (np.eye(3), "takes (m,); found shape (3, 3); for one-hot labels, y.argmax(axis=1)"),
    "a column": (np.zeros((3, 1), int), "; y.ravel()"),
    "other columns": (np.zeros((3, 2), int), "takes (m,); found shape (3, 2)"),
}


@pytest.mark.parametrize("mistake", CLASS_MISTAKES)
def test_class_numbers_that_a_model_cannot_use(mistake):
    y, message = CLASS_MISTAKES[mistake]
    with pytest.raises(tg.DataError, match=re.escape(message)):
        check_data(classifier({"shape": [], "dtype": "int64"}), np.zeros((3, 2)), y)


LAYOUTS = {
    "channels last": ((3, 8, 8), (60, 8, 8, 3), "for channels in the last axis, np.moveaxis(x, -1, 1)"),
    "channels last, oblong": ((3, 8, 6), (60, 8, 6, 3), "for channels in the last axis, np.moveaxis(x, -1, 1)"),
    "one channel, last": ((1, 8, 8), (60, 8, 8, 1), "np.moveaxis(x, -1, 1)"),
    "channels of a line, last": ((3, 8), (60, 8, 3), "np.moveaxis(x, -1, 1)"),
    "height and width": ((3, 8, 6), (60, 3, 6, 8), "np.transpose, not reshape"),
    "no channels": ((1, 8, 8), (60, 8, 8), "x.reshape(-1, 1, 8, 8) would fit"),
    "flat": ((1, 8, 8), (60, 64), "x.reshape(-1, 1, 8, 8) would fit"),
    "flat, of three channels": (
        (3, 8, 8),
        (60, 192),
        "x.reshape(-1, 3, 8, 8) would fit if it was flattened from this order",
    ),
    "to be flat": ((64,), (60, 8, 8), "x.reshape(-1, 64) would fit"),
    "one image": ((3, 8, 8), (3, 8, 8), "for a single sample write x[None]"),
    "other groups of axes": ((4, 6), (60, 8, 3), None),
    "another size": ((3, 8, 8), (60, 9, 8, 3), None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_hint_about_a_shape_keeps_each_value_in_its_place(layout):
    wanted, found, hint = LAYOUTS[layout]
    model = Model(inputs={"x": list(wanted)}, parameters={}, equations="y = relu(x)", output="y")
    with pytest.raises(tg.DataError, match="found shape") as error:
        feeds_of(model, np.zeros(found), None)
    with pytest.raises(tg.DataError, match="found shape") as predicting:
        model.predict(np.zeros(found))
    if hint is None:
        assert str(error.value).endswith(f"found shape {found}")
        assert str(predicting.value).endswith(f"found shape {found}")
    else:
        assert hint in str(error.value)
        assert hint in str(predicting.value)


def test_numbers_of_classes_for_one_hot_rows():
    for y in (np.array([0, 2, 1]), np.array([[0], [2], [1]])):
        with pytest.raises(tg.DataError, match=r"one-hot rows: np\.eye\(3\)\[y") as error:
            check_data(classifier([3]), np.zeros((3, 2)), y)
        hint = str(error.value).partition("rows: ")[2].removesuffix(")")
        check_data(classifier([3]), np.zeros((3, 2)), eval(hint, {"np": np, "y": y}))


def pixels_model(equations, dtype="float32"):
    return Model(
        inputs={"x": {"shape": [4], "dtype": dtype}, "y": {"shape": [], "dtype": "int64"}},
        parameters={"W": {"shape": [4, 3], "init": "normal"}},
        equations=f"{equations}\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )


PIXELS, DIGITS = np.arange(0, 256, 2, dtype="uint8").reshape(-1, 4), np.arange(32) % 3
USES = {
    "fit": lambda model: fit(model, (PIXELS, DIGITS), epochs=1),
    "evaluate": lambda model: tg.evaluate(model, (PIXELS, DIGITS)),
    "predict": lambda model: model.predict(PIXELS),
}


@pytest.mark.parametrize("use", USES)
def test_pixels_that_nobody_scales_are_reported(use):
    with pytest.warns(UserWarning, match=r"^input 'x' gets uint8, as pixels in 0 to 255, .* with x / 255$"):
        USES[use](pixels_model("z = x @ W"))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("equations", ["z = x / 255 @ W", "s = 0.01 * x\nz = s @ W", "z = (x - 127.5) @ W"])
def test_pixels_that_the_model_scales_are_not_reported(use, equations):
    USES[use](pixels_model(equations))


@pytest.mark.parametrize("use", USES)
def test_pixels_that_running_statistics_scale_are_not_reported(use):
    model = Model(
        inputs={"x": [4], "y": {"shape": [], "dtype": "int64"}},
        parameters={"W": {"shape": [4, 3], "init": "normal"}},
        state={
            name: {"shape": [4], "init": "ones", "next": f"running_{name}({name}, x)"} for name in ("mean", "variance")
        },
        equations="z = batch_norm(x, 1 + 0 * mean, 0 * mean, mean, variance) @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )
    USES[use](model)


@pytest.mark.parametrize("x", [PIXELS / 255, PIXELS // 2, PIXELS.astype("int16")])
def test_other_numbers_are_no_pixels(x):
    pixels_model("z = x @ W").predict(x)


def test_whole_floats_do_for_class_numbers():
    feeds = feeds_of(classifier({"shape": [], "dtype": "int64"}), np.zeros((3, 2)), np.array([0.0, 2.0, 1.0]))
    assert feeds["y"].tolist() == [0, 2, 1]
    assert feeds["y"].dtype == np.int64


def test_probabilities_of_classes_lie_between_0_and_1():
    model = classifier([3])
    check_data(model, np.zeros((3, 2)), np.eye(3))
    with pytest.raises(tg.DataError, match="labels 'y': cross_entropy: labels must lie between 0 and 1; found 0 to 2"):
        check_data(model, np.zeros((3, 2)), 2 * np.eye(3))


def test_several_inputs_go_by_name():
    x, y = {"right": np.zeros((4, 3)), "left": X}, {"weight": Y, "y": Y}
    assert set(feeds_of(two_inputs(), x, y)) == {"left", "right", "y", "weight"}


BY_NAME_MISTAKES = {
    "an array": (X, "the model takes 'left' and 'right'; give x as a dict of arrays by these names"),
    "unknown": ({"lefft": X, "right": X}, "x holds 'lefft', which the model does not take; did you mean 'left'?"),
    "missing": ({"left": X}, "x lacks 'right'; the model takes 'left' and 'right'"),
    "shape": ({"left": X, "right": X}, "x['right']: the model's input 'right' takes (m, 3); found shape (4, 2)"),
    "lengths": ({"left": X, "right": np.zeros((5, 3))}, "x['left'] has 4, x['right'] has 5, y['y'] has 4"),
}


@pytest.mark.parametrize("mistake", BY_NAME_MISTAKES)
def test_several_inputs_given_wrongly(mistake):
    x, message = BY_NAME_MISTAKES[mistake]
    with pytest.raises(tg.DataError, match=re.escape(message)):
        check_data(two_inputs(), x, {"y": Y, "weight": Y})


def test_labels_are_ignored_by_a_model_without_any():
    encoder = Model(
        inputs={"x": [2]},
        parameters={"W": {"shape": [2, 2], "init": "normal"}},
        equations="r = x @ W\ncost = mse(r, x)",
        output="r",
        loss="cost",
    )
    assert set(feeds_of(encoder, X, np.zeros((7, 9)))) == set(feeds_of(encoder, X, None)) == {"x"}
