"""Small models, and folders of images, for tests of data."""

import numpy as np

from tinygraph.model import Model


def classifier(classes=3, shape=(1, 4, 4), labels=None):
    """A model that tells images apart; ``labels`` declares the input y."""
    return Model(
        inputs={"x": list(shape), "y": {"shape": [], "dtype": "int64"} if labels is None else labels},
        parameters={"W": {"shape": [int(np.prod(shape)), classes], "init": "normal"}},
        equations="z = flatten(x) @ W\ncost = cross_entropy(z, y)",
        output="z",
        loss="cost",
    )


def binary(features=2):
    return Model(
        inputs={"x": [features], "y": [1]},
        parameters={"W": {"shape": [features, 1], "init": "normal"}},
        equations="a = sigmoid(x @ W)\ncost = bce(a, y)",
        output="a",
        loss="cost",
    )


def regression(features=2):
    return Model(
        inputs={"x": [features], "price": [1]},
        parameters={"W": {"shape": [features, 1], "init": "normal"}},
        equations="p = x @ W\ncost = mse(p, price)",
        output="p",
        loss="cost",
    )


def save_image(path, array):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, "uint8")).save(path)


def images(folder, count=6, classes=("cat", "dog", "eel"), size=(4, 4)):
    """A folder of images: each has one grey value, 10 times its class and its number added."""
    for number, name in enumerate(classes):
        for i in range(count):
            save_image(folder / name / f"{i}.png", np.full(size, 10 * number + i))
    return folder
