"""Data of one's own: folders of images, tables, IDX files and arrays that are larger than the memory."""

import gzip
import re
import struct

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.model import Model
from tinygraph.train import load_data

Image = pytest.importorskip("PIL.Image")


def classifier(classes=3, shape=(1, 4, 4), labels=None):
    """A model that tells images apart; ``labels`` declares the input y."""
    return Model(
        inputs={"x": list(shape), "y": {"shape": [], "dtype": "int64"} if labels is None else labels},
        parameters={"W": {"shape": [int(np.prod(shape)), classes], "init": "normal"}},
        equations="z = flatten(x) @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )


def binary(features=2):
    return Model(
        inputs={"x": [features], "y": [1]},
        parameters={"W": {"shape": [features, 1], "init": "normal"}},
        equations="a = sigmoid(x @ W)\ncost = bce(a, y)",
        output="a",
        loss="cost",
    )


def regression(features=2):
    return Model(
        inputs={"x": [features], "price": [1]},
        parameters={"W": {"shape": [features, 1], "init": "normal"}},
        equations="p = x @ W\ncost = mse(p, price)",
        output="p",
        loss="cost",
    )


# ---- folders of images


def save_image(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, "uint8"), mode).save(path) if mode is None else Image.new(mode, (4, 4)).save(path)


def images(folder, count=6, classes=("cat", "dog", "eel"), size=(4, 4)):
    """A folder of images: each has one grey value, 10 times its class and its number added."""
    for number, name in enumerate(classes):
        for i in range(count):
            save_image(folder / name / f"{i}.png", np.full(size, 10 * number + i))
    return folder


def test_folders_of_images_are_classes(tmp_path):
    images(tmp_path / "pets")
    for junk in (".DS_Store", "Thumbs.db", "notes.txt", "._1.png"):
        (tmp_path / "pets" / "dog" / junk).write_text("no image")
    (tmp_path / "pets" / "__MACOSX").mkdir()
    data = load_data(tmp_path / "pets")
    assert data.name == "pets"
    assert data.classes == ("cat", "dog", "eel")
    x, y, _ = data.part("all")
    assert x.shape == (18, 1, 4, 4)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(y, np.repeat([0, 1, 2], 6))
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, 10 * y + np.tile(range(6), 3), rtol=1e-6)
    assert data.split == "one in five of each class, drawn with seed 0"


@pytest.mark.parametrize(("shape", "mode"), [((1, 4, 4), "L"), ((3, 4, 4), "RGB"), ((4, 4), "L"), ((1, 7, 5), "L")])
def test_images_are_converted_to_the_models_input(tmp_path, shape, mode):
    for name in ("a", "b"):
        for i in range(4):
            save_image(tmp_path / name / f"{i}.png", np.full((8, 8, 3), (30, 60, 90)))
    x = load_data(tmp_path, classifier(2, shape)).part("all")[0]
    assert x.shape == (8, *shape)
    grey = np.asarray(Image.new("RGB", (1, 1), (30, 60, 90)).convert("L"))[0, 0]
    expected = np.array([30, 60, 90])[:, None, None] if mode == "RGB" else grey
    np.testing.assert_allclose(x[0] * 255, np.broadcast_to(expected, shape), rtol=1e-6)


def test_without_a_model_the_first_image_decides(tmp_path):
    for i, size in enumerate([(6, 5), (3, 3), (12, 10), (6, 5)]):
        for name in ("a", "b"):
            save_image(tmp_path / name / f"{i}.png", np.zeros((*size, 3)))
    assert load_data(tmp_path).part("all")[0].shape == (8, 3, 6, 5)


# ---- tables


