"""Samples and labels to train and test on, built in or from a file, and the check that a model can use them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from tinygraph.errors import DataError, UnknownNameError, listing, nearest
from tinygraph.files import as_path
from tinygraph.graph import Array, integer
from tinygraph.train.archive import unpacked
from tinygraph.train.feeds import as_model, check_finite, feeds_of, type_name
from tinygraph.train.samples import classes_of, count_text, of_each, sample_count, samples_view

if TYPE_CHECKING:
    from tinygraph.model import Model

Part: TypeAlias = tuple[Any, Any]
DataSource: TypeAlias = "Data | Part | str | PathLike[str]"
PartName: TypeAlias = Literal["train", "test", "all"]
# The ``split`` of a source with too few samples for a test set.
THE_SAME = "the samples to learn from"


@dataclass(frozen=True, repr=False)
class Data:
    """Samples and labels in two parts, ``train`` and ``test``, each a pair ``(x, y)``; ``test`` may be ``None``.

    The samples are the first axis of ``x`` and ``y``. For a model with several inputs ``x`` (or ``y``) is a dict of
    arrays by the inputs' names. The arrays are not checked here; see ``check_data``. ``split`` describes how the test
    samples were chosen; if they were drawn from all samples, ``drawn`` holds their indices in the source. ``classes`` are
    the names of the classes, in the order of their numbers. Raises ``DataError`` for anything but pairs.

    >>> data = Data("mine", train=(np.zeros((3, 2)), np.array([0, 1, 1])), test=None)
    >>> data.name, data.train[0].shape
    ('mine', (3, 2))
    """

    name: str
    train: Part
    test: Part | None = None
    description: str = ""
    split: str = ""
    drawn: Array | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, part in (("train", self.train), ("test", self.test)):
            if not (isinstance(part, (tuple, list)) and len(part) == 2) and not (name == "test" and part is None):
                raise DataError(f"{name} of the data {self.name!r} must be a pair (x, y); found {type(part).__name__}")

    def __repr__(self) -> str:
        tested = "" if self.test is None else f", {count_text(self.test[1])} to test on"
        return f"<Data {self.name}: {count_text(self.train[1])} to learn from{tested}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: shapes and numbers of every array, and the first samples if they are images."""
        parts = {"train": self.train, **({} if self.test is None else {"test": self.test})}
        return samples_view(": ".join(filter(None, [self.name, self.description])), parts, self.split)

    def part(self, which: PartName) -> tuple[Any, Any, Array | None]:
        """Return ``x`` and ``y`` of one part or of all, and the samples' indices in the source, ``None`` for 0, 1, 2...

        Without a test part, it is the training part. All samples are in the order of the source.

        >>> x, y, at = divided("ten", np.arange(10), np.array([0, 1] * 5), "", seed=0).part("test")
        >>> x, at
        (array([1, 8]), array([1, 8]))
        """
        if which not in get_args(PartName):
            raise DataError(f"the parts of data are {listing(get_args(PartName))}; found {which!r}")
        test = self.train if self.test is None else self.test
        learned = None
        if self.drawn is not None:
            learned = np.delete(np.arange(sample_count(self.train[1]) + len(self.drawn)), self.drawn)
        if which == "test":
            return *test, self.drawn
        if which == "train" or self.test is None or self.split == THE_SAME:
            return *self.train, learned
        order = slice(None) if learned is None else np.argsort(np.concatenate([learned, self.drawn]))
        x, y = (of_each(lambda *ab: np.concatenate(ab)[order], *pair) for pair in zip(self.train, test, strict=True))
        return x, y, None


def as_data(model: Model, data: DataSource | None) -> Data:
    """Return what ``fit`` accepts as data as a ``Data``; what is loaded is checked against ``model``.

    >>> from tinygraph.model import load_model
    >>> as_data(load_model("xor"), ([[0, 1]], [[1]])).test is None
    True
    """
    if isinstance(data, Data):
        return data
    if isinstance(data, (str, PathLike)):
        return load_data(data, model)
    if isinstance(data, tuple) and len(data) == 2:
        return Data("data", data)
    found = "nothing, and the model's [training] names none" if data is None else type_name(data)
    raise DataError(f"data must be a Data, a pair (x, y), or a name or path for load_data; found {found}")


