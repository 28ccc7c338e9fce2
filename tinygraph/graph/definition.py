"""What a class must be to become an operation."""

import string

from tinygraph.errors import OperationError, TinygraphError, listing
from tinygraph.graph.op import Op


def check_class(cls: type[Op]) -> None:
    """Raise ``TinygraphError`` for a class that is no operation: not frozen, no tensors, a formula that names nothing.

    >>> import tinygraph as tg
    >>> check_class(tg.relu.op)
    """
    if not cls.__dict__["__dataclass_params__"].frozen:
        raise TinygraphError(f"{cls.__name__}: its dataclass must be frozen; write @tg.register alone")
    for name in cls.attribute_annotations():
        if hasattr(Op, name):
            raise TinygraphError(
                f"{cls.name}: an attribute cannot be called {name!r}, which means something else to Op "
                f"(if that is what was meant, write {name}: ClassVar[...])"
            )
    if cls.result_dtype is not Op.result_dtype:
        check_dtype_rule(cls)
    _check_formula(cls)
    if not cls.parameters:
        raise TinygraphError(f"{cls.name}: forward takes no tensor; its positional arguments are the tensors")


def check_dtype_rule(cls: type[Op]) -> None:
    """Raise ``OperationError`` for an operation that has no shape rule: ``result_dtype`` is used together with one.

    >>> import tinygraph as tg
    >>> check_dtype_rule(tg.conv2d.op)
    """
    if not cls.has_shape_rule:
        instead = "let forward return that dtype" if cls.elementwise else "write a shape rule first"
        raise OperationError(
            f"{cls.name}: result_dtype is used together with a shape rule, and there is none; {instead}"
        )


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
