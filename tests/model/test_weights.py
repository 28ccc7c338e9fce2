"""Weights on disk: what is written comes back, and whatever else a file holds is refused with nothing changed."""

import copy
import json
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygraph as tg
from tinygraph.model import bundled_models, load_model

PARAMETERS = {
    "W": {"shape": [2, 3], "init": "normal"},
    "b": {"shape": [3], "init": "normal"},
    "s": {"shape": [], "init": "normal"},
}


def net(parameters=PARAMETERS, seed=0, **options):
    return tg.Model({"x": [2]}, parameters, "a = (x @ W + b) * s", "a", seed=seed, name="net", **options)


def values(model):
    return {name: p.value.copy() for name, p in model.parameters.items()}


def same(model, before):
    assert list(model.parameters) == list(before)
    for name, p in model.parameters.items():
        assert_array_equal(p.value, before[name])


@pytest.fixture
def saved(tmp_path):
    """A file of weights, and a model of other weights that are to stay as they are."""
    path = tmp_path / "net.safetensors"
    net().save(path)
    return path, net(seed=1)


def refused(model, path, match):
    before = values(model)
    with pytest.raises(tg.WeightsError, match=match) as caught:
        model.load(path)
    assert str(path) in str(caught.value)
    same(model, before)


def write(path, arrays, metadata=None, kinds=None):
    """Write a safetensors file by hand: eight bytes of length, a header, and the data."""
    names = {"<f4": "F32", "<f8": "F64", "<f2": "F16", "<i8": "I64", "<c8": "C64"}
    header, data = {"__metadata__": metadata or {}}, b""
    for name, array in arrays.items():
        array = np.asarray(array)
        if kinds and name in kinds:
            array = array.astype("<u2" if kinds[name] == "BF16" else "u1")
        kind = kinds[name] if kinds and name in kinds else names[array.dtype.newbyteorder("<").str]
        ends = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": ends}
        data += array.astype(array.dtype.newbyteorder("<")).tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def payload(data):
    return data[8 + struct.unpack("<Q", data[:8])[0] :]


# ---- there and back


