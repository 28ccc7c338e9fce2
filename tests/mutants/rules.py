"""Which functions gradients are made by: the rules, what they call for help, and the transposes beside them."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import tinygraph as tg
from tinygraph.graph.composite import Composite
from tinygraph.graph.function import OpFunction
from tinygraph.graph.op import Op


@dataclass(frozen=True, eq=False)
class Rule:
    """A function that makes gradients: its name, what is run, its syntax, and the operations that must find a mistake in it.

    ``cotangent`` is the name of the gradient that it is given, if it is a rule; ``tensors`` the names of its inputs and of
    the result.
    """

    name: str
    function: types.FunctionType
    tree: ast.FunctionDef
    owners: tuple[str, ...]
    cotangent: str = ""
    tensors: tuple[str, ...] = ()


def rules() -> list[Rule]:
    """Return the rules of all operations of the package. One that operations inherit is one rule."""
    owners: dict[types.FunctionType, list[str]] = defaultdict(list)
    kinds: dict[types.FunctionType, str] = {}
    for name, function in tg.operations().items():
        if not (function.__module__ or "").startswith("tinygraph.") or function.op.vjp in (Op.vjp, Composite.vjp):
            continue
        rule = plain(inspect.getattr_static(function.op, "vjp"))
        owners[rule].append(name)
        kinds[rule] = "vjp"
        for helper in helpers(rule, function.op):
            kinds.setdefault(helper, "helper")
            if name not in owners[helper]:
                owners[helper].append(name)
    found = [described(rule, kinds[rule] == "vjp", tuple(names)) for rule, names in owners.items()]
    times = Counter(rule.name for rule in found)
    # Rules that one function makes have its name in common.
    return [replace(rule, name=f"{rule.name}[{rule.owners[0]}]") if times[rule.name] > 1 else rule for rule in found]


def plain(found: Any) -> types.FunctionType:
    """Return the function behind a method as it stands in a class."""
    found = found.__func__ if isinstance(found, staticmethod) else found
    return inspect.unwrap(found)  # type: ignore[return-value]


def described(function: types.FunctionType, is_rule: bool, owners: tuple[str, ...]) -> Rule:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise ValueError(f"the rule of {owners[0]} is no function written with def, so no mutants can be made of it")
    arguments = [argument.arg for argument in tree.args.args if argument.arg != "self"]
    names = (arguments[0], (*arguments[2:], arguments[1])) if is_rule else ("", ())
    place = function.__qualname__
    return Rule(place, function, tree, owners, *names)


def helpers(rule: types.FunctionType, op: type[Op]) -> Iterator[types.FunctionType]:
    """Yield what a rule calls: methods and functions of its own module that forward does not, and forwards of transposes."""
    called = names_in(rule)
    forward = names_in(plain(inspect.getattr_static(op, "forward")))
    for name in sorted(called):
        method = inspect.getattr_static(op, name, None)
        if isinstance(method, types.FunctionType) and method.__module__ == op.__module__ and name not in forward:
            if not hasattr(Op, name) and name not in _SETTINGS:
                yield method
        # What operations of several numbers of axes inherit finds its transposes on their classes.
        found = rule.__globals__.get(name, method)
        kind = found.op if isinstance(found, OpFunction) else found
        if isinstance(kind, type) and issubclass(kind, Op) and kind is not op and kind.__module__ == op.__module__:
            if any(word in inspect.getsource(kind.forward) for word in _SCATTERS):
                yield plain(inspect.getattr_static(kind, "forward"))


# Forwards that add elements up or put them where others go: the transposes of windows and of indexing.
_SCATTERS = ("+=", ".at(", "added(", "overlay", "winner", "sum(windows.views")
# What these say is read off an operation's attributes for the forward computation too.
_SETTINGS = ("shared", "windows", "count", "chances")


def names_in(function: types.FunctionType) -> set[str]:
    """Return the names and attributes that a function speaks of, in functions within it too."""
    codes, names = [function.__code__], set()
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names