def table(folder, text, name="mine.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


FLOWERS = "width,height,species\n" + "".join(f"{i},{i / 2},{'rose' if i % 2 else 'lily'}\n" for i in range(10))


def test_text_labels_of_a_table_are_classes(tmp_path):
    data = load_data(table(tmp_path, FLOWERS), label="species")
    assert data.classes == ("lily", "rose")
    x, y, _ = data.part("all")
    np.testing.assert_array_equal(x, np.arange(10)[:, None] * [1, 0.5])
    np.testing.assert_array_equal(y, np.arange(10) % 2)
    assert data.split == "one in five of each class, drawn with seed 0"


def test_two_classes_are_a_column_for_binary_cross_entropy(tmp_path):
    path = table(tmp_path, FLOWERS.replace("species", "label"))
    data = load_data(path, binary())
    assert data.train[1].shape == (8, 1)
    assert tg.fit(binary(), path, epochs=1)[0].accuracy is not None
    # Loaded without the model, and fitted to it later.
    assert tg.fit(binary(), load_data(path), epochs=1)[0].accuracy is not None


MISTAKES = {
    "text among numbers": ("a,label\n1,x\ntwo,y\n", "mine.csv:3: column 'a' holds numbers; found 'two'"),
    "no value": ("a,label\n1,x\n,y\n", "mine.csv:3: column 'a' has no value; fill it in, or remove the row"),
    "no label": ("a,label\n1,x\n2,?\n", "mine.csv:3: column 'label' has no value"),
    "fields": ("a,label\n1,x\n2,y,z\n", "mine.csv:3: there are 3 fields, and the header has 2"),
    "no header": ("1,2\n3,4\n", "mine.csv:1: expected a header with the names of the columns; found '1' and '2'"),
    "two columns of a name": ("a,a,label\n1,2,3\n", "mine.csv:1: two columns are called 'a'"),
    "empty": ("", "mine.csv:1: expected a header with the names of the columns; found none"),
    "only a header": ("a,label\n", "mine.csv: there is no row below the header"),
    "no numbers": ("a,label\nx,y\n", "mine.csv: no column holds numbers to learn from (columns: 'a' and 'label')"),
    "no column of labels": ("a,b\n1,2\n", "name that of the labels (--label, label=) among 'a' and 'b'"),
    "one of a class": ("a,label\n" + "1,x\n" * 5 + "2,y\n", "the class 'y' has one sample; it needs two"),
    "an open quote": ('a,label\n1,"x\n', "mine.csv: it is not a table with values between commas"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_a_table_are_named_with_line_and_column(tmp_path, mistake):
    text, message = MISTAKES[mistake]
    with pytest.raises(tg.DataError, match=re.escape(message)):
        load_data(table(tmp_path, text))


def test_a_missing_column_offers_the_nearest(tmp_path):
    with pytest.raises(tg.DataError, match="no column is called 'specie'; did you mean 'species'"):
        load_data(table(tmp_path, FLOWERS), label="specie")


# ---- IDX files


def idx(path, array, code=8, packed=False):
    content = (
        struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def mnist(folder, packed):
    end = ".gz" if packed else ""
    for name, count in (("train", 20), ("t10k", 10)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4)).astype("uint8")
        idx(folder / f"{name}-images-idx3-ubyte{end}", pixels, packed=packed)
        idx(folder / f"{name}-labels-idx1-ubyte{end}", (np.arange(count) % 3).astype("uint8"), packed=packed)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_have_their_own_test_set(tmp_path, packed):
    data = load_data(mnist(tmp_path, packed), classifier())
    assert data.train[0].shape == (20, 1, 4, 4)
    assert data.train[0].dtype == np.float32
    assert 0.9 < data.train[0].max() <= 1
    assert data.train[1].tolist() == [i % 3 for i in range(20)]
    assert len(data.test[0]) == 10


# ---- inputs without a batch axis


def weighted():
    """A model whose features are scaled by an array that is no sample, and whose loss has weights for the classes."""
    return Model(
        inputs={
            "x": [2],
            "scale": {"shape": [2], "batched": False},
            "y": [3],
            "weights": {"shape": [3], "batched": False},
        },
        parameters={"W": {"shape": [2, 3], "init": "normal"}},
        equations="z = (x * scale) @ W\ncost = cross_entropy(z, y * weights)",
        output="z",
        loss="cost",
    )


@pytest.mark.parametrize("compiled", [True, False])
def test_inputs_without_a_batch_axis_are_fed_whole(tmp_path, compiled):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(23, 2)), np.eye(3)[np.arange(23) % 3]
    scale, weights = np.array([1.0, 2.0]), np.array([1.0, 0.5, 0.25])
    plain = Model(
        inputs={"x": [2], "y": [3]},
        parameters={"W": {"shape": [2, 3], "init": "normal"}},
        equations="z = x @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )
    model = weighted()
    part = {"scale": scale, "x": x}, {"weights": weights, "y": y}
    found = tg.fit(model, part, epochs=3, batch_size=5, compiled=compiled)
    expected = tg.fit(plain, (x * scale, y * weights), epochs=3, batch_size=5, compiled=compiled)
    np.testing.assert_allclose([row.loss for row in found], [row.loss for row in expected], rtol=1e-5)
    np.testing.assert_allclose(model.parameters["W"].value, plain.parameters["W"].value, rtol=1e-4)
    metrics = tg.evaluate(model, part, batch_size=10, compiled=compiled)
    assert metrics.count == 23
    assert metrics.loss == pytest.approx(tg.evaluate(plain, (x * scale, y * weights)).loss, rel=1e-5)
    np.savez(tmp_path / "mine.npz", x=x, y=y, scale=scale, weights=weights)
    data = load_data(tmp_path / "mine.npz", weighted())
    assert len(data.test[0]["x"]) == 4
    assert tg.fit(weighted(), data, epochs=1, compiled=compiled)[0].test_loss is not None
