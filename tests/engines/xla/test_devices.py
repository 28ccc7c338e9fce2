"""Several devices share a batch, and give what one gives."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg

pytest.importorskip("jax")
from tests.engines.xla.layouts import losses_of
from tests.engines.xla.models import NAMES


def started(devices, *arguments):
    """Start a module on so many devices of its own."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def printed(process):
    """Return what a process that ends well has printed last."""
    said, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    return json.loads(said.splitlines()[-1])


@pytest.fixture(scope="module")
def four():
    """What ``four_devices.py`` prints."""
    return printed(started(4, "tests.engines.xla.four_devices"))


@pytest.mark.sweep
@pytest.mark.parametrize("layout", ["one device", "four devices", "two processes"])
def test_every_model_has_the_losses_of_the_plan_over_fifty_steps_and_the_same_bits_again(layout):
    script = "tests.engines.xla.layouts"
    if layout == "two processes":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        both = [started(1, script, address, str(index), "2") for index in (0, 1)]
        found, other = map(printed, both)
        assert found == other
    else:
        found = printed(started(4 if layout == "four devices" else 1, script))
    for name in NAMES:
        losses, again = found[name]
        assert again, name
        np.testing.assert_allclose(losses, losses_of(name)[0], rtol=1e-12, err_msg=name)


def test_losses_and_parameters_are_those_of_the_plan_also_for_a_batch_that_does_not_divide(four):
    """With batch normalization and dropout, which are those of the whole batch."""
    losses, moved = four["difference"]
    assert losses < 1e-12
    assert moved < 1e-11


def test_a_repeated_training_gives_the_same_bits(four):
    assert four["repeated"]


def test_masks_of_dropout_are_those_of_numpy(four):
    assert four["masks"]


def test_a_users_operations_on_the_host_get_the_samples_of_each_device(four):
    assert four["user"]["losses"] < 1e-12
    assert four["user"]["gathers"] == 0


def test_each_device_does_its_part_and_gradients_are_added_up_at_once(four):
    assert four["part"] <= 0.27
    # One for all gradients, and two for the smallest and the largest label.
    assert four["messages"] == {"all-reduce": 3} or four["messages"] == {"all-reduce": 1}


def test_there_must_be_as_many_devices_as_are_asked_for():
    with pytest.raises(tg.TinygraphError, match=r"devices=5000 are asked for, and XLA finds \d+ device"):
        tg.load_model("xor").compile_step("sgd", 4, engine="xla", devices=5000)
    with pytest.raises(tg.AttributeValueError, match="devices"):
        tg.load_model("xor").compile_step("sgd", 4, engine="xla", devices=0)
