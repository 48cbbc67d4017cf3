"""What a run is built from, each piece checked against the recipe."""

import os
import random
import shutil
from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2, list_optimizers
from torch import Tensor, nn

from tailproof.config.recipe import Phase, Recipe
from tailproof.loading import Loader, Split
from tailproof.models import build_model
from tailproof.models.build import checkpoint_activations, load_weights, weights_file
from tailproof.models.input_sizes import Size, check_sizes, options_for_sizes
from tailproof.monitors import MONITORS
from tailproof.operating_points import ONE_IN, enough_negatives
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.runtime.process import tune_malloc
from tailproof.training.distributed import ProcessGroup

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Forward:
    """A model's forward pass in the recipe's precision and memory format."""

    def __init__(
        self, model: nn.Module, device: torch.device, precision: str, channels_last: bool
    ) -> None:
        self.model, self._device, self._half = model, device.type, HALF.get(precision)
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits [B, C] of images [B, channels, H, W]."""
        images = images.contiguous(memory_format=self._format)
        with torch.autocast(self._device, self._half, enabled=self._half is not None):
            return self.model(images).float()


def start_device(threads: int) -> torch.device:
    """Choose the device and make what runs on it repeatable."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= there:
            raise TailproofError(f"recipe.devices is more than the {there} GPUs of this node")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        return device
    tune_malloc()
    return torch.device("cpu")


def initial_model(
    recipe: Recipe, options: dict[str, Any], classes: int, split: Split, device: torch.device
) -> nn.Module:
    """Return the recipe's model on the device, with the weights that it starts from.

    Raises:
        TailproofError: model, weights, sizes and device do not allow what the recipe asks for.
    """
    model = build_model(
        recipe.model.name,
        classes=classes,
        channels=split.channels,
        pretrained=recipe.model.pretrained,
        options=options,
    )
    check_sizes(model, recipe.model.name, split.channels, sizes(split, recipe))
    if start := weights_file(recipe):
        load_weights(model, start)
    if (
        recipe.compile
        and device.type == "cpu"
        and shutil.which(os.environ.get("CXX", "g++")) is None
    ):
        raise TailproofError("recipe.compile needs a C++ compiler (g++), found none: leave it out")
    if recipe.sync_batchnorm:
        if device.type != "cuda":
            raise TailproofError("recipe.sync_batchnorm needs GPUs, found none: leave it out")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if recipe.activation_checkpointing:
        checkpoint_activations(model, recipe.model.name)
    memory = torch.channels_last if recipe.channels_last else torch.preserve_format
    return model.to(device, memory_format=memory)


def check_monitor(recipe: Recipe, val: Split) -> None:
    """Check that the split val can show what the recipe monitors.

    Args:
        recipe: with its monitor.
        val: the split.

    Raises:
        TailproofError: the monitor is of two classes and there are more, one of the two is absent,
            or there are too few negatives.
    """
    name = recipe.monitor
    if not MONITORS[name].two_classes:
        return
    target, positive = val.manifest["target"], val.manifest["positive"]
    if positive is None:
        raise TailproofError(
            f"recipe.monitor is {name}, which is of two classes; '{target}' has "
            f"{len(val.manifest['classes'][target])}: choose one that starts with val_"
        )
    counts = val.manifest["splits"]["val"]["class_counts"][target]
    negatives = sum(counts.values()) - counts[positive]
    if not counts[positive] or not negatives:
        raise TailproofError(
            f"recipe.monitor is {name}, but val has {counts[positive]} '{positive}' and "
            f"{negatives} others: raise data.splits.val"
        )
    if not enough_negatives(name, negatives):
        raise TailproofError(
            f"recipe.monitor is {name}, which needs at least {ONE_IN[name]:,} negatives in val, "
            f"found {negatives:,}: raise data.splits.val or choose a larger rate, or tpr_at_fpr_0"
        )


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build timm's optimizer; norms and biases are not decayed.

    Raises:
        TailproofError: an unknown name or option.
    """
    config = recipe.optimizer
    if config.name not in list_optimizers():
        raise unknown_name("optimizer", config.name, list_optimizers())
    try:
        return create_optimizer_v2(
            model,
            opt=config.name,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            **config.options,
        )
    except (TypeError, ValueError, RuntimeError, AssertionError, ImportError) as error:
        raise TailproofError(
            f"recipe.optimizer: {config.name} does not take {config.options}: {error}"
        ) from error


def build_mixing(phase: Phase, world: int) -> Mixup | None:
    """Build timm's MixUp and CutMix, or None where neither is asked for.

    Each image of a batch stands for a class of its own, so that what comes out beside the images
    are the shares [B, B] that the images have in each other: labels of any rank are mixed by them.
    """
    mixing = phase.mixing
    if not (mixing.mixup or mixing.cutmix):
        return None
    return Mixup(
        mixup_alpha=mixing.mixup,
        cutmix_alpha=mixing.cutmix,
        prob=mixing.probability,
        switch_prob=mixing.switch_probability,
        label_smoothing=0.0,  # the loss smooths
        num_classes=phase.batch_size // world,
    )


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed every global generator for one step: a resumed run draws what it would have drawn.

    numpy's, from which timm's MixUp and CutMix draw, is the same on all ranks; torch's is each
    rank's own.
    """
    own, shared = np.random.SeedSequence([seed, epoch, step]).generate_state(2)[::-1]
    np.random.seed(shared)
    random.seed(int(shared))
    torch.manual_seed(int(own) + rank)


def build_loader(
    split: Split,
    recipe: Recipe,
    phase: Phase | None,
    seed: int,
    device: torch.device,
    ranks: ProcessGroup,
) -> Loader:
    """Build the loader of a phase's training (augmented, shuffled), or without one of evaluation.

    All evaluation is of one size, so that epochs can be compared.
    """
    return Loader(
        split,
        batch_size=phase.batch_size if phase else recipe.batch_size,
        image_size=phase.image_size if phase else recipe.final_size,
        normalisation=_normalisation(split, recipe),
        augmentation=phase.augmentation if phase else None,
        seed=seed,
        drop_last=recipe.drop_last,
        workers=recipe.workers,
        memory_budget=recipe.cache_gb * 2**30,
        device=device,
        rank=ranks.rank,
        world=ranks.world,
        total=ranks.sum,
    )


def sizes(split: Split, recipe: Recipe) -> list[Size]:
    """Return height and width of all images that the model is given, evaluation's first."""
    own = (split.manifest["height"], split.manifest["width"])
    sides = [recipe.final_size, *(phase.image_size for phase in recipe.timeline)]
    return list(dict.fromkeys((side, side) if side else own for side in sides))


def model_options(split: Split, recipe: Recipe) -> dict[str, Any]:
    """Return what the model is built with besides its name, classes and channels."""
    return options_for_sizes(recipe.model.name, recipe.model.options, sizes(split, recipe))


def preprocessing(split: Split, recipe: Recipe) -> dict[str, Any]:
    """Return how images become the model's input, in timm's words; it travels with the weights."""
    return {
        "input_size": [split.channels, *sizes(split, recipe)[0]],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        **_normalisation(split, recipe),
    }


def _normalisation(split: Split, recipe: Recipe) -> dict[str, list[float]]:
    """Return mean and std of each channel: as measured on train, or those that change nothing."""
    if recipe.normalize:
        return split.manifest["normalisation"]
    return {"mean": [0.0] * split.channels, "std": [1.0] * split.channels}
