"""Nothing in a model file is ever executed, and what is too large or too deep is refused."""

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.model_mistakes import BASE, ONE, attempt, changed

ATTACKS = [
    "__import__('pathlib').Path('SENTINEL').touch()",
    "eval(\"open('SENTINEL', 'w')\")",
    "exec(\"open('SENTINEL', 'w')\")",
    "open('SENTINEL', 'w')",
    "print(x)",
    "x.__class__",
    "x.__class__.__mro__[1].__subclasses__()",
    "x.value",
    "x.op",
    "x.T.__init__",
    "x.shape.__class__",
    "().__class__",
    "''.__class__",
    "(lambda: open('SENTINEL', 'w'))()",
    "lambda: x",
    "[v for v in x]",
    "{v for v in x}",
    "{v: v for v in x}",
    "(v for v in x)",
    "f'{x}'",
    "f\"{open('SENTINEL', 'w')}\"",
    "(v := x)",
    "x if x else x",
    "x and x",
    "0 < x < 1",
    "x is x",
    "not x",
    "~x",
    "x % 2",
    "x << 2",
    "x | x",
    "await x",
    "yield x",
    "yield from x",
    "relu(*[x])",
    "relu(**{'x': x})",
    "relu(x)(x)",
    "relu.forward(x)",
    "relu(x).backward()",
    "x.sum()",
    "{}",
    "{x}",
    "{'x': x}",
    "x[{}]",
    "x[*[0]]",
    "x[x]",
    "x['shape']",
    "x[1.5]",
    "x[None:'a']",
    "x[:x]",
    "x[::0]",
    "x[True]",
    "x[[[0], 'a']]",
    "x[10 ** 30]",
    "x.shape['a']",
    "x.shape[1:]",
    "x.shape + x.shape",
    "x.shape * 10 ** 9",
    "x * ('a' * 10 ** 9)",
    "x * ([0] * 10 ** 9)",
    "x * (9 ** 9 ** 9)",
    "x * 9 ** 9 ** 9 ** 9",
    "x * (2 ** 100000 - 1)",
    "x * 10 ** 400",
    f"x * {'9' * 400}",
    f"x * {'9' * 5000}",
    "x * (10 ** 12 * 10 ** 12)",
    "x * (1 // 0)",
    "x * (1.0 // 0)",
    "x * (-8) ** 0.5",
    "x * 'a'",
    "x * b'a'",
    "x * None",
    "x * ...",
    "x * [1, 2]",
    "x * 1j",
    "x * {1}",
    "2 @ 3",
    "x @ 3",
    "x // 2",
    "relu('x')",
    "relu(None)",
    "relu([x])",
    "relu([1, 'a'])",
    "concatenate(x)",
    "concatenate([])",
    "concatenate([x, 'a'])",
    "reshape(x, 'a')",
    "reshape(x, 10 ** 12)",
    "softmax(x, axis=10 ** 30)",
    "softmax(x, axis=x)",
    "softmax(x, axis=[0])",
    "softmax(x, **x)",
    "broadcast_to(x, (10 ** 30, 4))",
    "pad(x, 'a')",
    "x; import os",
    "x = x",
    "x\nimport os",
    "x\ndef f(): pass",
    "x\nfor v in x: pass",
    "x\nwith open('SENTINEL', 'w'): pass",
    "x\ndel x",
    "x\na += x",
    "x\nb: int = x",
    "x\nb, c = x, x",
    "x\nx[0] = 1",
    "x\nx.value = 1",
    "x\nglobal x",
    "x\nassert x",
    "x\nreturn x",
    "x\n@x\ndef f(): pass",
    "(" * 10000 + "x" + ")" * 10000,
    "(" * 10000,
    "[" * 10000,
    "x" + "[0]" * 10000,
    "x" + ".T" * 10000,
    "-" * 10000 + "x",
    "relu(" * 10000 + "x" + ")" * 10000,
    "x" + " ** 1" * 10000,
    "x" + " + x" * 20000,
    "x * (1" + " + 1" * 20000 + ")",
    "x" + "(x)" * 10000,
    "x" + " if x else x" * 10000,
    "'" + "a" * 10**6 + "'",
    "x\\",
    "x \\ y",
    "\t\tx\n  y",
    "x $ x",
    "x ? x",
    "0x",
    "1_",
    "é€",
    "x\x0cy",
]


def attack_files(expression):
    """The expression as an equation, in a block, and as a size."""
    written = "'''\na = " + expression.replace("'''", "") + "\n'''"
    yield f"{ONE}equations = {written}\n"
    yield f"{ONE}equations = 'a = b(x)'\n[blocks.b]\ninputs = ['x']\noutput = 'a'\nequations = {written}\n"
    size = (
        expression.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", " ").replace("\x0c", "")
    )
    yield f"{ONE}equations = 'a = x * W'\n[parameters]\nW = {{ shape = [\"{size}\"], init = 'ones' }}\n"


