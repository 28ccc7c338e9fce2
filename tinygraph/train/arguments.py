"""What ``fit`` and ``evaluate`` accept, made into what they work with, or refused in a sentence."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

from tinygraph.errors import DataError, TinygraphError
from tinygraph.train.data import Data, Part, load_data
from tinygraph.train.feeds import described
from tinygraph.train.optimizers import Optimizer, make_optimizer

if TYPE_CHECKING:
    from tinygraph.model import Model

DataSource: TypeAlias = Data | Part | str | PathLike[str]


def as_optimizer(model: Model, optimizer: Any, learning_rate: float | None = None) -> Optimizer:
    """Return an optimizer, given itself, by its name, or as ``None`` for the one that the model names.

    By name, what is not said is as the model says where it names that optimizer, and the optimizer's default otherwise.

    >>> from tinygraph.model import load_model
    >>> as_optimizer(load_model("xor"), "sgd"), as_optimizer(load_model("xor"), "adam").learning_rate
    (SGD(learning_rate=1.0, momentum=0.0), 0.001)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    settings = model.training
    if optimizer is None or (isinstance(optimizer, str) and optimizer == settings.optimizer):
        rate = settings.learning_rate if learning_rate is None else learning_rate
        return make_optimizer(settings.optimizer, rate, settings.momentum)
    if isinstance(optimizer, str):
        return make_optimizer(optimizer, learning_rate)
    raise TinygraphError(
        f"optimizer must be an optimizer, such as SGD(0.1), or the name of one, 'sgd' or 'adam'; "
        f"found {described(optimizer)}"
    )


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
    found = "nothing, and the model's [training] names none" if data is None else described(data)
    raise DataError(f"data must be a Data, a pair (x, y), or a name or path for load_data; found {found}")


def as_callback(callback: Any) -> Any:
    """Return ``callback`` if it can be called or is ``None``.

    >>> as_callback([])
    Traceback (most recent call last):
    tinygraph.errors.TinygraphError: callback must be a function of one Progress; found list
    """
    if callback is None or callable(callback):
        return callback
    raise TinygraphError(f"callback must be a function of one Progress; found {described(callback)}")
