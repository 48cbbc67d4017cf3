"""An expert that is a network, on its device, and the images of a split as it takes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from tailproof.loading import Loader, Split
from tailproof.models import load_expert
from tailproof.models.expert_config import Preprocessing
from tailproof.models.timm_network import place
from tailproof.predict.trained_expert import TrainedExpert
from tailproof.runtime.process import tune_malloc

BATCH_SIZE = 256


@dataclass(frozen=True)
class TrainedNetwork(TrainedExpert):
    """An expert that is a network.

    Attributes:
        model: the network, in evaluation mode on its device.
        prepared: what it takes of an image.
        device: the device.
    """

    model: nn.Module
    prepared: Preprocessing
    device: torch.device

    @classmethod
    def open(cls, folder: str | Path, threads: int) -> Self:
        """Load the network of an expert, onto the GPU if there is one."""
        torch.set_num_threads(threads)
        tune_malloc()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model, config = load_expert(folder)
        prepared, own = config.pretrained_cfg, config.tailproof
        return cls(
            Path(folder),
            own.heads,
            own.target,
            prepared.label_names,
            place(model, device, torch.channels_last),
            prepared,
            device,
        )

    def inputs(self, split: Split, memory_budget: float, workers: int) -> Iterator[Tensor]:
        """Return the images of a split in batches on the device, ready for the model.

        Args:
            split: the split.
            memory_budget: bytes available for a decoded split.
            workers: loader processes.

        Raises:
            TailproofError: the expert was trained on other classes.
        """
        self.check_classes(split.manifest)
        _, height, width = self.prepared.input_size
        loader = Loader(
            split,
            batch_size=BATCH_SIZE,
            image_size=height if height == width else None,
            normalization={"mean": self.prepared.mean, "std": self.prepared.std},
            interpolation=self.prepared.interpolation,
            workers=workers,
            memory_budget=memory_budget,
            device=self.device,
        )
        return (batch.inputs for batch in loader.epoch(1))
