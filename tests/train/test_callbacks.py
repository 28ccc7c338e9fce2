"""Callbacks of ``fit``: several, and such as end the training."""

import pytest

import tinygraph as tg
from tests.tools.training import classification, samples
from tinygraph.train import fit


def test_several_callbacks_are_called_in_order():
    calls = []
    fit(classification(), samples(20), epochs=1, callback=[lambda p: calls.append("a"), lambda p: calls.append("b")])
    assert calls == ["a", "b"] * 2


def test_a_callback_ends_the_training_after_the_others_have_been_called():
    def stop(progress):
        if progress.row is not None and progress.epoch == 2:
            raise tg.StopTraining("that is enough")

    rows = []
    history = fit(classification(), samples(20), epochs=9, callback=[stop, lambda p: rows.append(p.row)])
    assert history.stopped == "that is enough"
    assert len(history) == 2
    assert rows[-1] == history[-1]


def test_a_training_that_ends_within_an_epoch_has_the_complete_ones():
    def stop(progress):
        if (progress.epoch, progress.step) == (2, 3):
            raise tg.StopTraining

    history = fit(classification(), samples(20), epochs=9, batch_size=5, callback=stop)
    assert (len(history), history.stopped) == (1, "a callback ended the training")
    assert fit(classification(), samples(20), epochs=1).stopped == ""


@pytest.mark.parametrize("wrong", [3, "print", [print, 3], tg.StopTraining, [tg.StopTraining]])
def test_what_is_no_function_is_refused(wrong):
    with pytest.raises(tg.TinygraphError, match="callback must be a function of one Progress; found"):
        fit(classification(), samples(4), callback=wrong)
