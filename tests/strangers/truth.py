"""Gradients of an operation by its rule and by differences, without the certificate: is it right, does a mistake change it?"""

import numpy as np

import tinygraph as tg


def evaluate(text: str):
    """Evaluate a function that is written in NumPy."""
    return eval(text, {"np": np})


def calls(text: str, seed: int = 0) -> list[tuple[list[np.ndarray], dict]]:
    """Evaluate the calls of a case: ``N`` are normal numbers, ``P`` positive ones, ``U`` shares, ``B`` bits."""
    rng = np.random.default_rng(seed)
    names = {
        "N": lambda *shape: rng.standard_normal(shape),
        "P": lambda *shape: rng.uniform(0.5, 2, shape),
        "U": lambda *shape: rng.uniform(0.1, 0.9, shape),
        "B": lambda *shape: rng.integers(0, 2, shape).astype(float),
        "A": np.array,
        "np": np,
        "rng": rng,
    }
    found = []
    for call in eval(text, names):
        attributes = call[-1] if isinstance(call[-1], dict) else {}
        found.append(([np.asarray(a) for a in call if not isinstance(a, dict)], attributes))
    return found


def by_rule(operation, inputs, attributes, scale: float = 1.0):
    """Return the result, a random gradient of it, and the gradients of floating inputs, as the rule has them."""
    tensors = [tg.tensor(a.copy(), name=f"input{i}") for i, a in enumerate(inputs)]
    result = operation(*tensors, **attributes)
    dy = scale * np.random.default_rng(1).standard_normal(result.shape)
    wanted = [t for t, a in zip(tensors, inputs, strict=True) if a.dtype.kind == "f"]
    (result * dy).sum().backward()
    return result.value, dy, [np.zeros(t.shape) if t.grad is None else np.asarray(t.grad.value) for t in wanted]


def by_differences(operation, inputs, attributes, dy, step: float = 1e-6):
    """Return the gradients of floating inputs by central differences."""
    gradients = []
    for k, array in enumerate(inputs):
        if array.dtype.kind != "f":
            continue
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for move in (step, -step):
                moved = [a.copy() for a in inputs]
                moved[k][index] += move
                ends.append(np.asarray(operation(*moved, **attributes)))
            gradient[index] = np.sum(dy * (ends[0] - ends[1])) / (2 * step)
        gradients.append(gradient)
    return gradients


def outcome(operation, inputs, attributes):
    """Return the rule's gradients, of a large gradient of the result too, or the text of its error."""
    try:
        return [g for scale in (1.0, 1e5) for g in by_rule(operation, inputs, attributes, scale)[2]]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def twice(operation, inputs, attributes):
    """Return the gradients of a random sum of the rule's gradients, by the rule."""
    tensors = [tg.tensor(a.copy(), name=f"input{i}") for i, a in enumerate(inputs)]
    chance = np.random.default_rng(1)
    result = operation(*tensors, **attributes)
    first = tg.grad(result, tensors, cotangent=chance.standard_normal(result.shape))
    total = sum((g * chance.standard_normal(g.shape)).sum() for g in first)
    return [np.asarray(g.value) for g in tg.grad(total, tensors, unreached="zeros")]


def differs(right, wrong) -> bool:
    """Say whether two outcomes differ by more than rounding."""
    if isinstance(right, str) or isinstance(wrong, str):
        return isinstance(right, str) != isinstance(wrong, str)
    return any(
        a.shape != b.shape or not np.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(right, wrong, strict=True)
    )
