"""Conversion of tensors to arrays: allowed for a tensor, refused in a list, where the gradient would be lost silently.

``np.asarray(x)`` is what a user means; ``np.array([x, y])`` is a mistake. NumPy calls ``__array__`` in both, but treats
the result differently: it copies the array of an element of a list and drops it before the call ends, and it converts an
element without axes a second time, by ``float``. So a conversion remembers the place in the code that it was made for.
To understand the graph, skip this file.
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

# Libraries that draw plots convert tensors as they like: a plot shows values, and no gradient is lost.
_PLOTTING = ("matplotlib", "mpl_toolkits")
_STORES = dis.opmap["STORE_SUBSCR"]
_INSTEAD = (
    "join tensors with tg.stack or tg.concatenate, compute with operations, or use .value where no gradient is needed"
)


class _Last(threading.local):
    """The last conversion of a tensor without axes in this thread: its place in the code, the tensor, and its array."""

    scalar: Any = (None, None, None)


_last = _Last()


def converted(tensor: Tensor, array: Any, caller: FrameType, questions: frozenset[str]) -> Any:
    """Return the array of a tensor for the function that calls ``__array__``.

    Raises ``TinygraphError`` in a function of NumPy that would compute with the values, unless it is one of ``questions`` or
    a test. Warns if the array is copied into another one before the call ends.
    """
    # The outermost function of NumPy on the stack, if any, and the function that called it.
    function, user = None, caller
    while user is not None and _package(user) == "numpy":
        function, user = user, user.f_back  # type: ignore[assignment]
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
        _last.scalar = place, weakref.ref(tensor), weakref.ref(view)
    else:
        _watch(view, place, tensor)
    return view


def refuse_in_list(tensor: Tensor, caller: FrameType) -> None:
    """Raise ``TinygraphError`` if the same call has just made an array of the tensor: then it is in a list."""
    place, last, array = _last.scalar
    if place == (id(caller), caller.f_lasti) and last() is tensor and array() is not None:
        raise TinygraphError(f"an array of a list that holds {tensor.describe()} would lose the gradient: {_INSTEAD}")


def _package(frame: FrameType) -> str:
    return _module(frame).partition(".")[0]


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


# Weak references to arrays that are not dropped yet.
_watched: dict[int, Any] = {}


def _watch(array: Any, place: tuple[int, int], tensor: Tensor) -> None:
    """Warn if the array is dropped during the call that it was made for, unless that call assigns it to a part of an array."""
    found = weakref.ref(tensor)

    def dropped(reference: Any) -> None:
        del _watched[id(reference)]
        # There is no caller when Python ends.
        caller, owner = sys._getframe().f_back, found()
        if caller is None or owner is None or place != (id(caller), caller.f_lasti):
            return
        if caller.f_code.co_code[caller.f_lasti] == _STORES:
            return
        text = f"the numbers of {owner.describe()} were copied into an array, which has no gradient: {_INSTEAD}"
        warnings.warn(text, stacklevel=2)

    reference = weakref.ref(array, dropped)
    _watched[id(reference)] = reference
