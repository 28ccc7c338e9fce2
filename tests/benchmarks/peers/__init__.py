"""The peers: what each one is called, what it needs, and what it takes part in.

A peer's module is imported in the process that runs it, and nowhere else.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OURS = "tinygraph"
PLAIN = "tinygraph plain"

NETWORKS = ("step", "inference")
FURTHER = ("further", "further_inference")


@dataclass(frozen=True)
class Entry:
    """Where a peer is: its module and class here, the settings it is made with, the package it needs, and its suites."""

    module: str
    made_by: str
    package: str
    suites: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


PEERS = {
    OURS: Entry("tinygraph_peer", "TinygraphPeer", "tinygraph", (*NETWORKS, *FURTHER, "recording", "memory")),
    PLAIN: Entry("tinygraph_peer", "TinygraphPeer", "tinygraph", (*NETWORKS, *FURTHER), {"compiled": False}),
    "torch": Entry("torch_peer", "TorchPeer", "torch", (*NETWORKS, *FURTHER, "recording", "memory")),
    "torch channels_last": Entry(
        "torch_peer", "TorchPeer", "torch", (*NETWORKS, *FURTHER, "memory"), {"channels_last": True}
    ),
    "torch.compile": Entry("torch_peer", "TorchPeer", "torch", (*NETWORKS, *FURTHER), {"compiled": True}),
    "torch.compile channels_last": Entry(
        "torch_peer", "TorchPeer", "torch", NETWORKS, {"compiled": True, "channels_last": True}
    ),
    "jax": Entry("jax_peer", "JaxPeer", "jax", NETWORKS),
    "jax channels_last": Entry("jax_peer", "JaxPeer", "jax", NETWORKS, {"channels_last": True}),
    "onnxruntime": Entry("onnxruntime_peer", "OnnxruntimePeer", "onnxruntime", FURTHER[1:]),
    "mygrad": Entry("mygrad_peer", "MyGradPeer", "mygrad", (*NETWORKS, "recording")),
    "autograd": Entry("autograd_peer", "AutogradPeer", "autograd", (*NETWORKS, "recording")),
    "micrograd style": Entry("micrograd_peer", "MicrogradPeer", "numpy", ("recording",)),
}


def installed(name: str) -> bool:
    """Whether the package that a peer needs can be found, without importing it."""
    return importlib.util.find_spec(PEERS[name].package) is not None


def load(name: str, threads: int) -> Any:
    """Return a peer, ready to work on ``threads`` threads."""
    entry = PEERS[name]
    module = importlib.import_module(f".{entry.module}", __name__)
    return getattr(module, entry.made_by)(threads, **entry.settings)
