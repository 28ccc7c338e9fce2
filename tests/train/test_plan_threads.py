"""Training by a plan on threads: copies, the same bits, BLAS and memory."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import tinygraph as tg
from tests.tools.agreement import agree, ballast, feeds_for, in_float64
from tests.tools.training import assert_agree, assert_same, samples, values
from tinygraph.model import load_model
from tinygraph.train import SGD

# ---- Copies


def used():
    """A model that has compiled plans of every kind."""
    model = in_float64("notes_cnn")
    step = model.compile_step(SGD(0.1), 8)
    step(feeds_for(model, 8))
    model.predict(feeds_for(model, 9)["Inp"])
    tg.compile(model, 4)(feeds_for(model, 4))
    return model, step


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_with_plans_is_copied(how):
    model, step = used()
    twin = how(model)
    before, x = values(model), feeds_for(model, 9, seed=3)["Inp"]
    agree((twin.predict(x),), (model.predict(x),))
    twin.compile_step(SGD(0.1), 8)(feeds_for(model, 8))
    assert_same(values(model), before)
    step(feeds_for(model, 8))
    assert_agree(values(twin), values(model))


# ---- Threads: how many, the same bits, several at once


def test_number_of_threads_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "3")
    assert tg.compile(in_float64("notes_cnn_28"), 100).threads == tg.compile(in_float64("notes_cnn_28"), 100, 3).threads
    monkeypatch.setenv("TINYGRAPH_THREADS", "1")
    assert tg.compile(in_float64("notes_cnn_28"), 100).threads == 1
    assert load_model("xor").compile_step(SGD(0.1), 4).threads == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="how many CPUs are usable is asked of Linux")
def test_number_of_threads_is_otherwise_that_of_the_usable_cpus(monkeypatch):
    monkeypatch.delenv("TINYGRAPH_THREADS", raising=False)
    usable = len(os.sched_getaffinity(0))
    model = load_model("notes_cnn_28")
    assert tg.compile(model, 400).threads == tg.compile(model, 400, usable).threads


def test_number_of_threads_given_counts_more_than_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "2")
    assert tg.compile(load_model("notes_cnn_28"), 100, threads=1).threads == 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "", " ", "1.5", "2 threads"])
def test_wrong_number_of_threads_in_the_environment_is_named(value, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", value)
    model = load_model("xor")
    for call in (
        lambda: tg.compile(model, 4),
        lambda: model.compile_step(SGD(0.1), 4),
        lambda: tg.fit(model, "xor", epochs=1),
        lambda: model.predict([[0.0, 1.0]]),
    ):
        with pytest.raises(tg.AttributeValueError, match="TINYGRAPH_THREADS"):
            call()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_threads_computes_the_same_but_for_rounding(threads):
    model = in_float64("notes_cnn_28")
    feeds = feeds_for(model, 50)
    agree(tg.compile(model, 50, threads)(feeds), tg.run(model.graph(50), feeds))


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_and_threads_give_the_same_bits(threads):
    results = []
    for _ in range(2):
        model = load_model("notes_cnn_28")
        step = model.compile_step(SGD(0.1), 120, threads)
        losses = [step(feeds_for(model, 120, seed))[1] for seed in range(4)]
        results.append((losses, values(model)))
    assert results[0][0] == results[1][0]
    assert_same(results[0][1], results[1][1])


def test_bits_do_not_depend_on_what_else_the_machine_does():
    model = load_model("notes_cnn_28")
    recording = model.record(120)
    graph = tg.Graph([recording.loss, *tg.grad(recording.loss, list(model.parameters.values()))])
    plan, feeds = tg.compile(graph, 120, 2), feeds_for(model, 120)
    expected = plan(feeds)
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            np.ones((200, 200)) @ np.ones((200, 200))

    others = [threading.Thread(target=busy) for _ in range(3)]
    for other in others:
        other.start()
    try:
        results = [plan(feeds) for _ in range(20)]
    finally:
        stop.set()
    for other in others:
        other.join()
    for result in results:
        for x, wanted in zip(result, expected, strict=True):
            np.testing.assert_array_equal(x, wanted)


def test_fit_gives_the_same_bits_again(monkeypatch):
    monkeypatch.setenv("TINYGRAPH_THREADS", "2")
    runs = []
    for _ in range(2):
        model = load_model("notes_cnn")
        runs.append((tg.fit(model, epochs=1, seed=3, batch_size=128).rows, values(model)))
    assert runs[0][0] == runs[1][0]
    assert_same(runs[0][1], runs[1][1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "batch"), [("xor", 4), ("notes_cnn_28", 60)])
def test_one_plan_is_called_from_several_threads_at_once(name, batch, threads):
    model = load_model(name)
    plan = tg.compile(model, batch, threads)
    calls = [feeds_for(model, count, seed) for seed, count in enumerate((batch, batch, batch - 1, batch))]
    expected = [plan(feeds) for feeds in calls]

    def many(turn):
        for _ in range(10 if batch > 10 else 200):
            for x, wanted in zip(plan(calls[turn]), expected[turn], strict=True):
                np.testing.assert_array_equal(x, wanted)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, range(4)))


def test_two_models_are_trained_from_two_threads_at_once():
    def train(seed):
        model = load_model("notes_cnn")
        step = model.compile_step(SGD(0.05), 100, threads=2)
        for turn in range(40):
            step(feeds_for(model, 100, seed + turn % 3))
        return values(model)

    expected = [train(seed) for seed in (0, 10)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(train, (0, 10)))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_predictions_of_one_model_from_several_threads_at_once():
    model = in_float64("notes_cnn")
    x = feeds_for(model, 40)["Inp"]
    expected = model.predict(x, compiled=False)

    def predict(count):
        return [model.predict(x[:count], batch_size=7) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for count, results in zip((40, 13, 1, 22), pool.map(predict, (40, 13, 1, 22)), strict=True):
            for result in results:
                agree((result,), (expected[:count],))


def test_a_plan_called_while_another_one_runs():
    """Inside an operation of the user's own, which evaluates another graph."""
    inner_x = tg.input("x", (66, 4), "float64")
    inner = tg.compile([tg.tanh(inner_x)], 66, 2)

    @dataclass(frozen=True)
    class Nested(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            return inner({"x": x})[0]

    x = tg.input("x", (66, 4), "float64")
    weight, fed = ballast(66)
    feeds = fed | {"x": samples(88)[0].reshape(66, 4)}
    found = tg.compile([Nested()(x * 2), weight], 66, 2)(feeds)
    np.testing.assert_allclose(found[0], np.tanh(2 * feeds["x"]), rtol=1e-12)


# ---- BLAS is held to one thread while a plan runs


@pytest.fixture
def blas():
    """Two threads for BLAS, and a function that tells how many it may use now."""

    def limits():
        return {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, "blas"):
        if limits() != {2}:
            pytest.skip("this BLAS has no threads to hold")
        yield limits


def spying(look):
    """An operation that looks around while it computes."""

    @dataclass(frozen=True)
    class Spy(tg.Op):
        def shape(self, x):
            return x.shape

        def forward(self, x):
            look(x)
            return x + 1

    return Spy()


def spied(look, batch=66):
    """A plan of a graph with such an operation, for a batch that is cut into tiles."""
    x = tg.input("x", (batch, 4), "float64")
    weight, fed = ballast(batch)
    plan = tg.compile([spying(look)(tg.tanh(x)), weight], batch, 2)
    return lambda value: plan(fed | {"x": np.full((batch, 4), value)})


def test_blas_has_one_thread_while_a_plan_runs_and_its_own_again_after(blas):
    seen = []
    spied(lambda x: seen.append(blas()))(1.0)
    assert seen
    assert all(limits == {1} for limits in seen), seen
    assert blas() == {2}


def test_blas_has_its_threads_again_after_a_step(blas):
    load_model("notes_cnn").compile_step(SGD(0.1), 100, 2)(feeds_for(load_model("notes_cnn"), 100))
    assert blas() == {2}


def test_blas_has_its_threads_again_after_a_plan_that_fails(blas):
    def fail(x):
        if x.max() > 0.5:
            raise ValueError("no")

    plan = spied(fail)
    with pytest.raises(tg.OperationError):
        plan(1.0)
    assert blas() == {2}
    plan(0.1)
    assert blas() == {2}


def test_blas_has_its_threads_again_when_two_plans_overlap(blas):
    """The first to begin is the first to end, so each restoring what it found would leave one thread."""
    first_runs, second_runs, first_is_done, seen = threading.Event(), threading.Event(), threading.Event(), []

    def first(x):
        first_runs.set()
        second_runs.wait(2)

    def second(x):
        second_runs.set()
        first_is_done.wait(2)
        seen.append(blas())

    plans = [spied(first), spied(second)]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(plans[0], 1.0)
        first_runs.wait(2)
        other = pool.submit(plans[1], 1.0)
        one.result(10)
        first_is_done.set()
        other.result(10)
    assert all(limits == {1} for limits in seen), seen
    assert blas() == {2}


# ---- Memory


GROWTH = """
import json, resource, sys
import numpy as np
import tinygraph as tg
from tests.tools.agreement import feeds_for

name, batch, warm, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
model = tg.load_model(name)
step, plan = model.compile_step(tg.SGD(0.01), batch, threads), tg.compile(model, batch, threads)
calls = [feeds_for(model, batch, seed) for seed in range(4)]

def go(count):
    for i in range(count):
        step(calls[i % 4])
        if i % 10 == 0:
            plan(calls[i % 4])

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

go(warm)
before, peak = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
go(steps)
print(json.dumps([resident() - before, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("name", "batch", "steps"), [("xor", 4, 10_000), ("notes_cnn", 32, 600), ("notes_cnn_28", 64, 60)]
)
def test_steps_leave_resident_memory_flat(name, batch, steps):
    arguments = [name, batch, max(20, steps // 10), steps, 2]
    output = subprocess.run(
        [sys.executable, "-c", GROWTH, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    growth, peak = json.loads(output)
    assert growth < 1_500_000
    assert peak < 1_500_000


def test_batches_of_many_sizes_do_not_pile_up():
    model = load_model("notes_cnn_28")
    plan = tg.compile(model, 4, 1)

    def every_size(start):
        for count in range(start, start + 40):
            plan(feeds_for(model, count))

    tracemalloc.start()
    try:
        every_size(1)
        before, _ = tracemalloc.get_traced_memory()
        every_size(41)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < 4 * before + 5_000_000


def test_a_model_with_plans_is_freed():
    model, _ = used()
    freed = weakref.ref(model)
    del model, _
    gc.collect()
    assert freed() is None


def test_plans_leave_the_handling_of_floating_point_errors_alone():
    with np.errstate(over="raise", under="ignore", divide="warn", invalid="raise"):
        before = np.geterr()
        _, step = used()
        with pytest.raises(tg.TrainingError):
            step(feeds_for(load_model("notes_cnn"), 8) | {"Inp": np.full((8, 1, 8, 8), np.inf)})
        assert np.geterr() == before
