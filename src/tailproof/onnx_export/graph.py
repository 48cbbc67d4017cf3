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


def input_names(expert: LoadedExpert) -> list[str]:
    """Return the name of the input of each preparation: the networks may take different sizes."""
    numbers = range(2, len(expert.preparations) + 1)
    return [IMAGES, *(f"{IMAGES}_{number}" for number in numbers)]


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
    size = sum(
        tensor.nbytes
        for network in expert.networks
        for tensor in network.model.state_dict().values()
    )
    if size > LARGEST:
        raise TailproofError(
            f"the networks have {size / 2**30:.1f} GiB of weights, but an ONNX file holds at most "
            "2: export a smaller expert"
        )
    device = expert.networks[0].device
    kind = torch.float32 if expert.deployment.images == MODE else torch.uint8
    inputs = input_names(expert)
    outputs = [LOGITS, *output_names(expert.classes).values(), CLASS, ACCEPTED]
    tail = np.isin(expert.classes[expert.target], expert.deployment.tail)
    whole = WholeExpert(expert, _Decision(rule, tail)).to(device)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the tracer, whose result is compared with the expert
        try:
            torch.onnx.export(
                whole.eval(),
                tuple(
                    torch.zeros(TRACED, height, width, channels, dtype=kind, device=device)
                    for (channels, height, width), _ in expert.preparations
                ),
                file,  # type: ignore[arg-type]  # without dynamo it may be a file
                dynamo=False,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
            raise TailproofError(
                f"ONNX cannot express this network ({printable(error):.300}): use `tailproof "
                "predict`, or train another network"
            ) from error
    return file.getvalue()


class WholeExpert(nn.Module):
    """Everything that `tailproof predict` computes of prepared images, as one module.

    Networks compute in single precision; calibration and rule in double, as in the pipeline.

    Args:
        expert: the expert, or the ensemble.
        decision: what makes a decision of the target's probabilities.
    """

    def __init__(self, expert: LoadedExpert, decision: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(_Normalized(network) for network in expert.networks)
        self._inputs = [
            list(map(expert.preparations.index, network.preparations))
            for network in expert.networks
        ]
        self._outputs = [network.outputs for network in expert.networks]
        self._experts = list(expert.posterior.outputs)
        self.posterior, self.decision = _Probabilities(expert.posterior), decision

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return logits, the probabilities of each rank, chosen class and acceptance.

        Args:
            images: uint8 or float32 [N, H, W, C] of each preparation.
        """
        raw: dict[str, Tensor] = {}
        for network, places, sizes in zip(self.networks, self._inputs, self._outputs, strict=True):
            logits = network(*(images[place] for place in places))
            raw |= {name: logits[:, part] for name, part in head_columns(sizes).items()}
        ordered = [raw[name] for name in self._experts]
        probabilities = self.posterior(ordered)
        return torch.cat(ordered, 1), *probabilities, *self.decision(probabilities[0])


class _Normalized(nn.Module):
    """Computes raw logits of images as they are."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.model = network.model
        for number, normalize in enumerate(network.normalize):
            self.register_buffer(f"mean_{number}", normalize.mean)
            self.register_buffer(f"std_{number}", normalize.std)

    def forward(self, *images: Tensor) -> Tensor:
        """Return logits float32 [N, outputs] of images [N, H, W, C] of each input."""
        inputs = []
        for number, batch in enumerate(images):
            mean, std = getattr(self, f"mean_{number}"), getattr(self, f"std_{number}")
            inputs.append(((batch.float() - mean) / std).permute(0, 3, 1, 2))
        return self.model(*inputs).float()


class _Probabilities(nn.Module):
    """Turns the raw logits of experts into probabilities, as `Posterior`."""

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self._method = posterior.method
        self._columns = []
        calibrations = []
        for outputs in posterior.outputs.values():
            columns = outputs.columns
            for rank in posterior.classes:
                self._columns.append(columns[rank])
                calibrations.append(_Calibration(outputs.calibrators[rank]))
        self.calibrations = nn.ModuleList(calibrations)
        self.weights = nn.Buffer(torch.tensor(posterior.weights, dtype=torch.float64))

    def forward(self, raw: list[Tensor]) -> list[Tensor]:
        """Return probabilities float64 [N, C] of each rank, for logits [N, outputs] per expert."""
        logits = raw * len(self.calibrations) if len(raw) == 1 else raw
        calibrated = [
            calibrate(values[:, columns].double())
            for values, columns, calibrate in zip(
                logits, self._columns, self.calibrations, strict=True
            )
        ]
        if not self._method:
            return [values.softmax(1) for values in calibrated]
        stacked = torch.stack([values.float().double() for values in calibrated])  # as in files
        if self._method == "mean_probabilities":
            return [stacked.softmax(2).mean(0)]
        if self._method == "mean_logits":
            return [stacked.mean(0).softmax(1)]
        return [(self.weights[:, None, None] * stacked).sum(0).softmax(1)]


class _Calibration(nn.Module):
    """Calibrates the raw logits of a rank, as `Calibrator.apply`."""

    factors: Tensor
    bias: Tensor

    def __init__(self, calibrator: Calibrator) -> None:
        super().__init__()
        self._kind, self._temperature = calibrator.kind, float(calibrator.temperature)
        if calibrator.factors is not None:
            self.register_buffer("factors", torch.from_numpy(calibrator.factors.T.copy()))
            self.register_buffer("bias", torch.from_numpy(calibrator.bias))

    def forward(self, logits: Tensor) -> Tensor:
        """Return calibrated logits float64 [N, C] of logits float64 [N, C]."""
        scaled = logits / self._temperature
        if self._kind == "temperature":
            return scaled
        q = scaled.log_softmax(1)
        mixed = q * self.factors if self._kind == "vector" else q @ self.factors
        return mixed + self.bias


class _Decision(nn.Module):
    """Applies a rejection rule, as `tailproof.predict.rejector.Rejector`."""

    factor: Tensor
    odds: Tensor
    gain: Tensor
    left: Tensor

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
