"""Several processes train one model: the same numbers, nothing lost when one is killed, and clear errors."""

import csv
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinygraph as tg
from tests.kills import PROGRAM
from tinygraph.engines.processes import found_place
from tinygraph.train.checkpoint import Checkpoint

pytest.importorskip("jax")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")

# Dropout and batch normalization: both look at the whole batch.
MODEL = """
name = "net"
dtype = "float64"
[inputs]
Inp = [1, 8, 8]
y = { shape = [], dtype = "int64" }
[parameters]
W1 = { shape = [64, 12], init = "he_normal" }
G = { shape = [12], init = "ones" }
B = { shape = [12], init = "zeros" }
W2 = { shape = [12, 10], init = "glorot_uniform" }
[state]
M = { shape = [12], init = "zeros", next = "running_mean(M, Z1)" }
V = { shape = [12], init = "ones", next = "running_variance(V, Z1)" }
chance = { shape = [], init = "seed", next = "chance + 1" }
[model]
equations = '''
Z1 = flatten(Inp) @ W1
C1 = relu(batch_norm(Z1, G, B, M, V))
Z2 = dropout(C1, chance, rate=0.2) @ W2
a = softmax(Z2)
cost = cross_entropy(Z2, y)
'''
output = "a"
loss = "cost"
[training]
data = "data"
epochs = 3
batch_size = 32
learning_rate = 0.1
momentum = 0.9
"""
# A process notes the samples that it reads, kills itself in an epoch of ``VICTIMS``, once, or finds the disk full.
HOOKS = """
import errno, json, os, signal
from tinygraph.train import checkpoint, lazy, loop

checkpoint.SHARE = lazy.MOST_IN_MEMORY = 0
index = json.loads(os.environ.get("TINYGRAPH_PROCESS", '{"index": -1}'))["index"]
victims = json.loads(os.environ.get("VICTIMS", "{}"))
epochs, read, samples = loop.Epochs._epoch, lazy.Lazy.__getitem__, []

def _epoch(self, epoch):
    samples.clear()
    for progress in epochs(self, epoch):
        if victims.get(str(index)) == epoch and progress.step == 2 and not os.path.exists(f"killed_{index}"):
            open(f"killed_{index}", "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        yield progress
    with open(f"read_{index}.json", "w") as file:
        json.dump(samples, file)

def _read(self, at):
    if self.shape == (83, 1, 8, 8):
        samples.extend(self.places[at].tolist())
    return read(self, at)

def full(path, *rest):
    raise checkpoint.WeightsError(f"{path}: {os.strerror(errno.ENOSPC)}")

loop.Epochs._epoch, lazy.Lazy.__getitem__ = _epoch, _read
if "FULL" in os.environ:
    checkpoint.write_arrays = full
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model with dropout and batch normalization in float64, and data whose last batch has an odd number."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "net.toml").write_text(MODEL, encoding="utf-8")
    (folder / "hooks.py").write_text(HOOKS, encoding="utf-8")
    x, y = tg.load_data("digits").train
    (folder / "data").mkdir()
    for name, array in {"x": x[:83], "y": y[:83], "x_test": x[100:130], "y_test": y[100:130]}.items():
        np.save(folder / "data" / f"{name}.npy", array)
    return folder


def command(place, *options):
    return [
        *PROGRAM,
        "train",
        "net.toml",
        "--ops",
        "hooks.py",
        *options,
    ]


# What these tests are about does not depend on how well XLA optimizes, and this takes a quarter less time.
FAST = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}


def run(place, arguments, code=0, **variables):
    """Run a command to its end, and return what it said on its two streams."""
    done = subprocess.run(arguments, cwd=place, env=FAST | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "[Gloo]" not in done.stdout
    return done.stdout, done.stderr


def train(place, out, *options, code=0, **variables):
    """Train to the end, and return what was said on the error stream."""
    return run(place, command(place, "--out", out, *options), code, **variables)[1]


def losses(folder):
    with open(folder / "history.csv", encoding="utf-8") as file:
        return np.array(
            [[float(row[name]) for name in ("loss", "accuracy", "test_loss")] for row in csv.DictReader(file)]
        )


def bits(folder):
    arrays = load_file(folder / "checkpoint.safetensors")
    return {name: array.tobytes() for name, array in arrays.items() if name != "history/seconds"}


XLA, TWO = ("--engine", "xla"), ("--engine", "xla", "--processes", "2")


@pytest.fixture(scope="module")
def two(place):
    """The folder of a training by two processes that nobody kills."""
    train(place, "two", *TWO)
    for index in (0, 1):
        (place / f"read_{index}.json").rename(place / "two" / f"read_{index}.json")
    return place / "two"


def test_each_process_reads_its_own_rows_and_all_of_a_batch_that_cannot_be_shared(two):
    first, second = ({*json.loads((two / f"read_{index}.json").read_text())} for index in (0, 1))
    last = np.random.default_rng([0, 3]).permutation(83)[64:]
    assert (first | second, first & second) == ({*range(83)}, {*last.tolist()})


def test_two_processes_give_the_losses_of_one_and_of_the_plan(place, two):
    train(place, "one", *XLA)
    train(place, "plan")
    np.testing.assert_allclose(losses(two), losses(place / "one"), rtol=1e-12)
    np.testing.assert_allclose(losses(two), losses(place / "plan"), rtol=1e-12)


def test_a_killed_process_costs_the_epoch_in_progress_and_the_rest_is_computed_on_any_layout(place, two):
    """A worker is lost and started again; then the coordinator is lost too, and no restart is left."""
    said = train(place, "killed", *TWO, "--restarts", "1", code=2, VICTIMS='{"1": 2, "0": 3}')
    assert time.time() - Path(place, "killed_0").stat().st_mtime < 15
    assert "note: process 1 of 2 was ended by SIGKILL; restart 1 of 1\n" in said
    assert "error: process 0 of 2 was ended by SIGKILL; --resume continues from the last checkpoint" in said
    for name, options in (("on_plan", ()), ("on_one", XLA)):
        (place / name).mkdir()
        (place / name / "checkpoint.safetensors").write_bytes((place / "killed/checkpoint.safetensors").read_bytes())
        train(place, name, "--resume", *options)
        np.testing.assert_allclose(losses(place / name), losses(two), rtol=1e-12)
    train(place, "killed", "--resume", *TWO)
    assert bits(place / "killed") == bits(two)


def test_a_checkpoint_of_the_plan_continues_in_two_processes_also_where_the_disk_is_full(place, two):
    train(place, "begun", "--epochs", "1")
    said = train(place, "begun", "--resume", "--epochs", "3", *TWO, FULL="1")
    assert said.count("No space left on device; the training goes on without a checkpoint") == 1
    np.testing.assert_allclose(losses(place / "begun"), losses(two), rtol=1e-12)


def epochs(place):
    """How many epochs the checkpoint of the long training has."""
    path = place / "long" / "checkpoint.safetensors"
    return len(Checkpoint.load(path).history) if path.exists() else 0


def running(place, *options):
    """Start a long training in two processes, wait for a checkpoint, and return it with its two processes."""
    before = epochs(place)
    process = subprocess.Popen(
        command(place, "--out", "long", *TWO, "--epochs", "100000", *options),
        cwd=place,
        env=FAST,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 90
    while epochs(place) <= before:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    return process, children


def gone(children):
    """Whether the processes have ended, or do so soon."""
    end = time.monotonic() + 15
    while any(Path("/proc", child).exists() for child in children):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_when_the_command_is_killed_its_processes_end_and_a_signal_keeps_what_was_learned(place):
    process, children = running(place)
    process.kill()
    process.communicate()
    assert gone(children)
    process, children = running(place, "--resume")
    process.send_signal(signal.SIGINT)
    try:
        # Other tests may keep all cores busy.
        _, said = process.communicate(timeout=180)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, said) == (128 + signal.SIGINT, b"")
    assert gone(children)
    assert (place / "long" / "weights.safetensors").exists()


def test_two_processes_evaluate_and_predict_as_one(place, two):
    """Each of them on two devices of its own."""
    found = []
    for name, options in (("plan", ()), ("two", (*TWO, "--devices", "2"))):
        weights = ("--weights", two / "weights.safetensors", *options)
        for more in (("evaluate",), ("predict", "--out", f"{name}.npz")):
            said, _ = run(place, [*PROGRAM, more[0], "net.toml", *more[1:], *weights], JAX_NUM_CPU_DEVICES="2")
            found.append(said.replace(f"{name}.npz", ""))
    assert found[:2] == found[2:]
    np.testing.assert_allclose(*(np.load(place / f"{name}.npz")["output"] for name in ("plan", "two")), rtol=1e-12)


def test_processes_that_do_not_begin_alike_say_in_what(place):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    there = [*XLA, "--coordinator", address, "--process-count", "2", "--out", "alike"]
    each = [
        subprocess.Popen(
            command(place, *there, "--process-id", str(index), "--seed", str(index)), cwd=place, stderr=subprocess.PIPE
        )
        for index in (0, 1)
    ]
    for index, process in enumerate(each):
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert b"process 1 differs from process 0 in seed; all need the same files" in said, index


def test_what_does_not_fit_is_one_clear_error(place, fails):
    assert "--processes is for --engine xla; found --engine plan" in fails("train", "xor", "--processes", 2)
    assert "--devices is for --engine xla" in fails("train", "xor", "--devices", 2)
    with_address = fails("train", "xor", "--engine", "xla", "--processes", 2, "--coordinator", "a:1")
    assert "--coordinator has no meaning with it" in with_address
    one = ("train", "xor", "--engine", "xla", "--coordinator")
    assert "missing: --process-id, --process-count" in fails(*one, "a:1")
    assert "HOST:PORT; found 'a'" in fails(*one, "a", "--process-id", 0, "--process-count", 2)
    assert "found 2" in fails(*one, "a:1", "--process-id", 2, "--process-count", 2)
    assert "need --out" in fails(*one, "a:1", "--process-id", 0, "--process-count", 2)


def test_a_port_in_use_and_a_batch_smaller_than_the_processes(place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ("--engine", "xla", "--coordinator", address, "--process-id", "0", "--process-count", "2")
        assert "cannot listen at port" in train(place, "port", *options, code=2)
    said = train(place, "small", *TWO, "--batch-size", "1", code=2)
    assert said == "error: a batch of 1 sample is not shared equally by 2 devices; one of 2 is\n"


def test_places_are_found_in_the_variables_of_slurm_and_kubernetes():
    slurm = {"SLURM_JOB_ID": "5000", "SLURM_NTASKS": "4", "SLURM_PROCID": "2"}
    for nodes, first in (("n1", "n1"), ("n1,n2", "n1"), ("n[007-010],m", "n007"), ("n[3,5]", "n3")):
        found = found_place({**slurm, "SLURM_STEP_NODELIST": nodes})
        assert (found.coordinator, found.index, found.count) == (f"{first}:{61440 + 5000 % 4096}", 2, 4)
    # One task alone is no group, and what is given comes first.
    assert found_place({**slurm, "SLURM_STEP_NODELIST": "n1", "SLURM_NTASKS": "1"}) is None
    pod = {"JOB_COMPLETION_INDEX": "3", "JAX_COORDINATOR_ADDRESS": "train-0.train:4321", "JAX_NUM_PROCESSES": "4"}
    assert (found_place(pod).index, found_place(pod, index=1).index) == (3, 1)
    assert found_place({}) is None
