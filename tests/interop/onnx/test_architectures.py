"""The architectures that travel inside the package onnx: opened, inferred, run, drawn and differentiated."""

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np

import tinygraph as tg
from tinygraph.graph.tensor import Tensor
from tinygraph.interop.onnx.importer import Importer, nodes_of
from tinygraph.interop.onnx.read import read
from tinygraph.ops.activation.activation import Softmax

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]


@pytest.fixture(scope="module", params=NAMES)
def file(request):
    path = FOLDER / f"light_{request.param}.onnx"
    if not path.is_file():
        pytest.skip("this release of onnx does not hold the architecture")
    return path


@pytest.fixture(scope="module", autouse=True)
def trust():
    """The files are a few kilobytes that ask for up to 140 million weights: more than a stranger's file may."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAPH_BUDGET", "100")
        yield


@pytest.fixture(scope="module")
def model(file):
    """The architecture in float64: differences of float32 numbers would not tell a derivative."""
    return tg.from_onnx(file, dtype="float64")


def ramp(model):
    """The input for which the package has published outputs: from 0 to 1, in equal steps."""
    shape = model.inputs[model.features[0]].batch_shape(1)
    return (np.arange(np.prod(shape)) / np.prod(shape)).astype(np.float32).reshape(shape).astype(np.float64)


def test_computes_the_published_outputs(file, model):
    (published,) = (
        onnx.numpy_helper.to_array(onnx.load_tensor(path)) for path in FOLDER.glob(f"{file.stem}_output_0.pb")
    )
    np.testing.assert_allclose(model.predict(ramp(model), compiled=False), published, rtol=1e-3, atol=1e-7)


def test_shapes_are_those_that_onnx_infers(file):
    inferred = onnx.shape_inference.infer_shapes(onnx.load(file))
    expected = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in [*inferred.graph.value_info, *inferred.graph.output]
    }
    opened = read(file)
    outputs = [value.name for value in opened.proto.graph.output]
    leaves = {
        name: Tensor("input", None, (), None, tuple(d.dim_value for d in value.type.tensor_type.shape.dim), None, name)
        for name, value in opened.inputs.items()
    }
    for leaf in leaves.values():
        leaf._dtype = np.dtype(np.float32)
    imported = Importer(opened, leaves).record(outputs, nodes_of(opened, outputs))
    shapes = {name: tensor.shape for tensor, (name, inner) in imported.names.items() if not inner}
    assert len(shapes) >= 20
    assert shapes == {name: expected[name] for name in shapes}


@pytest.mark.sweep
def test_draws_folded(model):
    picture = tg.draw(model)
    cards, equations = picture.drawing.cards, model.record(1).equations
    assert len(cards) <= 60
    assert len(equations) < 30 or "folded" in picture.dot
    # Each card ends in an operation, not in the weight of the next.
    assert cards[-1].symbol.endswith(model.output)
    assert "digraph" in picture.dot


@pytest.mark.sweep
def test_gradients_agree_with_central_differences(model):
    """Along a random direction through the input, and through two of the parameters."""
    rng = np.random.default_rng(0)
    scramble(model, rng)
    recording = model.record(1)
    output = recording.output.inputs[0] if isinstance(recording.output.op, Softmax) else recording.output
    image, parameters = recording.graph.inputs[model.features[0]], list(model.parameters.values())
    number = (output * rng.normal(size=output.shape)).sum()
    leaves = [image, *(parameters[place] for place in (0, len(parameters) // 2))]
    feeds = {image: rng.normal(size=image.shape)}
    compiled = tg.compile(number)
    for leaf, gradient in zip(leaves, tg.run(tg.grad(number, leaves), feeds), strict=True):
        at = feeds[leaf] if leaf is image else leaf.value
        direction = rng.normal(size=leaf.shape)
        expected = (gradient * direction).sum()
        assert expected
        # A long step crosses kinks of relu and max, a short one loses digits: one of them must find the derivative.
        sizes = (size * np.abs(at).max() / np.abs(direction).max() for size in (1e-7, 1e-6, 1e-8, 1e-5))
        found = (difference(compiled, feeds, leaf, at, step * direction) / step for step in sizes)
        assert any(derivative == pytest.approx(expected, rel=1e-4) for derivative in found), leaf.name


def difference(compiled, feeds, leaf, at, move):
    """Half of what a number changes by between the two ends of a move there and back."""
    ends = [compiled({**feeds, leaf: at + side * move})[0] for side in (1, -1)]
    return (ends[0] - ends[1]) / 2


def scramble(model, rng):
    """Give every weight numbers of its own, in a size that neither grows nor fades from layer to layer."""
    # A hundred million numbers need not be drawn one by one.
    pool = rng.normal(size=1_000_003)
    for parameter in model.parameters.values():
        if parameter.ndim > 1 and max(parameter.shape[1:]) > 1:
            parameter.value = np.resize(pool, parameter.shape) * np.sqrt(2 / np.prod(parameter.shape[1:]))
        else:
            parameter.value = rng.normal(1, 0.1, parameter.shape)
    for state in model.state.values():
        state.value = np.full(state.shape, 1.0 if "var" in state.name or state.name.endswith("riv_0") else 0.0)
