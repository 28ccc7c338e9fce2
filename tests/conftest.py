"""What tests share, and how they are run: ``pytest`` alone on all cores, with samples of the long sweeps.

``TINYGRAPH_TESTS=whole pytest`` runs every case, as ``.ci/run`` does and as ``pytest PATH`` does for the tests that it names.
A number in the place of ``whole`` repeats a sample; by default it is the number of today's date.
"""

import contextlib
import datetime
import os
import random
import signal

import pytest
from _pytest.doctest import DoctestItem

from tests.tools.sweeps import SHARE
from tinygraph.graph.registry import NUMPY_FUNCTIONS, OPERATIONS, load_operations

load_operations()


# A longer list of cases is a sweep, and one case in ``SHARE`` is its sample; ``pytest.mark.sweep`` makes a short one a sweep.
LONG = 24


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Unless the command line chooses tests, use all cores (if pytest-xdist is installed) and sample the long sweeps."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    everything = config.args_source is config.ArgsSource.TESTPATHS and not config.option.keyword
    os.environ.setdefault("TINYGRAPH_TESTS", str(datetime.date.today().toordinal()) if everything else "whole")
    # pytest-cov has to know before this whether there will be workers.
    measured = bool(config.getoption("cov_source", None))
    if everything and config.pluginmanager.has_plugin("xdist") and config.option.numprocesses is None and not measured:
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"


def pytest_report_header():
    """Say how to repeat this run."""
    return f"long sweeps: TINYGRAPH_TESTS={os.environ.get('TINYGRAPH_TESTS', 'whole')}"


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Sample what is parametrized with a long list."""
    seed = os.environ.get("TINYGRAPH_TESTS", "whole")
    if seed == "whole":
        return
    parametrize = metafunc.parametrize
    longest = 1 if metafunc.definition.get_closest_marker("sweep") else LONG

    def sampled(names, values, *args, ids=None, **options):
        values = list(values)
        if len(values) > longest:
            chance = random.Random(f"{seed} {metafunc.function.__name__}")
            chosen = sorted(chance.sample(range(len(values)), max(1, len(values) // SHARE)))
            values = [values[i] for i in chosen]
            ids = [ids[i] for i in chosen] if isinstance(ids, list | tuple) else ids
        parametrize(names, values, *args, ids=ids, **options)

    metafunc.parametrize = sampled


@contextlib.contextmanager
def operations_put_back():
    """Put the table of operations back afterwards as it was."""
    operations, functions = dict(OPERATIONS), dict(NUMPY_FUNCTIONS)
    yield
    for table, kept in ((OPERATIONS, operations), (NUMPY_FUNCTIONS, functions)):
        table.clear()
        table.update(kept)


@pytest.fixture
def registry():
    """The table of operations, put back afterwards as it was."""
    with operations_put_back():
        yield OPERATIONS


class Examples:
    """The operations that an example in a docstring registers are forgotten after it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        with operations_put_back() if isinstance(item, DoctestItem) else contextlib.nullcontext():
            return (yield)


def pytest_configure(config):
    """Register what acts on the examples of the package too, which are outside this folder."""
    config.pluginmanager.register(Examples())


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
