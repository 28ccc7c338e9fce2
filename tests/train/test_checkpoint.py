"""Checkpoints: a training that continues has the bits of one that was not interrupted."""

import json

import numpy as np
import pytest
from safetensors import safe_open

import tinygraph as tg
from tests.tools.training import assert_same, classification, dense, samples
from tinygraph.model import load_model
from tinygraph.train import SGD, Adam, Checkpoint, Data, Optimizer, fit
from tinygraph.train.loop import held_by

DATA = Data("few", samples(20), samples(8, seed=1))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def interrupting_at(epoch, step):
    def callback(progress):
        if (progress.epoch, progress.step) == (epoch, step):
            raise KeyboardInterrupt

    return callback


def digits():
    x, y = tg.load_data("digits").train
    return Data("few digits", (x[:80], y[:80]), (x[80:120], y[80:120]))


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01)], ids=str)
@pytest.mark.parametrize(("epoch", "step"), [(2, 1), (3, 3), (4, 2)])
def test_a_training_that_continues_has_the_same_bits(path, optimizer, epoch, step, monkeypatch):
    """With batch normalization and dropout, whose state is part of the model."""
    monkeypatch.setattr("tinygraph.train.checkpoint.SHARE", 0)
    whole, continued = load_model("notes_cnn_norm"), load_model("notes_cnn_norm")
    expected = fit(whole, digits(), optimizer, epochs=4, batch_size=32)
    with pytest.raises(tg.TrainingInterrupted):
        fit(continued, digits(), optimizer, 4, 32, checkpoint=path, callback=interrupting_at(epoch, step))
    continued = load_model("notes_cnn_norm", seed=7)
    rows = []
    history = fit(
        continued, digits(), optimizer, 4, 32, checkpoint=path, resume=True, callback=lambda p: rows.append(p.row)
    )
    assert history == expected
    assert history.best.row == expected.best.row
    assert_same(held_by(continued), held_by(whole))
    assert_same(history.best.values, expected.best.values)
    # The last complete epoch is reported again, and no step of it.
    assert rows[0] == history[epoch - 2]
    assert len(rows) == 1 + 4 * (5 - epoch)
    assert len(Checkpoint.load(path).history) == 4


def test_a_complete_training_continues_with_more_epochs(path):
    model, whole = classification(), classification()
    first = fit(model, DATA, Adam(0.1), epochs=2, checkpoint=path)
    before = held_by(model)
    again = fit(model, DATA, Adam(0.1), epochs=2, checkpoint=path, resume=True)
    assert (again, held_by(model).keys()) == (first, before.keys())
    assert_same(held_by(model), before)
    assert fit(model, DATA, Adam(0.1), epochs=1, resume=path) == first
    assert fit(model, DATA, Adam(0.1), epochs=5, resume=path) == fit(whole, DATA, Adam(0.1), epochs=5)
    assert_same(held_by(model), held_by(whole))
    # Nothing was written without checkpoint=.
    assert len(Checkpoint.load(path).history) == 2


def test_without_a_checkpoint_a_training_starts_from_the_beginning(path, tmp_path):
    expected = fit(classification(), DATA, epochs=2)
    assert fit(classification(), DATA, epochs=2, checkpoint=path, resume=True) == expected
    with pytest.raises(tg.WeightsError, match=r"none\.safetensors: cannot be read: No such file"):
        fit(classification(), DATA, epochs=2, resume=tmp_path / "none.safetensors")
    with pytest.raises(tg.TinygraphError, match="resume=True continues from the file that checkpoint= names"):
        fit(classification(), DATA, epochs=2, resume=True)


def test_the_file_is_plain(path):
    model = load_model("notes_cnn_norm")
    fit(model, digits(), Adam(0.01), epochs=3, batch_size=32, seed=5, checkpoint=path)
    with safe_open(path, "np") as file:
        names, metadata = set(file.keys()), file.metadata()
        assert file.get_tensor("optimizer/K1/2") == 9
        assert file.get_tensor("history/epoch").tolist() == [1, 2, 3]
    held = set(held_by(model))
    optimizer = {f"optimizer/{name}/{place}" for name in model.parameters for place in range(3)}
    columns = ("epoch", "loss", "accuracy", "test_loss", "test_accuracy", "seconds")
    assert names == held | optimizer | {f"best/{name}" for name in held} | {f"history/{column}" for column in columns}
    assert (metadata["checkpoint"], metadata["epoch"], metadata["model"]) == ("1", "3", "notes_cnn_norm")
    settings = json.loads(metadata["settings"])
    assert (settings["seed"], settings["batch_size"], settings["samples"]) == (5, 32, [80, 40])


