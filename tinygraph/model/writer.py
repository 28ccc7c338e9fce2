"""A model as the text of a model file: the tables of its declaration, as they are now, as TOML."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import ModelError
from tinygraph.graph.budget import Budget
from tinygraph.model.toml import copied

if TYPE_CHECKING:
    from tinygraph.model.model import Model

_DEFAULTS = [("title", ""), ("dtype", "float32")]
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def text_of(model: Model, values: bool) -> str:
    """Return the text of a model file for a model; see ``Model.to_toml``."""
    declared, tables = model.declaration, copied(model.declaration.tables)
    settings, before = asdict(model.training) | {"seed": model.seed}, asdict(declared.training)
    training = {**tables.get("training", {}), **{name: x for name, x in settings.items() if x != before[name]}}
    tables |= {"training": training, "name": declared.name, "weights": None if values else declared.weights}
    tables["model"]["loss"], tables["sample"] = declared.loss or False, declared.sample
    for path, variable in model._variables.current(values).items():
        table = tables
        for key in path[:-1]:
            table = table[key]
        entry = table[path[-1]] | {"trainable": None if variable.trainable else False}
        if variable.value is not None:
            kept = {key: entry.get(key) for key in ("next", "trainable")}
            entry = {"value": variable.value, "dtype": getattr(variable.dtype, "name", None), **kept}
        table[path[-1]] = entry
    text = toml_text({key: item for key, item in tables.items() if (key, item) not in _DEFAULTS})
    most = Budget(0).limit("characters")
    if len(text) > most:
        found = f"the text has {len(text):,} characters, and a model file may have {most:,}"
        raise ModelError(f"{found}; model.save(path) writes the values")
    return text


def toml_text(tables: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Return the tables of a model file as its text, without keys whose value is ``None``.

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
        elif value is not None:
            rows.append(f"{_key(key)} = {_equations(value) if key == 'equations' else _value(value)}")
    header = [f"[{'.'.join(map(_key, path))}]"] if rows and path else []
    return "\n".join(["\n".join([*header, *rows]) + "\n"] * bool(rows) + parts)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _equations(text: str) -> str:
    """Return equations in lines of their own, without escapes, if that is possible."""
    text = textwrap.dedent(text.replace("\r\n", "\n")).strip("\n")
    plain = all(c.isprintable() or c in "\n\t" for c in text) and "'''" not in text
    return f"'''\n{text}\n'''" if plain else _string(text)


def _value(value: Any) -> str:
    """Return a value in one line. Real numbers have as many digits as tell them apart in their dtype."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(item)}" for k, item in value.items() if item is not None) + " }"
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
