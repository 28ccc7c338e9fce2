"""Several devices share a batch, and give what one gives."""

import json
import os
import subprocess
import sys

import pytest

import tinygraph as tg

pytest.importorskip("jax")


@pytest.fixture(scope="module")
def four():
    """What ``four_devices.py`` prints."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.engines.xla.four_devices"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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
