"""The error function and the normal distribution, in the order of memory and in scratch memory that is kept.

GELU needs the chance in its forward pass, and its gradient the density too. Both contain ``exp(-x²/2)``, half of the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tinygraph.engines.plan.kernels.base import Call, Work, kernel, ordinary
from tinygraph.graph import Op, Value
from tinygraph.ops.elementwise import exponential, gaussian


@dataclass(frozen=True)
class NormalCdfGivenPdf(Op):
    """``normal_cdf(x)``, computed from ``x`` and ``normal_pdf(x)``."""

    elementwise = True

    def forward(self, x: Value, pdf: Value) -> Value:
        return gaussian.normal_cdf_of(x, pdf=pdf)


_FUNCTIONS = {
    exponential.erf.op: gaussian.erf_of,
    exponential.normal_cdf.op: gaussian.normal_cdf_of,
    exponential.normal_pdf.op: gaussian.normal_pdf_of,
    NormalCdfGivenPdf: gaussian.normal_cdf_of,
}
# About as many calls of NumPy are made for each block.
CALLS_IN_BLOCKS = dict.fromkeys(_FUNCTIONS, 35)


@kernel(*_FUNCTIONS, in_place=True, floats=True)
def _normal(work: Work) -> Sequence[Call]:
    x, out = work.inputs[0], work.out
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    alike = all((y.dtype, y.strides) == (out.dtype, out.strides) for y in work.inputs)
    if not alike or not out.transpose(order).flags.c_contiguous:
        return ordinary(work)
    size = gaussian.scratch_for(x)[0].size
    scratch = [work.scratch.take((size,), x.dtype) for _ in range(5)]
    return [partial(_FUNCTIONS[type(work.op)], x, out, scratch, *work.inputs[1:])]
