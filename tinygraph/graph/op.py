"""Op: what one operation is. Its attributes, shape rule, forward, gradient rule, formula and samples stand together."""

import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from tinygraph.errors import DTypeError, OperationError, RuleError, ShapeError, users_own
from tinygraph.graph.apply import apply, call, evaluate
from tinygraph.graph.attributes import Decision, Edge, SampleInputs, conform
from tinygraph.graph.batch import BatchRule, Use
from tinygraph.graph.explanation import Explanation, element_at

Shape: TypeAlias = tuple[int, ...]
# An array or a tensor: forwards are given arrays, and rules are written once for both.
Value: TypeAlias = Any


# What is wrong with a shape rule of an elementwise operation.
NO_SHAPE_RULE = (
    "it is elementwise, so its shape is that to which its inputs broadcast, and a shape rule would not be used; "
    "remove the rule, or elementwise=True"
)


class _Unregistered:
    """Raises an error in place of an operation's function until the operation is registered."""

    def __get__(self, instance: Any, owner: type) -> typing.NoReturn:
        raise AttributeError(f"{owner.__name__} is not registered: write @tg.register above the class")


class Op:
    """The base of every operation: a frozen dataclass whose fields are the operation's attributes.

    A subclass writes ``forward``, and ``vjp`` if it has a gradient; all else is optional, for engines, checks and notes.
    Inputs are arrays or tensors: anything with ``shape``, ``ndim`` and ``dtype``, and with values in ``forward``, ``check``
    and ``explain``, which get arrays.

    - ``shape(*inputs)``: the shape of the result; it raises ``ShapeError`` for inputs that do not fit. Without it, ``forward``
      is run on ones. An elementwise operation broadcasts and has none.
    - ``result_dtype(*inputs)``: the dtype of the result; by default NumPy's ``result_type`` of the inputs. It is used
      together with ``shape``.
    - ``forward(*arrays)``: the result.
    - ``vjp(dy, y, *inputs)``, the vector-Jacobian product: the gradients of the inputs, in their order, from the gradient
      of the result. An entry may be ``None`` (no gradient flows) or a function without arguments, called only if that
      gradient is wanted. A rule that is written in operations computes on arrays and records on tensors.
    - ``check_attributes()``: raises ``AttributeValueError`` for values of attributes that make no sense.
    - ``check(*arrays)``: raises ``DataError`` for values that ``forward`` does not accept, such as labels out of range.
    - ``batch(use)``: how the result treats the samples of a batch; see ``tinygraph.graph.batch``. A batch is cut into tiles
      only if all operations have such a rule. Elementwise operations need none.
    - ``sample_inputs(rng, *inputs)``: random values that the operation accepts, for the check of a graph.
    - ``explain(index, y, *inputs)``: how one element of the result is made, for the page that explains every number.
    - ``written_tex(*inputs)``, ``combined_axes(*inputs)``, ``remark(y, *inputs)``: how lecture notes write the operation.
    - ``multiply_adds(*inputs)``: how many products ``forward`` sums; ``work(*inputs)``: how many steps it takes.

    Class attributes:

    - ``formula``: text with ``{x}`` for inputs and attributes; ``tex``: the same in TeX; ``symbol``: the operator of equations.
    - ``elementwise``: broadcasts as NumPy's ufuncs do. ``holomorphic``: ``forward`` also differentiates on complex numbers.
      ``opaque_vjp``: the rule needs plain arrays. ``moves``: every element of the result is one of an input; ``reshapes``:
      all of them, in the same order.
    - ``conditions``: the places of inputs whose dtype does not count for the result's, such as the condition of ``where``.
    - ``samples``: inputs to test it on; ``edges``: the gradients that it chooses at kinks and ties.
    - ``decision``: for losses, how an output is read as a decision; see ``tg.Decision``.
    - ``shortcuts``: places whose gradient another input carries, see ``ops/loss/binary.py``; ``shortcut_samples`` show it.
    - ``surrogate``: a function of the inputs, or a method, whose derivative ``vjp`` gives on purpose in place of forward's, as
      a straight-through estimator does. Checks compare the rule with it.
    - ``stops_gradient``: it has no rule, and no gradient flows: in differentiation, and for checks, the result is a constant.
    - ``helper``: it has no name in ``tinygraph``, only ``tg.operation(name)``.

    An operation that is made of others is a ``Composite``.

    >>> import tinygraph as tg
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Scale(tg.Op):
    ...     factor: float
    ...     def forward(self, x):
    ...         return x * self.factor
    ...     def vjp(self, dy, y, x):
    ...         return dy * self.factor
    >>> Scale(3)(tg.tensor([1.0, 2.0])).value
    array([3., 6.])
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = "custom"
    formula: ClassVar[str] = ""
    tex: ClassVar[str] = ""
    symbol: ClassVar[str] = ""
    elementwise: ClassVar[bool] = False
    holomorphic: ClassVar[bool] = False
    opaque_vjp: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    reshapes: ClassVar[bool] = False
    composite: ClassVar[bool] = False
    helper: ClassVar[bool] = False
    stops_gradient: ClassVar[bool] = False
    surrogate: ClassVar[Any] = None
    conditions: ClassVar[tuple[int, ...]] = ()
    shortcuts: ClassVar[dict[int, int]] = {}
    samples: ClassVar[Any] = None
    shortcut_samples: ClassVar[Any] = None
    decision: ClassVar[Decision | None] = None
    edges: ClassVar[tuple[Edge, ...]] = ()
    parameters: ClassVar[tuple[str, ...]] = ()
    variadic: ClassVar[bool] = False
    has_shape_rule: ClassVar[bool] = False
    has_check: ClassVar[bool] = False
    function: ClassVar[Any] = _Unregistered()
    _annotations: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__dict__.get("name") or snake_case(cls.__name__)
        cls.family = cls.__dict__.get("family") or _family_of(cls.__module__ or "custom")
        cls.has_shape_rule = cls.shape is not Op.shape
        if cls.elementwise and cls.has_shape_rule:
            raise OperationError(f"{cls.name}: {NO_SHAPE_RULE}")
        cls.has_check = cls.check is not Op.check
        for name in ("samples", "shortcut_samples"):
            if isinstance(cls.__dict__.get(name), types.FunctionType):
                setattr(cls, name, staticmethod(cls.__dict__[name]))
        if "forward" in cls.__dict__:
            cls.parameters, cls.variadic = _tensor_parameters(cls.forward)

    def __post_init__(self) -> None:
        """Check every attribute against its annotation, once."""
        for name, annotation in self.attribute_annotations().items():
            object.__setattr__(self, name, conform(self.name, name, getattr(self, name), annotation))
        self.check_attributes()

    def check_attributes(self) -> None:
        """Raise ``AttributeValueError`` for values of attributes that have the right type and still make no sense."""

    def __call__(self, *inputs: Any) -> Any:
        return call(self, inputs)

    @classmethod
    def attribute_annotations(cls) -> dict[str, Any]:
        """Return the annotation of every attribute, resolved."""
        if "_annotations" not in cls.__dict__:
            try:
                # The annotations of Op itself are no attributes, and to resolve them takes time.
                kinds = [inspect.get_annotations(base, eval_str=True) for base in cls.__mro__ if base not in Op.__mro__]
            except NameError as error:
                raise OperationError(
                    f"{cls.name}: an annotation of its attributes means nothing here: {error}"
                ) from None
            known = ChainMap(*kinds)
            fields: Any = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
            cls._annotations = {field.name: known[field.name] for field in fields if field.init}
        return cls._annotations

    def compose(self, *inputs: Any) -> Any:
        """Record a call on tensors: one node here, the parts of a ``Composite``."""
        return apply(self, inputs)

    def forward(self, *inputs: Any) -> Any:
        """Return the result for arrays."""
        raise OperationError(f"{self.name}: no forward computation is written; add forward(self, ...)")

    def check(self, *inputs: Any) -> None:
        """Raise ``DataError`` for values of the inputs that ``forward`` does not accept."""

    def sample_inputs(self, rng: np.random.Generator, *inputs: Any) -> SampleInputs:
        """Return random values for inputs of these shapes and dtypes, ``None`` where the operation accepts any values."""
        return (None,) * len(inputs)

    def vjp(self, dy: Value, y: Value, /, *inputs: Value) -> Any:
        """Return the gradients of the inputs, given the gradient ``dy`` of the result ``y``."""
        if self.stops_gradient:
            return (None,) * len(inputs)
        raise RuleError(f"{self.name} has no gradient rule; add vjp(self, dy, y, ...), or @{self.name}.vjp")

    def explain(self, index: tuple[int, ...], y: Value, /, *inputs: Value) -> Explanation | None:
        """Return how the element of the result ``y`` at ``index`` is made from elements of the inputs, all of them arrays.

        An elementwise operation says so by its formula. ``None``, which any other operation says unless it has an ``explain``
        of its own, leaves it to the local Jacobian.

        >>> import tinygraph as tg
        >>> x = np.array([-1.0, 2.0])
        >>> tg.sigmoid.op().explain((1,), tg.sigmoid(x), x).formula
        'σ({0})'
        """
        if not self.elementwise or not self.formula:
            return None
        reads = tuple(element_at(i, index, x) for i, x in enumerate(inputs))
        places = {name: f"{{{i}}}" for i, name in enumerate(self.parameters)}
        return Explanation(reads=reads, formula=self.formula.format(**places | self.attributes()))

    def batch(self, use: Use) -> BatchRule:
        """Return how the result treats the samples of a batch, or ``None`` if the batch cannot be cut."""
        return use.elementwise() if self.elementwise else None

    def bypassed(self, count: int) -> tuple[int, ...]:
        """Return the places of inputs whose gradient another one of ``count`` carries, see ``shortcuts``, or that get none."""
        if self.stops_gradient:
            return tuple(range(count))
        return tuple(place for place, carrier in self.shortcuts.items() if carrier < count)

    def combined_axes(self, *inputs: Any) -> Shape:
        """Return the axes of the first input over which elements are combined, which notes name next to the formula."""
        return ()

    def remark(self, y: Any, /, *inputs: Any) -> str:
        """Return what notes write next to the formula instead of the attributes, or nothing."""
        return ""

    def shape(self, *inputs: Any) -> Shape:
        """Return the shape of the result."""
        return self.infer(*inputs)[0]

    def result_dtype(self, *inputs: Value) -> np.dtype[Any]:
        """Return the dtype of the result."""
        return np.result_type(*[x.dtype for x in inputs])

    def result_size(self, *inputs: Any) -> int:
        """Return how many elements the result has, from shapes; 0 where no rule says it."""
        if self.elementwise:
            try:
                return math.prod(np.broadcast_shapes(*[getattr(x, "shape", ()) for x in inputs]))
            except ValueError:
                return 0
        return math.prod(self.shape(*inputs)) if self.has_shape_rule else 0

    def multiply_adds(self, *inputs: Any) -> int:
        """Return how many products of elements the forward computation sums, from shapes; most operations sum none.

        Pictures show it on cards.

        >>> import tinygraph as tg
        >>> tg.operation("matmul").op().multiply_adds(np.ones((2, 3)), np.ones((3, 5)))
        30
        """
        return 0

    def work(self, *inputs: Any) -> int:
        """Return how many steps the forward computation takes, from shapes: multiply-adds, or elements read and written.

        It is charged before anything is computed while a file is opened; see ``tinygraph.graph.budget``.
        """
        moved = sum(math.prod(getattr(x, "shape", ())) for x in inputs) + self.result_size(*inputs)
        return self.multiply_adds(*inputs) or moved

    def infer(self, *inputs: Any) -> tuple[Shape, np.dtype[Any]]:
        """Return the shape and dtype of the result without computing it, where a rule says so."""
        if self.elementwise:
            shape, dtypes = self.broadcast(*inputs), tuple(x.dtype for x in inputs)
            if self.attribute_annotations():
                return shape, _probe(self, [((), dtype) for dtype in dtypes])[1]
            return shape, _dtype_without(type(self), dtypes)  # type: ignore[arg-type]
        if self.has_shape_rule:
            return self.shape(*inputs), self.result_dtype(*inputs)
        return _probe(self, [(tuple(x.shape), x.dtype) for x in inputs])

    def broadcast(self, *inputs: Any) -> Shape:
        """Return the shape that the inputs broadcast to, or raise ``ShapeError``."""
        try:
            return np.broadcast_shapes(*[x.shape for x in inputs])
        except ValueError:
            self.refuse(inputs, "do not broadcast; sizes must be equal or 1, counted from the last axis")

    def refuse(self, inputs: Sequence[Any], why: str) -> typing.NoReturn:
        """Raise the ``ShapeError`` that names the operation, its inputs and their shapes."""
        names = self.parameters if not self.variadic else [f"{self.parameters[-1]}[{i}]" for i in range(len(inputs))]
        given = ", ".join(f"{label(x, name)} {tuple(x.shape)}" for name, x in zip(names, inputs, strict=False))
        raise ShapeError(f"{self.name}: {given}: {why}") from None

    def attributes(self) -> dict[str, Any]:
        """Return the attributes by name, in their order."""
        return {name: getattr(self, name) for name in self.attribute_annotations()}

    @classmethod
    def readable_formula(cls) -> str:
        """Return the formula with the names of inputs and attributes in their places.

        >>> import tinygraph as tg
        >>> tg.relu.op.readable_formula()
        'max(0, x)'
        """
        return cls.formula.format(**{name: name for name in (*cls.parameters, *cls.attribute_annotations())})

    def written_tex(self, *inputs: Value) -> str:
        r"""Return the formula as lecture notes write it, a template in TeX, for inputs of these shapes; by default ``tex``.

        In it ``{x}`` stands for an input or an attribute, and ``{(x)}`` for one in parentheses where it is more than
        a symbol; of any number of inputs ``{x0}`` is the first. ``{shape}`` is the shape of the result, ``{size}`` how many
        elements the first input has and ``{rows}`` how many without its last axis. All other braces are those of TeX. A
        template that begins with an index, as ``_{mn} = 2 {x}_{mn}`` does, describes one element. Without a template
        the operation is written as a call.

        >>> import tinygraph as tg
        >>> tg.relu.op().written_tex()
        '\\operatorname{ReLU}({x})'
        """
        return self.tex

    def written_attributes(self) -> list[str]:
        """Return attributes as an equation writes them: required ones by place, the rest by keyword where changed."""
        attributes = self.attributes()
        fields = {field.name: field for field in dataclasses.fields(self)} if attributes else {}  # type: ignore[arg-type]
        texts = []
        for name, value in attributes.items():
            if fields[name].default is dataclasses.MISSING and not fields[name].kw_only:
                texts.append(repr(value))
            elif value != fields[name].default:
                texts.append(f"{name}={value!r}")
        return texts

    def expression(self, *arguments: str) -> str:
        """Return the call as an equation writes it, for example ``conv2d(P1, K2, padding=1)``."""
        shown = [f"[{', '.join(arguments)}]"] if self.variadic else list(arguments[: len(self.parameters)])
        return f"{self.name}({', '.join(shown + self.written_attributes())})"


def label(tensor: Any, name: str) -> str:
    """Return ``x 'Z1'`` for an input whose tensor has a name, and ``x`` otherwise."""
    own = getattr(tensor, "name", None)
    return f"{name} {own!r}" if isinstance(own, str) and own != name else name


def snake_case(name: str) -> str:
    """Return ``avg_pool2d`` for ``AvgPool2d``.

    >>> snake_case("AvgPool2d"), snake_case("Conv2dKernelGradient")
    ('avg_pool2d', 'conv2d_kernel_gradient')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _family_of(module: str) -> str:
    """Return the family of the operations in a module: a folder of ``tinygraph.ops``, or the module's own name."""
    return module.split(".")[2] if module.startswith("tinygraph.ops.") else module.rpartition(".")[2]


