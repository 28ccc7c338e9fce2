"""Valid files to begin with, one list for each kind."""

from __future__ import annotations

import functools
import gzip
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np

import tinygraph as tg
from tests.tools.models import exercise_text
from tinygraph.model import bundled_models

# Operations of many families in one model, so that the attributes of all of them are mutated.
MANY = """
name = "many"
dtype = "float64"

[inputs]
x = [2, 8, 8]
y = { shape = [], dtype = "int64" }

[parameters]
K = { shape = [4, "x.shape[1]", 3, 3], init = "he_normal" }
T = { shape = [4, 2, 2, 2], init = "uniform", low = -0.1, high = 0.1 }
W = { shape = ["flat.shape[1]", 5], init = "glorot_uniform" }
b = { shape = [5], init = "constant", value = 0.5 }
E = { shape = [6, 3], init = "normal", std = 0.1 }

[state]
count = { shape = [], init = "zeros", dtype = "float64", next = "count + 1" }

[blocks.twice]
inputs = ["p"]
attributes = { factor = 2 }
equations = '''
q = gelu(p) * factor + s
r = q + p.T.T
'''
output = "r"

[blocks.twice.parameters]
s = { shape = [1], init = "ones" }

[model]
equations = '''
c = conv2d(x, K, stride=1, padding=1)
d = max_pool2d(c, 2) + avg_pool2d(c, window=2, stride=2)
u = conv_transpose2d(d, T, stride=2)
v = resize(u, scale=2.0, mode="linear") + resize(u, size=(16, 16))
w = pad(u, ((0, 0), (0, 0), (1, 1), (2, 0)))[:, :, ::2, [0, 1, 1]]
g = tile(w, (1, 1, 2, 1)) * einsum([E, E], "ij,ij->")
flat = flatten(d)
h = flat @ W + b * count
k = one_hot(argmax(h, -1), 5)
t = where(h > 0, h, 0.1 * h) + clip(h, -1, 1) ** 2
o = concatenate([t, k * 1.0, softmax(h)], axis=1)
a = twice(o, factor=3) + mean(v) + sum(E, axis=0, keepdims=True)[0, 0] + mean(g)
z = sum(reshape(a, (-1, 3, 5)), axis=1)
cost = cross_entropy(z, y)
'''
output = "z"
loss = "cost"
"""


REPEATED = """
[inputs]
x = [6, 4]

[parameters]
h0 = { shape = [1, 3], init = "zeros", trainable = false }

[blocks.cell]
inputs = ["x", "h"]
equations = "n = tanh(x @ W + h @ U)"
output = ["n", "n"]

[blocks.cell.parameters]
W = { shape = ["x.shape[1]", "h.shape[1]"], init = "he_normal" }
U = { shape = ["h.shape[1]", "h.shape[1]"], init = "he_normal" }

[blocks.layer]
inputs = ["p", "q"]
attributes = { by = 2 }
equations = "r = tanh(p @ V * by + q)"
output = "r"
parameters = { V = { shape = ["p.shape[1]", 3], init = "ones" } }

[model]
equations = '''
h, s = cell(each(x * 2), h0)
g, t = cell(each(s), h)
a = layer(g, h, times=5, by=3)
b = layer(a, h, times=2 * 2, shared=True) + mean(t)
'''
output = "b"
loss = false
"""


# The kinds of data.
DATA = ("npz", "npy", "csv", "idx", "png")


@functools.cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """Return the valid files of a kind; those of ``operators`` are ONNX models of one operator each."""
    makers = {"toml": _toml, "safetensors": _safetensors, "onnx": _onnx, "operators": _operators}
    makers |= {"npz": _npz, "npy": _npy, "csv": _csv, "idx": _idx, "png": _images}
    return tuple(makers[kind]())


def _toml() -> list[bytes]:
    return [
        MANY.encode(),
        REPEATED.encode(),
        exercise_text().encode(),
        *(path.read_bytes() for path in bundled_models().values()),
    ]


def weighed() -> tg.Model:
    """Return the model whose weights the safetensors files hold."""
    return tg.load_model("notes_cnn_norm")


def _safetensors() -> list[bytes]:
    from safetensors.numpy import save

    model = weighed()
    arrays = {name: np.array(tensor.value) for name, tensor in (*model.parameters.items(), *model.state.items())}
    other = {"a": np.zeros((2, 3), np.float16), "b": np.ones((), np.int64), "c": np.zeros((0, 4), np.uint8)}
    return [save(arrays, metadata={"model": model.name}), save(arrays), save(other)]


def _npz() -> list[bytes]:
    x, y = np.arange(40, dtype=np.float32).reshape(10, 4) / 40, np.arange(10) % 3
    files = []
    for write in (np.savez, np.savez_compressed):
        for arrays in (
            {"x": x, "y": y},
            {"x": x, "y": y, "x_test": x[:4], "y_test": y[:4], "more": np.asfortranarray(x)},
        ):
            stream = io.BytesIO()
            write(stream, **arrays)
            files.append(stream.getvalue())
    return files


def _npy() -> list[bytes]:
    files = []
    for array in (np.arange(40, dtype=np.float32).reshape(10, 4), np.asfortranarray(np.ones((3, 2), ">i2"))):
        stream = io.BytesIO()
        np.save(stream, array)
        files.append(stream.getvalue())
    return files


def _csv() -> list[bytes]:
    rows = "\n".join(f"{i},{i / 7:.4f},-{i}e-3,{'one' if i % 3 else 'two'}" for i in range(12))
    table = f"width,height,depth,label\n{rows}\n"
    return [table.encode(), table.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig")]


def _idx() -> list[bytes]:
    header = b"\0\0\x08\x03" + np.array([6, 4, 4], ">u4").tobytes()
    return [header + bytes(range(96)), gzip.compress(header + bytes(range(96)))]


def _images() -> list[bytes]:
    """Images of all formats; what a file is called does not decide which it has."""
    from PIL import Image

    files = []
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype("uint8")
    for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM"):
        for mode in ("RGB", "L", "P"):
            stream = io.BytesIO()
            if (form, mode) not in (("JPEG", "P"), ("PPM", "P")):
                Image.fromarray(pixels).convert(mode).save(stream, form)
                files.append(stream.getvalue())
    return files


def _onnx() -> list[bytes]:
    """Models of tinygraph's own, and the small ones that travel with ONNX."""
    import onnx

    files = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("xor", "notes_cnn", "residual"):
            path = Path(folder, "model.onnx")
            tg.load_model(name).to_onnx(path, loss=True)
            files.append(path.read_bytes())
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    small = (path for path in sorted(data.rglob("*.onnx")) if path.stat().st_size < 20_000)
    return files * 20 + [path.read_bytes() for path in small]


def _operators() -> list[bytes]:
    """The models of one operator each by which ONNX tests its backends; all inputs but the first have values."""
    from onnx import numpy_helper
    from onnx.backend.test.case.node import collect_testcases

    files = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = sorted(collect_testcases(None), key=lambda case: case.name)  # type: ignore[no-untyped-call]
    for case in cases:
        for value, array in list(zip(case.model.graph.input, case.data_sets[0][0], strict=False))[1:]:
            if isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
                case.model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        if case.model.ByteSize() < 20_000:
            files.append(case.model.SerializeToString())
    return files
