"""Random graphs: a plan gives what plain evaluation gives, in whatever way operations are combined."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import agree, random_graphs

import tinygraph as tg

quickly = settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


@quickly
@given(random_graphs, st.sampled_from([1, 2]))
def test_random_graphs_agree_with_plain_evaluation(case, threads):
    expected = tg.run(case.outputs, case.feeds)
    plan = tg.compile(case.outputs, case.batch_size, threads)
    agree(plan(case.feeds), expected, float64=1e-9)


@quickly
@given(random_graphs, st.sampled_from([1, 2]))
def test_random_graphs_give_the_same_bits_whatever_ran_in_between(case, threads):
    plan = tg.compile(case.outputs, case.batch_size, threads)
    first = plan(case.feeds)
    kept = [x.copy() for x in first]
    plan({name: -2 * x for name, x in case.feeds.items()})
    for x, y, z in zip(first, kept, plan(case.feeds), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(x, z)


def test_random_graphs_hold_all_kinds_of_operations():
    """What the other tests of this file rest on."""
    seen = set()

    @settings(derandomize=True, database=None, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
    @given(random_graphs)
    def look(case):
        seen.update(node.op.name for node in tg.Graph(case.outputs).nodes if node.op is not None)

    look()
    wanted = {
        "matmul",
        "conv2d",
        "max_pool2d",
        "avg_pool2d",
        "softmax",
        "concatenate",
        "getitem",
        "transpose",
        "sum_to",
        "max_unpool2d",
        "conv2d_kernel_gradient",
    }
    missing = wanted - seen
    if missing:
        pytest.fail(f"never seen: {missing}")
