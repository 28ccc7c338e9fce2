"""Data of one's own: folders of images, tables, IDX files and arrays that are larger than the memory."""

import gzip
import re
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.model import Model
from tinygraph.train import images as images_module
from tinygraph.train import lazy, load_data

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


@pytest.mark.parametrize("tested", ["test", "val", "validation"])
def test_folders_may_be_divided_by_the_user(tmp_path, tested):
    images(tmp_path / "train")
    images(tmp_path / tested, 2, ("cat", "eel"))
    data = load_data(tmp_path, classifier())
    assert data.split == f"the folder {tested!r}"
    assert data.classes == ("cat", "dog", "eel")
    assert data.test[1].tolist() == [0, 0, 2, 2]
    images(tmp_path / tested, 1, ("cow",))
    with pytest.raises(tg.DataError, match="the class 'cow' is none of 'cat', 'dog' and 'eel'"):
        load_data(tmp_path)


def test_images_of_another_folder_are_tested_on(tmp_path):
    images(tmp_path / "a", 1)
    images(tmp_path / "b", 2, ("eel", "cat"))
    data = load_data(tmp_path / "a", classifier(), validation=tmp_path / "b")
    assert [len(data.train[0]), data.test[1].tolist()] == [3, [0, 0, 2, 2]]
    assert data.split == "all of b"
    with pytest.raises(tg.DataError, match="the class 'cat' has one sample; it needs two"):
        load_data(tmp_path / "a", test_fraction=0.5)


def test_a_model_without_labels_needs_no_classes(tmp_path):
    encoder = Model(
        {"x": [1, 4, 4]}, {"W": {"shape": [4, 4], "init": "normal"}}, "r = x @ W\ncost = mse(r, x)", "r", "cost"
    )
    images(tmp_path, classes=(".",))
    data = load_data(tmp_path, encoder)
    assert [len(data.train[0]), data.train[1], len(data.test[0])] == [5, None, 1]
    assert tg.fit(encoder, data, epochs=1)[0].test_loss is not None
    assert load_data(tmp_path, classifier(), labels=False).train[1] is None
    with pytest.raises(tg.DataError, match="labels need a folder for each class"):
        load_data(tmp_path, classifier())