def test_what_is_saved_is_loaded(saved):
    path, model = saved
    model.load(path)
    same(model, values(net()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_bit_comes_back(tmp_path, dtype):
    model = net(dtype=dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    model.parameters["W"].value = np.array([[np.pi, -0.0, tiny], [np.finfo(dtype).max, 1 / 3, -tiny]], dtype)
    before = values(model)
    model.save(tmp_path / "w")
    model.initialize()
    model.load(tmp_path / "w")
    for name, p in model.parameters.items():
        assert p.value.tobytes() == before[name].tobytes()
        assert (p.value.shape, p.value.dtype) == (before[name].shape, before[name].dtype)


@pytest.mark.parametrize("name", ["notes_cnn", "lenet5", "residual"])
def test_bundled_models_come_back(tmp_path, name):
    model, other = tg.load_model(name), tg.load_model(name, seed=1)
    model.save(tmp_path / "w")
    other.load(tmp_path / "w")
    same(other, values(model))


def test_a_model_without_parameters_can_be_saved(tmp_path):
    model = tg.Model({"x": [2]}, {}, "a = x", "a")
    model.save(tmp_path / "w")
    model.load(tmp_path / "w")


def test_a_transposed_value_is_saved_as_it_reads(tmp_path):
    model = net()
    model.parameters["W"].value = np.arange(6.0).reshape(3, 2).T
    model.save(tmp_path / "w")
    other = net(seed=1)
    other.load(tmp_path / "w")
    assert_array_equal(other.parameters["W"].value, [[0, 2, 4], [1, 3, 5]])


def test_loading_is_seen_by_graphs_that_were_recorded_before(saved):
    path, model = saved
    x = np.ones((2, 2))
    before = model.predict(x)
    model.load(path)
    assert_array_equal(model.predict(x), net().predict(x))
    assert (model.predict(x) != before).all()


def test_loaded_values_are_protected_and_not_tied_to_the_file(saved):
    path, model = saved
    model.load(path)
    path.unlink()
    assert not model.parameters["W"].value.flags.writeable
    assert np.isfinite(model.parameters["W"].value).all()


def test_paths_may_be_text(tmp_path):
    net().save(str(tmp_path / "w"))
    net(seed=1).load(str(tmp_path / "w"))


def test_the_file_is_what_safetensors_reads(saved):
    from safetensors import safe_open

    with safe_open(saved[0], "np") as file:
        assert {name: file.get_tensor(name).shape for name in file.keys()} == {"W": (2, 3), "b": (3,), "s": ()}  # noqa: SIM118
        assert file.metadata() == {"model": "net", "crc32": f"{zlib.crc32(payload(saved[0].read_bytes())):08x}"}


def test_the_data_begin_at_a_multiple_of_eight_bytes(tmp_path):
    for name in ("n", "net", "a longer name", "ñ"):
        model = tg.Model({"x": [2]}, PARAMETERS, "a = (x @ W + b) * s", "a", name=name)
        model.save(tmp_path / "w")
        assert struct.unpack("<Q", (tmp_path / "w").read_bytes()[:8])[0] % 8 == 0
        model.load(tmp_path / "w")


def test_the_same_weights_make_the_same_file(tmp_path):
    for name in "ab":
        net().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("dtype", ["<f8", "<f2", "<i8"])
def test_numbers_of_another_dtype_become_the_models(tmp_path, dtype):
    arrays = {name: np.asarray(np.round(4 * v), dtype) for name, v in values(net()).items()}
    write(tmp_path / "w", arrays)
    model = net(seed=1)
    model.load(tmp_path / "w")
    assert {p.dtype for p in model.parameters.values()} == {np.dtype("float32")}
    same(model, arrays)


def test_a_float32_file_is_loaded_into_a_float64_model(saved):
    wide = net(seed=1, dtype="float64")
    wide.load(saved[0])
    assert wide.parameters["W"].dtype == np.float64
    same(wide, values(net()))


# ---- files of something else


def test_weights_of_another_model(tmp_path):
    tg.load_model("xor").save(tmp_path / "w")
    model = tg.load_model("notes_cnn")
    refused(
        model,
        tmp_path / "w",
        r"not the weights of model 'notes_cnn': the file lacks 'K1'.*, and the model lacks 'W1' and 'W2'",
    )


def test_a_missing_parameter_is_named(saved):
    path, model = saved
    write(path, {name: v for name, v in values(model).items() if name != "b"})
    refused(model, path, "the file lacks 'b'")


def test_a_parameter_too_many_is_named(saved):
    path, model = saved
    write(path, {**values(model), "c": np.ones(2, "f4")})
    refused(model, path, "model '.*': the model lacks 'c'")


@pytest.mark.parametrize("shape", [(3, 2), (6,), (1, 2, 3), (2, 4), ()])
def test_another_shape_is_named_with_both(saved, shape):
    path, model = saved
    write(path, {**values(model), "W": np.ones(shape, "f4")})
    refused(model, path, rf"'W' has shape {'.'.join(map(str, [shape]))}".replace("(", r"\(").replace(")", r"\)"))
    refused(model, path, r"\(2, 3\)")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(saved, number):
    path, model = saved
    write(path, {**values(net()), "b": np.array([1, number, 2], "f4")})
    refused(model, path, "'b' holds NaN or infinity|'b'.*NaN")


def test_numbers_beyond_float32_are_refused(saved):
    path, model = saved
    write(path, {**values(net()), "b": np.array([1, 1e300, 2])})
    refused(model, path, "'b'")


def test_complex_numbers_are_refused(saved):
    path, model = saved
    write(path, {**values(net()), "b": np.ones(3, "c8")})
    refused(model, path, "'b' of the model holds float32; found complex64")


def test_bfloat16_is_widened(saved):
    path, model = saved
    given = np.array([1.5, -2.0, 2.0**127], "f4")
    write(path, {**values(net()), "b": given.view("<u4").astype("u4") >> 16}, kinds={"b": "BF16"})
    model.load(path)
    np.testing.assert_array_equal(model.parameters["b"].value, given)


def test_a_dtype_that_is_not_supported_is_named(saved):
    path, model = saved
    write(path, {**values(net()), "b": np.zeros(3, "u1")}, kinds={"b": "F8_E4M3"})
    refused(model, path, r"net\.safetensors: 'b' holds F8_E4M3, which is not supported \(supported: 'F16'")


def test_whole_numbers_are_not_rounded(saved):
    path, model = saved
    write(path, {**values(net()), "b": np.array([1, 2, 3])})
    model.load(path)
    assert model.parameters["b"].value.tolist() == [1, 2, 3]
    write(path, {**values(net()), "b": np.array([1, 2**60 + 1, 3])})
    refused(model, path, rf"'b' of the model holds float32, which rounds {2**60 + 1} \(int64\)")


def test_a_key_takes_whole_numbers_of_any_dtype(tmp_path):
    model = load_model("notes_cnn_norm")
    arrays = {**values(model), **{name: state.value for name, state in model.state.items()}}
    write(tmp_path / "w", {**arrays, "chance": np.array(2.0**40)})
    model.load(tmp_path / "w")
    assert model.state["chance"].value == 2**40
    write(tmp_path / "w", {**arrays, "chance": np.array(0.5)})
    refused(model, tmp_path / "w", r"'chance' of the model holds int64, which takes integers .*; found 0\.5")


# ---- damaged files


@pytest.mark.parametrize("end", range(0, 261, 10))
def test_a_file_that_is_cut(saved, end):
    path, model = saved
    data = path.read_bytes()
    assert end < len(data) == 264
    path.write_bytes(data[:end])
    refused(model, path, "damaged, or not a safetensors file")


def test_a_bundled_models_file_that_is_cut_at_every_50th_byte(tmp_path):
    path, model = tmp_path / "w", tg.load_model("xor", seed=1)
    tg.load_model("xor").save(path)
    data = path.read_bytes()
    for end in range(0, len(data), 50):
        path.write_bytes(data[:end])
        refused(model, path, "damaged")


def test_a_file_that_is_too_long(saved):
    path, model = saved
    path.write_bytes(path.read_bytes() + b"\0")
    refused(model, path, "damaged")


def test_flipped_bits_of_the_header_are_found_or_change_nothing(saved):
    path, model = saved
    data = path.read_bytes()
    wanted, found = values(net()), 0
    for place in range(8 + struct.unpack("<Q", data[:8])[0]):
        for bit in (0, 1, 5, 7):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            path.write_bytes(broken)
            before = values(model)
            try:
                model.load(path)
            except tg.WeightsError:
                found += 1
                same(model, before)
            else:
                same(model, wanted)
    assert found > 500


def test_any_flipped_bit_of_the_data_is_found(saved):
    path, model = saved
    data = path.read_bytes()
    for place in range(len(data) - len(payload(data)), len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        path.write_bytes(broken)
        refused(model, path, "damaged: the checksum of its data differs")


@pytest.mark.parametrize("metadata", [None, {"model": "net"}, {"crc32": "another"}])
def test_files_of_other_programs_have_no_checksum(saved, metadata):
    path, model = saved
    write(path, values(net()), metadata)
    if metadata and "crc32" in metadata:
        refused(model, path, "checksum")
    else:
        model.load(path)
        same(model, values(net()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"not weights at all, but text",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 20) + b"\xff" * 20,
        struct.pack("<Q", 10**5) + b"[" * 10**5,
        struct.pack("<Q", 61) + b'{"W":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}   ' + b"\0" * 12,
        struct.pack("<Q", 61) + b'{"W":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}   ' + b"\0" * 2,
        struct.pack("<Q", 61) + b'{"W":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}      ' + b"\0" * 4,
    ],
)
def test_what_is_no_file_of_weights(tmp_path, data):
    path = tmp_path / "w"
    path.write_bytes(data)
    refused(net(), path, "damaged, or not a safetensors file|not the weights")


def test_a_file_that_is_not_there(tmp_path):
    refused(net(), tmp_path / "nowhere" / "w", "cannot be read: No such file")


def test_a_folder_is_no_file_of_weights(tmp_path):
    refused(net(), tmp_path, "cannot be read")


# ---- saving that fails


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError("no space left on device"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(saved, monkeypatch, step, failure):
    path, model = saved
    before = path.read_bytes()

    def fail(*args):
        raise failure

    monkeypatch.setattr(os, step, fail)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else tg.WeightsError
    with pytest.raises(expected, match="no space left on device" if expected is tg.WeightsError else None):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    model.load(path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_could_not_be_loaded_are_not_saved(saved, number):
    path, model = saved
    before = path.read_bytes()
    model.parameters["b"].value = np.array([1, number, 2], "f4")
    with pytest.raises(tg.WeightsError, match=r"net\.safetensors' was not written: 'b' holds NaN or infinity$"):
        model.save(path)
    assert path.read_bytes() == before


def test_saving_replaces_the_old_file(saved):
    path, model = saved
    model.save(path)
    other = net()
    other.load(path)
    same(other, values(model))
    assert os.listdir(path.parent) == [path.name]


def test_two_savings_at_once_do_not_meet(saved, monkeypatch):
    path, model = saved
    replace, written = os.replace, []

    def meanwhile(partial, target):
        written.append(partial.name)
        if len(written) == 1:
            net(seed=2).save(path)
        return replace(partial, target)

    monkeypatch.setattr(os, "replace", meanwhile)
    model.save(path)
    assert len(set(written)) == 2
    other = net()
    other.load(path)
    same(other, values(model))
    assert os.listdir(path.parent) == [path.name]


def test_a_saved_file_has_the_permissions_of_any_new_file(saved):
    path, _ = saved
    path.with_name("new").write_bytes(b"")
    assert path.stat().st_mode == path.with_name("new").stat().st_mode


def test_saving_where_nothing_may_be_written_says_so(saved, monkeypatch):
    path, model = saved

    def refuse(partial, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(tg.WeightsError, match=r"net\.safetensors' cannot be written: Permission denied"):
        model.save(path)


def test_saving_into_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(tg.WeightsError, match=r"cannot be written: there is no folder '.*nowhere'"):
        net().save(tmp_path / "nowhere" / "w")


def test_saving_onto_a_folder_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(tg.WeightsError, match="runs' cannot be written: it is a folder"):
        net().save(tmp_path / "runs")
    assert os.listdir(tmp_path) == ["runs"]


@pytest.mark.parametrize("path", ["", "."])
def test_saving_to_no_name_is_a_clear_error(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tg.WeightsError, match="is a folder"):
        net().save(path)
    assert not os.listdir(tmp_path)


CLASSES = ("cat", "dög", "", "a, b")


def test_the_names_of_the_classes_are_kept_in_files_and_copies(saved):
    path, other = saved
    model = net()
    assert model.classes == ()
    model.classes = CLASSES
    for same_model in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same_model.classes == CLASSES
    model.save(path)
    other.load(path)
    assert other.classes == CLASSES
    net().save(path)
    other.load(path)
    assert other.classes == ()


@pytest.mark.parametrize("text", ["", "10", "null", '{"cat": 0}', "[1, 2]", '["cat", null]', "[" * 100_000, "cat, dog"])
def test_metadata_that_are_no_names_of_classes_are_ignored(saved, text):
    path, model = saved
    model.classes = CLASSES
    write(path, values(net()), {"classes": text})
    model.load(path)
    assert model.classes == ()


def test_a_mask_may_hold_infinity(tmp_path):
    """State that never moves is loaded as it is; what is learned, or follows the batches, must be finite."""
    text = (
        "[inputs]\nx = [2]\n[parameters]\nw = { shape = [2], init = 'ones' }\n[state]\nfar = { shape = [2], init = 'zeros' }\n"
        "[model]\nequations = 'y = x * w + far'\noutput = 'y'\nloss = false"
    )
    model = tg.Model.from_toml(text)
    model.state["far"].value = np.float32([0, -np.inf])
    model.save(tmp_path / "masked.safetensors")
    again = tg.Model.from_toml(text)
    again.load(tmp_path / "masked.safetensors")
    assert again.state["far"].value.tolist() == [0, -np.inf]
    moving = tg.Model.from_toml(text.replace("init = 'zeros'", "init = 'zeros', next = 'far + 1'"))
    with pytest.raises(tg.WeightsError, match="'far' holds NaN, infinity"):
        moving.load(tmp_path / "masked.safetensors")


def test_weights_do_not_replace_the_model_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.toml").write_text(bundled_models()["xor"].read_text())
    for path in ("net.toml", tmp_path / "net.toml"):
        with pytest.raises(tg.WeightsError, match=r"net\.toml' is the model file itself"):
            load_model("net.toml").save(path)
    assert load_model("net.toml").name == "xor"
