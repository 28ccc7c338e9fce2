"""What tests share."""

import signal

import pytest

from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS, load_operations

load_operations()


@pytest.fixture
def registry():
    """The table of operations, put back afterwards as it was."""
    operations, functions = dict(OPERATIONS), dict(NUMPY_FUNCTIONS)
    yield OPERATIONS
    for table, kept in ((OPERATIONS, operations), (NUMPY_FUNCTIONS, functions)):
        table.clear()
        table.update(kept)


@pytest.fixture
def interruptible():
    """Let signals interrupt this process and those that it starts; in the background of a shell some are ignored."""
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *signals)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in signals:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def ends():
    """Fail a test that computes for a minute: what it tries ends soon, or never.

    The minute is the process's own, so a busy machine changes nothing. Without such a timer, the test would not end.
    """

    def stop(signum, frame):
        pytest.fail("a minute of computing, and no end")

    if not hasattr(signal, "SIGVTALRM"):
        yield
        return
    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, 60)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)
