"""Mutations of files: of their bytes, and of what they say."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import tinygraph as tg
from tests.fuzz.seeds import seeds

NUMBERS = (
    *(0, 1, -1, 2, 3, 5, 7, 16, 64, 65, 1000, 65_536, 10**6, 10**9, 10**12),
    *(2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30),
)
FLOATS = (0.0, -0.0, 1e-300, 1e30, 1e300, -1e300, float("inf"), float("-inf"), float("nan"), 0.5, -2.5)


def mutated(kind: str, seed: int, index: int) -> bytes:
    """Return file number ``index`` of a kind, the same for the same seed."""
    rng = random.Random(f"{kind}:{seed}:{index}")
    data = rng.choice(seeds(kind))
    rounds = rng.choice((1, 1, 1, 1, 2, 3, 6))
    structural = {
        **{"toml": _toml, "safetensors": _safetensors, "npz": _npz, "csv": _toml},
        **dict.fromkeys(("npy", "idx", "png"), _bytes),
    }.get(kind, _onnx)
    for _ in range(rounds):
        change = structural if rng.random() < 0.75 else _bytes
        try:
            data = change(data, rng)
        except Exception:  # What an earlier round has damaged may not be read any more.
            data = _bytes(data, rng)
    return data[: 1 << 20]


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """Return data with bytes changed, cut, moved or repeated."""
    if not data:
        return rng.randbytes(20)
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    b = min(b, a + rng.choice((1, 2, 8, 100, 10_000)))
    word = struct.pack(rng.choice("<>") + "Q", rng.choice(NUMBERS) % 2**64)
    part = data[a:b]
    return rng.choice(
        (
            lambda: data[:a] + bytes([data[min(a, len(data) - 1)] ^ 1 << rng.randrange(8)]) + data[a + 1 :],
            lambda: data[:a] + rng.randbytes(len(part)) + data[b:],
            lambda: data[:a] + data[b:],
            lambda: data[:a] + part * rng.choice((2, 3, 1000)) + data[b:],
            lambda: data[:a],
            lambda: data[:a] + word + data[a + 8 :],
            lambda: data[:a] + b"\0" * len(part) + data[b:],
        )
    )()


def _number(rng: random.Random) -> str:
    choice = rng.choice((*NUMBERS, *FLOATS))
    return rng.choice(
        (str(choice), str(choice), f"({choice})", f"{choice}.0", "0x" + "f" * 5000, "true", '"one"', "[1, 2]")
    )


def _toml(data: bytes, rng: random.Random) -> bytes:
    """Return a text with numbers, names, calls, lines and nesting changed."""
    text = data.decode()
    lines = text.split("\n")

    def replaced(pattern: str, by: Callable[[str], str]) -> str:
        found = list(re.finditer(pattern, text))
        if not found:
            return text
        match = rng.choice(found)
        return text[: match.start()] + by(match[0]) + text[match.end() :]

    def moved() -> str:
        a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
        what = rng.choice(("drop", "double", "swap", "repeat"))
        if what == "drop":
            return "\n".join(lines[:a] + lines[a + 1 :])
        if what == "swap":
            lines[a], lines[b] = lines[b], lines[a]
            return "\n".join(lines)
        return "\n".join(
            lines[:a] + [lines[a]] * (2 if what == "double" else rng.choice((3, 50, 2000))) + lines[a + 1 :]
        )

    names = re.findall(r"[A-Za-z_]\w*", text) or ["x"]
    calls = list(tg.operations())
    depth = rng.choice((3, 90, 250, 3000))
    nest = rng.choice((("(", ")"), ("[", "]"), ("{a=", "}"), ("-", ""), ("relu(", ")"), ("x + ", ""), ("a.", "b = 1")))
    return rng.choice(
        (
            lambda: replaced(r"-?\d+(\.\d+)?", lambda _: _number(rng)),
            lambda: replaced(r"-?\d+(\.\d+)?", lambda _: _number(rng)),
            lambda: replaced(r"[A-Za-z_]\w*", lambda _: rng.choice(names)),
            lambda: replaced(r"\b[A-Za-z_]\w*+(?=\()", lambda _: rng.choice(calls)),
            lambda: replaced(r"\b[A-Za-z_]\w*+(?=\()", lambda _: rng.choice(calls)),
            lambda: replaced(
                r"(?<=\()[^()\n]{0,200}(?=\))", lambda inner: f"{inner}, {rng.choice(names)}={_number(rng)}"
            ),
            lambda: replaced(r"\b[a-z]\w*\b", lambda name: nest[0] * depth + name + nest[1] * depth),
            lambda: replaced(
                r"[-+*/@=<>,.\[\](){}\"'#&|~]", lambda _: rng.choice("-+*/@=<>,.[](){}\"'#&|~\\%:;\t\x1b\u2028")
            ),
            lambda: replaced(r"[A-Za-z_]\w*", lambda name: name * rng.choice((2, 100, 20_000))),
            lambda: replaced(
                r"= .*", lambda _: rng.choice(("= 1979-05-27", "= nan", "= -inf", "= {}", "= []", '= ""', "= [[1]]"))
            ),
            moved,
            moved,
        )
    )().encode(errors="replace")


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    """Return a file whose header says something else: names, dtypes, shapes, places, metadata."""
    (length,) = struct.unpack("<Q", data[:8])
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = rng.choice(list(header))
    entry = header[name]
    what = rng.randrange(8)
    if what == 0:
        entry["dtype"] = rng.choice(("F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F8_E4M3", "Q4", "", 3))
    elif what == 1:
        entry["shape"] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 4, 100)))]
    elif what == 2:
        entry["data_offsets"] = sorted(rng.choice((*NUMBERS, len(payload))) for _ in range(rng.choice((1, 2, 2, 2, 3))))
    elif what == 3:
        header[rng.choice((name + "x", "", "\x1b[31m", "__metadata__", "n" * 50_000))] = header.pop(name)
    elif what == 4:
        del header[name]
    elif what == 5:
        header["__metadata__"] = rng.choice(({"crc32": "0"}, {"crc32": 1}, [], "text", None, {"model": {"a": {}}}))
    elif what == 6:
        header[name] = rng.choice((None, [], 1, "text", {"dtype": "F32"}))
    else:
        payload = _bytes(payload, rng)
    text = json.dumps(header).encode()
    if rng.random() < 0.1:
        text = text[:-1] + b',"deep":' + b"[" * 5000 + b"]" * 5000 + b"}"
    claimed = len(text) if rng.random() < 0.9 else rng.choice(NUMBERS) % 2**64
    return struct.pack("<Q", claimed) + text + payload


def _npz(data: bytes, rng: random.Random) -> bytes:
    """Return an archive with members renamed, dropped, doubled, or with headers that claim something else."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(m.filename, archive.read(m), m.compress_type) for m in archive.infolist()]
    place = rng.randrange(len(members))
    name, content, compression = members[place]
    what = rng.randrange(6)
    if what == 0:
        members[place] = (
            rng.choice(("y.npy", "x", "../x.npy", "/x.npy", "x.txt", "\x1b[2J.npy", "é.npy")),
            content,
            compression,
        )
    elif what == 1:
        del members[place]
    elif what == 2:
        members.append((name, content[::-1], compression))
    elif what == 3:
        members[place] = (
            name,
            content,
            rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
        )
    else:
        members[place] = (name, _npy(content, rng), compression)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content, compression in members:
            archive.writestr(name, content, compression)
    return stream.getvalue()