def load_data(source: str | PathLike[str], model: Model | None = None, seed: int = 0) -> Data:
    """Return a built-in data set by its name, or one from a ``.npz`` file by its path.

    Built in: ``digits``, 1,797 handwritten digits, ``x`` float32 (N, 1, 8, 8) in 0 to 1 (black pixels in a block of 4
    by 4, divided by 16), ``y`` int64 (N,), 0 to 9; ``digits_odd``, the same with ``y`` float32 (N, 1), 1 for odd;
    ``digits28`` and ``digits28_odd``, each pixel repeated 3 by 3 within a border of 2, (N, 1, 28, 28); ``xor``, ``x``
    float32 (4, 2), ``y`` (4, 1), to train and to test on. Source of the digits: E. Alpaydin and C. Kaynak, *Optical
    Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, doi 10.24432/C50P49, CC BY 4.0.

    A file contains ``x`` and ``y``, and ``x_test`` and ``y_test`` if it has a test set. For a ``model`` with several inputs
    it contains an array for each, by the inputs' names, and the test set as ``NAME_test``. Without a test set, one sample in
    five of each class is drawn for the test with ``seed`` (see ``drawn_for_test``), as from the digits (1,438 and 359); both
    parts keep the order of the source. Fewer than five samples are used to train and to test.

    With ``model``, the data are checked against it; for a file, errors name the arrays and indices of the file. Raises
    ``UnknownNameError`` and ``DataError``.

    >>> digits = load_data("digits")
    >>> digits.train[0].shape, digits.test[0].shape
    ((1438, 1, 8, 8), (359, 1, 8, 8))
    >>> digits.split
    'one in five of each class, drawn with seed 0'
    """
    if not isinstance(source, (str, PathLike)):
        raise DataError(f"load_data takes the name of a data set or the path of an .npz file; found {source!r}")
    name, seed = str(as_path(source)), integer("seed", seed, least=0)
    if model is not None:
        as_model("load_data", model)
    if name in BUILT_IN:
        data = BUILT_IN[name](name, seed)
        if model is not None:
            check_data(model, *data.train)
        return data
    if name.endswith(".npz") or os.path.isfile(name):
        return _from_file(Path(name), model, seed)
    hint = "; it is a folder" if Path(name).is_dir() else nearest(name, BUILT_IN)
    known = f"built in are {listing(BUILT_IN)}; anything else is the path of an .npz file"
    raise UnknownNameError(f"no data set is called {name!r}{hint} ({known})")


def check_data(model: Model, x: Any, y: Any = None) -> None:
    """Raise ``DataError`` unless ``model`` can be trained and evaluated on samples ``x`` and labels ``y``.

    It refuses empty data, values that are not finite, other shapes than the model's inputs declare (``x`` and ``y``
    have the samples in the first axis), different numbers of samples, and labels that the loss does not accept, such as
    probabilities outside 0 to 1 or class numbers out of range. Nothing is reshaped. For several inputs ``x`` is a dict of
    arrays by name; ``y`` is ignored by a model whose loss takes no labels.

    >>> import tinygraph as tg
    >>> from tinygraph.model import load_model
    >>> check_data(load_model("xor"), np.zeros((4, 3)), np.zeros((4, 1)))
    Traceback (most recent call last):
    tinygraph.errors.DataError: x: the model's input 'x' takes (m, 2); found shape (4, 3)
    """
    feeds_of(as_model("check_data", model), x, y)


def data_of(model: Model) -> str | None:
    """Return the data that a model's ``[training]`` names: a built-in set, a file relative to the model's, or ``None``.

    >>> import tinygraph as tg
    >>> data_of(tg.load_model("notes_cnn"))
    'digits_odd'
    """
    name = model.training.data
    if name is None or name in BUILT_IN or model.path is None:
        return name
    file = model.path.parent / name
    return str(file) if name.endswith(".npz") or os.path.isfile(file) else name


def required_data(model: Model, given: str | None) -> str:
    """Return the data that are ``given``, or those that the model names; raise ``DataError`` where there are none.

    >>> import tinygraph as tg
    >>> required_data(tg.load_model("xor"), None), required_data(tg.load_model("xor"), "mine.npz")
    ('xor', 'mine.npz')
    """
    source = given or data_of(model)
    if source is None:
        raise DataError(f"model {model.name!r} does not name data; give --data")
    return source


def samples_of(model: Model, source: str) -> dict[str, Array]:
    """Return all samples of data, in the order of their source, by the names of the model's inputs, as ``feeds_of`` does.

    >>> import tinygraph as tg
    >>> {name: array.shape for name, array in samples_of(tg.load_model("notes_cnn"), "digits_odd").items()}
    {'Inp': (1797, 1, 8, 8), 'y': (1797, 1)}
    """
    return feeds_of(model, *load_data(source, model).part("all")[:2])


def divided(name: str, x: Any, y: Any, description: str, seed: int, strata: Array | None = None) -> Data:
    """Return all samples and labels of a source as ``Data``, with one sample in five drawn for the test.

    If the labels, or ``strata`` instead of them, are classes, the samples are drawn class by class.

    >>> data = divided("ten", np.arange(10), np.array([0, 1] * 5), "", seed=0)
    >>> data.test[1], data.split
    (array([1, 0]), 'one in five of each class, drawn with seed 0')
    """
    if sample_count(x) < 5:
        return Data(name, (x, y), (x, y), description, THE_SAME)
    labels = list(y.values()) if isinstance(y, Mapping) else [y]
    classes = next((array for array in labels if classes_of(array) is not None), labels[0])
    test, by_class = drawn_for_test(classes if strata is None else strata, seed)
    train = np.delete(np.arange(sample_count(x)), test)
    split = f"one in five{' of each class' if by_class else ''}, drawn with seed {seed}"
    learn_from, test_on = ((of_each(take, x), of_each(take, y)) for take in map(itemgetter, (train, test)))
    return Data(name, learn_from, test_on, description, split, test)


