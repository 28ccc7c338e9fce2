"""Samples and labels to train and test on, built in or from files, and the check that a model can use them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from tinygraph.errors import DataError, UnknownNameError, listing, nearest
from tinygraph.files import as_path, nearest_file
from tinygraph.graph import Array, extent, integer
from tinygraph.train.archive import read_archive
from tinygraph.train.builtin import BUILT_IN
from tinygraph.train.feeds import as_model, feeds_of, type_name
from tinygraph.train.idx import is_idx, read_idx
from tinygraph.train.images import SUFFIXES, read_images
from tinygraph.train.lazy import joined, taken
from tinygraph.train.samples import classes_of, count_text, of_each, sample_count, samples_view
from tinygraph.train.source import Source, class_numbers, fit_labels
from tinygraph.train.table import read_table

if TYPE_CHECKING:
    from tinygraph.model import Model

Part: TypeAlias = tuple[Any, Any]
DataSource: TypeAlias = "Data | Part | str | PathLike[str]"
PartName: TypeAlias = Literal["train", "test", "all"]
# The ``split`` of a source with too few samples for a test set.
THE_SAME = "the samples to learn from"
TABLES = (".csv", ".tsv")


@dataclass(frozen=True, repr=False)
class Data:
    """Samples and labels in two parts, ``train`` and ``test``, each a pair ``(x, y)``; ``test`` may be ``None``.

    The samples are the first axis of ``x`` and ``y``. For a model with several inputs ``x`` (or ``y``) is a dict of
    arrays by the inputs' names. The arrays are not checked here; see ``check_data``. ``split`` describes how the test
    samples were chosen; if they were drawn from all samples, ``drawn`` holds their indices in the source. ``classes`` are
    the names of the classes, in the order of their numbers, and ``names`` those of the samples in both parts, such as files.
    Raises ``DataError`` for anything but pairs.

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
    names: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        for name, part in (("train", self.train), ("test", self.test)):
            if not (isinstance(part, (tuple, list)) and len(part) == 2) and not (name == "test" and part is None):
                raise DataError(f"{name} of the data {self.name!r} must be a pair (x, y); found {type(part).__name__}")

    def __repr__(self) -> str:
        tested = "" if self.test is None else f", {count_text(self.test[0])} to test on"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"<Data {self.name}: {count_text(self.train[0])} to learn from{tested}{classes}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: shapes and numbers of every array, and some samples if they are images."""
        parts = {"train": self.train, **({} if self.test is None else {"test": self.test})}
        return samples_view(": ".join(filter(None, [self.name, self.description])), parts, self.split, self.classes)

    def part(self, which: PartName) -> tuple[Any, Any, Array | None]:
        """Return ``x`` and ``y`` of one part or of all, and the samples' names or indices in the source, ``None`` for 0, 1...

        Without a test part, it is the training part. All samples are in the order of the source.

        >>> x, y, at = divided("ten", Source([(np.arange(10), np.array([0, 1] * 5))]), seed=0).part("test")
        >>> x, at
        (array([1, 8]), array([1, 8]))
        """
        if which not in get_args(PartName):
            raise DataError(f"the parts of data are {listing(get_args(PartName))}; found {which!r}")
        test = self.train if self.test is None else self.test
        learned = None
        if self.drawn is not None:
            learned = np.delete(np.arange(sample_count(self.train[0]) + len(self.drawn)), self.drawn)
        if which == "test":
            return *test, self.names[-1] if self.names else self.drawn
        if which == "train" or self.test is None or self.split == THE_SAME:
            return *self.train, self.names[0] if self.names else learned
        x, y = (of_each(joined, *pair) for pair in zip(self.train, test, strict=True))
        names = np.concatenate(self.names) if self.names else None
        if learned is not None:
            order = np.argsort(np.concatenate([learned, self.drawn]))
            x, y, names = (of_each(partial(taken, chosen=order), samples) for samples in (x, y, names))
        return x, y, names


