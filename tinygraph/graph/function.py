"""The functions that users call, and the ways to make one: ``@tg.register``, ``@tg.op`` and ``@tg.composite``."""

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, TypeVar, Unpack, dataclass_transform, overload

from tinygraph.errors import AttributeValueError, OperationError, TinygraphError, counted, listing, unknown
from tinygraph.graph.apply import apply, call, compute
from tinygraph.graph.attributes import Decision, Edge, Samples, shown
from tinygraph.graph.composite import Composite
from tinygraph.graph.definition import check_class, check_dtype_rule
from tinygraph.graph.op import NO_SHAPE_RULE, Op
from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS, load_operations
from tinygraph.graph.tensor import Tensor
from tinygraph.readers import MODULES

OpClass = TypeVar("OpClass", bound=type[Op])
Rule = TypeVar("Rule", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The options of ``tg.op`` and ``tg.composite``: class attributes of the operation, and its functions in NumPy."""

    formula: str
    tex: str
    symbol: str
    elementwise: bool
    holomorphic: bool
    conditions: Sequence[int]
    numpy: Sequence[Callable[..., Any]]
    samples: Samples | None
    edges: Sequence[Edge]
    decision: Decision | None


class OpFunction:
    """An operation as a function: tensors first, then attributes in their order or by keyword.

    With a tensor among the inputs it records a node and returns a ``Tensor``; on arrays alone it computes and returns
    an array. Raises ``ShapeError``, ``AttributeValueError`` and ``DTypeError`` for calls that do not fit.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> tg.relu(tg.tensor([-1.0, 2.0])).value
    array([0., 2.])
    >>> tg.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, op: type[Op]) -> None:
        self.op = op
        self.name = self.__name__ = self.__qualname__ = op.name
        self.__doc__ = op.__doc__
        self.__module__ = op.__module__
        self.attribute_names = tuple(op.attribute_annotations())
        plain = op.compose is Op.compose
        # One instance serves all calls of an operation that has no attributes and records what it is given.
        self._simple = op() if plain and not self.attribute_names and not op.variadic else None
        self._arity, self._names = len(op.parameters), (*op.parameters, *self.attribute_names)
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(op)  # type: ignore[arg-type]
        self._required = [field.name for field in fields if field.init and field.default is dataclasses.MISSING]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        simple = self._simple
        if simple is not None and len(args) == self._arity and not kwargs:
            for x in args:
                if x.__class__ is Tensor:
                    return apply(simple, args)
            return compute(simple, args)
        inputs, attributes = self._bind(args, kwargs)
        return call(self.op(**attributes), inputs)

    def vjp(self, rule: Rule | None = None, *, opaque: bool = False, surrogate: Any = None) -> Any:
        """Give the operation its gradient rule, a function of ``dy, y`` and the inputs; use as a decorator.

        A rule may name attributes as keyword-only arguments. ``opaque=True`` is for a rule that needs plain arrays: its
        gradient is then one node, which cannot be differentiated again. ``surrogate`` names the function of the inputs whose
        derivative the rule gives, where that is on purpose not the operation's own: ``lambda x: x``, straight through.
        """
        if rule is None:
            return lambda later: self.vjp(later, opaque=opaque, surrogate=surrogate)
        if self.op.composite:
            raise TinygraphError(f"{self.name} is made of operations and has their gradient; a rule needs tg.op")
        self.op.opaque_vjp = opaque
        self.op.surrogate = None
        if surrogate is not None:
            self._give("surrogate", surrogate if inspect.isfunction(surrogate) else lambda *x: surrogate(*x))
        return self._give("vjp", rule)

    def explain(self, explanation: Rule) -> Rule:
        """Say how one element of the result is made, by a function of ``index, y`` and the inputs; use as a decorator.

        It returns a ``tg.Explanation``, and may name attributes as keyword-only arguments. See ``tg.Op.explain``.

        >>> import numpy as np
        >>> import tinygraph as tg
        >>> @tg.op
        ... def halves(x):
        ...     return x / 2
        >>> @halves.explain
        ... def halves_explain(index, y, x):
        ...     return tg.Explanation((tg.Terms(((0, np.ravel_multi_index(index, x.shape)),), 0.5),))
        >>> x = np.array([2.0, 6.0])
        >>> halves.op().explain((1,), halves(x), x).value([x])
        3.0
        """
        return self._give("explain", explanation)

    def shape(self, rule: Rule) -> Rule:
        """Give the operation its shape rule, a function of the inputs that raises ``ShapeError``; use as a decorator."""
        if self.op.elementwise:
            raise OperationError(f"{self.name}: {NO_SHAPE_RULE}")
        self.op.has_shape_rule = True
        return self._give("shape", rule)

    def result_dtype(self, rule: Rule) -> Rule:
        """Say which dtype the result has, by a function of the inputs; use as a decorator, after ``shape``."""
        check_dtype_rule(self.op)
        return self._give("result_dtype", rule)

    def check(self, rule: Rule) -> Rule:
        """Refuse values of inputs, by a function of arrays that raises ``DataError``; use as a decorator.

        >>> import numpy as np
        >>> import tinygraph as tg
        >>> @tg.op(elementwise=True)
        ... def root(x):
        ...     return np.sqrt(x)
        >>> @root.check
        ... def root_check(x):
        ...     if (x < 0).any():
        ...         raise tg.DataError(f"root: found {x.min()}")
        >>> root(np.array([4.0, -1.0]))
        Traceback (most recent call last):
        tinygraph.errors.DataError: root: found -1.0
        """
        self.op.has_check = True
        return self._give("check", rule)

    def check_attributes(self, rule: Rule) -> Rule:
        """Refuse values of attributes, by a function of those that it names as keyword-only arguments; use as a decorator.

        It raises ``AttributeValueError``, and is asked when the operation is called.

        >>> import tinygraph as tg
        >>> @tg.op(elementwise=True)
        ... def scaled(x, *, factor: float):
        ...     return x * factor
        >>> @scaled.check_attributes
        ... def scaled_check_attributes(*, factor):
        ...     if factor <= 0:
        ...         raise tg.AttributeValueError(f"scaled: factor must be positive; found {factor}")
        >>> scaled(2.0, factor=-1.0)
        Traceback (most recent call last):
        tinygraph.errors.AttributeValueError: scaled: factor must be positive; found -1.0
        """
        if any(p.kind != p.KEYWORD_ONLY for p in inspect.signature(rule).parameters.values()):
            names = ", ".join(self.attribute_names)
            raise OperationError(
                f"{self.name}: check_attributes takes attributes alone, by keyword: def name(*, {names})"
            )
        return self._give("check_attributes", rule)

    def batch(self, rule: Rule) -> Rule:
        """Say how the operation treats the samples of a batch, by a function of a ``Use``; use as a decorator.

        An operation that is not elementwise and has no such rule keeps a batch from being cut into tiles.
        See ``tinygraph.graph.batch``.
        """
        return self._give("batch", rule)

    def sample_inputs(self, draw: Rule) -> Rule:
        """Say which random values the operation accepts, by a function of ``rng`` and the inputs; use as a decorator.

        It returns an array for each input, in its shape, or ``None`` where any values do.
        """
        return self._give("sample_inputs", draw)

    def multiply_adds(self, rule: Rule) -> Rule:
        """Say how many products the forward computation sums, by a function of the inputs' shapes; use as a decorator.

        >>> import tinygraph as tg
        >>> @tg.op
        ... def gram(x):
        ...     return x.T @ x
        >>> @gram.multiply_adds
        ... def gram_multiply_adds(x):
        ...     return x.size * x.shape[1]
        >>> tg.draw(gram(tg.tensor([[1.0, 2.0, 3.0]], name="x"))).drawing.cards[-1].counts
        '9 multiply-adds'
        """
        return self._give("multiply_adds", rule)

    def _give(self, method: str, function: Rule) -> Rule:
        """Make a function a method of the operation, with the attributes that it names as keyword-only arguments."""
        wanted = [p.name for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY]
        for name in wanted:
            if name not in self.attribute_names:
                what = "rule" if method == "vjp" else method
                raise AttributeValueError(
                    f"{self.name}: its {what} takes {name!r}, which is not an attribute of the operation"
                )
        setattr(self.op, method, _with_attributes(function, wanted))
        return function

    @property
    def __signature__(self) -> inspect.Signature:
        op, annotations = self.op, self.op.attribute_annotations()
        kind = inspect.Parameter.VAR_POSITIONAL if op.variadic else inspect.Parameter.POSITIONAL_OR_KEYWORD
        tensors = [inspect.Parameter(name, kind) for name in op.parameters]
        # The tensors of an operation on a list take all places.
        attributes = [
            p.replace(kind=p.KEYWORD_ONLY if op.variadic else p.kind, annotation=annotations[p.name])
            for p in inspect.signature(op).parameters.values()
        ]
        return inspect.Signature(tensors + attributes)

    def __repr__(self) -> str:
        return f"<operation {self.name}{self.__signature__}>"

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """Sort a call's arguments into tensors and attributes."""
        tensors, names = self.op.parameters, self._names
        given = dict(zip(names, args, strict=False))
        if self.op.variadic and not (args and isinstance(args[0], (list, tuple)) and args[0]):
            call = f"{self.name}({', '.join(['[x, y]', *self._required])})"
            found = shown(args[0]) if args else "nothing"
            raise TinygraphError(f"{self.name} takes a list of tensors first, as in {call}; found {found}")
        missing = [name for name in tensors[len(args) :] if name not in kwargs]
        if missing:
            raise TinygraphError(f"{self.name} takes {counted(self._arity, 'tensor')}; missing: {listing(missing)}")
        if len(args) > len(names):
            numbers = all(isinstance(x, int) for x in args[self._arity :])
            hint = "; several numbers are given as one tuple" if numbers else ""
            raise TinygraphError(
                f"{self.name} takes at most {counted(len(names), 'argument')}; found {len(args)}{hint}"
            )
        for name, value in kwargs.items():
            if name in given:
                raise AttributeValueError(f"{self.name}: {name!r} is given twice")
            if name not in names:
                raise AttributeValueError(unknown(self.name, "attribute", name, self.attribute_names))
            given[name] = value
        for name in self._required:
            if name not in given:
                raise AttributeValueError(f"{self.name} needs its attribute {name!r}")
        inputs = [given.pop(name) for name in tensors]
        return inputs[0] if self.op.variadic else inputs, given


