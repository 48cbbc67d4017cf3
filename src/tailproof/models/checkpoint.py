"""Reads the tensors of a published checkpoint, whatever wraps them, without running its code."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tailproof.config.weights import SAFETENSORS
from tailproof.models.weights_header import read_header
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular
from tailproof.untrusted_text import printable

WRAPPERS = (
    "state_dict_ema", "model_ema", "ema", "teacher", "state_dict", "model", "module", "network",
    "net", "run", "student",
)  # fmt: skip
"""Keys below which training scripts store the tensors. Averages come first, as in timm."""


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint by name.

    Args:
        file: a .safetensors file, or a pickle of PyTorch, of which only tensors and plain values
            are read.

    Raises:
        TailproofError: the file is missing or damaged, is of another kind, holds objects that are
            not plain, or has no tensors.
    """
    if file.suffix == SAFETENSORS:
        read_header(file)
        return load_file(file)
    tensors = dict(_tensors(_unwrapped(_unpickled(file))))
    if not tensors:
        raise TailproofError(f"{file} holds no tensors: name the file of the network's weights")
    return tensors


def _unpickled(file: Path) -> Any:
    with open_regular(file) as content:
        try:
            # Scripts store their command line, a class without code, next to the tensors.
            with torch.serialization.safe_globals([argparse.Namespace]):
                return torch.load(content, map_location="cpu", weights_only=True)
        except Exception as error:  # pickles raise errors of any kind
            raise TailproofError(
                f"{file} cannot be read as a checkpoint ({type(error).__name__}: "
                f"{printable(error):.200}): copy it again, or convert it to .safetensors with the "
                "program that wrote it"
            ) from None


def _unwrapped(value: Any) -> Any:
    while isinstance(value, dict):
        inner = (value[key] for key in WRAPPERS if isinstance(value.get(key), dict))
        if (inside := next(inner, None)) is None:
            break
        value = inside
    return value


def _tensors(value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, dict):
        for name, tensor in value.items():
            if isinstance(name, str) and isinstance(tensor, Tensor):
                yield name, tensor
