"""Progress of ``fit``: one line that is updated where somebody looks, and nothing anywhere else."""

import io
import sys
from types import SimpleNamespace

import pytest

import tinygraph as tg
from tinygraph.train.history import Row
from tinygraph.train.progress import Progress, ProgressLine, line, loss_text


class Stream(io.StringIO):
    """A stream that may be a terminal, and may be lost."""

    def __init__(self, terminal=True, lost=False):
        super().__init__()
        self.terminal, self.lost = terminal, lost

    def isatty(self):
        return self.terminal

    def write(self, text):
        if self.lost:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)

    def shown(self):
        """What a reader sees: of each line what was written last."""
        return [text.split("\r")[-1].rstrip() for text in self.getvalue().split("\n")]


def fit(monkeypatch, epochs=3, **options):
    """Train with two streams that are recorded, and return them."""
    out, err = Stream(options.pop("out_is_terminal", True)), options.pop("err", None) or Stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr("tinygraph.train.progress.INTERVAL", -1)
    tg.fit(tg.load_model("xor"), epochs=epochs, **options)
    return out, err


def test_a_terminal_gets_one_line_on_the_error_stream(monkeypatch):
    out, err = fit(monkeypatch)
    assert out.getvalue() == ""
    assert "epoch 1/3, step 1/1   loss" in err.getvalue()
    assert [text[:20] for text in err.shown()] == ["epoch 3/3   loss 0.6", ""]
    assert err.shown()[0].endswith(" s")
    assert "\x1b" not in err.getvalue()


def test_a_pipe_gets_nothing(monkeypatch):
    out, err = fit(monkeypatch, err=Stream(terminal=False))
    assert out.getvalue() + err.getvalue() == ""


@pytest.mark.parametrize(("wanted", "terminal", "lines"), [(False, True, 1), (True, False, 2)])
def test_progress_can_be_switched_on_and_off(monkeypatch, wanted, terminal, lines):
    _, err = fit(monkeypatch, err=Stream(terminal), progress=wanted)
    assert len(err.shown()) == lines


def test_a_notebook_gets_the_line_on_standard_output(monkeypatch):
    """Notebooks show the error stream in red."""
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    out, err = fit(monkeypatch, out_is_terminal=False, err=Stream(terminal=False))
    assert len(out.shown()) == 2
    assert err.getvalue() == ""


def test_no_stream_or_a_lost_one_does_not_end_a_training(monkeypatch):
    fit(monkeypatch, err=Stream(lost=True))
    monkeypatch.setattr(sys, "stderr", None)
    assert len(tg.fit(tg.load_model("xor"), epochs=2)) == 2


def test_the_line_ends_where_training_ends_early(monkeypatch):
    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    err = Stream()
    with pytest.raises(tg.TrainingInterrupted):
        fit(monkeypatch, err=err, callback=stop)
    assert err.shown()[0].startswith("epoch 2/3, step 1/1")
    assert err.shown()[1:] == [""]


def test_the_line_is_not_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    _, err = fit(monkeypatch)
    assert max(map(len, err.shown())) == 19


def test_anything_but_yes_no_or_automatic_is_refused():
    with pytest.raises(tg.TinygraphError, match="progress is True, False, or None for automatic; found 'yes'"):
        tg.fit(tg.load_model("xor"), progress="yes")


def test_a_long_training_keeps_about_twenty_lines():
    stream = Stream()
    show = ProgressLine(stream, every_epoch=True)
    for epoch in range(1, 101):
        show(Progress(epoch, 100, 1, 1, 0.5, None, Row(epoch, 0.5, None, None, None, 1.0)))
    lines = [text for text in stream.shown() if "step" not in text and text]
    assert [int(text[6:9]) for text in lines] == [1, *range(5, 101, 5)]


def test_time_left_is_in_seconds_or_minutes(monkeypatch):
    clock = iter([0.0, 10.0, 100.0])
    monkeypatch.setattr("tinygraph.train.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    stream = Stream()
    show = ProgressLine(stream)
    show(Progress(1, 2, 1, 2, 0.5, 0.25))
    show(Progress(1, 20, 1, 2, 0.5, 0.25))
    assert stream.getvalue().split("\r") == [
        "epoch 1/2, step 1/2   loss 0.5000   accuracy 0.2500   30 s left",
        "epoch 1/20, step 1/2   loss 0.5000   accuracy 0.2500   65 min left",
    ]


def test_the_time_left_does_not_count_epochs_from_before(monkeypatch):
    clock = iter([0.0, 0.0, 10.0])
    monkeypatch.setattr("tinygraph.train.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    stream = Stream()
    show = ProgressLine(stream)
    show(Progress(6, 10, 2, 2, 0.5, None, Row(6, 0.5, None, None, None, 1.0)))
    show(Progress(7, 10, 2, 2, 0.5, None))
    assert [text[-11:] for text in stream.getvalue().split("\r")] == ["   0 s left", "  30 s left"]


def test_lines_of_epochs_fit_into_80_columns():
    assert line(Progress(3, 10, 1, 1, 0.5, None, Row(3, 0.5, None, None, None, 1.234))) == "epoch  3/10   loss 0.5000"
    for loss in (0.5, 99.99, 9999.99, 1.234e30, float("nan")):
        assert len(line(Progress(1, 9_999, 1, 1, loss, 0.5, Row(1, loss, 0.5, loss, 0.5, 1.0)))) <= 79
    assert loss_text(1e30) == "1e+30"