@dataclass_transform(frozen_default=True)
def register(cls: OpClass | None = None, *, numpy: Sequence[Callable[..., Any]] = ()) -> Any:
    """Register an operation class, written above it; its function is then ``tg.operation(name)`` and ``cls.function``.

    The class becomes a frozen dataclass if it is none yet. ``numpy`` lists the NumPy functions that record the operation on
    tensors. Raises ``TinygraphError`` for a class that is not derived from ``tg.Op``, or whose formula names nothing.

    >>> import tinygraph as tg
    >>> @tg.register
    ... class Tenfold(tg.Op):
    ...     def forward(self, x):
    ...         return 10 * x
    ...     def vjp(self, dy, y, x):
    ...         return 10 * dy
    >>> tg.operation("tenfold")(tg.tensor([1.0])).value
    array([10.])
    """
    if cls is None:
        return lambda later: register(later, numpy=numpy)
    if not isinstance(cls, type) or not issubclass(cls, Op):
        raise TinygraphError(f"register is written above a class that is derived from tg.Op; found {shown(cls)}")
    if "__dataclass_params__" not in cls.__dict__:
        dataclasses.dataclass(frozen=True)(cls)
    check_class(cls)
    # The package's own are being loaded just now.
    # A namespace without a name, as of ``exec``, has no module.
    if not str(cls.__module__).startswith(f"{MODULES['operations']}."):
        load_operations()
    known = OPERATIONS.get(cls.name)
    if known is not None and known.__module__ != cls.__module__:
        warnings.warn(f"operation {cls.name!r} of {cls.__module__} replaces that of {known.__module__}", stacklevel=3)
    cls.function = OPERATIONS[cls.name] = OpFunction(cls)
    for function in numpy:
        NUMPY_FUNCTIONS[function] = OPERATIONS[cls.name]
    return cls


