"""A declaration as the text of a model file: its tables, and these as TOML."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import ModelError
from tinygraph.graph.budget import Budget
from tinygraph.model.declaration import Declaration, Equations, Input, Training, Variable
from tinygraph.model.parse import Statement

if TYPE_CHECKING:
    from tinygraph.model.model import Model

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def text_of(model: Model, values: bool) -> str:
    """Return the text of a model file for a model; see ``Model.to_toml``."""
    declared, variables = model.declaration, model._variables
    training = replace(model.training, seed=model.seed)
    weights = None if values else declared.weights
    text = toml_text(tables_of(replace(declared, training=training, weights=weights), variables.current(values)))
    most = Budget(0).limit("characters")
    if len(text) > most:
        found = f"the text has {len(text):,} characters, and a model file may have {most:,}"
        raise ModelError(f"{found}; model.save(path) writes the values")
    return text


def tables_of(declaration: Declaration, current: Mapping[tuple[str, ...], Variable]) -> dict[str, Any]:
    """Return the tables of a model file for a declaration; ``current`` are its variables by their places in the file.

    >>> import tinygraph as tg
    >>> model = tg.load_model("xor")
    >>> tables_of(model.declaration, {v.path: v for v in model.declaration.main.variables.values()})["inputs"]
    {'x': (2,), 'y': (1,)}
    """
    main, settings, default = declaration.main, asdict(declaration.training), asdict(Training())
    tables = {
        "name": declaration.name,
        "title": declaration.title,
        "dtype": "" if declaration.dtype == np.float32 else declaration.dtype.name,
        "batch": declaration.batch,
        "weights": declaration.weights,
        "inputs": {name: _input(each, declaration.dtype) for name, each in declaration.inputs.items()},
        **_variables(main, current),
        "blocks": {name: _block(block, current) for name, block in declaration.blocks.items()},
        "model": {
            "equations": _dedented(main),
            "output": main.outputs[0],
            "loss": declaration.loss or False,
            **({"metric": declaration.metric} if declaration.metric else {}),
        },
        "training": {name: value for name, value in settings.items() if value != default[name]},
        "sample": declaration.sample,
        "names": declaration.names,
        "groups": declaration.groups,
    }
    return {key: value for key, value in tables.items() if value or key == "name"}


def _input(declared: Input, dtype: np.dtype[Any]) -> Any:
    table: dict[str, Any] = {} if declared.dtype == dtype else {"dtype": declared.dtype.name}
    table |= {} if declared.batched else {"batched": False}
    return {"shape": declared.shape, **table} if table else declared.shape


def _block(block: Equations, current: Mapping[tuple[str, ...], Variable]) -> dict[str, Any]:
    outputs = block.outputs if len(block.outputs) > 1 else block.outputs[0]
    table = {"attributes": block.attributes} if block.attributes else {}
    return {
        "inputs": block.inputs,
        **table,
        "equations": _dedented(block),
        "output": outputs,
        **_variables(block, current),
    }


def _dedented(equations: Equations) -> str:
    return textwrap.dedent(equations.text.text.replace("\r\n", "\n")).strip("\n")


def _variables(equations: Equations, current: Mapping[tuple[str, ...], Variable]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, variable in equations.variables.items():
        kind = "state" if variable.kind == "state" else "parameters"
        found.setdefault(kind, {})[name] = _variable(current[variable.path])
    return found


def _variable(variable: Variable) -> dict[str, Any]:
    if variable.value is None:
        sizes = [size.text.text if isinstance(size, Statement) else size for size in variable.shape]
        table = {"shape": sizes, "init": variable.init, **variable.options}
    else:
        table = {"value": variable.value}
    table |= {"dtype": variable.dtype.name} if variable.dtype else {}
    table |= {"next": variable.next.text.text} if variable.next else {}
    return table | ({} if variable.trainable else {"trainable": False})


def toml_text(tables: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Return the tables of a model file as its text.

    >>> print(toml_text({"name": "net", "inputs": {"x": {"shape": [2]}}, "model": {"equations": "a = relu(x)"}}))
    name = "net"
    <BLANKLINE>
    [inputs]
    x = { shape = [2] }
    <BLANKLINE>
    [model]
    equations = '''
    a = relu(x)
    '''
    <BLANKLINE>
    """
    rows, parts = [], []
    for key, value in tables.items():
        # Tables of tables have headers: those of the file, and those of blocks with their variables.
        is_block = path[:1] == ("blocks",) and (len(path) == 1 or key in ("parameters", "state"))
        if isinstance(value, Mapping) and (not path or is_block):
            parts += [toml_text(value, (*path, key))] * bool(value)
        else:
            rows.append(f"{_key(key)} = {_equations(value) if key == 'equations' else _value(value)}")
    header = [f"[{'.'.join(map(_key, path))}]"] if rows and path else []
    return "\n".join(["\n".join([*header, *rows]) + "\n"] * bool(rows) + parts)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _equations(text: str) -> str:
    """Return equations in lines of their own, without escapes, if that is possible."""
    plain = all(c.isprintable() or c in "\n\t" for c in text) and "'''" not in text
    return f"'''\n{text}\n'''" if plain else _string(text)


def _value(value: Any) -> str:
    """Return a value in one line. Real numbers have as many digits as tell them apart in their dtype."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)) or np.ndim(value):
        return "[" + ", ".join(map(_value, value)) + "]"
    value = value[()] if isinstance(value, np.ndarray) else value
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    return _string(value) if isinstance(value, str) else str(value)


def _string(text: str) -> str:
    return '"' + "".join(c if c.isprintable() and c not in _ESCAPES else _escape(c) for c in text) + '"'


def _escape(letter: str) -> str:
    # A surrogate without its other half is no character of TOML.
    number = 0xFFFD if "\ud800" <= letter <= "\udfff" else ord(letter)
    return _ESCAPES.get(letter, f"\\U{number:08x}")
