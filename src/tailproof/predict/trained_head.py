"""An expert that is a head on stored features."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from tailproof.features.head_layers import build_head
from tailproof.features.store import FeatureSplit
from tailproof.files import read_json
from tailproof.predict.trained_expert import TrainedExpert


@dataclass(frozen=True)
class TrainedHead(TrainedExpert):
    """An expert that is a head, without its backbone.

    Attributes:
        layers: the head, in evaluation mode.
    """

    layers: nn.Module

    @classmethod
    def open(cls, folder: str | Path, width: int) -> Self:
        """Load the head of a merged network.

        Args:
            folder: folder of the expert.
            width: number of features.
        """
        config = read_json(Path(folder) / "config.json")
        own, names = config["tailproof"], config["pretrained_cfg"]["label_names"]
        layers = _load_layers(Path(folder) / "model.safetensors", config, width)
        return cls(Path(folder), own["heads"], own["target"], names, layers)

    @torch.inference_mode()
    def raw_logits(self, features: np.ndarray) -> np.ndarray:
        """Return raw logits, float32 [n, all classes].

        Args:
            features: float32 or float16 [n, width].
        """
        return self.layers(torch.from_numpy(features).float()).numpy()

    def blocks(self, split: FeatureSplit) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the features of a split, of their first view, and their raw logits, in blocks.

        Raises:
            TailproofError: the expert was trained on other classes.
        """
        self.check_classes(split.manifest)
        features = (block[:, 0] for _, block in split.blocks())
        return ((block, self.raw_logits(block)) for block in features)


def _load_layers(weights: Path, config: dict[str, Any], width: int) -> nn.Module:
    args, outputs = config["model_args"], config["num_classes"]
    kind, options = args.get("head", "linear"), args.get("head_options")
    prefix = f"{config['pretrained_cfg']['classifier']}."
    with safe_open(weights, "pt") as file:
        tensors = {
            key.removeprefix(prefix): file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 - no mapping
            if key.startswith(prefix)
        }
    head = build_head(kind, width, outputs, options)
    head.load_state_dict(tensors)
    return head.eval()