def as_data(model: Model, data: DataSource | None) -> Data:
    """Return what ``fit`` accepts as data as a ``Data``; what is loaded is checked against ``model``.

    >>> from tinygraph.model import load_model
    >>> as_data(load_model("xor"), ([[0, 1]], [[1]])).test is None
    True
    """
    if isinstance(data, Data):
        parts = [part and (part[0], fit_labels(model, part[1], data.classes)) for part in (data.train, data.test)]
        return replace(data, train=parts[0] or data.train, test=parts[1]) if data.classes else data
    if isinstance(data, (str, PathLike)):
        return load_data(data, model)
    if isinstance(data, tuple) and len(data) == 2:
        return Data("data", data)
    found = "nothing, and the model's [training] names none" if data is None else type_name(data)
    raise DataError(f"data must be a Data, a pair (x, y), or a name or path for load_data; found {found}")


def load_data(
    source: str | PathLike[str],
    model: Model | None = None,
    seed: int = 0,
    *,
    label: str | None = None,
    test_fraction: float | None = None,
    validation: str | PathLike[str] | None = None,
    labels: bool = True,
) -> Data:
    """Return a built-in data set by its name, or the data in a file or folder by its path.

    Built in: ``digits``, 1,797 handwritten digits, ``x`` float32 (N, 1, 8, 8) in 0 to 1 (black pixels in a block of 4
    by 4, divided by 16), ``y`` int64 (N,), 0 to 9; ``digits_odd``, the same with ``y`` float32 (N, 1), 1 for odd;
    ``digits28`` and ``digits28_odd``, each pixel repeated 3 by 3 within a border of 2, (N, 1, 28, 28); ``xor``, ``x``
    float32 (4, 2), ``y`` (4, 1), to train and to test on. Source of the digits: E. Alpaydin and C. Kaynak, *Optical
    Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, doi 10.24432/C50P49, CC BY 4.0.

    Files and folders:

    - ``.npz``: ``x`` and ``y``, and ``x_test`` and ``y_test`` if it has a test set. For a ``model`` with several inputs an
      array for each, by the inputs' names, and the test set as ``NAME_test``. ``classes`` may name the classes.
    - a folder with the same arrays as ``.npy`` files. Large ones are read batch by batch.
    - a folder of images with a sub-folder for each class, perhaps in ``train`` and ``test`` (or ``val``): float32 (N, channels,
      height, width) in 0 to 1, resized to the model's input, or without a model to the first image. Needs Pillow.
    - ``.csv`` with a header: the columns of numbers are ``x``, float64 (N, columns), and the column ``label`` is ``y``; by
      default the one called as the model's input for labels, or ``label``, ``class``, ``target`` or ``y``.
    - IDX, the format of MNIST: a folder with ``train-images-idx3-ubyte`` and so on, or a file of images.

    Text labels and folders become classes, numbered in the order of their sorted names, or of the names that ``model`` was
    trained on, and have the shape that the model's labels have. Samples are tested on ``validation``, another file or folder;
    or on the test set of the source; or on ``test_fraction`` of each class, drawn with ``seed``, by default one in five (of the
    digits 1,438 and 359). Both parts keep the order of the source. Fewer than five samples are used to train and to test. What
    is ``None`` is taken from the model's ``[training]``. With ``labels=False`` data may lack labels; ``y`` is then ``None``.

    With ``model``, the data are checked against it; for a file, errors name the arrays and indices of the file. Raises
    ``UnknownNameError`` and ``DataError``.

    >>> digits = load_data("digits")
    >>> digits.train[0].shape, digits.test[0].shape
    ((1438, 1, 8, 8), (359, 1, 8, 8))
    >>> digits.split
    'one in five of each class, drawn with seed 0'
    """
    if not isinstance(source, (str, PathLike)):
        raise DataError(f"load_data takes the name of a data set, or the path of a file or folder; found {source!r}")
    check_label(label, source, validation)
    if model is not None:
        settings = as_model("load_data", model).training
        label, own = label or settings.label, data_of(model)
        if test_fraction is None and validation is None and own and os.path.abspath(source) == os.path.abspath(own):
            test_fraction, validation = settings.test_fraction, beside(model, settings.validation)
    if test_fraction is not None and not (type(test_fraction) in (int, float) and 0 <= test_fraction < 1):
        raise DataError(f"test_fraction is a number from 0 to 1, without 1; found {test_fraction!r}")
    seed, found = integer("seed", seed, least=0), _source(source, model, label, labels)
    if validation is not None:
        if test_fraction is not None:
            raise DataError("samples to test on are given by validation, or drawn by test_fraction; found both")
        other = _source(validation, model, label, True, found.classes)
        names = [found.names[0], other.names[0]] if found.names and other.names else []
        split = f"all of {Path(validation).name}"
        found = replace(found, parts=[found.parts[0], other.parts[0]], split=split, names=names)
    if found.parts[0][1] is None and not labels:
        # All samples are to be predicted.
        test_fraction = 0
    place = Path(source).resolve()
    found = replace(found, description=found.description or f"from {place.name}")
    return divided(place.name if place.is_dir() else place.stem, found, seed, test_fraction)


