"""Threads and processes: plans run after a fork, and import nothing on threads of their own."""

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.tools.agreement import ballast
from tinygraph.engines.plan import threads as plan_threads
from tinygraph.engines.plan.threads import Held, run_all
from tinygraph.locks import Lock, Recent, Renewed

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(work, seconds=20):
    """Run ``work`` in a process that is forked off; return whether it ended well and in time."""
    process = os.fork()
    if not process:
        ended = 1
        try:
            ended = 0 if work() else 2
        finally:
            os._exit(ended)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return False


@pytest.fixture
def held(registry):
    """A plan that runs in another thread, and stays in the middle of its run until the test has ended."""
    begun, over = threading.Event(), threading.Event()

    @tg.op(elementwise=True)
    def paused(x):
        if threading.current_thread().name == "other":
            begun.set()
            over.wait(60)
        return x + 1

    x = tg.input("x", (4,), "float64")
    plan = tg.compile(paused(x) * 2)
    other = threading.Thread(target=plan, args=({"x": np.zeros(4)},), name="other")
    other.start()
    assert begun.wait(20)
    yield plan
    over.set()
    other.join()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_plan_that_another_thread_runs_can_be_run_after_a_fork(held):
    feeds = {"x": np.arange(4.0)}
    assert in_child(lambda: np.array_equal(held(feeds)[0], [2, 4, 6, 8]))


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_can_be_used_after_a_fork(held):
    weight, feeds = ballast(66)
    plan = tg.compile(weight, 66, 2)
    expected = plan(feeds)[0]
    assert plan.schedule.threads == 2
    assert in_child(lambda: np.array_equal(plan(feeds)[0], expected))
    np.testing.assert_array_equal(plan(feeds)[0], expected)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_state_that_another_thread_holds_is_given_back_after_a_fork():
    given_back = []
    state = Held(lambda: 3, lambda found: None, given_back.append)
    entered, over = threading.Event(), threading.Event()

    def hold():
        with state():
            entered.set()
            over.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    assert entered.wait(20)
    assert in_child(lambda: given_back == [3])
    with state():
        assert in_child(lambda: given_back == [])
    assert given_back == []
    over.set()
    other.join()
    assert given_back == [3]


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_a_lock_is_free_after_a_fork(kind):
    lock, entered, over = Lock(kind), threading.Event(), threading.Event()

    def hold():
        with lock.own:
            entered.set()
            over.wait(60)

    def can_be_taken():
        with lock.own:
            return True

    other = threading.Thread(target=hold)
    other.start()
    assert entered.wait(20)
    assert in_child(can_be_taken)
    over.set()
    other.join()
    with lock.own:
        assert in_child(can_be_taken)


def test_every_lock_of_the_package_outlives_a_fork():
    """``threading`` makes none but in the file that renews them."""
    files = [path for path in Path(tg.__file__).parent.rglob("*.py") if path.name != "locks.py"]
    assert files
    made = re.compile(r"threading\.(R?Lock|Condition|Semaphore|BoundedSemaphore)\(\)")
    assert [path.name for path in files if made.search(path.read_text(encoding="utf-8"))] == []


def test_what_is_renewed_does_not_live_longer_for_it():
    before = len(Renewed._living)
    plan = tg.compile(tg.relu(tg.input("x", (2,))))
    assert len(Renewed._living) > before
    del plan
    assert len(Renewed._living) == before


IMPORTING = """
import sys, threading, time
import numpy as np
import tinygraph as tg

class Spy:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            print("imported on a thread:", name)

@tg.op(elementwise=True)
def late(x):
    if x.size > 1:  # not when its shape is learnt
        time.sleep(0.2 if threading.current_thread() is threading.main_thread() else 0)
        import colorsys
    return x + 1

x = tg.input("x", (256, 5000))
plan = tg.compile(late(tg.relu(x)) * 2, 256, 2)
sys.meta_path.insert(0, Spy())
plan({"x": np.zeros((256, 5000), np.float32)})
print(plan.schedule.threads, "colorsys" in sys.modules)
"""


def test_nothing_is_imported_on_threads_of_the_plan():
    found = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == "2 True\n"


def test_all_jobs_have_ended_when_one_is_interrupted():
    ended = []

    def interrupted():
        raise KeyboardInterrupt

    def slow():
        time.sleep(0.2)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt):
        run_all([interrupted, slow, slow])
    assert ended == [1, 1]