@overload
def op(forward: Callable[..., Any], /) -> OpFunction: ...
@overload
def op(**options: Unpack[Options]) -> Callable[[Callable[..., Any]], OpFunction]: ...
def op(forward: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make an operation of a NumPy function: its positional arguments are tensors, its keyword-only ones attributes.

    The function's name is the operation's. Give it a rule with ``@name.vjp``, readable mathematics with ``formula``, and
    ``elementwise=True`` where it broadcasts as NumPy's ufuncs do (its shape is then known without running it).

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> @tg.op(formula="min({x}, {limit})", elementwise=True)
    ... def capped(x, *, limit: float = 6.0):
    ...     return np.minimum(x, limit)
    >>> @capped.vjp
    ... def capped_vjp(dy, y, x, *, limit):
    ...     return dy * (x < limit)
    >>> x = tg.tensor([5.0, 7.0])
    >>> capped(x).sum().backward()
    >>> x.grad.value
    array([1., 0.])
    """
    return _operation(Op, forward, **options)


@overload
def composite(forward: Callable[..., Any], /) -> OpFunction: ...
@overload
def composite(**options: Unpack[Options]) -> Callable[[Callable[..., Any]], OpFunction]: ...
def composite(forward: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make an operation of a function that is written in operations; its parts are recorded, and it needs no rule.

    Arguments and options are those of ``tg.op``. It has a name in model files, a page in ``tinygraph ops``, and can be
    certified, as any operation.

    >>> import tinygraph as tg
    >>> @tg.composite(formula="{x} / √(mean({x}²) + {epsilon})")
    ... def rms_scaled(x, *, epsilon: float = 1e-6):
    ...     return x / tg.sqrt(tg.mean(x * x, axis=-1, keepdims=True) + epsilon)
    >>> import numpy as np
    >>> rms_scaled(np.array([3.0, 4.0])).round(4)
    array([0.8485, 1.1314])
    >>> tg.certify(rms_scaled).ok
    True
    """
    return _operation(Composite, forward, **options)


def _operation(base: type[Op], function: Any, numpy: Sequence[Callable[..., Any]] = (), **traits: Any) -> Any:
    if function is None:
        return lambda later: _operation(base, later, numpy, **traits)
    who = "tg.composite" if base.composite else "tg.op"
    if not callable(function):
        raise TinygraphError(f"{who} makes an operation of a function; found {shown(function)}")
    for trait in traits:
        if trait not in Options.__annotations__:
            raise TinygraphError(unknown(who, "option", trait, Options.__annotations__))
    name, fields = function.__name__, _attribute_fields(function)
    members = {"name": name, "__doc__": function.__doc__, "__module__": function.__module__}
    members["forward"] = _with_attributes(function, [field[0] for field in fields])
    title = "".join(part.capitalize() for part in name.split("_"))
    cls = dataclasses.make_dataclass(
        title, fields, bases=(base,), namespace=members | traits, frozen=True, kw_only=True
    )
    cls.__module__ = function.__module__
    return register(numpy=numpy)(cls).function


def _attribute_fields(function: Callable[..., Any]) -> list[Any]:
    """Return the keyword-only arguments of a function as the fields of a dataclass."""
    try:
        hints = inspect.get_annotations(function, eval_str=True)
    except NameError as error:
        raise TinygraphError(f"{function.__name__}: an annotation means nothing here: {error}") from None
    fields: list[Any] = []
    for p in inspect.signature(function).parameters.values():
        if p.kind == p.KEYWORD_ONLY:
            field = (p.name, hints.get(p.name, Any))
            fields.append(field if p.default is p.empty else (*field, p.default))
        elif p.default is not p.empty:
            raise TinygraphError(
                f"{function.__name__}: tensors have no defaults; write * before the attribute {p.name!r}"
            )
    return fields


def _with_attributes(function: Callable[..., Any], names: Sequence[str]) -> Any:
    """Return a function as a method of an operation, which hands it the attributes called ``names``."""

    @functools.wraps(function)
    def method(self: Op, *inputs: Any) -> Any:
        return function(*inputs, **{name: getattr(self, name) for name in names})

    # Without attributes a method has no use for itself, and the function alone is called sooner.
    return method if names else staticmethod(function)
