"""Sizes that follow from a network and its recipe: parameters, memory, files."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailproof.config.recipe import KEPT_STATES, Phase, Recipe
from tailproof.config.splits import SPLITS
from tailproof.digests import canonical_json
from tailproof.loading import Split
from tailproof.models import build_model
from tailproof.models.build import checkpoint_activations, count_parameters
from tailproof.runtime.errors import TailproofError
from tailproof.training.builders import model_options
from tailproof.training.multi_head import Heads

STATES = {"sgd": 1, "sgdw": 1, "momentum": 1, "nesterov": 1, "lion": 1}
"""Numbers that an optimizer keeps of each weight; two where it is not named."""

LOGITS_FILES = 2  # of each split: raw and calibrated
SHOWN = 2  # images that the network is shown


def structures(manifest: str | Path, recipes: dict[str, Recipe]) -> dict[str, dict[str, Any]]:
    """Return the sizes of every expert, {} where the network cannot be built.

    They depend on configuration and manifest alone, and are the same on any device.
    """
    split = Split(manifest, "train")
    known: dict[str, dict[str, Any]] = {}
    found = {}
    for name, recipe in recipes.items():
        key = canonical_json(_deciding(recipe))
        if key not in known:
            try:
                known[key] = structure_of(recipe, split)
            except (TailproofError, RuntimeError):
                known[key] = {}  # the timed steps tell why
        found[name] = known[key]
    return found


def structure_of(recipe: Recipe, split: Split) -> dict[str, Any]:
    """Return parameters, and megabytes (2**20 bytes) of memory and files, of one expert.

    ``estimated_memory_mb`` is that of weights, gradients, the optimizer's states and what is kept
    for the backward pass, of a process at its largest phase. What the libraries take comes on top.
    """
    outputs = len(Heads(split.manifest, recipe).names)
    model = build_model(
        recipe.model.name,
        classes=outputs,
        channels=split.channels,
        pretrained=False,
        options=model_options(split, recipe),
    )
    if recipe.activation_checkpointing:
        checkpoint_activations(model, recipe.model.name)
    weights = _bytes(model.state_dict().values())
    trained = _bytes(parameter for parameter in model.parameters() if parameter.requires_grad)
    states = STATES.get(recipe.optimizer.name, 2) * trained
    averaged = weights if recipe.ema else 0
    kept = max(_kept(model, split, recipe, phase) for phase in recipe.timeline)
    rows = sum(split.manifest["splits"][each]["rows"] for each in SPLITS)
    sizes = {
        "estimated_memory_mb": weights + trained + states + averaged + kept,
        "weights_mb": weights,
        "checkpoints_mb": KEPT_STATES * (weights + states + averaged),
        "logits_mb": LOGITS_FILES * 4 * outputs * rows,
    }
    return {
        "outputs": outputs,
        "parameters": count_parameters(model),
        **{name: float(f"{size / 2**20:.4g}") for name, size in sizes.items()},
    }


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe decides the sizes."""
    plain = recipe.model_dump(mode="json")
    return {name: each for name, each in plain.items() if name not in ("loss", "schedule")}


def _kept(model: nn.Module, split: Split, recipe: Recipe, phase: Phase) -> float:
    """Return the bytes that the forward pass of a phase's batch keeps for the backward pass."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, Tensor] = {}

    def hold(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            held[place] = tensor
        return tensor

    size = [phase.image_size] * 2 if phase.image_size else _own_size(split)
    images = torch.zeros(SHOWN, split.channels, *size)
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        outputs = model(images)
    each = (_bytes(held.values()) + outputs.nbytes) / SHOWN
    half = recipe.precision in ("bf16", "fp16")
    processes = recipe.devices * recipe.nodes
    return each * phase.batch_size / processes / recipe.grad_accum_steps * (0.5 if half else 1.0)


def _own_size(split: Split) -> list[int]:
    sizes = [split.manifest["height"], split.manifest["width"]]
    if None in sizes:
        raise TailproofError("the images have different sizes: set recipe.image_size")
    return sizes


def _bytes(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)