def _source(
    source: str | PathLike[str], model: Model | None, label: str | None, labels: bool, known: tuple[str, ...] = ()
) -> Source:
    """Return what a source holds, fitted to a model and checked; classes are numbered as those that are ``known``."""
    path, name = as_path(source), os.fspath(source)
    built_in = name in BUILT_IN
    if built_in and path.exists():
        warnings.warn(f"{name!r} is the built-in set; './{name}' is the file or folder of that name", stacklevel=2)
    try:
        found = BUILT_IN[name](name) if built_in else _read(path, model, label)
        if found.parts[0][1] is None and labels and (model is None or model.labels):
            raise DataError(found.unlabelled)
        return _fitted(found, model, known or (() if model is None else model.classes))
    except DataError as error:
        named = built_in or str(error).startswith(str(path))
        raise DataError(str(error) if named else f"{path}: {error}") from None


def check_label(label: str | None, *sources: str | PathLike[str] | None) -> None:
    """Raise ``DataError`` for the name of a column if no source of data is a table.

    >>> check_label("species", "flowers.csv"), check_label(None, "xor")
    (None, None)
    """
    if label is not None and not any(Path(source or "").suffix.lower() in TABLES for source in sources):
        raise DataError(
            f"label names a column of a table ({' or '.join(TABLES)}); found {label!r} for {str(sources[0])!r}"
        )


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
    return beside(model, model.training.data)


def beside(model: Model, name: str | None) -> str | None:
    """Return data that a model file names: a file or folder relative to it, or a name."""
    if name is None or name in BUILT_IN or model.path is None:
        return name
    file = model.path.parent / name
    return str(file) if file.suffix or file.exists() else name


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


def _read(path: Path, model: Model | None, label: str | None) -> Source:
    """Return what a file or folder holds; its name, or the names in the folder, say which format it has."""
    if path.suffix and not path.exists():
        raise DataError(f"{path}: there is no such file{nearest_file(path)}")
    if path.suffix.lower() in TABLES:
        return read_table(path, model, label)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if any(map(is_idx, files)):
        return read_idx(path, model)
    if path.name == "x.npy" or (path.is_dir() and any(file.suffix == ".npy" for file in files)):
        return read_archive(path if path.is_dir() else path.parent, model)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return read_images(path, model)
    if path.exists():
        return read_archive(path, model)
    known = f"built in are {listing(BUILT_IN)}; anything else is the path of a file or folder"
    raise UnknownNameError(f"no data set is called {str(path)!r}{nearest(str(path), BUILT_IN)} ({known})")


def _fitted(found: Source, model: Model | None, known: tuple[str, ...]) -> Source:
    """Return a source with its classes numbered, and its labels as the model takes them. Raises ``DataError``."""
    classes, parts, strata = found.classes, [], found.strata
    for end, (x, y) in zip(("", "_test"), found.parts, strict=False):
        kind, names = y.dtype.kind if isinstance(y, np.ndarray) and y.size else "", found.classes
        if kind == "U" or (kind in ("i", "u") and not names and set(map(str, np.unique(y))) <= {*known}):
            # Folders may be called 0, 1, 2; other numbers are places among the classes that are known.
            each, places = np.unique(y.astype(str), return_inverse=True)
            names, y = tuple(map(str, each)), places.reshape(y.shape)
        if names and kind in ("U", "i", "u"):
            if not 0 <= y.min() <= y.max() < len(names):
                raise DataError(f"y{end} must lie in 0 to {len(names) - 1}, the names in classes; found {extent(y)}")
            classes, y = class_numbers(names, y, known or classes)
            strata = strata if end else y.ravel()
        y = fit_labels(model, y, classes)
        # Checked before the split, so that errors give the indices of the file.
        if y is not None and sample_count(x) != sample_count(y):
            raise DataError(f"x{end} has {sample_count(x)} samples and y{end} has {sample_count(y)}")
        if model is not None:
            feeds_of(model, x, y, (f"x{end}", f"y{end}"), labels=y is not None)
        parts.append((x, y))
    return replace(found, parts=parts, classes=classes, strata=strata)


