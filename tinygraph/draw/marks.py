"""Marks: what of a card's numbers deserves a second look."""

from __future__ import annotations

from tinygraph.draw.figures import Figures, number_text

VANISHING, EXPLODING = 1e-7, 1e4


def marks_of(value: Figures | None, gradient: Figures | None) -> tuple[str, ...]:
    """Return the marks of a value and its gradient.

    ``NaN`` and ``infinite``: of the value or of the gradient, how many elements are. Of the gradient alone: ``zero``, every
    element is exactly 0; ``vanishing``, none is larger in magnitude than 1e-7, though not all are 0; ``exploding``, some are
    larger than 1e4. The backward pass begins with 1, and these sizes are to be read beside that.

    >>> import numpy as np
    >>> from tinygraph.draw.figures import figures_of
    >>> marks_of(figures_of(np.array([np.nan, 1.0])), figures_of(np.array([0.0, 0.0])))
    ('the value has 1 NaN of 2', 'the gradient is zero')
    """
    found = [_fault(what, f) for what, f in (("value", value), ("gradient", gradient)) if f and f.faults]
    if gradient is not None and gradient.largest is not None and not gradient.faults:
        largest = gradient.largest
        if largest == 0:
            found.append("the gradient is zero")
        elif largest <= VANISHING:
            found.append(f"the gradient is vanishing: at most {number_text(largest)}")
        elif largest > EXPLODING:
            found.append(f"the gradient is exploding: up to {number_text(largest)}")
    return tuple(found)


def _fault(what: str, figures: Figures) -> str:
    return f"the {what} is {figures.line}" if figures.size == 1 else f"the {what} has {figures.faults}"
