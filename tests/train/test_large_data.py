"""Data that are larger than the memory, and inputs that are no samples."""

import re
import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.datasets import binary, classifier, images, save_image
from tinygraph.model import Model
from tinygraph.train import images as images_module
from tinygraph.train import lazy, load_data


def test_large_folders_of_images_are_read_in_batches(tmp_path, monkeypatch):
    pytest.importorskip("PIL.Image")
    folder, model, read = images(tmp_path, 20), classifier(), []
    expected = tg.fit(classifier(), load_data(folder, model), epochs=2, batch_size=8)
    monkeypatch.setattr(lazy, "MOST_IN_MEMORY", 1000)
    loaded = images_module._loaded
    monkeypatch.setattr(images_module, "_loaded", lambda *given: read.append(given[0]) or loaded(*given))
    data = load_data(folder, model)
    # The shape of the input says how large they are, and the first ones are looked at.
    assert len(read) <= 64
    found = tg.fit(model, data, epochs=2, batch_size=8)
    assert [row.loss for row in found] == [row.loss for row in expected]
    assert tg.evaluate(model, data).count == 12
    assert len(data._repr_html_()) < 10_000
    x = data.part("all")[0]
    assert isinstance(x, lazy.Lazy)
    np.testing.assert_allclose(x[-1][0, 0] * 255, np.full(4, 29), rtol=1e-6)
    save_image(tmp_path / "eel" / "3.png", np.zeros((4, 4)))
    (tmp_path / "eel" / "3.png").write_text("damaged since")
    with pytest.raises(tg.DataError, match=re.escape("eel/3.png: it is not an image")):
        tg.fit(model, data, epochs=1)


def large_arrays(folder, count=1000):
    """4 GB of zeros on a disk that keeps no zeros, and labels for them."""
    np.lib.format.open_memmap(folder / "x.npy", "w+", "float32", (count, 1, 1024, 1024)).flush()
    np.save(folder / "y.npy", np.arange(count) % 2)
    return folder


def pooling():
    return Model(
        inputs={"x": [1, 1024, 1024], "y": {"shape": [], "dtype": "int64"}},
        parameters={"W": {"shape": [1, 2], "init": "normal"}},
        equations="p = mean(x, axis=(2, 3))\nz = p @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )


class Enough(Exception):
    pass


@pytest.mark.parametrize("of_user", [False, True])
def test_arrays_larger_than_the_memory_are_read_in_batches(tmp_path, of_user):
    large_arrays(tmp_path)
    model = pooling()

    def stop(progress):
        if progress.step == 3:
            raise Enough

    tracemalloc.start()
    try:
        data = (np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(1000) % 2) if of_user else tmp_path
        with pytest.raises(Enough):
            tg.fit(model, data, epochs=1, batch_size=4, callback=stop)
        few = load_data(tmp_path, model, test_fraction=0.008)
        assert few.test[0].shape == (8, 1, 1024, 1024)
        assert tg.evaluate(model, few, batch_size=4).count == 8
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400e6


def test_values_of_large_arrays_are_checked_batch_by_batch(tmp_path, monkeypatch):
    x, y = np.zeros((40, 2)), np.arange(40)[:, None] % 2
    x[27, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(tg.DataError, match=r"x is not finite in 1 of 80 elements, the first, nan, at index \(27, 1\)"):
        load_data(tmp_path, binary())
    monkeypatch.setattr(lazy, "MOST_IN_MEMORY", 100)
    data = load_data(tmp_path, binary())
    with pytest.raises(
        tg.DataError, match=r"x is not finite in 1 of 20 elements, the first, nan, at index \(27, 1\) of"
    ):
        tg.fit(binary(), data, epochs=1, batch_size=10)
    np.save(tmp_path / "x.npy", np.zeros((40, 2)))
    np.save(tmp_path / "y.npy", y + 5)
    with pytest.raises(tg.DataError, match=r"labels 'y.*': bce: labels must lie between 0 and 1"):
        tg.fit(binary(), tmp_path, epochs=1, batch_size=10)
    np.save(tmp_path / "x.npy", np.zeros((40, 3)))
    with pytest.raises(tg.DataError, match=r"the model's input 'x' takes \(m, 2\); found shape \(40, 3\)"):
        load_data(tmp_path, binary())


DAMAGED = {
    "cut short": (lambda content: content[:-8], "needs 320 bytes and holds 312"),
    "an endless claim": (lambda content: content.replace(b"(20, 2)", b"(9**99,)"), "cannot be read as an .npy file"),
    "objects": (lambda content: content.replace(b"'<f8'", b"'|O' "), "it holds Python objects"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_npy_files_are_refused(tmp_path, damage):
    change, message = DAMAGED[damage]
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    np.save(tmp_path / "y.npy", np.zeros(20))
    (tmp_path / "x.npy").write_bytes(change((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(tg.DataError, match=re.escape(message)):
        load_data(tmp_path)


# ---- inputs without a batch axis


def weighted():
    """A model whose features are scaled by an array that is no sample, and whose loss has weights for the classes."""
    return Model(
        inputs={
            "x": [2],
            "scale": {"shape": [2], "batched": False},
            "y": [3],
            "weights": {"shape": [3], "batched": False},
        },
        parameters={"W": {"shape": [2, 3], "init": "normal"}},
        equations="z = (x * scale) @ W\ncost = cross_entropy(z, y * weights)",
        output="z",
        loss="cost",
    )


@pytest.mark.parametrize("compiled", [True, False])
def test_inputs_without_a_batch_axis_are_fed_whole(tmp_path, compiled):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(23, 2)), np.eye(3)[np.arange(23) % 3]
    scale, weights = np.array([1.0, 2.0]), np.array([1.0, 0.5, 0.25])
    plain = Model(
        inputs={"x": [2], "y": [3]},
        parameters={"W": {"shape": [2, 3], "init": "normal"}},
        equations="z = x @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )
    model = weighted()
    part = {"scale": scale, "x": x}, {"weights": weights, "y": y}
    found = tg.fit(model, part, epochs=3, batch_size=5, compiled=compiled)
    expected = tg.fit(plain, (x * scale, y * weights), epochs=3, batch_size=5, compiled=compiled)
    np.testing.assert_allclose([row.loss for row in found], [row.loss for row in expected], rtol=1e-5)
    np.testing.assert_allclose(model.parameters["W"].value, plain.parameters["W"].value, rtol=1e-4)
    metrics = tg.evaluate(model, part, batch_size=10, compiled=compiled)
    assert metrics.count == 23
    assert metrics.loss == pytest.approx(tg.evaluate(plain, (x * scale, y * weights)).loss, rel=1e-5)
    np.savez(tmp_path / "mine.npz", x=x, y=y, scale=scale, weights=weights)
    data = load_data(tmp_path / "mine.npz", weighted())
    assert len(data.test[0]["x"]) == 4
    assert tg.fit(weighted(), data, epochs=1, compiled=compiled)[0].test_loss is not None