def divided(name: str, source: Source, seed: int, fraction: float | None = None) -> Data:
    """Return a source as ``Data``. Without samples to test on, a ``fraction`` of its samples is drawn, by default one in five.

    If the labels, or the strata of the source, are classes, the samples are drawn class by class.

    >>> data = divided("ten", Source([(np.arange(10), np.array([0, 1] * 5))]), seed=0)
    >>> data.test[1], data.split
    (array([1, 0]), 'one in five of each class, drawn with seed 0')
    """
    (x, y), *others = source.parts
    if others and fraction is not None:
        raise DataError(f"test_fraction is for data without a test set; {name!r} has {source.split}")
    about, names = source.description, tuple(source.names)
    if others or fraction == 0:
        second, split = (others[0], source.split) if others else (None, "")
        return Data(name, (x, y), second, about, split, None, source.classes, names)
    count = sample_count(x)
    if fraction is None and count < 5:
        return Data(name, (x, y), (x, y), about, THE_SAME, None, source.classes, names)
    strata, known = source.strata, source.classes if source.strata is not None else ()
    if strata is None:
        arrays = [a for a in (y.values() if isinstance(y, Mapping) else [y]) if isinstance(a, np.ndarray)]
        strata = next((array for array in arrays if classes_of(array) is not None), np.full(count, 0.5))
    test, split = drawn_for_test(strata, seed, fraction, known)
    halves = [partial(taken, chosen=part) for part in (np.delete(np.arange(count), test), test)]
    learn_from, test_on = ((of_each(half, x), of_each(half, y)) for half in halves)
    names = tuple(half(all_names) for all_names in names for half in halves)
    return Data(name, learn_from, test_on, about, split, test, source.classes, names)


def drawn_for_test(
    y: Array, seed: int, fraction: float | None = None, classes: tuple[str, ...] = ()
) -> tuple[Array, str]:
    """Return the sorted indices of the samples to test on, a random ``fraction``, and how they are drawn, in words.

    If labels are classes, numbers or one-hot rows, the fraction of each class is drawn, rounded up or down. Labels are
    classes if they are class numbers of ``classes``, or if they are whole numbers and there are at least twice as many samples
    as classes. Raises ``DataError`` where no sample is drawn, or none of a class is left.

    >>> drawn_for_test(np.repeat([0, 1], 5), seed=0)
    (array([1, 8]), 'one in five of each class, drawn with seed 0')
    """
    order, share = np.random.default_rng(seed).permutation(len(y)), 0.2 if fraction is None else fraction
    numbers = y if classes else classes_of(y)
    if numbers is not None:
        order = order[np.argsort(numbers[order], kind="stable")]
    # Rounded so that one in five is each fifth sample.
    upto = np.floor(np.arange(len(y) + 1) * share + 1e-9)
    test = np.sort(order[np.diff(upto) > 0])
    if not len(test):
        raise DataError(f"a test fraction of {share:g} of {len(y)} samples is less than one sample")
    split, end = "one in five" if fraction is None else f"{share:g}", f", drawn with seed {seed}"
    if numbers is None:
        return test, split + end
    total = np.bincount(numbers, minlength=len(classes))
    tested = np.bincount(numbers[test], minlength=len(total))
    for number in np.flatnonzero((total == 1) | ((tested == total) & (total > 0))):
        name = repr(classes[number]) if classes else f"{number}"
        if total[number] > 1:
            raise DataError(f"a test fraction of {share:g} leaves no sample of the class {name} to learn from")
        if classes:
            raise DataError(f"the class {name} has one sample; it needs two, or a test_fraction of 0")
        test = test[numbers[test] != number]
    missed = [name for name, of, drawn in zip(classes, total, tested, strict=False) if of and not drawn]
    return test, f"{split} of each class{f', none of {listing(missed)}' if missed else ''}{end}"