PIXELS = {
    "sixteen bits": (lambda path: Image.fromarray(np.full((4, 4), 51 << 8, "uint16")).save(path), 51),
    "black and white": (lambda path: Image.new("1", (4, 4), 1).save(path), 255),
    "a palette with a transparent colour": (
        lambda path: Image.new("P", (4, 4), 0).save(path, transparency=b"\0\1"),
        0,
    ),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_images_of_every_kind_become_bytes(tmp_path, kind):
    images(tmp_path, classes=("a", "b"))
    save, value = PIXELS[kind]
    save(tmp_path / "a" / "0.png")
    x = load_data(tmp_path, classifier(2)).part("all")[0]
    np.testing.assert_allclose(x[0] * 255, np.full((1, 4, 4), value), rtol=1e-6)


def test_photos_are_upright(tmp_path):
    images(tmp_path, classes=("a", "b"))
    exif, array = Image.Exif(), np.arange(16, dtype="uint8").reshape(4, 4)
    # Taken with the camera upside down.
    exif[0x0112] = 3
    Image.fromarray(array).save(tmp_path / "a" / "0.png", exif=exif)
    x = load_data(tmp_path, classifier(2)).part("all")[0]
    np.testing.assert_allclose(x[0, 0] * 255, array[::-1, ::-1], rtol=1e-6)


def huge(path):
    """A file of 70 bytes that claims an image of 4 million million pixels."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 2**21, 2**21)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def cut(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16)).astype("uint8")).save(path)
    path.write_bytes(path.read_bytes()[:200])


BROKEN = {
    "text": (lambda path: path.write_text("no image"), "0.png: it is not an image that can be read"),
    "empty": (lambda path: path.write_bytes(b""), "0.png: it is not an image that can be read"),
    "cut short": (lambda path: cut(path), "0.png: the image cannot be read"),
    "too large": (huge, "0.png: the image cannot be read ("),
    "a script for printers": (
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "0.png: it is not an image that can be read",
    ),
    "real numbers": (
        lambda path: Image.fromarray(np.ones((4, 4), "float32")).save(path, "TIFF"),
        "0.png: the image cannot be read (its pixels are real numbers",
    ),
}


@pytest.mark.parametrize("place", ["dog", "cat"])
@pytest.mark.parametrize("kind", BROKEN)
def test_an_unreadable_image_is_named(tmp_path, kind, place):
    images(tmp_path, size=(16, 16))
    write, message = BROKEN[kind]
    write(tmp_path / place / "0.png")
    for model in (None, classifier()):
        with pytest.raises(tg.DataError, match=re.escape(f"{place}/{message}")):
            load_data(tmp_path, model)


def test_folders_that_hold_no_classes(tmp_path):
    with pytest.raises(tg.DataError, match="it holds no images"):
        load_data(tmp_path)
    images(tmp_path, classes=("cat",))
    with pytest.raises(tg.DataError, match="at least two class folders; this folder holds only 'cat'"):
        load_data(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(tg.DataError, match="the class folder 'dog' holds no image"):
        load_data(tmp_path)
    images(tmp_path, 1, ("dog",))
    with pytest.raises(tg.DataError, match="the class 'dog' has one sample"):
        load_data(tmp_path)


OTHER_COUNTS = {
    "ten": (lambda: classifier(10), 10),
    "two": (lambda: binary(16), 2),
    "one-hot": (lambda: classifier(4, labels=[4]), 4),
}


@pytest.mark.parametrize("kind", OTHER_COUNTS)
def test_another_number_of_classes_than_the_model_has(tmp_path, kind):
    make, count = OTHER_COUNTS[kind]
    images(tmp_path)
    with pytest.raises(tg.DataError, match=rf"3 classes, 'cat', 'dog' and 'eel', and the model 'model' has {count}"):
        load_data(tmp_path, make())


def test_labels_have_the_shape_that_the_loss_takes(tmp_path):
    images(tmp_path / "three")
    images(tmp_path / "two", classes=("no", "yes"))
    one_hot = load_data(tmp_path / "three", classifier(3, labels=[3])).part("all")[1]
    np.testing.assert_array_equal(one_hot, np.eye(3)[np.repeat([0, 1, 2], 6)])
    column = load_data(tmp_path / "two", binary(16)).part("all")[1]
    np.testing.assert_array_equal(column, np.repeat([[0], [1]], 6, axis=0))
    assert tg.fit(binary(16), load_data(tmp_path / "two", binary(16)), epochs=1)[0].accuracy is not None


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    images(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(tg.DataError, match=re.escape("pip install 'tinygraph-engine[images]'")):
        load_data(tmp_path)


# ---- larger than the memory


def test_large_folders_of_images_are_read_in_batches(tmp_path, monkeypatch):
    folder, model, read = images(tmp_path, 20), classifier(), []
    expected = tg.fit(classifier(), load_data(folder, model), epochs=2, batch_size=8)
    monkeypatch.setattr(lazy, "MOST_IN_MEMORY", 1000)
    loaded = images_module._loaded
    monkeypatch.setattr(images_module, "_loaded", lambda *given: read.append(given[0]) or loaded(*given))
    data = load_data(folder, model)
    # The shape of the input says how large they are, and the first ones are looked at.
    assert len(read) <= 64
    found = tg.fit(model, data, epochs=2, batch_size=8)
    assert [row.loss for row in found] == [row.loss for row in expected]
    assert tg.evaluate(model, data).count == 12
    assert len(data._repr_html_()) < 10_000
    x = data.part("all")[0]
    assert isinstance(x, lazy.Lazy)
    np.testing.assert_allclose(x[-1][0, 0] * 255, np.full(4, 29), rtol=1e-6)
    save_image(tmp_path / "eel" / "3.png", np.zeros((4, 4)))
    (tmp_path / "eel" / "3.png").write_text("damaged since")
    with pytest.raises(tg.DataError, match=re.escape("eel/3.png: it is not an image")):
        tg.fit(model, data, epochs=1)


def large_arrays(folder, count=1000):
    """4 GB of zeros on a disk that keeps no zeros, and labels for them."""
    np.lib.format.open_memmap(folder / "x.npy", "w+", "float32", (count, 1, 1024, 1024)).flush()
    np.save(folder / "y.npy", np.arange(count) % 2)
    return folder


def pooling():
    return Model(
        inputs={"x": [1, 1024, 1024], "y": {"shape": [], "dtype": "int64"}},
        parameters={"W": {"shape": [1, 2], "init": "normal"}},
        equations="p = mean(x, axis=(2, 3))\nz = p @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )


class Enough(Exception):
    pass


@pytest.mark.parametrize("of_user", [False, True])
def test_arrays_larger_than_the_memory_are_read_in_batches(tmp_path, of_user):
    large_arrays(tmp_path)
    model = pooling()

    def stop(progress):
        if progress.step == 3:
            raise Enough

    tracemalloc.start()
    try:
        data = (np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(1000) % 2) if of_user else tmp_path
        with pytest.raises(Enough):
            tg.fit(model, data, epochs=1, batch_size=4, callback=stop)
        few = load_data(tmp_path, model, test_fraction=0.008)
        assert few.test[0].shape == (8, 1, 1024, 1024)
        assert tg.evaluate(model, few, batch_size=4).count == 8
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400e6


def test_values_of_large_arrays_are_checked_batch_by_batch(tmp_path, monkeypatch):
    x, y = np.zeros((40, 2)), np.arange(40)[:, None] % 2
    x[27, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(tg.DataError, match=r"x is not finite in 1 of 80 elements, the first, nan, at index \(27, 1\)"):
        load_data(tmp_path, binary())
    monkeypatch.setattr(lazy, "MOST_IN_MEMORY", 100)
    data = load_data(tmp_path, binary())
    with pytest.raises(
        tg.DataError, match=r"x is not finite in 1 of 20 elements, the first, nan, at index \(27, 1\) of"
    ):
        tg.fit(binary(), data, epochs=1, batch_size=10)
    np.save(tmp_path / "x.npy", np.zeros((40, 2)))
    np.save(tmp_path / "y.npy", y + 5)
    with pytest.raises(tg.DataError, match="labels 'y.*': bce: labels must lie between 0 and 1"):
        tg.fit(binary(), tmp_path, epochs=1, batch_size=10)
    np.save(tmp_path / "x.npy", np.zeros((40, 3)))
    with pytest.raises(tg.DataError, match=r"the model's input 'x' takes \(m, 2\); found shape \(40, 3\)"):
        load_data(tmp_path, binary())


DAMAGED = {
    "cut short": (lambda content: content[:-8], "needs 320 bytes; it holds 312"),
    "an endless claim": (lambda content: content.replace(b"(20, 2)", b"(9**99,)"), "cannot be read as an .npy file"),
    "objects": (lambda content: content.replace(b"'<f8'", b"'|O' "), "it holds Python objects"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_npy_files_are_refused(tmp_path, damage):
    change, message = DAMAGED[damage]
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    np.save(tmp_path / "y.npy", np.zeros(20))
    (tmp_path / "x.npy").write_bytes(change((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(tg.DataError, match=re.escape(message)):
        load_data(tmp_path)


def test_names_of_classes_in_an_archive(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 2)), y=np.arange(10) % 2, classes=["no", "yes"])
    data = load_data(tmp_path / "a.npz", binary())
    assert data.classes == ("no", "yes")
    assert data.part("all")[1].tolist() == [[0], [1]] * 5
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 2)), y=np.array(["yes", "no"] * 5))
    assert load_data(tmp_path / "a.npz").part("all")[1].tolist() == [1, 0] * 5
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 2)), y=np.arange(10) % 3, classes=["no", "yes"])
    with pytest.raises(tg.DataError, match="y must lie in 0 to 1, the names in classes; found 0 to 2"):
        load_data(tmp_path / "a.npz")


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
