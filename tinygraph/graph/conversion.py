"""Conversion of tensors to arrays: allowed for a whole tensor, refused in a list, where the gradient would be lost silently.

NumPy calls ``__array__`` of a tensor and of an element of a list in the same way. But it copies the array of an element and
drops it before the call ends, and it converts an element without axes a second time, by ``float``.
"""

from __future__ import annotations

import dis
import sys
import threading
import warnings
import weakref
from types import FrameType
from typing import TYPE_CHECKING, Any

from tinygraph.errors import TinygraphError

if TYPE_CHECKING:
    from tinygraph.graph.tensor import Tensor

# Plots show values, and their libraries take tensors apart and make lists of the parts.
_PLOTTING = ("matplotlib", "mpl_toolkits")
_STORES = dis.opmap["STORE_SUBSCR"]
_INSTEAD = (
    "join tensors with tg.concatenate, write the computation with operations, or use .value where no gradient is needed"
)


class _Last(threading.local):
    """The place of the last conversion of a tensor without axes in this thread, the tensor, and the array that it gave."""

    place: Any = None
    tensor: Any = None
    array: Any = None


_last = _Last()


def converted(tensor: Tensor, array: Any, caller: FrameType, questions: frozenset[str]) -> Any:
    """Return the array of a tensor for ``caller``, which calls ``__array__``.

    Raises ``TinygraphError`` inside a function of NumPy that would compute with the values, unless it is one of
    ``questions`` about them or a test. Warns if an array is copied into another before the caller's call ends.
    """
    function, user = _behind_numpy(caller)
    if user is not None and _package(user) in _PLOTTING:
        return array
    if function is not None:
        name = function.f_code.co_name
        if name in questions or _module(function).startswith("numpy.testing"):
            return array
        raise TinygraphError(
            f"numpy.{name} would compute with the numbers of {tensor.describe()} and lose the gradient: {_INSTEAD}"
        )
    view, place = array.view(), (id(caller), caller.f_lasti)
    if not tensor.ndim:
        _last.place, _last.tensor, _last.array = place, weakref.ref(tensor), weakref.ref(view)
    else:
        _watch(view, place, tensor)
    return view


def refuse_in_list(tensor: Tensor, caller: FrameType) -> None:
    """Refuse a conversion to a number in a call that has just converted to an array: the tensor is in a list."""
    last = _last
    if last.place == (id(caller), caller.f_lasti) and last.tensor() is tensor and last.array() is not None:
        raise TinygraphError(f"an array of a list that holds {tensor.describe()} would lose the gradient: {_INSTEAD}")


def _behind_numpy(caller: FrameType) -> tuple[FrameType | None, FrameType | None]:
    """Return the outermost function of NumPy that leads to ``caller``, if there is one, and the function that calls NumPy."""
    function, frame = None, caller
    while frame is not None and _package(frame) == "numpy":
        function, frame = frame, frame.f_back  # type: ignore[assignment]
    return function, frame


def _package(frame: FrameType) -> str:
    return _module(frame).partition(".")[0]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


# Weak references that wait for their arrays to be dropped.
_watched: dict[int, Any] = {}


def _watch(array: Any, place: tuple[int, int], tensor: Tensor) -> None:
    """Warn if the array is dropped while the call is still running that it was made for, unless it fills a part of another."""
    found = weakref.ref(tensor)

    def dropped(reference: Any) -> None:
        del _watched[id(reference)]
        # Nothing calls this as Python ends.
        caller, owner = sys._getframe().f_back, found()
        if caller is None or owner is None or place != (id(caller), caller.f_lasti):
            return
        if caller.f_code.co_code[caller.f_lasti] == _STORES:
            return
        text = f"the numbers of {owner.describe()} were copied into an array, which has no gradient: {_INSTEAD}"
        warnings.warn(text, stacklevel=2)

    reference = weakref.ref(array, dropped)
    _watched[id(reference)] = reference
