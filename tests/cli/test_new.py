"""``tinygraph new``."""

import re
import shlex
from pathlib import Path

import pytest

from tinygraph.model import bundled_models, load_model


@pytest.mark.parametrize("source", bundled_models())
def test_every_file_is_a_copy_that_is_checked_and_trains(run, source):
    assert run("new", "mine", "--from", source).exit_code == 0
    mine, bundled = load_model("mine.toml"), load_model(source)
    assert mine.name == "mine"
    assert str(mine) == str(bundled)
    assert mine.training == bundled.training
    text = Path("mine.toml").read_text(encoding="utf-8")
    for line in bundled_models()[source].read_text(encoding="utf-8").splitlines():
        assert line in text or line.startswith("name = ")
    for table in re.findall(r"^\[(?!blocks\.\w+\.).*", text, re.MULTILINE):
        assert re.search(rf"^# .*\n{re.escape(table)}$", text, re.MULTILINE), table
    assert max(map(len, text.splitlines())) <= 128
    if source in ("xor", "notes_cnn", "notes_cnn_norm"):
        assert run("check", "mine.toml").exit_code == 0
        assert run("train", "mine.toml", "--epochs", 1).exit_code == 0


def test_the_commands_that_it_names_run(run):
    output = run("new", "my net", "--from", "xor").stdout
    first, *commands = output.splitlines()
    assert first == "wrote my net.toml, a copy of xor with comments. Next:"
    *commands, own = [shlex.split(command)[1:] for command in commands]
    assert own == ["train", "my net.toml", "--data", "YOUR_FILE_OR_FOLDER"]
    assert [command[0] for command in commands] == ["train", "evaluate", "draw"]
    for command in commands:
        assert run(*command).exit_code == 0, command


def test_names_and_paths(run):
    Path("models").mkdir()
    for name, file in (("a", "a.toml"), ("b.toml", "b.toml"), ("models/c", "models/c.toml"), ("v1.2", "v1.2.toml")):
        assert run("new", name).stdout.startswith(f"wrote {file}, a copy of notes_cnn")
        assert load_model(file).name == Path(file).stem
    assert run("new", 'x"\n[y]').exit_code == 0
    assert load_model('x"\n[y].toml').name == "x_y"


def test_a_file_is_replaced_only_by_force(run, fails):
    Path("mine.toml").write_text("mine", encoding="utf-8")
    assert fails("new", "mine") == (
        "error: 'mine.toml' exists and is not replaced: give another name, or --force replaces it"
    )
    assert Path("mine.toml").read_text(encoding="utf-8") == "mine"
    assert run("new", "mine", "--force").exit_code == 0
    assert load_model("mine.toml").name == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["."], "it is not the name of a file; found '.'"),
        (["nets/"], "it is not the name of a file; found 'nets/'"),
        ([""], "it is empty"),
        (["nowhere/net"], "'nowhere/net.toml' cannot be written: there is no folder 'nowhere'"),
        (["net", "--from", "notes_cn"], "'notes_cn' is not one of"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_what_is_no_name(fails, arguments, message):
    assert message in fails("new", *arguments)
    assert not list(Path().rglob("*.toml"))