def drawn_for_test(y: Array, seed: int) -> tuple[Array, bool]:
    """Return the sorted indices of the samples to test on, a random fifth, and whether they are drawn class by class.

    If labels are classes, numbers or one-hot rows, a fifth of each class is drawn, rounded up or down. Labels are
    classes if they are whole numbers and there are at least twice as many samples as classes.

    >>> drawn_for_test(np.repeat([0, 1], 5), seed=0)
    (array([1, 8]), True)
    """
    order = np.random.default_rng(seed).permutation(len(y))
    classes = classes_of(y)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    return np.sort(order[4::5]), classes is not None


@functools.cache
def _digits() -> tuple[Array, Array]:
    with (resources.files("tinygraph.train") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["x"], arrays["y"]


def _built_in_digits(name: str, seed: int) -> Data:
    pixels, digits = _digits()
    x = pixels[:, np.newaxis].astype(np.float32) / 16
    if name.startswith("digits28"):
        x = np.pad(x.repeat(3, axis=2).repeat(3, axis=3), [(0, 0), (0, 0), (2, 2), (2, 2)])
    odd = name.endswith("_odd")
    y = (digits[:, np.newaxis] % 2).astype(np.float32) if odd else digits.astype(np.int64)
    question = "is it odd?" if odd else "which digit is it?"
    description = f"Handwritten digits, {x.shape[2]} by {x.shape[3]} (UCI, CC BY 4.0): {question}"
    # The images for the test are the same for both labels.
    return divided(name, x, y, description, seed, strata=digits)


def _built_in_xor(name: str, seed: int) -> Data:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([[0], [1], [1], [0]], dtype=np.float32)
    return divided(name, x, y, "Exclusive or: is exactly one of two bits set?", seed)


BUILT_IN: Mapping[str, Callable[[str, int], Data]] = {
    **dict.fromkeys(("digits", "digits_odd", "digits28", "digits28_odd"), _built_in_digits),
    "xor": _built_in_xor,
}


def read_arrays(path: str | PathLike[str], names: Sequence[str] = ("x",)) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file by name: ``x``, and the others that it contains, such as ``y``.

    The arrays called ``names``, those of the inputs of a model that has several, must be there. They, ``y``, and arrays with
    one of these names and ``_test`` have the samples in their first axis and hold finite values of any dtype. Pickled
    objects, which could run code, are refused. Raises ``DataError``, which names the file, the array and the index.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.npz")
    >>> np.savez(path, x=np.zeros((3, 2)))
    >>> {name: array.shape for name, array in read_arrays(path).items()}
    {'x': (3, 2)}
    """
    arrays = unpacked(as_path(path))
    _require(path, arrays, names)
    for name in (*names, "y", *(f"{name}_test" for name in (*names, "y"))):
        array = arrays.get(name)
        if array is not None and not array.ndim:
            raise DataError(f"{path}: {name} is a single number; expected an array with the samples in its first axis")
        if array is not None and array.dtype.kind in "fc":
            check_finite(f"{path}: {name}", array)
    return arrays


def _require(path: str | PathLike[str], arrays: Mapping[str, Array], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in arrays]
    if missing:
        subject, verb = ("an array", "is") if len(missing) == 1 else ("arrays", "are")
        raise DataError(f"{path}: {subject} called {listing(missing)} {verb} missing; the file has {listing(arrays)}")


def names_in_files(inputs: Sequence[str], one: str) -> tuple[str, ...]:
    """Return the names that a model's inputs have in a file: their own if there are several, else ``one``.

    >>> names_in_files(["Inp"], "x"), names_in_files(["image", "size"], "x")
    (('x',), ('image', 'size'))
    """
    return tuple(inputs) if len(inputs) > 1 else (one,)


def _from_file(path: Path, model: Model | None, seed: int) -> Data:
    features = names_in_files(() if model is None else model.features, "x")
    labels = names_in_files(() if model is None else model.labels, "y")
    arrays = read_arrays(path, features if labels == ("y",) else (*features, *labels))
    _require(path, arrays, labels)
    tests = [f"{name}_test" for name in (*features, *labels)]
    tested = [name for name in tests if name in arrays]
    if tested and tested != tests:
        raise DataError(f"{path}: {listing(tests)} go together; the file has {listing(arrays)}")
    parts = []
    for end in ("", "_test") if tests == tested else ("",):
        # Checked before the split, so that errors give the indices of the file.
        x, y = (
            arrays[names[0] + end] if len(names) == 1 else {name: arrays[name + end] for name in names}
            for names in (features, labels)
        )
        if sample_count(x) != sample_count(y):
            counts = f"{features[0]}{end} has {sample_count(x)} samples and {labels[0]}{end} has {sample_count(y)}"
            raise DataError(f"{path}: {counts}")
        if model is not None:
            try:
                feeds_of(model, x, y, (f"x{end}", f"y{end}"))
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
        parts.append((x, y))
    description = f"from {path.name}"
    if tested:
        return Data(path.stem, parts[0], parts[1], description, "x_test and y_test of the file")
    return divided(path.stem, *parts[0], description, seed)
