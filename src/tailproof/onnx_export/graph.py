"""An expert as one ONNX graph: from pixels to logits, calibrated probabilities and a decision."""

import io
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from tailproof.calibration.calibrator import Calibrator
from tailproof.data.multiband import MODE
from tailproof.data.taxonomy import head_columns
from tailproof.evaluation.rejection import Rule, head_and_tail
from tailproof.predict.loaded_expert import LoadedExpert
from tailproof.predict.network import Network
from tailproof.predict.posterior import Posterior
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

OPSET = 17
"""Version of the ONNX operators, which onnxruntime reads since 1.12."""

LARGEST = 2**31 - 2**24
"""Bytes of a network in one ONNX file, whose format ends at 2 GiB."""

TRACED = 2
"""Images of the batch that is traced; a batch of one would be written as a constant."""

IMAGES, LOGITS, PROBABILITIES, CLASS, ACCEPTED = (
    "images",
    "logits",
    "probabilities",
    "class_index",
    "accepted",
)


def output_names(ranks: Iterable[str]) -> dict[str, str]:
    """Return the name of the output of each rank's probabilities.

    Args:
        ranks: the ranks, the target first.
    """
    target, *others = ranks
    return {target: PROBABILITIES, **{rank: f"{PROBABILITIES}/{rank}" for rank in others}}


def export_graph(expert: LoadedExpert, rule: Rule) -> bytes:
    """Return the ONNX model of an expert.

    Args:
        expert: the expert.
        rule: the rejection rule of the outputs `class_index` and `accepted`.

    Raises:
        TailproofError: ONNX cannot express the network, or its file would be too large.
    """
    (network,) = expert.networks
    size = sum(tensor.nbytes for tensor in network.model.state_dict().values())
    if size > LARGEST:
        raise TailproofError(
            f"the network has {size / 2**30:.1f} GiB of weights, but an ONNX file holds at most 2: "
            "export a smaller expert"
        )
    channels, height, width = network.preparation.shape
    kind = torch.float32 if expert.deployment.images == MODE else torch.uint8
    images = torch.zeros(TRACED, height, width, channels, dtype=kind, device=network.device)
    outputs = [LOGITS, *output_names(expert.classes).values(), CLASS, ACCEPTED]
    tail = np.isin(expert.classes[expert.target], expert.deployment.tail)
    whole = WholeExpert(network, expert.posterior, _Decision(rule, tail)).to(network.device)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the tracer, whose result is compared with the expert
        try:
            torch.onnx.export(
                whole.eval(),
                (images,),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=[IMAGES],
                output_names=outputs,
                dynamic_axes={name: {0: "batch"} for name in (IMAGES, *outputs)},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
            raise TailproofError(
                f"ONNX cannot express this network ({printable(error):.300}): use `tailproof "
                "predict`, or train another network"
            ) from error
    return file.getvalue()


class WholeExpert(nn.Module):
    """Everything that `tailproof predict` computes of prepared images, as one module.

    The network computes in single precision; calibration and rule in double, as in the pipeline.

    Args:
        network: the network.
        posterior: what makes probabilities of its outputs.
        decision: what makes a decision of the target's probabilities.
    """

    def __init__(self, network: Network, posterior: Posterior, decision: nn.Module) -> None:
        super().__init__()
        self.network, self.decision = network.model, decision
        self.register_buffer("mean", network.normalize.mean)
        self.register_buffer("std", network.normalize.std)
        outputs = posterior.outputs[network.expert]
        sizes = {rank: len(names) for rank, names in outputs.classes.items()}
        columns = head_columns(sizes)
        self._columns = [columns[rank] for rank in posterior.classes]
        self.calibration = nn.ModuleList(
            _Calibration(outputs.calibrators[rank]) for rank in posterior.classes
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return logits, the probabilities of each rank, chosen class and acceptance.

        Args:
            images: uint8 or float32 [N, H, W, C].
        """
        normal = (images.float() - self.mean) / self.std
        logits = self.network(normal.permute(0, 3, 1, 2)).float()
        probabilities = [
            calibrate(logits[:, columns].double())
            for columns, calibrate in zip(self._columns, self.calibration, strict=True)
        ]
        return logits, *probabilities, *self.decision(probabilities[0])


class _Calibration(nn.Module):
    """Turns the raw logits of a rank into calibrated probabilities, as `Calibrator.apply`."""

    def __init__(self, calibrator: Calibrator) -> None:
        super().__init__()
        self._kind, self._temperature = calibrator.kind, float(calibrator.temperature)
        if calibrator.factors is not None:
            self.register_buffer("factors", torch.from_numpy(calibrator.factors.T.copy()))
            self.register_buffer("bias", torch.from_numpy(calibrator.bias))

    def forward(self, logits: Tensor) -> Tensor:
        """Return probabilities float64 [N, C] of logits float64 [N, C]."""
        values = logits / self._temperature
        if self._kind != "temperature":
            q = values.log_softmax(1)
            mixed = q * self.factors if self._kind == "vector" else q @ self.factors
            values = mixed + self.bias
        return values.log_softmax(1).exp()


class _Decision(nn.Module):
    """Applies a rejection rule, as `tailproof.predict.rejector.Rejector`."""

    def __init__(self, rule: Rule, tail: np.ndarray) -> None:
        super().__init__()
        self.groups, self.threshold = head_and_tail(tail), rule.threshold
        factor = np.select(self.groups, list(rule.gain * np.exp(rule.shift)))
        self.register_buffer("factor", torch.from_numpy(factor))
        self.register_buffer("odds", torch.from_numpy(np.exp(rule.shift)))
        self.register_buffer("gain", torch.from_numpy(np.asarray(rule.gain, float)))
        self.register_buffer("left", torch.from_numpy(rule.gain - rule.multiplier))

    def forward(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen class [N] and whether it is accepted [N] for probabilities [N, C]."""
        parts = [p[:, torch.from_numpy(members.nonzero()[0])] for members in self.groups]
        top = torch.stack([part.max(1).values for part in parts], 1)
        mass = torch.stack([part.sum(1) for part in parts], 1)
        scale = self.odds / (mass @ self.odds)[:, None]
        best = (self.gain * top * scale).max(1).values
        score = best - (mass * scale) @ self.left
        return (self.factor * p).argmax(1), score >= self.threshold