def test_the_weights_of_a_checkpoint_are_weights(path):
    model, other = classification(), classification()
    fit(model, DATA, Adam(0.1), epochs=2, checkpoint=path)
    other.load(path)
    assert_same(held_by(other), held_by(model))


def test_an_optimizer_of_ones_own_continues(path):
    class Counting(Optimizer):
        def initial_state(self, parameter):
            return (np.array(0, np.int64),) * 11

        def update(self, parameter, gradient, state):
            return parameter - 0.1 * gradient, tuple(count + place for place, count in enumerate(state))

    whole, model = classification(), classification()
    expected = fit(whole, DATA, Counting(), epochs=3)
    fit(model, DATA, Counting(), epochs=1, checkpoint=path)
    assert fit(model, DATA, Counting(), epochs=3, checkpoint=path, resume=True) == expected
    assert [int(Checkpoint.load(path).arrays[f"optimizer/W/{place}"]) for place in (0, 9, 10)] == [0, 27, 30]


def test_arguments_of_the_wrong_type(path):
    for wrong in ({"checkpoint": 3}, {"checkpoint": path, "resume": 3}):
        with pytest.raises(tg.TinygraphError, match=r"a file is named by text or a pathlib\.Path; found int"):
            fit(classification(), DATA, **wrong)
    for wrong, message in (
        ({"patience": 0}, "patience must be"),
        ({"patience": 2, "min_delta": -1}, "min_delta must not be negative; found -1"),
        ({"patience": 2, "min_delta": float("nan")}, "min_delta must not be negative; found nan"),
        ({"patience": 2, "monitor": "val_loss"}, "a history has no column 'val_loss'; .*'test_loss'"),
    ):
        with pytest.raises(tg.TinygraphError, match=message):
            tg.EarlyStopping(**wrong)
    with pytest.raises(tg.TrainingError, match="early stopping looks at test_loss, which is not measured"):
        fit(classification(), samples(20), callback=tg.EarlyStopping(3))


# What does not fit


def changed(equations="z = x @ W + b", output="p = sigmoid(z)", **changes):
    return {"model": dense(f"{equations}\n{output}\ncost = bce(p, y)", **changes)}


CHANGES = {
    "batch size is 5 there and 4 here": {"batch_size": 4},
    "seed is 0 there and 3 here": {"seed": 3},
    r"optimizer is SGD\(.*\) there and Adam\(.*\) here": {"optimizer": Adam()},
    r"optimizer is SGD\(learning_rate=0.1.*\) there and SGD\(learning_rate=0.2": {"optimizer": SGD(0.2)},
    r"optimizer is .* and SGD\(.*CosineDecay\(.*\) here; give the same settings, the number of epochs too": {
        "optimizer": SGD(tg.CosineDecay(0.1))
    },
    "samples is 20 there and 10 here": {"data": Data("fewer", samples(10), samples(8, 1))},
    "samples is 8 there and None here": {"data": samples(20)},
    "first samples is .{8} there and .{8} here": {"data": Data("others", samples(20, seed=5), samples(8, 1))},
    r"equations is p = sigmoid\(z\) there and p = clip\(z, 0, 1\) here": changed(output="p = clip(z, 0, 1)"),
    r"equations is z = x @ W \+ b there and z = x @ W \* 1 \+ b here": changed("z = x @ W * 1 + b"),
    "model is model in float64 there and other in float64 here": changed(name="other"),
    "model is model in float64 there and model in float32 here": changed(dtype="float32"),
    "best epoch is by test_loss there and by loss and min_delta 0.5 here": {
        "callback": tg.EarlyStopping(3, "loss", 0.5, restore_best=True)
    },
}


@pytest.mark.parametrize("message", CHANGES)
def test_settings_that_contradict_a_checkpoint_are_refused(path, message):
    arguments = {"model": classification(), "data": DATA, "optimizer": SGD(0.1), "epochs": 3, "batch_size": 5}
    fit(**arguments, checkpoint=path)
    arguments |= CHANGES[message]
    before = held_by(arguments["model"])
    with pytest.raises(tg.TrainingError, match=f"the checkpoint is of another training: {message}"):
        fit(**arguments, checkpoint=path, resume=True)
    assert_same(held_by(arguments["model"]), before)


