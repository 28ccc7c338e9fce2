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
from tests.tools.datasets import binary, classifier, images, regression, save_image
from tinygraph.model import Model
from tinygraph.train import load_data

Image = pytest.importorskip("PIL.Image")


# ---- folders of images


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


def test_images_have_the_names_of_their_files(tmp_path):
    images(tmp_path)
    data = load_data(tmp_path)
    every = [f"{name}/{i}.png" for name in ("cat", "dog", "eel") for i in range(6)]
    assert data.part("all")[2].tolist() == every
    for part in ("train", "test"):
        x, y, names = data.part(part)
        at = [every.index(name) for name in names]
        assert y.tolist() == [i // 6 for i in at]
        np.testing.assert_allclose(x[:, 0, 0, 0] * 255, [10 * (i // 6) + i % 6 for i in at], rtol=1e-6)
    assert sorted([*data.part("train")[2], *data.part("test")[2]]) == every
    images(tmp_path / "new", 2)
    other = load_data(tmp_path / "new", validation=tmp_path / "new").part("test")[2]
    assert other.tolist() == [f"{name}/{i}.png" for name in ("cat", "dog", "eel") for i in range(2)]
    assert load_data(tmp_path / "cat" / "3.png", classifier(), labels=False).part("train")[2].tolist() == ["3.png"]


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
    with pytest.raises(tg.DataError, match=f"{tmp_path}: the class 'cow' is none of 'cat', 'dog' and 'eel'"):
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
    with pytest.raises(tg.DataError, match=r"labels need a folder for each class"):
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


def claim(path, size):
    """Write a file of 70 bytes that claims to be an image of many pixels."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", size, size)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def cut(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16)).astype("uint8")).save(path)
    path.write_bytes(path.read_bytes()[:200])


BROKEN = {
    "text": (lambda path: path.write_text("no image"), "0.png: it is not an image that can be read"),
    "empty": (lambda path: path.write_bytes(b""), "0.png: it is not an image that can be read"),
    "cut short": (lambda path: cut(path), "0.png: the image cannot be read"),
    "too large": (
        lambda path: claim(path, 2**13),
        "0.png: the image cannot be read (opening this file would take more",
    ),
    "far too large": (
        lambda path: claim(path, 2**21),
        "0.png: the image cannot be read (Image size (4398046511104 pixels)",
    ),
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
    with pytest.raises(tg.DataError, match=r"the folder holds no \.npy and IDX files, and no images"):
        load_data(tmp_path)
    images(tmp_path, classes=("cat",))
    with pytest.raises(tg.DataError, match="at least two class folders; this folder holds only 'cat'"):
        load_data(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(tg.DataError, match="the class folder 'dog' holds no images"):
        load_data(tmp_path)
    images(tmp_path, 1, ("dog",))
    with pytest.raises(tg.DataError, match="the class 'dog' has one sample; it needs two, or a test_fraction of 0"):
        load_data(tmp_path)
    data = load_data(tmp_path, test_fraction=0)
    assert [len(data.train[0]), data.test, data.split] == [7, None, ""]


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


# ---- archives


@pytest.mark.parametrize("classes", ["one", [["a", "b"]], ["a", "a"], [0.5, 1.5], [b"a", b"b"]])
def test_names_of_classes_are_different_texts(tmp_path, classes):
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 2)), y=np.arange(10) % 2, classes=classes)
    with pytest.raises(tg.DataError, match=r"a\.npz: classes must hold different names"):
        load_data(tmp_path / "a.npz")


@pytest.mark.parametrize("y", [np.zeros(0, int), np.zeros(0, "U3")])
@pytest.mark.parametrize("model", [binary(), classifier(3, [2]), classifier(3, [2], labels=[3])])
def test_archives_without_samples_are_refused(tmp_path, model, y):
    np.savez(tmp_path / "a.npz", x=np.zeros((0, 2)), y=y, classes=["a", "b"])
    with pytest.raises(tg.DataError, match=r"a\.npz: x is empty: its shape is \(0, 2\)"):
        load_data(tmp_path / "a.npz", model)


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


def test_numbers_may_be_names_of_classes(tmp_path):
    images(tmp_path / "folders", classes=("10", "9", "8"))
    np.savez(tmp_path / "numbers.npz", x=np.zeros((4, 1, 4, 4)), y=np.array([8, 9, 10, 9]))
    data = load_data(tmp_path / "folders", classifier(), validation=tmp_path / "numbers.npz")
    assert data.classes == ("10", "8", "9")
    assert data.test[1].tolist() == [1, 2, 0, 2]


def test_a_folder_may_be_called_as_a_built_in_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "digits")
    assert load_data("./digits").classes == ("cat", "dog", "eel")
    with pytest.warns(UserWarning, match="'./digits' is the file or folder of that name"):
        assert load_data("digits").classes == ()


# ---- tables


def table(folder, text, name="mine.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
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


def test_numbers_stay_numbers(tmp_path):
    path = table(tmp_path, "a,b,Price\n" + "".join(f"{i},-{i}e-1,{i}.5\n" for i in range(20)))
    # The column called as the model's input for labels, in any case.
    data = load_data(path, regression())
    assert data.classes == ()
    assert data.part("all")[1].ravel().tolist() == [i + 0.5 for i in range(20)]
    assert tg.fit(regression(), path, epochs=1)[0].test_loss is not None
    # Whole numbers are class numbers for a model that takes those.
    data = load_data(
        table(tmp_path, "label,a,b\n" + "".join(f"{i % 3},{i},0\n" for i in range(20))), classifier(3, [2])
    )
    assert data.train[1].dtype == np.int64
    with pytest.raises(tg.DataError, match="class numbers must lie in 0 to 1; found 0 to 2"):
        load_data(tmp_path / "mine.csv", classifier(2, [2]))


def test_other_columns_than_the_model_takes_are_named(tmp_path):
    path = table(tmp_path, "a,b,c,price\n" + "1,2,3,4\n" * 9)
    with pytest.raises(tg.DataError, match=r"takes 2 numbers; found 3 columns of numbers, 'a', 'b' and 'c'$"):
        load_data(path, regression())


def test_text_is_no_number(tmp_path):
    rows = "".join(f"{i},{i},{i}.5\n" for i in range(9))
    with pytest.raises(tg.DataError, match=r"mine.csv:11: column 'price' holds numbers; found '12,5'"):
        load_data(table(tmp_path, f'a,b,price\n{rows}1,2,"12,5"\n'), regression())
    names = "".join(f"{i},{i},{'abc'[i % 3]}\n" for i in range(9))
    with pytest.raises(
        tg.DataError, match="3 classes, 'a', 'b' and 'c', and the model 'model' takes numbers as labels"
    ):
        load_data(table(tmp_path, f"a,b,price\n{names}"), regression())
    # Two classes are the numbers 0 and 1.
    data = load_data(table(tmp_path, f"a,b,price\n{names.replace('c', 'a')}"), regression())
    assert data.part("all")[1].ravel().tolist() == [0, 1, 0] * 3


DIALECTS = {
    "semicolons": "a;b;label\n1;2;x y\n3;4;z\n",
    "tabs": "a\tb\tlabel\n1\t2\tx y\n3\t4\tz\n",
    "quotes": '"a","b","label"\n"1","2","x y"\n"3","4","z"\n',
    "a mark of Windows, its line ends, and empty lines": "\ufeffa,b,label\r\n1,2,x y\r\n\r\n3,4,z\r\n",
    "spaces": " a , b , label \n 1 , 2 , x y \n 3 , 4 , z \n",
    "no last line end": "a,b,label\n1,2,x y\n3,4,z",
    "the numbers of the rows": ",a,b,label\n0,1,2,x y\n1,3,4,z\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tables_as_other_programs_write_them(tmp_path, dialect):
    (tmp_path / "mine.csv").write_bytes(DIALECTS[dialect].encode())
    data = load_data(tmp_path / "mine.csv")
    assert data.train[0].tolist() == [[1, 2], [3, 4]]
    assert data.classes == ("x y", "z")


def test_columns_of_text_are_left_out_and_named(tmp_path):
    path = table(tmp_path, "city,a,label\nRome,1,x\n,2,y\n")
    with pytest.warns(UserWarning, match="mine.csv: the text in 'city' is left out"):
        assert load_data(path).train[0].tolist() == [[1], [2]]


MISTAKES = {
    "text among numbers": ("a,label\n1,x\ntwo,y\n", "mine.csv:3: column 'a' holds numbers; found 'two'"),
    "no value": ("a,label\n1,x\n,y\n", "mine.csv:3: column 'a' has no value; fill it in, or remove the row"),
    "no label": ("a,label\n1,x\n2,?\n", "mine.csv:3: column 'label' has no value"),
    "fields": ("a,label\n1,x\n2,y,z\n", "mine.csv:3: found 3 fields; the header has 2"),
    "no header": ("1,2\n3,4\n", "mine.csv:1: expected a header with the names of the columns; found '1' and '2'"),
    "two columns of a name": ("a,a,label\n1,2,3\n", "mine.csv:1: two columns are called 'a'"),
    "empty": ("", "mine.csv:1: expected a header with the names of the columns; found none"),
    "only a header": ("a,label\n", "mine.csv: no column holds numbers to learn from"),
    "no numbers": ("a,label\nx,y\n", "mine.csv: no column holds numbers to learn from (columns: 'a' and 'label')"),
    "no column of labels": ("a,b\n1,2\n", "name that of the labels (--label, label=) among 'a' and 'b'"),
    "one of a class": ("a,label\n" + "1,x\n" * 5 + "2,y\n", "the class 'y' has one sample; it needs two"),
    "infinity": ("a,label\n1,x\ninf,y\n", "mine.csv:3: column 'a' holds numbers; found 'inf'"),
    "NaN": ("a,label\n1,x\nnan,y\n", "mine.csv:3: column 'a' has no value"),
    "a line of another length after quoted lines": (
        'a,label\n1,"x\ny"\n2\n',
        "mine.csv:4: found 1 field; the header has 2",
    ),
    "other letters": (b"a,label\n1,caf\xe9\n", "mine.csv: it is not text in UTF-8"),
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


DAMAGED_IDX = {
    "empty": (b"", "it does not begin as one"),
    "text": (b"no numbers at all", "it does not begin as one"),
    "half a header": (b"\0\0\x08\x03\0\0\0\x14\0\0", "it does not begin as one"),
    "short": (
        b"\0\0\x08\x03\0\0\0\x14\0\0\0\x04\0\0\0\x04" + bytes(319),
        "an array of shape (20, 4, 4) needs 320 bytes and holds 319",
    ),
    "long": (b"\0\0\x08\x03\0\0\0\x14\0\0\0\x04\0\0\0\x04" + bytes(321), "needs 320 bytes and holds 321"),
    "an endless claim": (b"\0\0\x0e\x03" + b"\xff" * 12 + bytes(99), " bytes and holds "),
    "no image": (b"\0\0\x08\x03\0\0\0\0\0\0\0\x04\0\0\0\x04", "it holds no numbers"),
    "labels": (b"\0\0\x08\x01\0\0\0\x02\1\1", "expected images, three axes; found an array of shape (2,)"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", DAMAGED_IDX)
def test_damaged_idx_files_are_refused(tmp_path, damage, packed):
    content, message = DAMAGED_IDX[damage]
    mnist(tmp_path, packed)
    path = tmp_path / ("train-images-idx3-ubyte" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(content) if packed else content)
    if packed and damage == "an endless claim":
        message = "opening this file would take more than"
    tracemalloc.start()
    try:
        with pytest.raises(tg.DataError, match=f"{re.escape(path.name)}: .*{re.escape(message)}"):
            load_data(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_gzip_file_that_grows_without_end_is_not_unpacked(tmp_path):
    mnist(tmp_path, True)
    content = b"\0\0\x08\x03\0\0\0\x14\0\0\0\x04\0\0\0\x04" + bytes(2**27)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    tracemalloc.start()
    try:
        with pytest.raises(tg.DataError, match="needs 320 bytes and holds 321"):
            load_data(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_idx_files_that_do_not_go_together(tmp_path):
    folder = mnist(tmp_path, False)
    data = load_data(folder / "t10k-images-idx3-ubyte", classifier())
    assert [len(data.train[0]), len(data.test[0])] == [8, 2]
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert load_data(folder / "t10k-images-idx3-ubyte", classifier(), labels=False).train[1] is None
    with pytest.raises(tg.DataError, match="there is no file 't10k-labels-idx1-ubyte' with the labels"):
        load_data(folder / "t10k-images-idx3-ubyte")
    with pytest.raises(tg.DataError, match="there is no file 't10k-labels-idx1-ubyte' with the labels"):
        load_data(folder)
    idx(folder / "t10k-labels-idx1-ubyte", np.zeros(9, "uint8"))
    with pytest.raises(tg.DataError, match=r"its shape is \(9,\); expected a label for each of the 10 images"):
        load_data(folder)
    idx(folder / "more-images-idx3-ubyte", np.zeros((9, 4, 4), "uint8"))
    with pytest.raises(tg.DataError, match="expected a file of images to learn from"):
        load_data(folder)


def test_idx_files_of_other_numbers_are_not_scaled(tmp_path):
    idx(tmp_path / "a-images-idx3-float", np.full((6, 2, 2), 7.5, ">f4"), code=13)
    idx(tmp_path / "a-labels-idx1-float", np.arange(6, dtype=">i4"), code=12)
    x, y, _ = load_data(tmp_path).part("all")
    assert x.tolist() == np.full((6, 1, 2, 2), 7.5).tolist()
    assert y.tolist() == list(range(6))


# ---- what is drawn for the test


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_a_fraction_of_each_class_is_drawn(fraction):
    digits = load_data("digits", test_fraction=fraction)
    counts = [np.bincount(part[1]) for part in (digits.train, digits.test)]
    np.testing.assert_allclose(counts[1], fraction * (counts[0] + counts[1]), atol=1)
    assert digits.split == f"{fraction:g} of each class, drawn with seed 0"
    np.testing.assert_array_equal(load_data("digits", test_fraction=0.2).drawn, load_data("digits").drawn)


@pytest.mark.parametrize("fraction", [1, -0.1, 1.5, float("nan"), "0.2", True])
def test_a_fraction_lies_between_0_and_1(fraction):
    with pytest.raises(tg.DataError, match="test_fraction is a number from 0 to 1, without 1; found"):
        load_data("digits", test_fraction=fraction)


def test_nothing_is_drawn_for_a_fraction_of_0(tmp_path):
    data = load_data("digits", test_fraction=0)
    assert [len(data.train[0]), data.test] == [1797, None]
    np.savez(tmp_path / "own.npz", x=np.zeros(6), y=np.zeros(6), x_test=np.ones(2), y_test=np.ones(2))
    with pytest.raises(tg.DataError, match="test_fraction is for data without a test set"):
        load_data(tmp_path / "own.npz", test_fraction=0.5)


def test_a_class_without_a_sample_to_test_on_is_named(tmp_path):
    text = "a,label\n" + "1,common\n" * 17 + "2,rare\n" * 2
    assert load_data(table(tmp_path, text)).split == "one in five of each class, none of 'rare', drawn with seed 0"
    # Of classes without names, a single sample is learned from.
    np.savez(tmp_path / "a.npz", x=np.arange(20), y=np.repeat([0, 7], [19, 1]))
    for seed in range(9):
        assert 19 not in load_data(tmp_path / "a.npz", seed=seed).drawn