def _npy(content: bytes, rng: random.Random) -> bytes:
    """Return an array with another header."""
    (length,) = struct.unpack("<H", content[8:10])
    header, payload = content[10 : 10 + length].decode("latin1").rstrip(), content[10 + length :]
    what = rng.randrange(7)
    if what == 0:
        dtypes = (
            "<f8",
            "<f2",
            ">i4",
            "|O",
            "<U9",
            "|S0",
            "|V0",
            "<M8[ns]",
            "<c16",
            "|b1",
            "f4,i8",
            "<f99",
            "V" + "9" * 30,
            "\x1b[3m",
        )
        header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {rng.choice(dtypes)!r}", header)
    elif what == 1:
        sizes = ", ".join(str(rng.choice((*NUMBERS, True, None, 2.5))) for _ in range(rng.choice((0, 1, 2, 3, 70))))
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': ({sizes},)", header)
    elif what == 2:
        header = rng.choice(
            ("(((", "", "{}", "[]" * 9, "{'shape': ()}", "{" * 99, "'" + "a" * 9000 + "'", "1" * 9000, "-" * 9000 + "1")
        )
    elif what == 3:
        header = header.replace(
            rng.choice(("descr", "fortran_order", "shape", "False", "}")), rng.choice(("True", "None", "(", "descr"))
        )
    elif what == 4:
        header = header.replace("'shape': ", "'shape': " + "(" * 500)
    elif what == 5:
        return bytes([*content[:6], rng.choice((0, 1, 2, 3, 9)), rng.choice((0, 1)), *content[8:]])
    else:
        payload = _bytes(payload, rng)
    text = header.encode("latin1") + b"\n"
    claimed = len(text) if rng.random() < 0.9 else rng.randrange(65_536)
    return content[:8] + struct.pack("<H", claimed % 65_536) + text + payload


def _onnx(data: bytes, rng: random.Random) -> bytes:
    """Return a model with nodes, attributes, sizes, types and arrays changed."""
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(data)
    graph = model.graph
    actions = [_change_value, _change_model]
    actions += [_change_node] * 4 * bool(graph.node) + [_change_array] * 3 * bool(graph.initializer)
    rng.choice(actions)(model, rng)
    return bytes(model.SerializeToString())


