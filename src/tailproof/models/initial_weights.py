"""The weights that a recipe starts from, `recipe.init_from`."""

import logging
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from tailproof.config.recipe import Recipe
from tailproof.models.expert_weights import check_finite
from tailproof.models.weights_header import read_header
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular
from tailproof.untrusted_text import printable

log = logging.getLogger(__name__)


def load_weights(model: nn.Module, file: Path) -> None:
    """Load initial weights into a model; log the tensors that do not fit and skip them.

    Args:
        model: the model, which is changed in place.
        file: a .safetensors file, or the saved state (.pt) of a run.

    Raises:
        TailproofError: the file is damaged, or no tensor in it fits the model.
    """
    try:
        weights = _weights_of_state(file) if file.suffix == ".pt" else _weights_of_expert(file)
        check_finite(file, weights)
    except TailproofError as error:
        raise TailproofError(f"recipe.init_from: {error}") from None
    except Exception as error:  # pickle raises errors of any kind
        raise TailproofError(
            f"recipe.init_from: {file} cannot be read ({printable(error):.200}), expected the "
            "folder of an expert, a .safetensors file or a state in .state/train"
        ) from error
    expected = model.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in expected and value.shape == expected[name].shape
    }
    unfit = [
        f"{name} {list(value.shape)}"
        + (f" for {list(expected[name].shape)}" if name in expected else " not in the model")
        for name, value in weights.items()
        if name not in fitting
    ] + [
        f"{name} {list(value.shape)} not in the file"
        for name, value in expected.items()
        if name not in weights
    ]
    if not fitting:
        raise TailproofError(
            f"recipe.init_from: no tensor in {file} fits the model: {', '.join(unfit[:5])}, …"
        )
    model.load_state_dict(fitting, strict=False)
    for name in unfit:
        log.warning("init_from %s: skipped %s", file, name)


def weights_file(recipe: Recipe) -> Path | None:
    """Return the file with the initial weights; None if the recipe does not set `init_from`.

    Raises:
        TailproofError: the file does not exist.
    """
    file = recipe.initial_weights
    if file is not None and not file.exists():
        raise TailproofError(f"recipe.init_from: {file} does not exist")
    return file


def _weights_of_state(file: Path) -> dict[str, torch.Tensor]:
    with open_regular(file) as content:
        run = torch.load(content, map_location="cpu", weights_only=True)["run"]
    return run["ema"] or run["model"]


def _weights_of_expert(file: Path) -> dict[str, torch.Tensor]:
    read_header(file)
    return load_file(file)
