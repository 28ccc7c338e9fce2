"""What reaches the terminal: short messages, and no control characters, whatever the files and arguments contain."""

import copy
import itertools
import json
import pickle
import struct
import sys
import unicodedata
import zipfile

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.commands import model_text
from tinygraph import errors
from tinygraph.cli import main
from tinygraph.draw.render import renderers
from tinygraph.errors import excerpt, printable, shortened
from tinygraph.train.diagnosis import NotFiniteError

EVIL = "\x1b[31m\x1b]0;t\x07\r\x9b2J\u202e\x7f\x08\u2028"
QUOTED = json.dumps(EVIL)
LONG = "a" * 10**5


def net(name="net", title="", note=""):
    return model_text(f"z = x @ W  # {note}", name, title)


TOML = {
    "sound": net(QUOTED[1:-1], QUOTED[1:-1], "\u202e \x9b2J"),
    "long": net(LONG, LONG),
    "key": f"{QUOTED} = 1\n{net()}",
    "key in a table": net().replace("[parameters]", f"[parameters]\n{QUOTED} = 3"),
    "init": net().replace('"ones"', QUOTED),
    "output": net().replace('output = "z"', f"output = {QUOTED}"),
    "data": net().replace('"xor"', QUOTED),
    "shape": net().replace("[2, 1]", f"[{QUOTED}, 1]"),
    "string in an equation": net().replace("x @ W", "relu(x @ W, '\x9b2J\u202e')"),
    "escape in an equation": net().replace("'''", '"""').replace("x @ W", r"relu(x @ W, '\u001b[31m')"),
    "comment of a mistake": net(note="\x9b2J\u202e").replace("x @ W", "x @ V"),
    "syntax": net().replace("x @ W", "x @ \u202e W"),
    "not TOML": f"a = {EVIL}",
    "long name": net().replace("x @ W", LONG),
    "long text": net().replace("x @ W", f"relu(x, '{LONG}')"),
    "long line": net().replace("x @ W", "x @ W" + " + x @ W" * 100 + " + V" + " + x @ W" * 100),
    "many words": net().replace("x @ W", "relu(x, '" + "a " * 10**5 + "')"),
    "long key": f"{LONG} = 1\n{net()}",
    "escapes alone": net().replace('"ones"', json.dumps("\x1b" * 10**4)),
}


