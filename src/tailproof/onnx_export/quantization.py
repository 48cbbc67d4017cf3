"""8-bit weights and activations for an exported network."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tailproof.onnx_export.compared_images import Images

QUANTIZED = ("Conv", "Gemm", "MatMul")
NETWORKS = "/networks"
"""What the names of the networks' nodes begin with; calibration and decision stay as they are."""


def quantize(model: onnx.ModelProto, images: Images) -> onnx.ModelProto:
    """Return the model with the layers of its networks in 8 bits.

    Each channel of a weight has its own scale. The range of an activation is the largest seen.

    Args:
        model: the exported model; it is changed.
        images: images that show the ranges of activations.
    """
    _inline_shared_weights(model)
    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type in QUANTIZED and node.name.startswith(NETWORKS)
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_static(
            model,
            path,
            _Feeds(images.feeds([one.name for one in model.graph.input])),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=nodes,
        )
        return onnx.load(path)


def _inline_shared_weights(model: onnx.ModelProto) -> None:
    """Replace copies of weights by the weights: the quantizer takes no copy for a weight."""
    weights = {tensor.name for tensor in model.graph.initializer}
    copies = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in weights
    }
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = copies.get(name, name)


class _Feeds(CalibrationDataReader):
    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
