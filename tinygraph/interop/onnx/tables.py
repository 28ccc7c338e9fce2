"""The tables of a model as the text of a model file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def model_text(tables: Mapping[str, Any]) -> str:
    """Return a model file's text for the tables of a model.

    >>> print(model_text({"name": "net", "inputs": {"x": {"shape": [2]}}, "model": {"equations": "a = relu(x)"}}))
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
    plain = [f"{key} = {_value(value)}" for key, value in tables.items() if not isinstance(value, Mapping)]
    parts = ["\n".join(plain)] if plain else []
    for name, table in tables.items():
        if isinstance(table, Mapping) and table:
            parts.append("\n".join([f"[{name}]", *(_line(key, value) for key, value in table.items())]))
    return "\n\n".join(parts) + "\n"


def _line(key: str, value: Any) -> str:
    return f"{key} = '''\n{value}\n'''" if key == "equations" else f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    """Return a value in one line. JSON is TOML, except for tables and for characters that cannot be printed."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps("".join(filter(str.isprintable, value)) if isinstance(value, str) else value, ensure_ascii=False)
