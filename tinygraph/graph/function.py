"""The functions that users call, and the ways to make one: ``@tg.register``, ``@tg.op`` and ``@tg.composite``."""

import dataclasses
import functools
import inspect
import string
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, dataclass_transform, overload

from tinygraph.errors import AttributeValueError, TinygraphError, counted, listing, unknown
from tinygraph.graph.apply import apply, call, compute
from tinygraph.graph.attributes import shown
from tinygraph.graph.composite import Composite
from tinygraph.graph.op import Op
from tinygraph.graph.record import Decision, Edge, Samples
from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS, load_operations
from tinygraph.graph.tensor import Tensor
from tinygraph.readers import MODULES

_TRAITS = (
    "formula",
    "tex",
    "symbol",
    "elementwise",
    "holomorphic",
    "conditions",
    "numpy",
    "samples",
    "edges",
    "decision",
)
OpClass = TypeVar("OpClass", bound=type[Op])
Rule = TypeVar("Rule", bound=Callable[..., Any])


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
        self._arity = len(op.parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        simple = self._simple
        if simple is not None and len(args) == self._arity and not kwargs:
            for x in args:
                if x.__class__ is Tensor:
                    return apply(simple, args)
            return compute(simple, args)
        inputs, attributes = self._bind(args, kwargs)
        return call(self.op(**attributes), inputs)

    def vjp(self, rule: Rule | None = None, *, opaque: bool = False) -> Any:
        """Give the operation its gradient rule, a function of ``dy, y`` and the inputs; use as a decorator.

        A rule may name attributes as keyword-only arguments. ``opaque=True`` is for a rule that needs plain arrays: its
        gradient is then one node, which cannot be differentiated again.
        """
        if rule is None:
            return lambda later: self.vjp(later, opaque=opaque)
        if self.op.composite:
            raise TinygraphError(f"{self.name} is made of operations and has their gradient; a rule needs tg.op")
        self.op.vjp, self.op.opaque_vjp = self._method(rule, "rule"), opaque  # type: ignore[method-assign]
        return rule

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
        self.op.has_shape_rule = not self.op.elementwise
        return self._give("shape", rule)

    def result_dtype(self, rule: Rule) -> Rule:
        """Say which dtype the result has, by a function of the inputs; use as a decorator, with ``shape``."""
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

    def _give(self, method: str, function: Rule) -> Rule:
        """Make a function a method of the operation."""
        setattr(self.op, method, self._method(function, method))
        return function

    def _method(self, function: Callable[..., Any], what: str) -> Any:
        """Return a function as a method of the operation, with the attributes that it names as keyword-only arguments."""
        wanted = [p.name for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY]
        for name in wanted:
            if name not in self.attribute_names:
                raise AttributeValueError(
                    f"{self.name}: its {what} takes {name!r}, which is not an attribute of the operation"
                )
        return _with_attributes(function, wanted)

    @property
    def __signature__(self) -> inspect.Signature:
        kind = inspect.Parameter.VAR_POSITIONAL if self.op.variadic else inspect.Parameter.POSITIONAL_OR_KEYWORD
        tensors = [inspect.Parameter(name, kind) for name in self.op.parameters]
        return inspect.Signature(tensors + _attribute_parameters(self.op))

    def __repr__(self) -> str:
        return f"<operation {self.name}{self.__signature__}>"

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """Sort a call's arguments into tensors and attributes."""
        if self.op.variadic:
            inputs, rest = self._sequence(args)
        else:
            given = dict(zip(self.op.parameters, args, strict=False))
            given |= {name: kwargs.pop(name) for name in self.op.parameters if name in kwargs and name not in given}
            missing = [name for name in self.op.parameters if name not in given]
            if missing:
                raise TinygraphError(f"{self.name} takes {counted(self._arity, 'tensor')}; missing: {listing(missing)}")
            inputs, rest = [given[name] for name in self.op.parameters], args[self._arity :]
        if len(rest) > len(self.attribute_names):
            most = self._arity + len(self.attribute_names)
            hint = "; several numbers are given as one tuple" if all(isinstance(x, int) for x in rest) else ""
            raise TinygraphError(f"{self.name} takes at most {counted(most, 'argument')}; found {len(args)}{hint}")
        attributes = dict(zip(self.attribute_names, rest, strict=False))
        for name, value in kwargs.items():
            if name in self.op.parameters or name in attributes:
                raise AttributeValueError(f"{self.name}: {name!r} is given twice")
            if name not in self.attribute_names:
                raise AttributeValueError(unknown(self.name, "attribute", name, self.attribute_names))
            attributes[name] = value
        self._require(attributes)
        return inputs, attributes

    def _sequence(self, args: tuple[Any, ...]) -> tuple[Sequence[Any], tuple[Any, ...]]:
        if not args or not isinstance(args[0], (list, tuple)) or not args[0]:
            needed = [field.name for field in self._required()]
            call = f"{self.name}({', '.join(['[x, y]', *needed])})"
            found = "nothing" if not args else shown(args[0])
            raise TinygraphError(f"{self.name} takes a list of tensors first, as in {call}; found {found}")
        return args[0], args[1:]

    def _require(self, attributes: dict[str, Any]) -> None:
        for field in self._required():
            if field.name not in attributes:
                raise AttributeValueError(f"{self.name} needs its attribute {field.name!r}")

    def _required(self) -> list[dataclasses.Field[Any]]:
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(self.op)  # type: ignore[arg-type]
        return [field for field in fields if field.init and field.default is dataclasses.MISSING]


def _attribute_parameters(op: type[Op]) -> list[inspect.Parameter]:
    """Return an operation's attributes as parameters of a signature, with defaults and annotations.

    Those of a class may be given by place, but for an operation on a list, whose tensors take all places in a signature.
    """
    fields = {field.name: field for field in dataclasses.fields(op)}  # type: ignore[arg-type]
    keyword, place = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(
            name,
            keyword if fields[name].kw_only or op.variadic else place,
            annotation=annotation,
            default=inspect.Parameter.empty if fields[name].default is dataclasses.MISSING else fields[name].default,
        )
        for name, annotation in op.attribute_annotations().items()
    ]


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
    _check_class(cls)
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


