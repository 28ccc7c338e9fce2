"""A mutant put in the place of its rule, and the certificate asked."""

from __future__ import annotations

import ast
import contextlib
import functools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygraph.verify.certificate import kinks, neighbours, rules, special, values
from tinygraph.verify.certificate.candidate import Candidate, candidate_for
from tinygraph.verify.certificate.certificate import checked

from .mistakes import NUDGED, Mutant

# Checks of the certificate that ask a rule, the quick ones first; the comparison with numeric derivatives comes before.
CHECKS = (
    rules.zero_gradient_in,
    rules.linear_in_dy,
    kinks.stated_edges,
    rules.used_twice,
    rules.shortcuts,
    values.float32,
    values.size_zero,
    values.size_one,
    values.memory_layout,
    values.inputs_unmodified,
    special.not_a_number,
    special.large_numbers,
    special.far_from_zero,
    kinks.kinks_and_ties,
    rules.second_derivatives,
    values.plan,
    neighbours.other_sizes,
    neighbours.other_values,
    neighbours.other_attributes,
)

# Whether a changed attribute was there to change, since the mutant was put in place.
_nudges: list[bool] = []


@functools.cache
def candidate(name: str) -> Candidate:
    """Return an operation with all that is measured of it by numbers; that does not change with its rule."""
    made = candidate_for(name)
    with np.errstate(all="ignore"):
        has_wrong_gradient(made)
    return made


def has_wrong_gradient(candidate: Candidate) -> bool:
    """Whether ``gradients`` would find a mistake: quicker, because it stops at the first and does not explain it."""
    return any(case.find(place).wrong for case in candidate.differentiable() for place in case.places)


def killer(mutant: Mutant) -> str:
    """Return the check that finds the mistake, or nothing; ``"no change"`` where an attribute to change is not there."""
    made = [candidate(name) for name in mutant.rule.owners]
    for case in (case for each in made for case in each.cases):
        case.forget()
    neighbours.changed_attributes.cache_clear()
    _nudges.clear()
    with in_place(mutant), np.errstate(all="ignore"):
        found = _found(made)
    return "no change" if not found and _nudges and not any(_nudges) else found


def _found(candidates: list[Candidate]) -> str:
    for asked in candidates:
        if has_wrong_gradient(asked):
            return "gradients"
    for check in CHECKS:
        for asked in candidates:
            wrong = [line for line in checked(asked, [check]) if not line.ok]
            if wrong:
                return wrong[0].check
    return ""


@contextlib.contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """Run the mutant's code wherever the rule's would run."""
    function = mutant.rule.function
    function.__globals__[NUDGED], function.__globals__["__value__"] = nudged, value
    kept = function.__code__
    function.__code__ = compiled(mutant.tree, function)
    try:
        yield
    finally:
        function.__code__ = kept
        del function.__globals__[NUDGED], function.__globals__["__value__"]


def compiled(tree: ast.FunctionDef, function: types.FunctionType) -> types.CodeType:
    """Return the code of a function's new syntax, with the variables that it takes from around it."""
    free = function.__code__.co_freevars
    body = [ast.Expr(ast.Name(name, ast.Load())) for name in free] + tree.body
    inner = ast.FunctionDef(tree.name, _bare(tree.args), body, [], None)
    given = ast.arguments([], [ast.arg(name) for name in free], None, [], [], None, [])
    outer = ast.FunctionDef("__around__", given, [inner, ast.Return(ast.Name(tree.name, ast.Load()))], [], None)
    module = ast.fix_missing_locations(ast.Module([outer], []))
    made: dict[str, Any] = {}
    exec(compile(module, f"<mutant of {function.__qualname__}>", "exec"), dict(function.__globals__), made)
    code: types.CodeType = made["__around__"](*[None] * len(free)).__code__
    return code


def _bare(arguments: ast.arguments) -> ast.arguments:
    """Return arguments without annotations, which are not looked up again."""
    bare = ast.parse("def f(): pass").body[0].args  # type: ignore[attr-defined]
    for name in ("posonlyargs", "args", "kwonlyargs"):
        setattr(bare, name, [ast.arg(argument.arg) for argument in getattr(arguments, name)])
    bare.vararg = ast.arg(arguments.vararg.arg) if arguments.vararg else None
    bare.kwarg = ast.arg(arguments.kwarg.arg) if arguments.kwarg else None
    bare.defaults, bare.kw_defaults = arguments.defaults, arguments.kw_defaults
    return bare  # type: ignore[no-any-return]


def value(gradient: Any) -> Any:
    """Return a gradient that a rule may have left as a function."""
    return gradient() if callable(gradient) else gradient


def nudged(given: Any, name: str | None = None) -> Any:
    """Return a size, or the one called ``name`` in a dict, larger by one, a choice as the other; what is not there stays so."""
    if name is None:
        _nudges.append(True)
        return _larger(given)
    _nudges.append(name in given)
    return given | {name: _larger(given[name])} if name in given else given


def _larger(size: Any) -> Any:
    if isinstance(size, bool):
        return not size
    if isinstance(size, tuple):
        return (_larger(size[0]), *size[1:])
    return size + 1 if isinstance(size, int) else 1
