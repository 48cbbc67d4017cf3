"""Where the weights that a recipe starts from come from: the hub, a file, or a folder."""

from pathlib import Path

HUB = "hub"
"""The value of `model.weights` that stands for timm's published weights."""

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
"""Endings of PyTorch's own checkpoints."""

SAFETENSORS = ".safetensors"

FILES = ("model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
"""Names of the weights in the folders of timm, of the hub and of experts, in this order."""


def weights_source(weights: str | None) -> Path | None:
    """Return the file that weights are read from; None for random ones and those of the hub.

    Args:
        weights: ``hub``, the path of a checkpoint, or a folder. Of a folder that does not exist, an
            expert that is not trained yet, it is the file that the folder will have.
    """
    if weights is None or weights == HUB:
        return None
    path = Path(weights)
    if path.suffix in (SAFETENSORS, *PICKLES) and not path.is_dir():
        return path
    return next((path / name for name in FILES if (path / name).exists()), path / FILES[0])