@pytest.mark.parametrize("expression", ATTACKS, ids=lambda text: text[:40].encode("unicode_escape").decode())
@pytest.mark.usefixtures("ends")
def test_what_is_not_an_equation_is_refused_and_does_nothing(expression, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in attack_files(expression):
        with pytest.raises(tg.ModelError) as caught:
            tg.Model.from_toml(text, "net.toml")
        assert caught.value.line >= 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("terms", [100, 200, 250, 280, 290, 295, 300, 305, 310, 315, 320, 330, 350, 400, 1000])
@pytest.mark.parametrize("form", ["sum", "powers", "calls"])
def test_a_long_expression_works_or_is_a_model_error(form, terms):
    text = {
        "sum": "x" + " + x" * terms,
        "powers": "x" + " ** 1" * terms,
        "calls": "relu(" * terms + "x" + ")" * terms,
    }[form]
    result = attempt(lambda: tg.Model({"x": [4]}, {}, f"a = {text}", "a").predict(np.ones((1, 4))))
    assert result.line == 1 if isinstance(result, tg.ModelError) else result.shape == (1, 4)


def test_names_and_keys_are_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = "__import__('pathlib').Path('SENTINEL').touch()"
    for text in [
        f'"{evil}" = 1\n{BASE}',
        changed('name = "base"', f'name = "base"\n"{evil}" = 1'),
        changed("y = [1]", f'"{evil}" = [1]'),
        changed("bias = {", f'"{evil}" = {{'),
        changed('init = "zeros"', f'init = "{evil}"'),
        changed('output = "a"', f'output = "{evil}"'),
        changed('loss = "cost"', f'loss = "{evil}"'),
        changed('["p"]', f'["{evil}"]'),
        changed("factor = 2", f'factor = 2, "{evil}" = 3'),
        changed("[blocks.scale]", f'[blocks."{evil}"]'),
    ]:
        with pytest.raises(tg.ModelError):
            tg.Model.from_toml(text)
    assert not list(tmp_path.iterdir())


BIG = {
    "comment": "# " + "a" * 10**7 + "\n" + BASE,
    "comments": ("# " + "a" * 98 + "\n") * 10**5 + BASE,
    "blank lines": "\n" * 10**6 + BASE,
    "blanks": " " * 10**7 + "\n" + BASE,
    "blanks in an equation": BASE.replace("relu(Z)", "relu(Z)" + " " * 10**7),
    "indented equations": BASE.replace("Z = conv2d", " " * 10**6 + "Z = conv2d"),
    "title": BASE.replace("A small net", "a" * 10**7),
    "key": "a" * 10**7 + "\n" + BASE,
    "brackets": "[" * 10**6,
    "nested lists": "x = " + "[" * 10**5,
    "quotes": '"' * 10**6,
    "number": f"seed = {'9' * 10**5}\n" + BASE,
    "word in an equation": BASE.replace("relu(Z)", "a" * 10**6 + "(Z)"),
}


@pytest.mark.parametrize("case", BIG)
@pytest.mark.usefixtures("ends")
def test_a_big_file_is_a_model_or_a_model_error(case, tmp_path):
    path = tmp_path / "big.toml"
    path.write_text(BIG[case])
    result = attempt(lambda: tg.load_model(path))
    assert isinstance(result, tg.Model) or result.file == str(path)


def test_blocks_that_multiply_without_end_are_refused():
    chain = "".join(
        f"[blocks.b{i}]\ninputs = ['x']\nequations = 'o = b{i + 1}(x) + b{i + 1}(x)'\noutput = 'o'\n" for i in range(15)
    )
    last = "[blocks.b15]\ninputs = ['x']\nequations = 'o = x * 2'\noutput = 'o'\n"
    with pytest.raises(tg.ModelError, match=r"10,000|more than|too many"):
        tg.Model.from_toml(f"{ONE}equations = 'a = b0(x)'\n{chain}{last}")


@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_deep_blocks_are_a_model_or_a_model_error(depth):
    chain = "".join(
        f"[blocks.b{i}]\ninputs = ['x']\nequations = 'o = b{i + 1}(x)'\noutput = 'o'\n" for i in range(depth)
    )
    last = f"[blocks.b{depth}]\ninputs = ['x']\nequations = 'o = x * 2'\noutput = 'o'\n"
    result = attempt(lambda: tg.Model.from_toml(f"{ONE}equations = 'a = b0(x)'\n{chain}{last}"))
    if isinstance(result, tg.Model):
        assert result.predict(np.ones((1, 4)))[0, 0] == 2
    else:
        assert "nested too deeply" in result.message


def test_a_long_cycle_is_found_without_recursion(mistake):
    lines = "".join(f"h{i} = h{i + 1} * 2\n" for i in range(2000))
    error = mistake(changed("hidden = relu(Z)", f"{lines}h2000 = h0 * Z\nhidden = relu(h2000)"))
    assert error.message.startswith("a cycle: h0 -> h1 -> h2")