def assert_clean(text, longest=None):
    """Only printable text and line breaks; messages of errors have at most a few hundred characters."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"}
    assert not bad, text
    if longest is not None:
        assert len(text) <= longest, text


@pytest.fixture
def terminal(tmp_path, monkeypatch, capfd, registry):
    """Run a command in an empty folder, and return its code and what it wrote, if that is fit for a terminal."""
    monkeypatch.chdir(tmp_path)

    def command(*args):
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args], prog_name="tinygraph")
        out, err = capfd.readouterr()
        assert_clean(out + err)
        assert "Traceback" not in err
        if end.value.code == 2:
            assert_clean(err, 800)
        return end.value.code, out, err

    return command


COMMANDS = (
    ["equations", "--backward"],
    ["plan"],
    ["check"],
    ["train", "--epochs", 1],
    ["predict"],
    ["draw", "--format", "text"],
    ["draw", "-o", "net.gv"],
    *([["draw", "-o", "net.svg", "--detail", "full", "--sample", 0]] if renderers() else []),
    ["notes"],
    ["notes", "--format", "txt"],
    ["export"],
)


@pytest.mark.parametrize("case", TOML)
def test_no_command_prints_control_characters_of_a_model_file(case, terminal, tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "net.toml"
    path.write_text(TOML[case], newline="")
    for command, *options in COMMANDS:
        code, _, err = terminal(command, path, *options)
        sound = case in ("sound", "long", "data") and not (case == "data" and err)
        assert code == (0 if sound and command != "predict" else 2), err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names of files")
@pytest.mark.parametrize(
    "name", [f"{EVIL}.toml", f"{EVIL}.onnx", "n\n\x1b[31m.toml", b"\x9b2J\xff.toml".decode("utf-8", "surrogateescape")]
)
def test_no_command_prints_control_characters_of_a_file_name(name, terminal, tmp_path):
    pytest.importorskip("onnx")
    for written in (None, net(), "[", b"\0\1"):
        if written is not None:
            (tmp_path / name).write_bytes(written if isinstance(written, bytes) else written.encode())
        for command, *options in COMMANDS:
            terminal(command, name, *options)
        terminal("import", name)
        terminal("certify", name)
        terminal("ops", name)


OPTIONS = {
    "train": ["--data", "--loss", "--epochs", "--learning-rate", "--optimizer", "--seed", "--out", "--ops"],
    "predict": ["--weights", "--data", "--out", "--ops"],
    "equations": ["--loss", "--batch-size"],
    "draw": ["-o", "--data", "--weights", "--detail", "--view", "--fold", "--format"],
    "notes": ["-o", "--format", "--weights", "--data"],
    "check": ["--data", "--draw", "--loss"],
    "certify": ["--ops", "--seed"],
    "import": ["-o", "--output", "--loss", "--size", "--dtype"],
    "export": ["-o", "--weights"],
    "plan": ["--threads", "--loss"],
    "ops": ["--ops"],
}


@pytest.mark.parametrize(("command", "option"), [(c, o) for c, options in OPTIONS.items() for o in options])
def test_no_command_prints_control_characters_of_an_argument(command, option, terminal, tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "net.onnx").write_bytes(onnx_file("Relu"))
    target = {"certify": "relu", "ops": "relu", "import": "net.onnx"}.get(command, "xor")
    for value in (EVIL, f"{EVIL}.toml", f"{EVIL}.npz", f"{EVIL}.py", f"{EVIL}=3", LONG):
        terminal(command, target, option, value)
    terminal(command, target, EVIL)
    terminal(command, target, f"--{EVIL}")
    terminal(EVIL, target)


def onnx_file(op_type, size="m", name="x", attribute="axis"):
    """An ONNX file with one node, whose names the arguments choose."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    node = helper.make_node(op_type, [name], ["z"], name=name, **{attribute: 1} if op_type != "Relu" else {})
    graph = helper.make_graph(
        [node],
        name,
        [value(name, TensorProto.FLOAT, [size, 4])],
        [value("z", TensorProto.FLOAT, [size, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize("place", ["op_type", "size", "name", "attribute"])
@pytest.mark.parametrize("evil", [EVIL, LONG[:5000]])
def test_no_command_prints_control_characters_of_an_onnx_file(place, evil, terminal, tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "net.onnx").write_bytes(
        onnx_file(**{"op_type": "Softmax" if place == "attribute" else "Relu", place: evil})
    )
    for command, *options in COMMANDS:
        terminal(command, "net.onnx", *options)
    for options in ([], ["--output", evil], ["--size", f"{evil}=2"], ["--loss", evil]):
        terminal("import", "net.onnx", "-o", "net.toml", *options)


def test_no_command_prints_control_characters_of_weights(terminal, tmp_path):
    from safetensors.numpy import save_file

    save_file({EVIL: np.zeros(2), LONG: np.zeros(1)}, tmp_path / "w.safetensors", {EVIL: EVIL})
    header = json.dumps({"W": {"dtype": EVIL, "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "dtype.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    for name in ("w.safetensors", "dtype.safetensors"):
        for command in ("predict", "draw", "notes", "export"):
            code, _, err = terminal(command, "xor", "--weights", name)
            assert code == 2
            assert name in err


@pytest.mark.parametrize("key", [EVIL, f"x{EVIL}", LONG[:60000]])
def test_no_command_prints_control_characters_of_data(key, terminal, tmp_path):
    np.savez(tmp_path / "more.npz", x=np.zeros((2, 2)), y=np.zeros((2, 1)), **{key: np.zeros(1)})
    np.savez(tmp_path / "only.npz", **{key: np.zeros(1)})
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr(f"{key}.npy", EVIL)
        archive.writestr("x.npy", EVIL)
    for name in ("more.npz", "only.npz", "text.npz"):
        for command, *options in (
            ["train"],
            ["predict", "--weights", "w"],
            ["check"],
            ["draw", "-o", "a.gv"],
            ["notes"],
        ):
            terminal(command, "xor", "--data", name, *options)


@pytest.mark.parametrize(
    "body",
    [
        f"raise ValueError({QUOTED})",
        f"import warnings; warnings.warn({QUOTED})",
        f"raise SystemExit({QUOTED})",
        f"import tinygraph as tg; tg.op(lambda x: x, formula={QUOTED})",
        f"import tinygraph as tg\n@tg.op(formula={QUOTED})\ndef mine(x):\n    {QUOTED}\n    return x",
        f"import tinygraph as tg\n@tg.op(samples=lambda rng: [tg.Sample([1.0])])\ndef mine(x):\n    raise ValueError({QUOTED})",
        f"raise ValueError('{LONG}')",
    ],
)
def test_no_command_prints_control_characters_of_an_operation(body, terminal, tmp_path):
    (tmp_path / "mine.py").write_text(body)
    for args in (["ops", "mine"], ["ops"], ["certify", "mine"], ["certify", "--json", "mine"], ["equations", "xor"]):
        _, out, _ = terminal(*args, "--ops", "mine.py")
        if "--json" in args and out:
            json.loads(out)
    terminal("certify", "mine.py")
    for name in [name for name in sys.modules if name.startswith("tinygraph_ops.")]:
        del sys.modules[name]


def test_help_and_doctor_are_clean(terminal):
    for args in (["doctor"], ["--help"], *([command, "--help"] for command in main.commands)):
        assert terminal(*args)[0] == 0


# ---- messages


def test_every_error_has_a_short_message_without_control_characters():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, tg.TinygraphError)]
    assert len(kinds) > 10
    for kind, text in itertools.product(kinds, (EVIL, EVIL * 10**4, LONG, "b " * 10**5, "\x1b" * 10**6)):
        message = str(kind(f"begin {text} end"))
        assert_clean(message, 500)
        assert message.removeprefix("model: ").startswith("begin ")
        assert message.endswith(" end")


def test_a_message_that_is_short_stays_as_it_is():
    text = "matmul: x (2, 3) and y (4, 5) do not fit; write x.T @ y, größer, 日本語, 👩‍💻"
    assert str(tg.ShapeError(text)) == text
    assert tg.ShapeError(text).args == (text,)
    assert tg.DataError(3).args == (3,)
    assert str(tg.DataError()) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names of files")
def test_a_message_is_one_line_whatever_it_quotes(tmp_path):
    assert str(tg.DTypeError("found [[1 2]\n  [3 4]]; a\n\nb")) == "found [[1 2] [3 4]]; a b"
    path = tmp_path / "net\nerror: all is lost\n.toml"
    path.write_text(net().replace("x @ W", "x @ V"))
    with pytest.raises(tg.ModelError) as caught:
        tg.load_model(path)
    assert len(str(caught.value).splitlines()) == 2
    assert str(caught.value).splitlines()[1] == "    z = x @ V  #"


def test_a_long_word_is_cut_before_what_is_said_about_it():
    message = shortened(f"'{LONG}' is not defined; did you mean '{LONG}'?")
    assert message.startswith("'aaaa")
    assert message.endswith("aaaa'?")
    assert " is not defined; did you mean 'aaaa" in message


def test_the_excerpt_of_a_long_equation_holds_the_place_of_the_mistake():
    terms = [f"x{'' if i % 2 else ' '}*{i}" for i in range(100)]
    for place in (0, 1, 50, 98, 99):
        text = "a = " + " + ".join([*terms[:place], "oops", *terms[place:]])
        with pytest.raises(tg.ModelError) as caught:
            tg.Model({"x": [4]}, {}, f"\n    {text}\n", "a")
        error = caught.value
        assert error.column == 5 + text.index("oops")
        assert "oops" in error.equation
        assert error.equation.replace("… ", "").replace(" …", "") in text
        assert len(str(error)) < 250


def test_an_excerpt_of_a_short_line_is_the_line():
    assert excerpt("a = b", 4) == "a = b"
    assert excerpt("", 3) == ""


@pytest.mark.parametrize("text", ["plain", "Ω = λ·x", "a\tb\nc", "\u200c\u200d 👩‍💻", "日本\u3000語"])
def test_text_that_controls_nothing_is_printed_as_it_is(text):
    assert printable(text) == text


def test_errors_can_be_copied_and_sent_to_another_process():
    with pytest.raises(tg.ModelError) as caught:
        tg.Model({"x": [4]}, {}, "h = x * 2\na = h + oops", "a")
    for error in (caught.value, NotFiniteError("the loss is NaN", moving=True), tg.ShapeError("x (2,)")):
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(twin), str(twin)) == (type(error), str(error))
            assert vars(twin) == {**vars(error), **({"recorded": None} if "recorded" in vars(error) else {})}
    assert pickle.loads(pickle.dumps(caught.value)).column == caught.value.column
