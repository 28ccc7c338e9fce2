"""The rules that a document shows: random models, and lines of text evaluated with NumPy and tinygraph's own operations."""

import itertools
import re

import numpy as np

import tinygraph as tg
from tinygraph.graph import OPERATIONS

SIZE = 3
WORD = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\d+\)|(?![\w(.]))")
_TEXT = re.compile(r"'[^']*'|\b(?:True|False|None)\b|\b\w+=(?!=)|[.^]T\b")


class Maker:
    """Equations with several operations, shared tensors, residuals, blocks, reshapes, and biases that are broadcast."""

    def __init__(self, seed, plain=False):
        self.random, self.plain = np.random.default_rng(seed), plain
        self.values, self.parameters, self.names = ["x"], {}, itertools.count(1)

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def parameter(self, letter, shape):
        known = [name for name, one in self.parameters.items() if one["shape"] == shape]
        if known and self.random.random() < 0.3:
            return self.choose(*known)
        name = f"{letter}{len(self.parameters) + 1}"
        self.parameters[name] = {"shape": shape, "init": "normal", "std": 0.7}
        return name

    def weight(self):
        return self.parameter("W", [SIZE, SIZE])

    def bias(self):
        shapes = ([SIZE],) if self.plain else ([SIZE], [1, SIZE], [])
        return self.parameter("B", self.choose(*shapes))

    def expression(self, depth):
        if depth == 0:
            return self.choose(*self.values)
        inner = [lambda: self.expression(depth - 1) for _ in range(2)]
        ways = [
            lambda: f"{self.choose('tanh', 'sigmoid')}({inner[0]()})",
            lambda: f"({inner[0]()}) @ {self.weight()}",
            lambda: f"({inner[0]()}) @ {self.weight()} + {self.bias()}",
            lambda: f"{inner[0]()} + ({inner[1]()})",
            lambda: f"({inner[0]()}) * ({inner[1]()})",
            lambda: f"{inner[0]()} - ({inner[1]()})",
        ]
        if not self.plain:
            ways += [
                lambda: f"flatten(reshape({inner[0]()}, (x.shape[0], {SIZE}, 1)))",
                lambda: f"softmax({inner[0]()})",
                lambda: f"relu({inner[0]()})",
                lambda: f"({inner[0]()}) ** 2",
                lambda: f"1.5 * ({inner[0]()})",
            ]
        return self.choose(*ways)()

    def loss(self):
        last = self.values[-1]
        ways = [
            f"mse({last}, y)",
            f"mse({self.expression(2)} + {last}, y)",
            f"bce(sigmoid({last} @ {self.weight()}), y)",
        ]
        if not self.plain:
            ways += [
                f"cross_entropy({last} + {self.bias()}, y)",
                f"mean(({last} - y) ** 2)",
                f"mse({last}, y) + sum(x)",
            ]
        return self.choose(*ways)

    def model(self):
        """Return a model; a block is called in some."""
        lines = []
        for _ in range(self.random.integers(1, 4)):
            name = f"h{next(self.names)}"
            ways = [
                self.expression(3),
                self.expression(2),
                f"tanh({self.values[-1]} @ {self.weight()}) + {self.values[-1]}",
            ]
            ways += [] if self.plain else [f"wide({self.values[-1]})", f"{self.values[-1]} + {self.values[0]}"]
            lines.append(f"{name} = {self.choose(*ways)}")
            self.values.append(name)
        if self.random.random() < 0.4:
            lines += [f"a = sigmoid({self.values[-1]} @ {self.weight()} + {self.bias()})", "cost = bce(a, y)"]
        else:
            lines += [f"a = {self.values[-1]} + 0", f"cost = {self.loss()}"]
        wide = {
            "inputs": ["u"],
            "equations": "v = tanh(u @ K + C) * u\nout = v + u",
            "output": "out",
            "parameters": {"K": {"shape": [SIZE, SIZE], "init": "normal"}, "C": {"shape": [SIZE], "init": "ones"}},
        }
        blocks = {"wide": wide} if any("wide(" in line for line in lines) else {}
        shapes = {"x": [SIZE], "y": [SIZE]}
        used = {
            name: one for name, one in self.parameters.items() if any(re.search(rf"\b{name}\b", line) for line in lines)
        }
        text = "\n".join(lines)
        return tg.Model(shapes, used, text, "a", "cost", blocks=blocks, dtype="float64", seed=1)

    def feeds(self, count):
        """Return a batch; labels are probabilities, which every loss takes."""
        y = self.random.random((count, SIZE))
        return {"x": self.random.normal(size=(count, SIZE)), "y": y / y.sum(axis=1, keepdims=True)}

    def graph(self):
        """Return a loss of tensors, some of them without a name, and its leaves."""
        expression = f"({self.expression(3)}) @ {self.weight()} + {self.expression(2)}"
        leaves = {name: tg.tensor(value, name=name) for name, value in self.feeds(2).items()}
        for name, declared in self.parameters.items():
            leaves[name] = tg.parameter(self.random.normal(size=declared["shape"]), name=name)
        known = {**OPERATIONS, **leaves}
        known["h"] = known["x"]
        known["h"] = eval(expression, known)
        if self.random.random() < 0.5:
            known["h"].name = "h"
        loss = self.choose("mse(h, y)", "bce(sigmoid(h), y)", "sum(tanh(h) * h)", "mean(h ** 3)")
        return eval(loss, known), list(leaves.values())


