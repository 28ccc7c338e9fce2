"""What the plan knows of further operations and the samples of a batch, in the terms of ``samples``."""

from __future__ import annotations

from tinygraph.engines.plan.samples import TOTAL, WHOLE, Behaviour, Each, Use, behave_as, rule_for
from tinygraph.ops.activation.activation import Softmax
from tinygraph.ops.activation.rectifier import HardTanh
from tinygraph.ops.axes import normalized_axis
from tinygraph.ops.comparison.comparison import Clip
from tinygraph.ops.indexing import gather, gather_nd, resize
from tinygraph.ops.linear import einsum
from tinygraph.ops.loss import classification, regression
from tinygraph.ops.loss.binary import Mse
from tinygraph.ops.loss.classification import CrossEntropy
from tinygraph.ops.pooling.pooling import AvgPool2d
from tinygraph.ops.reduction import norm, product, ranking
from tinygraph.ops.reduction.reduction import Max
from tinygraph.ops.shape import arrange

behave_as(Clip, HardTanh)
behave_as(AvgPool2d, arrange.DepthToSpace, arrange.SpaceToDepth, resize.Resize)
behave_as(Mse, classification.Hinge, regression.L1, regression.Huber, regression.SmoothL1)
behave_as(CrossEntropy, classification.Nll, classification.KlDivergence)
behave_as(Max, product.Prod, norm.L1Norm, norm.L2Norm)
behave_as(Softmax, product.Cumsum, ranking.TopK, ranking.TopKIndices)


@rule_for(arrange.Trilu)
def _trilu(use: Use) -> Behaviour | None:
    axis = use.each(0)
    return Behaviour(use.states[0]) if axis is not None and axis < use.node.ndim - 2 else None


@rule_for(arrange.Tile)
def _tile(use: Use) -> Behaviour | None:
    (x,), axis = use.node.inputs, use.each(0)
    assert axis is not None
    axis += use.node.ndim - x.ndim
    return Behaviour(Each(axis)) if use.node.shape[axis] == use.count else None


@rule_for(gather.Gather, gather.Embedding)
def _gather(use: Use) -> Behaviour | None:
    """Samples in what is picked from, along another axis, or in the positions."""
    (x, indices), (picked, places) = use.node.inputs, use.states
    axis = normalized_axis(use.op, x, getattr(use.op, "axis", 0))
    if picked is WHOLE and isinstance(places, Each):
        return Behaviour(Each(axis + places.axis))
    if places is WHOLE and isinstance(picked, Each) and picked.axis != axis:
        return Behaviour(Each(picked.axis + (indices.ndim - 1 if picked.axis > axis else 0)))
    return None


@rule_for(gather.ScatterAdd)
def _scatter_add(use: Use) -> Behaviour | None:
    """Samples beside the positions, or in them too: what all add to is then a sum over samples."""
    indices, (added, places) = use.node.inputs[1], use.states
    axis = use.op.axis % use.node.ndim
    if not isinstance(added, Each):
        return None
    if isinstance(places, Each):
        return Behaviour(TOTAL) if added.axis == axis + places.axis else None
    if added.axis < axis:
        return Behaviour(added)
    behind = added.axis - axis - indices.ndim
    return Behaviour(Each(axis + 1 + behind)) if behind >= 0 else None


@rule_for(gather.GatherElements)
def _gather_elements(use: Use) -> Behaviour | None:
    axis = use.each(0, 1)
    return None if axis is None or axis == use.op.axis % use.node.ndim else Behaviour(Each(axis))


@rule_for(gather.ScatterAddElements)
def _scatter_add_elements(use: Use) -> Behaviour | None:
    axis = use.each(0, 1)
    if axis is None or axis == use.op.axis % use.node.ndim or use.op.to[axis] != use.count:
        return None
    return Behaviour(Each(axis), use.with_size(use.op.to, axis))


@rule_for(gather_nd.GatherNd, gather_nd.ScatterAddNd)
def _nd(use: Use) -> Behaviour | None:
    if use.each(0, 1) != 0 or not use.op.batch_dims:
        return None
    return Behaviour(Each(0), use.with_size(use.op.to, 0) if isinstance(use.op, gather_nd.ScatterAddNd) else None)


@rule_for(einsum.Einsum)
def _einsum(use: Use) -> Behaviour | None:
    """Samples under one letter that no tensor without them has: of their own in the result, or summed over."""
    terms, result = use.op.labels(*use.node.inputs)
    of_samples = [(term, state.axis) for term, state in zip(terms, use.states, strict=True) if isinstance(state, Each)]
    letters = {term[axis] for term, axis in of_samples}
    if len(letters) != 1:
        return None
    (letter,) = letters
    elsewhere = any(letter in term for term, state in zip(terms, use.states, strict=True) if state is WHOLE)
    if elsewhere or any(term.count(letter) > 1 for term, _ in of_samples):
        return None
    return Behaviour(Each(result.index(letter)) if letter in result else TOTAL)
