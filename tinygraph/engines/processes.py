"""The processes that compute together on XLA: how they find each other, and what they tell each other.

They run the same program with the same seed, so they agree on every batch. Each reads and feeds its own rows of it, XLA adds
up over all devices, and process 0 alone writes files.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.errors import TinygraphError, TrainingError, counted
from tinygraph.graph import Array

# In seconds: when a process that is silent counts as dead, and how long all wait for the last one to start.
HEARTBEAT, START = 10, 300
# The exit code of a process that lost the connection to the others.
LOST = 75


@dataclass(frozen=True)
class Place:
    """The place of a process among ``count``: its number ``index``, and the address ``HOST:PORT`` of process 0.

    ``devices`` are the numbers of the machine's accelerators that it uses, all if ``None``; ``log`` is a file for what
    libraries print. Processes that ``local`` says were started together wait for each other less long.

    >>> found_place({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "gpu[04-07]"})
    Place(coordinator='gpu04:61447', index=3, count=8, devices=None, local=False, log='')
    """

    coordinator: str
    index: int
    count: int
    devices: tuple[int, ...] | None = None
    local: bool = False
    log: str = ""

    def join(self) -> None:
        """Connect to the other processes. Raises ``TinygraphError`` if the port is in use or nobody answers there."""
        import jax

        host, _, port = self.coordinator.rpartition(":")
        wait = START // 5 if self.local else START
        if self.index:
            _wait_for(host, int(port), wait)
        else:
            _check_port(int(port))
        # It would take SIGTERM, with which this program keeps what was learned.
        jax.config.update("jax_enable_preemption_service", False)
        jax.distributed.initialize(
            self.coordinator,
            self.count,
            self.index,
            local_device_ids=self.devices,
            # SLURM gives each task its device; elsewhere a process has all that it sees.
            cluster_detection_method=None if "SLURM_PROCID" in os.environ and not self.local else "deactivate",
            initialization_timeout=wait,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=START,
            coordinator_bind_address=self.coordinator if self.local else None,
        )
        from tinygraph.engines.xla import Devices

        found, wanted = len(Devices(local=True).all), len(self.devices or ())
        if found < wanted:
            hint = f"; JAX_NUM_CPU_DEVICES={wanted} divides a CPU" if jax.default_backend() == "cpu" else ""
            raise TinygraphError(f"process {self.index} has {counted(found, 'device')}, and is to use {wanted}{hint}")


def found_place(
    variables: Mapping[str, str], coordinator: str | None = None, index: int | None = None, count: int | None = None
) -> Place | None:
    """Return the place that arguments name; what is not given is taken from the variables of SLURM, Kubernetes or JAX.

    Those are ``SLURM_PROCID``, ``SLURM_NTASKS`` and ``SLURM_STEP_NODELIST``, Kubernetes' ``JOB_COMPLETION_INDEX`` of an indexed
    job, and ``JAX_COORDINATOR_ADDRESS``, ``JAX_PROCESS_ID`` and ``JAX_NUM_PROCESSES``. ``None`` if nothing names several
    processes.

    >>> found_place({"JAX_COORDINATOR_ADDRESS": "host:1234", "JOB_COMPLETION_INDEX": "1"}, count=2).index
    1
    """
    if "SLURM_STEP_NODELIST" in variables and int(variables.get("SLURM_NTASKS", 1)) > 1:
        first = re.match(r"([^,\[]+)(?:\[(\d+))?", variables["SLURM_STEP_NODELIST"])
        # The port that ``jax.distributed`` derives from the job.
        port = 61440 + int(variables.get("SLURM_JOB_ID", 0)) % 4096
        coordinator = coordinator or f"{''.join(filter(None, first.groups() if first else ()))}:{port}"
    coordinator = coordinator or variables.get("JAX_COORDINATOR_ADDRESS")
    if coordinator is None and index is None and count is None:
        return None

    def number(given: int | None, *names: str) -> int | None:
        found = next((variables[name] for name in names if variables.get(name, "").isdecimal()), None)
        return given if given is not None or found is None else int(found)

    index = number(index, "SLURM_PROCID", "JAX_PROCESS_ID", "JOB_COMPLETION_INDEX")
    count = number(count, "SLURM_NTASKS", "JAX_NUM_PROCESSES")
    options = {"--coordinator": coordinator, "--process-id": index, "--process-count": count}
    missing = [name for name, value in options.items() if value is None]
    if coordinator is None or index is None or count is None:
        raise TinygraphError(
            f"several processes need --coordinator, --process-id and --process-count; missing: {', '.join(missing)}"
        )
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise TinygraphError(f"--coordinator is the address of process 0, HOST:PORT; found {coordinator!r}")
    if not 0 <= index < count:
        raise TinygraphError(f"--process-id counts from 0 to --process-count - 1 = {count - 1}; found {index}")
    return Place(coordinator, index, count)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TinygraphError(f"process 0 cannot listen at port {port} of --coordinator: {reason}") from None


def _wait_for(host: str, port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, OverflowError), socket.create_connection((host, port), timeout=5):
            return
        if time.monotonic() > end:
            raise TinygraphError(f"process 0 does not answer at {host}:{port}; it was waited for {seconds:.0f} seconds")
        time.sleep(0.2)


def several() -> bool:
    """Whether this process has joined others."""
    jax: Any = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is alone, or process 0, the one that writes files."""
    return not several() or sys.modules["jax"].process_index() == 0


def own_share(count: int) -> slice | None:
    """Return which of ``count`` things this process computes for all, or ``None`` where each process computes all of them.

    >>> own_share(10)
    """
    if not several():
        return None
    jax: Any = sys.modules["jax"]
    index, processes = jax.process_index(), jax.process_count()
    return slice(index * count // processes, (index + 1) * count // processes) if count >= processes else None


def shared_rows(own: slice | None, rows: Array, count: int) -> Array:
    """Return ``count`` rows, of which each process has computed its ``own``.

    >>> shared_rows(None, np.array([1.0, 2.0]), 2)
    array([1., 2.])
    """
    if own is None:
        return rows
    found = np.zeros((count, *rows.shape[1:]), rows.dtype)
    found[own] = rows
    return totals(found)


def totals(values: Array) -> Array:
    """Return the sum of the arrays of all processes, with the same bits in each.

    >>> totals(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return _gathered(values).sum(axis=0) if several() else values


def _gathered(values: Array) -> Array:
    import jax
    from jax.experimental.multihost_utils import process_allgather

    with jax.enable_x64(True):
        return np.asarray(process_allgather(values))


def check_same(values: Mapping[str, Any]) -> None:
    """Raise ``TrainingError`` if the processes do not hold the same values: they would wait for each other without end."""
    if not several():
        return
    # The names come first: with other names there would be another number of values.
    for named in ({"the names of its parameters": [*values]}, values):
        sums = _gathered(np.array([zlib.crc32(repr(value).encode()) for value in named.values()]))
        for name, column in zip(named, sums.T, strict=True):
            if (column != column[0]).any():
                other = int(np.argmax(column != column[0]))
                advice = "all need the same files, options and checkpoint, such as in a folder that all machines see"
                raise TrainingError(f"process {other} differs from process 0 in {name}; {advice}")


def leave_together() -> None:
    """Wait until all processes have come here, and disconnect: from then on each may end when it likes."""
    if several():
        sys.modules["jax"].distributed.shutdown()