def _tensor_parameters(forward: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names of the tensors that ``forward`` takes, and whether it takes any number of them."""
    positional = [p for p in inspect.signature(forward).parameters.values() if p.kind != p.KEYWORD_ONLY]
    required = [p for p in positional if p.name != "self" and p.default is p.empty]
    return tuple(p.name for p in required), any(p.kind == p.VAR_POSITIONAL for p in required)


@functools.lru_cache(maxsize=4096)
def _dtype_without(op: type[Op], dtypes: tuple[np.dtype[Any], ...]) -> np.dtype[Any]:
    """Return the dtype of an elementwise operation without attributes, learned once for the same dtypes."""
    return _probe(op(), [((), dtype) for dtype in dtypes])[1]


def _probe(op: Op, operands: Sequence[tuple[Shape, np.dtype[Any]]]) -> tuple[Shape, np.dtype[Any]]:
    """Learn shape and dtype by running ``forward`` on ones."""
    try:
        # At 1 a function may have a pole, which is nothing to warn of here.
        with np.errstate(all="ignore"):
            result = evaluate(op, [np.ones(shape, dtype) for shape, dtype in operands], None)
    except DTypeError:
        raise
    except Exception as error:
        shapes = ", ".join(str(shape) for shape, _ in operands)
        raise OperationError(
            f"{error}; forward was run on ones of shapes {shapes} to find the shape of its result: "
            "give the operation a shape rule if it cannot run on them"
        ) from users_own(error)
    return result.shape, result.dtype
