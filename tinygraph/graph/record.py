"""Small types of an operation's record: samples, the gradients that it chooses at kinks, and how a loss is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tinygraph.graph.arrays import Array


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs and attributes on which everything about an operation is tested.

    ``Sample(x, k, stride=2)`` stands for the call ``conv2d(x, k, stride=2)``. Inputs are arrays; floating ones are
    differentiated. Samples keep away from kinks and ties by more than 1e-3, so that differences never straddle one.

    >>> sample = Sample(np.ones((2, 2)), axis=1)
    >>> sample.inputs[0].shape, sample.attributes
    ((2, 2), {'axis': 1})
    """

    inputs: tuple[np.ndarray, ...]
    attributes: dict[str, Any]

    def __init__(self, *inputs: Any, **attributes: Any) -> None:
        object.__setattr__(self, "inputs", tuple(np.asarray(x) for x in inputs))
        object.__setattr__(self, "attributes", attributes)


@dataclass(frozen=True, eq=False)
class Edge:
    """The gradients that a rule chooses at a kink or a tie, where there is no derivative to compare it with.

    ``Edge(Sample([0.0]), [0.0])`` says that for the input 0 and a gradient of ones for the result, the gradient of the
    input is 0. One array of gradients for each floating input.

    >>> edge = Edge(Sample([0.0, 1.0]), [0.0, 1.0])
    >>> edge.gradients
    (array([0., 1.]),)
    """

    sample: Sample
    gradients: tuple[np.ndarray, ...]

    def __init__(self, sample: Sample, *gradients: Any) -> None:
        object.__setattr__(self, "sample", sample)
        object.__setattr__(self, "gradients", tuple(np.asarray(gradient, dtype=np.float64) for gradient in gradients))


@dataclass(frozen=True)
class Decision:
    """How the inputs of a loss are read as decisions, by which accuracy is counted.

    ``labels`` is the place of the input that holds the labels. ``thresholds`` gives, for places of inputs, the number above
    which an element decides for 1; a label above 0.5 says that this is right. Without thresholds, the class with the largest
    number in the first input is chosen, and labels are class numbers or probabilities for each class.

    >>> Decision(thresholds={0: 0.0}).labels
    1
    """

    labels: int = 1
    thresholds: Mapping[int, float] = field(default_factory=dict)


Samples: TypeAlias = Callable[[np.random.Generator], Iterable[Sample]]
# One entry for each input: values that the operation accepts, or ``None`` where it accepts any.
SampleInputs: TypeAlias = Sequence[Array | None]
