"""onnxruntime, on the ONNX file that tinygraph writes of a network."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..further import Network
from ..workloads import Array
from .tinygraph_peer import with_parameters


class OnnxruntimePeer:
    """Predictions only."""

    def __init__(self, threads: int) -> None:
        import onnxruntime

        self.onnxruntime, self.options = onnxruntime, onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def further_inference(self, network: Network, parameters: Mapping[str, Array]) -> Any:
        """Return the function from a batch by name to the output of a network of equations."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.onnx")
            with_parameters(network, parameters).to_onnx(path)
            session = self.onnxruntime.InferenceSession(path, self.options, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, dict(batch))[0]
