"""NumPy's reach: ``python -m tests.numpy_reach`` counts which functions of NumPy on real arrays take tensors.

Counted are the ufuncs, and the public functions of ``numpy`` and ``numpy.linalg`` that NumPy hands over to other types of
arrays, each once. Left out are those that make no mathematics of real numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.graph import NUMPY_FUNCTIONS
from tinygraph.graph.protocols import _LOGICAL, _OF_SHAPES, _QUESTIONS
from tinygraph.graph.registry import load_operations

# On bits, types, memory, text, dates, files, complex numbers, roots of polynomials; or they change an array in place.
LEFT_OUT = """
    angle apply_along_axis apply_over_axes array2string array_repr array_str bitwise_and bitwise_count bitwise_or bitwise_xor
    busday_count busday_offset can_cast common_type copyto datetime_as_string diag_indices_from einsum_path empty_like
    fill_diagonal frexp gcd i0 imag in1d invert is_busday iscomplex iscomplexobj isnat isreal isrealobj lcm ldexp left_shift
    may_share_memory min_scalar_type ndim nextafter packbits place poly put put_along_axis putmask ravel_multi_index
    real_if_close result_type right_shift roots save savetxt savez savez_compressed shape shares_memory size sort_complex
    spacing tril_indices_from triu_indices_from unpackbits unravel_index
"""


def functions() -> dict[Callable[..., Any], str]:
    """Return the functions that are counted, with their names."""
    found: dict[Callable[..., Any], str] = {}
    for prefix, module in (("", np), ("linalg.", np.linalg)):
        for name, function in sorted(vars(module).items()):
            if (
                isinstance(function, np.ufunc) or hasattr(function, "_implementation")
            ) and name not in LEFT_OUT.split():
                found.setdefault(function, prefix + name)
    return found


def taken() -> set[Callable[..., Any]]:
    """Return the functions that take tensors: they record operations, or answer questions about values and shapes."""
    load_operations()
    return {*NUMPY_FUNCTIONS, *_LOGICAL, *_OF_SHAPES, *_QUESTIONS}


def main() -> None:
    """Print the count, and the names of those that are missing."""
    counted, known = functions(), taken()
    missing = [name for function, name in counted.items() if function not in known]
    print(f"{len(counted) - len(missing)} of {len(counted)} functions of NumPy take tensors; missing are")
    print(", ".join(missing))


if __name__ == "__main__":
    main()
