"""A few mutated files of each kind; all of them are opened by ``python -m tests.fuzz``."""

import sys

import pytest

import tinygraph as tg
from tests.fuzz import worker
from tests.fuzz.fuzz import fuzz
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import DATA, seeds
from tests.tools.sweeps import part

KINDS = ["toml", "safetensors", *DATA]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process is waited for with select")


@pytest.mark.parametrize("kind", [*KINDS, "onnx"])
def test_mutated_files_load_or_are_refused(kind):
    if kind in ("onnx", "png"):
        pytest.importorskip("onnx" if kind == "onnx" else "PIL")
    total = fuzz(kind, 1, range(part(200)))
    assert not total.findings, "\n".join(total.findings)
    assert total.outcomes["loaded"] > 0
    assert total.outcomes["refused"] > part(100 if kind not in DATA or kind == "npz" else 20)


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_to_begin_with_are_valid(kind, tmp_path):
    if kind == "png":
        pytest.importorskip("PIL")
    found = [worker.opened(kind, data, tmp_path) for data in seeds(kind)]
    assert found[0] == "loaded"
    assert kind == "safetensors" or set(found) == {"loaded"}


def test_a_number_and_a_seed_are_one_file():
    assert mutated("toml", 0, 7) == mutated("toml", 0, 7)
    assert len({mutated("toml", seed, place) for seed in (0, 1) for place in range(10)}) > 10


def crash(error):
    def raised(*arguments):
        raise error

    return raised


def hidden_in_another():
    error = tg.ModelError("cannot be made")
    error.__context__ = MemoryError()
    return error


@pytest.mark.parametrize("error", [TypeError("x"), RecursionError(), MemoryError(), hidden_in_another()], ids=repr)
def test_any_other_error_is_a_finding(error, tmp_path, monkeypatch):
    monkeypatch.setattr(tg, "load_model", crash(error))
    assert worker.report("toml", 0, 0, tmp_path)["outcome"] == "crashed"


def test_a_long_message_is_a_finding(tmp_path, monkeypatch):
    class Long(tg.TinygraphError):
        def __str__(self):
            return "x" * 1000

    monkeypatch.setattr(tg, "load_model", crash(Long()))
    from tests.fuzz.fuzz import _finding

    assert "more than 700 characters" in _finding(worker.report("toml", 0, 0, tmp_path))
    assert "more than 5.0 s" in _finding({"outcome": "loaded", "seconds": 6.0, "bytes": 0, "characters": 0})
    assert "bytes" in _finding({"outcome": "loaded", "seconds": 0.0, "bytes": 10**9, "characters": 0})


def test_a_process_that_dies_or_hangs_is_a_finding_and_replaced(monkeypatch):
    from tests.fuzz import fuzz as module

    class Dying(module._Worker):
        asked = 0

        def _answer(self):
            Dying.asked += 1
            if Dying.asked == 1:
                self.process.kill()
                self.process.wait()
                return ""
            return "" if Dying.asked == 2 else super()._answer()

    monkeypatch.setattr(module, "_Worker", Dying)
    total = fuzz("npz", 0, range(3))
    assert [text.splitlines()[1].split()[0] for text in total.findings] == ["died", "hung"]
    assert "--seed 0 --only 1" in total.findings[1]
    assert sum(total.outcomes.values()) == 3
