"""8-bit weights and activations for an exported network."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tailproof.onnx_export.graph import IMAGES

BATCH_SIZE = 16
QUANTIZED = ("Conv", "Gemm", "MatMul")
NETWORK = "/network/"
"""What the names of the network's nodes begin with; calibration and decision stay as they are."""


def quantize(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """Return the model with the layers of its network in 8 bits.

    Each channel of a weight has its own scale. The range of an activation is the largest seen.

    Args:
        model: the exported model; it is changed.
        images: images that show the ranges of activations, [N, H, W, C].
    """
    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type in QUANTIZED and node.name.startswith(NETWORK)
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_static(
            model,
            path,
            _Images(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=nodes,
        )
        return onnx.load(path)


class _Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._batches = _batches(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def _batches(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), BATCH_SIZE):
        yield {IMAGES: images[start : start + BATCH_SIZE]}
