"""The devices that share the samples of a batch: all of them, of all processes, or the first few of one process."""

from __future__ import annotations

import math
import os
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tinygraph.errors import TinygraphError, counted
from tinygraph.graph import Array, integer


class Devices:
    """The devices of a run. Each holds all parameters, and its share of the samples.

    ``count`` takes the first few, by default all. Raises ``TinygraphError`` where there are not so many, and where several
    processes run and a part is asked for. ``local`` ones are those of this process alone.
    """

    def __init__(self, count: int | None = None, local: bool = False) -> None:
        try:
            found = jax.local_devices() if local else jax.devices()
        except (RuntimeError, AssertionError) as error:
            # JAX asserts that it has found one.
            why = str(error) or f"JAX_PLATFORMS is {os.environ.get('JAX_PLATFORMS')!r}"
            raise TinygraphError(f"XLA finds no device: {why}") from None
        self.processes = 1 if local else jax.process_count()
        wanted = len(found) if count is None else integer("devices", count)
        if wanted > len(found):
            here = f"XLA finds {counted(len(found), 'device')} of the kind {found[0].platform}"
            raise TinygraphError(f"devices={wanted} are asked for, and {here}")
        if wanted < len(found) and self.processes > 1:
            raise TinygraphError(f"all {len(found)} devices of {self.processes} processes are used; devices={count}")
        self.all = found[:wanted]

    def mesh(self, count: int) -> Mesh:
        """Return the devices in groups that share ``count`` samples equally; those of a group hold the same samples."""
        shares = math.gcd(count, len(self.all))
        return Mesh(np.array(self.all).reshape(shares, -1), ("batch", "copies"))

    def split(self, count: int) -> NamedSharding:
        """Return how an array with ``count`` samples along its first axis lies on the devices."""
        return NamedSharding(self.mesh(count), PartitionSpec("batch"))

    def copied(self, count: int) -> NamedSharding:
        """Return how an array that every device holds lies on the devices of ``mesh(count)``."""
        return NamedSharding(self.mesh(count), PartitionSpec())

    def rows(self, count: int) -> slice:
        """Return which samples of a batch the devices of this process hold: a range, for its own loader of data."""
        held = self.split(count).addressable_devices_indices_map((count,)).values()
        starts, stops = zip(*(index[0].indices(count)[:2] for index in held if index), strict=True)
        return slice(min(starts), max(stops))

    def put(self, array: Array, sharding: NamedSharding, shape: tuple[int, ...] | None = None) -> Any:
        """Return an array on the devices; one of several processes may give its own rows of an array of this ``shape``."""
        if self.processes == 1:
            # A compiled program takes an array of NumPy's sooner than it is put there before.
            quick = shape is not None and jax.process_count() == 1
            return array if quick else jax.device_put(array, sharding)
        if shape is not None and shape != array.shape:
            return jax.make_array_from_process_local_data(sharding, array, shape)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