def _check_class(cls: type[Op]) -> None:
    if not cls.__dict__["__dataclass_params__"].frozen:
        raise TinygraphError(f"{cls.__name__}: its dataclass must be frozen; write @tg.register alone")
    for name in cls.attribute_annotations():
        if hasattr(Op, name):
            raise TinygraphError(
                f"{cls.name}: an attribute cannot be called {name!r}, which means something else to Op "
                f"(if that is what was meant, write {name}: ClassVar[...])"
            )
    _check_formula(cls)
    if not cls.parameters:
        raise TinygraphError(f"{cls.name}: forward takes no tensor; its positional arguments are the tensors")


def _check_formula(cls: type[Op]) -> None:
    known = (*cls.parameters, *cls.attribute_annotations())
    try:
        parts = list(string.Formatter().parse(cls.formula))
    except ValueError as error:
        raise TinygraphError(f"{cls.name}: its formula cannot be read: {error}") from None
    for _, placeholder, specification, conversion in parts:
        if placeholder is not None and (placeholder not in known or specification or conversion):
            raise TinygraphError(
                f"{cls.name}: its formula names {{{placeholder}}}; known are {listing(known)}, without a format"
            )


@overload
def op(forward: Callable[..., Any], /) -> OpFunction: ...
@overload
def op(
    *,
    formula: str = "",
    tex: str = "",
    symbol: str = "",
    elementwise: bool = False,
    holomorphic: bool = False,
    conditions: Sequence[int] = (),
    numpy: Sequence[Callable[..., Any]] = (),
    samples: Samples | None = None,
    edges: Sequence[Edge] = (),
    decision: Decision | None = None,
) -> Callable[[Callable[..., Any]], OpFunction]: ...
def op(forward: Callable[..., Any] | None = None, /, *, numpy: Sequence[Callable[..., Any]] = (), **traits: Any) -> Any:
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
    if forward is None:
        return lambda later: _from_function(later, numpy, traits)
    return _from_function(forward, numpy, traits)


@overload
def composite(forward: Callable[..., Any], /) -> OpFunction: ...
@overload
def composite(
    *,
    formula: str = "",
    tex: str = "",
    elementwise: bool = False,
    holomorphic: bool = False,
    conditions: Sequence[int] = (),
    numpy: Sequence[Callable[..., Any]] = (),
    samples: Samples | None = None,
    edges: Sequence[Edge] = (),
) -> Callable[[Callable[..., Any]], OpFunction]: ...
def composite(
    forward: Callable[..., Any] | None = None, /, *, numpy: Sequence[Callable[..., Any]] = (), **traits: Any
) -> Any:
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
    if forward is None:
        return lambda later: _from_function(later, numpy, traits, Composite)
    return _from_function(forward, numpy, traits, Composite)


def _from_function(
    function: Callable[..., Any],
    numpy: Sequence[Callable[..., Any]],
    traits: dict[str, Any],
    base: type[Op] = Op,
) -> OpFunction:
    who = "tg.composite" if base.composite else "tg.op"
    if not callable(function):
        raise TinygraphError(f"{who} makes an operation of a function; found {shown(function)}")
    for trait in traits:
        if trait not in _TRAITS:
            raise TinygraphError(unknown(who, "option", trait, _TRAITS))
    fields = _attribute_fields(function)
    members = {"name": function.__name__, "__doc__": function.__doc__, "__module__": function.__module__}
    members["forward"] = _with_attributes(function, [name for name, _, _ in fields])
    cls = dataclasses.make_dataclass(
        "".join(part.capitalize() for part in function.__name__.split("_")),
        fields,
        bases=(base,),
        namespace=members | traits,
        frozen=True,
        kw_only=True,
    )
    cls.__module__ = function.__module__
    return cast(OpFunction, register(numpy=numpy)(cls).function)


def _attribute_fields(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return the keyword-only arguments of a function as the fields of a dataclass."""
    try:
        hints = inspect.get_annotations(function, eval_str=True)
    except NameError as error:
        raise TinygraphError(f"{function.__name__}: an annotation means nothing here: {error}") from None
    for p in inspect.signature(function).parameters.values():
        if p.kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL) and p.default is not p.empty:
            raise TinygraphError(
                f"{function.__name__}: tensors have no defaults; write * before the attribute {p.name!r}"
            )
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY]
    return [
        (p.name, hints.get(p.name, Any), dataclasses.field(**({} if p.default is p.empty else {"default": p.default})))
        for p in keywords
    ]


def _with_attributes(function: Callable[..., Any], names: Sequence[str]) -> Any:
    """Return a function as a method of an operation, which hands it the attributes called ``names``."""

    @functools.wraps(function)
    def method(self: Op, *inputs: Any) -> Any:
        return function(*inputs, **{name: getattr(self, name) for name in names})

    # Without attributes a method has no use for itself, and the function alone is called sooner.
    return method if names else staticmethod(function)