def words_of(expression):
    """The symbols that an expression names: no operations, texts and names of attributes."""
    words = set(WORD.findall(_TEXT.sub(" ", _full(expression))))
    return {word for word in words if word not in ("everywhere", "axis")}


def _full(expression):
    """An expression with every term of a sum that is written with dots."""
    return re.sub(
        r"(\S+)\(1\) \+ \.\.\. \+ \1\((\d+)\)",
        lambda match: " + ".join(f"{match[1]}({i})" for i in range(1, int(match[2]) + 1)),
        expression,
    )


def value_of(expression, known, symbol):
    """The value of an expression in the language of models."""
    numbers = {}

    def use(match):
        if match[0] not in known:
            return match[0]
        name = f"_{len(numbers)}"
        value = known[match[0]]
        numbers[name] = value if isinstance(value, int) else tg.constant(np.asarray(value))
        return name

    text = re.sub(
        rf"(?<![\w.])(?:{'|'.join(map(re.escape, sorted(known, key=len, reverse=True)))})(?![\w(])",
        use,
        _full(expression),
    )
    found = eval(text.replace(" everywhere", ""), {**OPERATIONS, **numbers})
    return found.value if isinstance(found, tg.Tensor) else np.asarray(found, float)


def evaluated(lines, known, read=value_of):
    """The values of all lines, pairs of a symbol and an expression, each as soon as what it names is known."""
    known, waiting = dict(known), list(lines)
    while waiting:
        left = [(symbol, text) for symbol, text in waiting if not words_of(text) <= set(known)]
        assert len(left) < len(waiting), f"not defined: {[words_of(text) - set(known) for _, text in left]} in {left}"
        known |= {symbol: read(text, known, symbol) for symbol, text in waiting if (symbol, text) not in left}
        waiting = left
    return known


# Formulas of the notes as text, such as "dh W^T * (1 - t1^2)"

_TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[^\W\d][\w.]*(?:\(\d+\))?)|(?P<sign>.))")


def formula_value(text, known, shape):
    """The value of a formula; ``shape`` is that of the left side, to which a sum over samples belongs."""
    return _Formula(text, known, shape).sum()


class _Formula:
    def __init__(self, text, known, shape):
        self.text, self.known, self.shape, self.place = text, known, shape, 0

    def next(self):
        match = _TOKEN.match(self.text, self.place)
        return match if match is not None and match[0].strip() else None

    def take(self, *signs):
        match = self.next()
        if match is None or match["sign"] not in signs:
            return ""
        self.place = match.end()
        return match["sign"]

    def sum(self):
        value = -self.product() if self.take("-") else self.product()
        while sign := self.take("+", "-"):
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self):
        value = self.power()
        while (match := self.next()) is not None and match["sign"] not in tuple("+-),"):
            if sign := self.take("*", "/"):
                value = value * self.power() if sign == "*" else value / self.power()
            else:
                # A product without a sign is that of matrices, unless a factor is a number.
                other = self.power()
                value = value @ other if np.ndim(value) == np.ndim(other) == 2 else value * other
        return value

    def power(self):
        value = self.atom()
        while self.take("^"):
            match = self.next()
            self.place = match.end()
            value = np.transpose(value) if match[0].strip() == "T" else value ** float(match[0])
        return value

    def atom(self):
        if self.take("("):
            value = self.sum()
            assert self.take(")")
            return value
        match = self.next()
        self.place = match.end()
        if match["number"]:
            return float(match["number"])
        if match["name"] in self.known:
            return self.known[match["name"]]
        assert self.take("("), f"{match['name']!r} is not defined in {self.text!r}"
        value = self.sum()
        assert self.take(")")
        if match["name"] == "sum":
            return tg.operation("sum_to")(tg.constant(value), self.shape).value
        return OPERATIONS[match["name"].lower()](tg.constant(value)).value