# Plain SGD has no state of a parameter, whose absence would show it.
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1)])
@pytest.mark.parametrize(("before", "after"), [((), ("W",)), (("W",), ()), (("W",), ("b",))])
def test_a_parameter_that_is_frozen_or_unfrozen_meanwhile_is_refused(path, optimizer, before, after):
    first, other = classification(), classification()
    for model, names in ((first, before), (other, after)):
        if names:
            model.freeze(*names)
    fit(first, DATA, optimizer, epochs=1, checkpoint=path)
    message = f"frozen is {(*before, 'nothing')[0]} there and {(*after, 'nothing')[0]} here"
    with pytest.raises(tg.TrainingError, match=message):
        fit(other, DATA, optimizer, epochs=2, checkpoint=path, resume=True)


def spoiled(path, how):
    checkpoint, data = Checkpoint.load(path), path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "a byte":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    elif how == "weights":
        classification().save(path)
    elif how == "settings":
        path.write_bytes(data.replace(b'\\"seed\\"', b"\\\"seed\\'", 1))
    else:
        from tinygraph.model.weights import write_arrays

        arrays = {"no history": {}, "history": {"history/epoch": np.ones(2), "history/loss": np.ones(3)}}[how]
        write_arrays(path, checkpoint.arrays | arrays, checkpoint.metadata)


@pytest.mark.parametrize("how", ["cut", "empty", "a byte", "weights", "settings", "no history", "history"])
def test_a_damaged_checkpoint_is_named(path, how):
    fit(classification(), DATA, epochs=2, checkpoint=path)
    spoiled(path, how)
    model = classification()
    with pytest.raises(tg.WeightsError, match=r"checkpoint\.safetensors: (damaged|not a checkpoint of version 1)"):
        fit(model, DATA, epochs=3, checkpoint=path, resume=True)
    assert_same(held_by(model), held_by(classification()))


# Writing


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinygraph.model.weights.write_whole", full)
    with pytest.warns(
        UserWarning, match=r"checkpoint\.safetensors' cannot be written: No space left on device; the tr"
    ):
        history = fit(classification(), DATA, epochs=3, checkpoint=path)
    assert len(history) == 3
    with pytest.raises(tg.TinygraphError, match="cannot be written: there is no folder"):
        fit(classification(), DATA, checkpoint=path.parent / "none" / "x.safetensors")


def test_short_epochs_do_not_wait_for_the_disk(path, monkeypatch):
    times, written = iter(range(0, 10000, 1)), []
    monkeypatch.setattr("tinygraph.train.checkpoint.time.monotonic", lambda: next(times))
    monkeypatch.setattr(Checkpoint, "save", lambda self, path: written.append(len(self.history)))
    fit(classification(), DATA, epochs=40, checkpoint=path)
    # Each takes a second, and nothing is written in the ten seconds after it; the last epoch always is.
    assert written == [1, 11, 21, 31, 40]


# The best epoch


def test_the_best_epoch_is_kept_and_restored(path):
    best, model = [], classification()
    stop = tg.EarlyStopping(2, restore_best=True)

    def remember(progress):
        if progress.row is not None and progress.history.best.row is progress.row:
            best[:] = [progress.row, held_by(model)]

    history = fit(model, DATA, SGD(40.0), epochs=50, batch_size=5, callback=[remember, stop], checkpoint=path)
    assert history.stopped.startswith("test_loss has not improved for 2 epochs; the best is")
    assert history.best.row is best[0] is min(history, key=lambda row: row.test_loss)
    assert len(history) == history.best.row.epoch + 2 < 50
    assert_same(held_by(model), best[1])
    # The checkpoint continues from the last epoch, and stops at once.
    again = classification()
    assert fit(again, DATA, SGD(40.0), 50, 5, callback=stop, checkpoint=path, resume=True) == history
    assert_same(held_by(again), best[1])
    patient = tg.EarlyStopping(9, restore_best=True)
    longer = fit(again, DATA, SGD(40.0), 50, 5, callback=patient, checkpoint=path, resume=True)
    assert longer[: len(history)] == history
    assert longer == fit(classification(), DATA, SGD(40.0), 50, 5, callback=tg.EarlyStopping(9))
