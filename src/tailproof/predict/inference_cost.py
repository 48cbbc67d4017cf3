"""The stage cost: what an answer of each expert, and of their ensemble, costs."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tailproof.files import write_json
from tailproof.models.build import count_parameters
from tailproof.predict.loaded_expert import LoadedExpert, load_expert
from tailproof.predict.network import Network
from tailproof.predict.shared_backbone import SharedBackbone
from tailproof.runtime.environment import describe_machine
from tailproof.runtime.progress import track

BATCH, ROUNDS = 32, 5


def measure_costs(folders: Mapping[str, str | Path], threads: int, output: str | Path) -> None:
    """Write the parameters, multiply-adds and images per second of each expert.

    An image is what a network gets, decoded and resized. Multiply-adds are those of convolutions,
    matrix products and attention for one image. The experts take turns, and the fastest of
    `ROUNDS` batches counts, so that what else runs on the machine slows none of them alone.

    Args:
        folders: folders of experts and of ensembles, as `tailproof predict` takes them.
        threads: CPU threads.
        output: cost.json.

    Raises:
        TailproofError: a folder is incomplete, or its files are damaged or do not belong together.
    """
    torch.set_num_threads(threads)
    experts = {name: load_expert(folder) for name, folder in folders.items()}
    images = {name: _images(expert) for name, expert in experts.items()}
    seconds: dict[str, list[float]] = {name: [] for name in experts}
    for _ in track(range(ROUNDS), "cost"):
        for name, expert in experts.items():
            seconds[name].append(_time(expert, images[name]))
    write_json(
        output,
        {
            "device": describe_machine(threads).device,
            "threads": threads,
            "batch_size": BATCH,
            "methods": {
                name: {
                    "parameters": sum(_parameters(network.model) for network in expert.networks),
                    "multiply_adds": sum(map(_multiply_adds, expert.networks)),
                    "images_per_second": float(f"{BATCH / min(seconds[name]):.4g}"),
                }
                for name, expert in experts.items()
            },
        },
    )


def _images(expert: LoadedExpert) -> list[tuple[np.ndarray, ...]]:
    """Return a batch of drawn images, each as all networks of the expert take it."""
    draw = np.random.default_rng(0)
    shapes = [preparation.shape for preparation in expert.preparations]
    kind = np.float32 if expert.deployment.images == "float32" else np.uint8
    return [
        tuple(
            draw.integers(0, 256, (height, width, channels)).astype(kind)
            for channels, height, width in shapes
        )
        for _ in range(BATCH)
    ]


def _time(expert: LoadedExpert, images: list[tuple[np.ndarray, ...]]) -> float:
    start = time.perf_counter()
    expert.raw_logits(images)  # copies the logits to the CPU, so that a GPU has finished
    return time.perf_counter() - start


def _parameters(model: nn.Module) -> int:
    """Return the parameters that answers use; a shared backbone keeps a classifier that none do."""
    if isinstance(model, SharedBackbone):
        return count_parameters(model) - model.unused_parameters
    return count_parameters(model)


@torch.inference_mode()
def _multiply_adds(network: Network) -> int:
    """Return the multiply-adds of one image, half of the operations that torch counts."""
    images = [torch.zeros(1, *taken.shape, device=network.device) for taken in network.preparations]
    with FlopCounterMode(display=False) as counter:
        network.model(*images)
    return counter.get_total_flops() // 2
