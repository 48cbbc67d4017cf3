"""Sizes that follow from network and recipe: parameters, memory and files."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailproof.config.recipe import KEPT_STATES, Phase, Recipe
from tailproof.config.splits import CALIBRATED, SPLITS
from tailproof.digests import canonical_json
from tailproof.loading import Split
from tailproof.models import build_model
from tailproof.models.build import checkpoint_activations, count_parameters
from tailproof.models.trained_weights import hold_statistics, trained_names
from tailproof.models.tuning import tune_network
from tailproof.preflight.timing.drawn_features import DrawnFeatures, head_on_drawn_features
from tailproof.runtime.errors import TailproofError
from tailproof.training.builders import model_options
from tailproof.training.multi_head import Heads
from tailproof.training.preprocessing import view_size

STATES = {"sgd": 1, "sgdw": 1, "momentum": 1, "nesterov": 1, "lion": 1}
"""Numbers that an optimizer stores per weight; others store two."""

ANSWER_BYTES = 4  # of what a teacher answers for a sample and class
LOGIT_BYTES = 3.4  # of a stored logit: 4, compressed
SHOWN = 2  # number of images in the forward pass


def structures(manifest: str | Path, recipes: dict[str, Recipe]) -> dict[str, dict[str, Any]]:
    """Return the sizes of every expert; {} where the network cannot be built.

    They depend only on configuration and manifest and are the same on any device.
    """
    split = Split(manifest, "train")
    sizes: dict[str, dict[str, Any]] = {}
    by_expert = {}
    for name, recipe in recipes.items():
        key = canonical_json(_size_fields(recipe))
        if key not in sizes:
            try:
                sizes[key] = (
                    head_structure(manifest, recipe)
                    if recipe.features
                    else structure_of(recipe, split)
                )
            except (TailproofError, RuntimeError):
                sizes[key] = {}  # the timed steps report why
        by_expert[name] = sizes[key]
    return by_expert


def structure_of(recipe: Recipe, split: Split) -> dict[str, Any]:
    """Return the parameters of one expert, and its memory and files in megabytes (2**20 bytes).

    ``estimated_memory_mb`` is the memory of a process in its largest phase: weights, gradients,
    optimizer state, activations of the backward pass and a teacher's answers, without the
    libraries.
    """
    outputs = len(Heads(split.manifest, recipe).names)
    options = model_options(split, recipe)
    model = build_model(
        recipe.model.name, classes=outputs, channels=split.channels, options=options
    )
    tune_network(model, recipe, options, outputs, view_size(recipe))
    state = model.state_dict()
    changed = _bytes(state[name] for name in trained_names(model))
    if recipe.activation_checkpointing:
        checkpoint_activations(model, recipe.model.name)
    weights = _bytes(model.state_dict().values())
    trained = _bytes(parameter for parameter in model.parameters() if parameter.requires_grad)
    states = STATES.get(recipe.optimizer.name, 2) * trained
    averaged, kept = (weights, changed) if recipe.ema else (0, 0)
    activations = max(_activations(model, split, recipe, phase) for phase in recipe.timeline)
    answers = size_of_answers(split.manifest) if recipe.distill else 0
    sizes = {
        "estimated_memory_mb": weights + trained + states + averaged + activations + answers,
        "weights_mb": weights,
        "checkpoints_mb": KEPT_STATES * (changed + states + kept),
        "logits_mb": _logits_bytes(split.manifest, outputs),
    }
    return {
        "outputs": outputs,
        "parameters": count_parameters(model),
        "trained_parameters": count_parameters(model, trained=True),
        **{name: float(f"{size / 2**20:.4g}") for name, size in sizes.items()},
    }


def head_structure(manifest: str | Path, recipe: Recipe) -> dict[str, Any]:
    """Return the same of an expert that is a head: its parameters, and the files of the whole."""
    learner = head_on_drawn_features(manifest, recipe)
    split, outputs = learner.train, len(Heads(learner.manifest, recipe).names)
    assert isinstance(split, DrawnFeatures)
    head = learner.model(outputs, torch.device("cpu"))
    weights, trained = _bytes(head.state_dict().values()), _bytes(head.parameters())
    states = STATES.get(recipe.optimizer.name, 2) * trained
    averaged = weights if recipe.ema else 0
    kept = split.size_in_memory <= recipe.cache_gb * 2**30
    features = split.size_in_memory if kept else split.block_rows * split.row_bytes
    answers = size_of_answers(learner.manifest) if recipe.distill else 0
    sizes = {
        "estimated_memory_mb": features + weights + trained + states + averaged + answers,
        "weights_mb": split.backbone_bytes + weights,
        "checkpoints_mb": KEPT_STATES * (weights + states + averaged),
        "logits_mb": _logits_bytes(learner.manifest, outputs),
    }
    return {
        "outputs": outputs,
        "parameters": count_parameters(head),
        "train_is_kept_in_memory": kept,
        **{name: float(f"{size / 2**20:.4g}") for name, size in sizes.items()},
    }


def size_of_answers(manifest: dict[str, Any]) -> int:
    """Return the bytes of what a teacher answers for train, which its students keep in memory."""
    classes = len(manifest["classes"][manifest["target"]])
    return manifest["splits"]["train"]["rows"] * classes * ANSWER_BYTES


def _size_fields(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of a recipe that decide the sizes."""
    plain = recipe.model_dump(mode="json")
    return {name: value for name, value in plain.items() if name not in ("loss", "schedule")}


def _activations(model: nn.Module, split: Split, recipe: Recipe, phase: Phase) -> float:
    """Return the bytes that the forward pass of a batch stores for the backward pass."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, Tensor] = {}

    def hold(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            held[address] = tensor
        return tensor

    size = [phase.image_size] * 2 if phase.image_size else _image_size(split)
    images = torch.zeros(SHOWN, split.channels, *size)
    model.train()
    hold_statistics(model)
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        outputs = model(images)
    per_image = (_bytes(held.values()) + outputs.nbytes) / SHOWN
    half = recipe.precision in ("bf16", "fp16")
    processes = recipe.devices * recipe.nodes
    activations = per_image * phase.batch_size / processes / recipe.grad_accum_steps
    return activations * (0.5 if half else 1.0)


def _image_size(split: Split) -> list[int]:
    sizes = [split.manifest["height"], split.manifest["width"]]
    if None in sizes:
        raise TailproofError("the images have different sizes: set recipe.image_size")
    return sizes


def _bytes(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _logits_bytes(manifest: dict[str, Any], outputs: int) -> float:
    """Return the size of the logits files of an expert: raw and calibrated ones."""
    rows = sum(manifest["splits"][name]["rows"] for name in (*SPLITS, *CALIBRATED))
    return LOGIT_BYTES * outputs * rows