def test_ctrl_c_while_jobs_are_waited_for(monkeypatch):
    waits = []

    def wait(futures):
        waits.append(1)
        if len(waits) == 1:
            raise KeyboardInterrupt
        for future in futures:
            future.result()

    monkeypatch.setattr(plan_threads, "wait", wait)
    ended = []
    with pytest.raises(KeyboardInterrupt):
        run_all([lambda: None, lambda: (time.sleep(0.2), ended.append(1))])
    assert ended == [1]
    assert len(waits) == 2


class Interrupted:
    """Raise KeyboardInterrupt when a number of functions of the package have begun, as a signal may there."""

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        if event == "call" and frame.f_code.co_filename.endswith(("plan/threads.py", "contextlib.py")):
            self.left -= 1
            if self.left < 0:
                sys.setprofile(None)
                raise KeyboardInterrupt


def test_nothing_is_held_after_an_interruption():
    done, before = [], sys.getprofile()
    state = Held(lambda: done.append("look"), lambda _: done.append("take"), lambda _: done.append("give back"))
    for at in itertools.count():
        done.clear()
        try:
            sys.setprofile(Interrupted(at))
            with state():
                pass
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
        finally:
            sys.setprofile(before)
        assert done in ([], ["look", "take", "give back"])
        done.clear()
        with state():
            assert done == ["look", "take"]
        assert done == ["look", "take", "give back"]
        if not interrupted:
            break
    assert at > 6


def test_programs_of_many_sizes_may_be_asked_for_by_several_threads():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        recent = Recent(4, always=1)

        def ask(seed):
            keys = np.random.default_rng(seed).integers(1, 9, 3000).tolist()
            return all(recent.of(key, lambda key=key: [key]) == [key] for key in keys)

        recent.of(1, lambda: [1])
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, range(4)))
    finally:
        sys.setswitchinterval(before)
    assert len(recent) == 4
    assert 1 in recent


def test_libraries_that_are_loaded_after_the_first_run_have_one_thread_too():
    pytest.importorskip("scipy")
    program = """if True:
        import numpy as np, threadpoolctl, tinygraph as tg

        seen = []

        class Spy(tg.Op):
            def shape(self, x):
                return x.shape

            def forward(self, x):
                seen.append([each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"])
                return x + 1

        plan = tg.compile(Spy()(tg.input("x", (2,))))
        plan({"x": np.ones(2)})
        import scipy.linalg
        with threadpoolctl.threadpool_limits(2, "blas"):
            plan({"x": np.ones(2)})
        print(*map(set, seen))
    """
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found == "{1} {1}\n"


NESTED = """if True:
    from dataclasses import dataclass
    import numpy as np, tinygraph as tg
    from tests.tools.agreement import ballast

    def plan_of(op, count=66):
        x = tg.input("x", (count, 4), "float64")
        weight, feeds = ballast(count)
        plan = tg.compile([op(x), weight], count, 2)
        assert plan.schedule.threads == 2
        return lambda x: plan(feeds | {"x": x})[0]

    @dataclass(frozen=True)
    class Calling(tg.Op):
        def shape(self, x):
            return x.shape

        def batch(self, use):
            return use.elementwise()

        def forward(self, x):
            return INNER[len(x) % len(INNER)](np.resize(x, (66, 4)))[: len(x)]

    for several in (1, 2):
        INNER = [plan_of(tg.tanh) for _ in range(several)]
        outer, x = plan_of(Calling(), 67), np.random.default_rng(0).normal(size=(67, 4))
        for _ in range(20):
            np.testing.assert_allclose(outer(x), np.tanh(x), rtol=1e-12)
"""


def test_tiles_on_threads_may_call_plans_that_use_threads_too():
    subprocess.run([sys.executable, "-c", NESTED], cwd=Path(__file__).parents[3], timeout=60, check=True)


def test_an_error_on_any_thread_is_raised_when_all_that_began_have_ended():
    for failing in range(3):
        began, ended = [], []

        def job(number, failing=failing, began=began, ended=ended):
            began.append(number)
            time.sleep(0.01)
            ended.append(number)
            if number == failing:
                raise ValueError(number)

        with pytest.raises(ValueError, match=str(failing)):
            run_all([partial(job, number) for number in range(3)])
        assert began
        assert sorted(began) == sorted(ended)