def _change_node(model: Any, rng: random.Random) -> None:
    import onnx

    nodes, place = model.graph.node, rng.randrange(len(model.graph.node))
    node, names = nodes[place], [name for node in nodes for name in (*node.input, *node.output)] or ["x"]
    what = rng.randrange(8)
    if what == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice((*names, ""))
    elif what == 1:
        node.op_type = rng.choice([schema.name for schema in onnx.defs.get_all_schemas()])
    elif what == 2:
        del nodes[place]
    elif what == 3:
        copy = nodes.add()
        copy.CopyFrom(node)
        copy.output[:] = [f"{name}'" for name in copy.output]
    elif what == 4 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice((*names, "\x1b[31m", "n" * 30_000))
    elif what == 5:
        inner = onnx.helper.make_graph(
            [node], "inner", [], [onnx.helper.make_tensor_value_info(n, 1, None) for n in node.output]
        )
        for _ in range(rng.choice((1, 5, 40, 90))):
            wrapped = onnx.helper.make_node(
                "If", ["condition"], list(node.output), then_branch=inner, else_branch=inner
            )
            if wrapped.ByteSize() > 200_000:
                break
            inner = onnx.helper.make_graph(
                [wrapped], "inner", [], [onnx.helper.make_tensor_value_info(n, 1, None) for n in node.output]
            )
        model.graph.initializer.append(onnx.helper.make_tensor("condition", 9, [], [True]))
        nodes[place].CopyFrom(inner.node[0])
    elif node.attribute:
        _change_attribute(rng.choice(node.attribute), rng)
    else:
        value = rng.choice((*NUMBERS[:20], 0.5, [1, 2], "text"))
        node.attribute.append(
            onnx.helper.make_attribute(rng.choice(("axis", "axes", "to", "alpha", "group", "perm")), value)
        )


def _change_attribute(attribute: Any, rng: random.Random) -> None:
    number = rng.choice([n for n in NUMBERS if -(2**63) <= n < 2**63])
    if attribute.ints:
        place = rng.randrange(len(attribute.ints))
        rng.choice(
            (
                lambda: attribute.ints.append(number),
                lambda: attribute.ints.pop(),
                lambda: attribute.ints.__setitem__(place, number),
            )
        )()
    elif attribute.floats:
        attribute.floats[0] = rng.choice(FLOATS[3:])
    elif attribute.HasField("t"):
        attribute.t.dims[:] = [number] * rng.choice((0, 1, 2))
    elif attribute.HasField("s"):
        attribute.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER", b"->", b"ij,jk,kl->" * 9, b"\x1b[1m" * 99))
    elif rng.random() < 0.2:
        attribute.type = rng.randrange(1, 15)
    elif attribute.type == 1:
        attribute.f = rng.choice(FLOATS[5:])
    else:
        attribute.i = number


def _change_array(model: Any, rng: random.Random) -> None:
    import numpy as np
    from onnx import numpy_helper

    array = rng.choice(model.graph.initializer)
    number = rng.choice([n for n in NUMBERS if -(2**63) <= n < 2**63])
    what = rng.randrange(6)
    if what == 0:
        array.dims[:] = [number] * rng.choice((1, 2, 70))
    elif what == 1:
        array.data_type = rng.randrange(30)
    elif what == 2:
        array.raw_data = array.raw_data[: rng.randrange(len(array.raw_data) + 1)]
    elif what == 3:
        array.data_location = 1
        array.external_data.add(key="location", value=rng.choice(("model.onnx", "pipe", "/etc/passwd", "../x", "")))
    else:
        values = np.array(numpy_helper.to_array(array))
        if values.dtype.kind in "iu" and values.size:
            values.flat[rng.randrange(values.size)] = (
                number % 2 ** (8 * values.itemsize - 1) * (-1 if number < 0 else 1)
            )
        elif values.dtype.kind == "f" and values.size:
            values.flat[rng.randrange(values.size)] = rng.choice(FLOATS)
        array.CopyFrom(numpy_helper.from_array(values, array.name))


def _change_value(model: Any, rng: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output]
    if not values:
        return
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    what = rng.randrange(5)
    if what == 0 and dims:
        rng.choice(dims).dim_value = rng.choice([n for n in NUMBERS if -(2**63) <= n < 2**63])
    elif what == 1 and dims:
        rng.choice(dims).dim_param = rng.choice(("m", "n", "", "\x1b[31m", "x + 1"))
    elif what == 2:
        value.type.tensor_type.elem_type = rng.randrange(25)
    elif what == 3:
        dims.add().dim_value = rng.choice((1, 2, 5))
    else:
        value.name = rng.choice(("x", "y", "", "a" * 10_000))


def _change_model(model: Any, rng: random.Random) -> None:
    what = rng.randrange(5)
    if what == 0 and model.opset_import:
        model.opset_import[0].version = rng.choice((0, 1, 5, 7, 9, 11, 13, 18, 21, 99, 2**40))
    elif what == 1:
        model.metadata_props.add(
            key="tinygraph." + rng.choice(("output", "loss", "state", "title", "name")), value="x\x1b[1m"
        )
    elif what == 2 and model.graph.input:
        del model.graph.input[0]
    elif what == 3 and model.graph.output:
        del model.graph.output[0]
    else:
        model.producer_name = "tinygraph"
