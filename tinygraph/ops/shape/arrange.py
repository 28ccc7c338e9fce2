"""Repeating, cutting triangles, and moving blocks between space and channels: each one's gradient is the move back."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tinygraph.graph import Each, Shape, register, require
from tinygraph.ops.reduction.reduction import sum
from tinygraph.ops.samples import each, normal
from tinygraph.ops.shape.shape import Moving, reshape


@register(numpy=[np.tile])
class Tile(Moving):
    """The tensor repeated ``reps`` times along each axis; one number counts for the last, and more than axes add some in front.

    Source: NumPy's ``tile``. Raises ``AttributeValueError`` for a negative number of times.

    >>> import tinygraph as tg
    >>> tg.tile(np.array([1.0, 2.0]), (2, 2))
    array([[1., 2., 1., 2.],
           [1., 2., 1., 2.]])
    """

    reps: int | tuple[int, ...]
    formula: ClassVar[str] = "{x} repeated {reps} times"
    tex: ClassVar[str] = r"\operatorname{tile}({x}, {reps})"
    samples = each(
        normal,
        ((2, 3), {"reps": (2, 3)}),
        ((2, 2, 2), {"reps": 2}),
        ((3,), {"reps": (2, 1, 3)}),
        ((2, 3), {"reps": ()}),
    )

    def check_attributes(self) -> None:
        require(all(n >= 0 for n, _ in self._sizes(())), self, f"reps must not be negative; found {self.reps}")

    def _sizes(self, shape: Shape) -> list[tuple[int, int]]:
        """Return for each axis of the result how often it is repeated, and its size before."""
        reps = (self.reps,) if isinstance(self.reps, int) else self.reps
        ndim = max(len(reps), len(shape))
        times, sizes = ((1,) * (ndim - len(part)) + tuple(part) for part in (reps, shape))
        return list(zip(times, sizes, strict=True))

    def shape(self, x) -> Shape:
        return tuple(times * size for times, size in self._sizes(x.shape))

    def forward(self, x):
        return np.tile(x, self.reps)

    def vjp(self, dy, y, x):
        pairs = reshape(dy, tuple(number for pair in self._sizes(x.shape) for number in pair))
        return reshape(sum(pairs, axis=tuple(range(0, len(pairs.shape), 2))), x.shape)

    def batch(self, use):
        axis = use.axis() + use.node.ndim - use.inputs[0].ndim
        return Each(axis) if use.node.shape[axis] == use.count else None


@register(numpy=[np.triu])
class Trilu(Moving):
    """The upper triangle of matrices (the last two axes), or the lower: 0 on the other side of the diagonal number ``k``.

    Source: NumPy's ``triu`` and ``tril``; ONNX's ``Trilu``. Raises ``ShapeError`` for what has fewer than two axes.

    >>> import tinygraph as tg
    >>> tg.trilu(np.ones((2, 3))), tg.trilu(np.ones((2, 3)), 1, upper=False)
    (array([[1., 1., 1.],
           [0., 1., 1.]]), array([[1., 1., 0.],
           [1., 1., 1.]]))
    """

    k: int = 0
    upper: bool = True
    formula: ClassVar[str] = "triangle of {x}"
    tex: ClassVar[str] = r"\operatorname{tri}({x})"
    samples = each(normal, ((3, 3), {}), ((2, 3, 4), {"k": 1}), ((4, 3), {"k": -1, "upper": False}), ((2, 2), {"k": 1}))

    def shape(self, x) -> Shape:
        if len(x.shape) < 2:
            self.refuse([x], "matrices are needed: at least two axes")
        return tuple(x.shape)

    def forward(self, x):
        return np.triu(x, self.k) if self.upper else np.tril(x, self.k)

    def vjp(self, dy, y, x):
        return self(dy)

    def batch(self, use):
        return use.states[0] if use.axis() < use.node.ndim - 2 else None


@dataclass(frozen=True)
class _Blocks(Moving):
    """The base of both moves: the size of the blocks, and in which order their elements lie among the channels.

    ``"DCR"`` counts the elements of a block first and the channels within, ``"CRD"`` the other way round.
    """

    blocksize: int
    mode: Literal["DCR", "CRD"] = "DCR"

    def check_attributes(self) -> None:
        require(self.blocksize >= 1, self, f"blocksize must be at least 1; found {self.blocksize}")

    def sizes(self, x) -> tuple[int, int, int, int, int]:
        """Return the sizes of images and of blocks, or refuse a tensor without the four axes of images."""
        if len(x.shape) != 4:
            self.refuse([x], "images (N, C, H, W) are needed")
        n, c, h, w = x.shape
        return n, c, h, w, self.blocksize

    def batch(self, use):
        return use.each()


@register
class DepthToSpace(_Blocks):
    """Channels moved into blocks: ``(N, C·b², H, W)`` to ``(N, C, H·b, W·b)`` for the blocksize ``b``.

    Mode ``"CRD"`` is PyTorch's pixel shuffle. Source: Shi et al., 2016 (arXiv:1609.05158); ONNX's ``DepthToSpace``.
    Raises ``ShapeError`` where the channels do not fill blocks.

    >>> import tinygraph as tg
    >>> tg.depth_to_space(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1), 2)
    array([[[[1., 2.],
             [3., 4.]]]])
    """

    formula: ClassVar[str] = "depth to space({x})"
    tex: ClassVar[str] = r"\operatorname{depth\ to\ space}({x})"
    samples = each(normal, ((2, 8, 1, 2), {"blocksize": 2}), ((1, 8, 2, 1), {"blocksize": 2, "mode": "CRD"}))

    def shape(self, x) -> Shape:
        n, c, h, w, b = self.sizes(x)
        if c % (b * b):
            self.refuse([x], f"{c} channels do not fill blocks of {b} by {b}")
        return n, c // (b * b), h * b, w * b

    def forward(self, x):
        n, c, h, w, b = self.sizes(x)
        if self.mode == "DCR":
            return x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2).reshape(self.shape(x))
        return x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(self.shape(x))

    def vjp(self, dy, y, x):
        return SpaceToDepth(self.blocksize, self.mode)(dy)


@register
class SpaceToDepth(_Blocks):
    """Blocks moved into channels: ``(N, C, H·b, W·b)`` to ``(N, C·b², H, W)`` for the blocksize ``b``.

    Mode ``"CRD"`` is PyTorch's pixel unshuffle. Source: ONNX's ``SpaceToDepth``, which has the mode ``"DCR"`` alone. Raises
    ``ShapeError`` where blocks do not fill the images.

    >>> import tinygraph as tg
    >>> tg.space_to_depth(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), 2).ravel()
    array([1., 2., 3., 4.])
    """

    formula: ClassVar[str] = "space to depth({x})"
    tex: ClassVar[str] = r"\operatorname{space\ to\ depth}({x})"
    samples = each(normal, ((2, 2, 2, 4), {"blocksize": 2}), ((1, 2, 4, 2), {"blocksize": 2, "mode": "CRD"}))

    def shape(self, x) -> Shape:
        n, c, h, w, b = self.sizes(x)
        if h % b or w % b:
            self.refuse([x], f"blocks of {b} by {b} do not fill images of {h} by {w}")
        return n, c * b * b, h // b, w // b

    def forward(self, x):
        n, c, h, w, b = self.sizes(x)
        apart = x.reshape(n, c, h // b, b, w // b, b)
        order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return apart.transpose(order).reshape(self.shape(x))

    def vjp(self, dy, y, x):
        return DepthToSpace(self.blocksize, self.mode)(dy)
