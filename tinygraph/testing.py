"""For the tests of a package of operations: one line certifies an operation."""

from __future__ import annotations

from typing import Any

from tinygraph.verify.certificate import Certificate, certify


def check_op(operation: Any, seed: int = 0, tolerance: float = 1e-7) -> Certificate:
    """Certify an operation, and raise ``AssertionError`` with the whole certificate if anything about it is wrong.

    ``operation`` is its function, its class or its name; the other arguments are those of ``tg.certify``. A test of a
    package is then one line: ``@pytest.mark.parametrize("op", [swish, lp_pool])`` above ``tg.testing.check_op(op)``.

    >>> import tinygraph as tg
    >>> tg.testing.check_op(tg.tanh)
    <Certificate: tanh is certified: 21 checks passed>
    """
    certificate = certify(operation, seed, tolerance)
    if not certificate.ok:
        raise AssertionError(f"\n{certificate}")
    return certificate
