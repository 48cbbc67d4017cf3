"""The pretrained weights that a recipe starts from, `recipe.model.weights`."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from tailproof.config.model import Model
from tailproof.files import read_json
from tailproof.models.build import build_model
from tailproof.models.timm_network import published_cfg
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)


def weights_file(model: Model) -> Path | None:
    """Return the file of the fetched weights; None if the model starts from random weights.

    Raises:
        TailproofError: the weights have not been fetched.
    """
    if model.weights_key is None:
        return None
    file = project_paths().weights(model.weights_key)
    if not file.exists():
        raise TailproofError(
            f"recipe.model.weights: {file} does not exist: run `snakemake --cores 1 {file}`"
        )
    return file


def backbone_facts(model: Model) -> dict[str, Any]:
    """Return what the stage fetch found out about the weights; empty for random weights.

    Raises:
        TailproofError: the weights have not been fetched, or the file is damaged.
    """
    file = weights_file(model)
    return read_json(file.with_suffix(".json")) if file else {}


def build_initial(
    model: Model, *, classes: int, channels: int, options: dict[str, Any]
) -> nn.Module:
    """Build a recipe's model with its initial weights.

    The first layer is adapted to the channels, and position embeddings to the size, as timm does. A
    head of another size than `classes` is left out.

    Args:
        model: name and weights.
        classes: number of outputs.
        channels: number of channels of the images.
        options: further arguments of the model.

    Raises:
        TailproofError: the model, an option or the weights do not fit.
    """
    build = partial(build_model, model.name, classes=classes, channels=channels, options=options)
    file = weights_file(model)
    if file is None:
        return build()
    facts, tensors = backbone_facts(model), load_file(file)
    network = build(pretrained=_source(facts, tensors))
    if facts["outputs"] not in (0, classes):
        log.info(
            "the head of the weights has %d outputs, but the data have %d classes: a new head "
            "starts from random weights",
            facts["outputs"],
            classes,
        )
    return network


def _source(facts: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return timm's description of weights that are in memory."""
    published = published_cfg(facts["model"])
    return {
        "state_dict": tensors,
        "num_classes": facts["outputs"],
        "input_size": tuple(facts["input_size"]),
        "label_offset": 0,
        "classifier": published.classifier,
        "first_conv": published.first_conv,
    }
