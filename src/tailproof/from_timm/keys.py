"""The configuration keys that a training command sets; the only place that spells them."""

from enum import StrEnum
from typing import Any


class Key(StrEnum):
    """Dotted keys of an experiment."""

    TITLE = "title"
    SOURCE = "data.source.name"
    ROOT = "data.source.root"
    TRAIN = "data.source.train"
    TEST = "data.source.test"
    DATASET = "data.source.dataset"
    DOWNLOAD = "data.source.download"
    IMAGE_COLUMN = "data.source.image"
    RANKS = "data.source.ranks"
    MODEL = "recipe.model.name"
    WEIGHTS = "recipe.model.weights"
    MODEL_OPTIONS = "recipe.model.options"
    LOSS = "recipe.loss.name"
    LABEL_SMOOTHING = "recipe.loss.label_smoothing"
    OPTIMIZER = "recipe.optimizer.name"
    LEARNING_RATE = "recipe.optimizer.learning_rate"
    WEIGHT_DECAY = "recipe.optimizer.weight_decay"
    MOMENTUM = "recipe.optimizer.momentum"
    LAYER_DECAY = "recipe.optimizer.layer_decay"
    OPTIMIZER_OPTIONS = "recipe.optimizer.options"
    GRAD_CLIP_NORM = "recipe.grad_clip_norm"
    SCHEDULE = "recipe.schedule.name"
    WARMUP = "recipe.schedule.warmup.epochs"
    MIN_LR = "recipe.schedule.min_lr"
    MILESTONES = "recipe.schedule.milestones"
    GAMMA = "recipe.schedule.gamma"
    FACTOR = "recipe.schedule.factor"
    PATIENCE = "recipe.schedule.patience"
    EPOCHS = "recipe.epochs"
    BATCH_SIZE = "recipe.batch_size"
    DROP_LAST = "recipe.drop_last"
    GRAD_ACCUM_STEPS = "recipe.grad_accum_steps"
    IMAGE_SIZE = "recipe.image_size"
    FLIP = "recipe.augmentation.flip"
    TRANSFORMS = "recipe.augmentation.albumentations"
    MIXUP = "recipe.mixing.mixup"
    CUTMIX = "recipe.mixing.cutmix"
    MIXING_PROBABILITY = "recipe.mixing.probability"
    SWITCH_PROBABILITY = "recipe.mixing.switch_probability"
    PHASES = "recipe.phases"
    MONITOR = "recipe.monitor"
    EXPORT = "recipe.export"
    VALIDATE_EVERY = "recipe.validate_every"
    PRECISION = "recipe.precision"
    CHANNELS_LAST = "recipe.channels_last"
    EMA = "recipe.ema.decay"
    COMPILE = "recipe.compile"
    ACTIVATION_CHECKPOINTING = "recipe.activation_checkpointing"
    SYNC_BATCHNORM = "recipe.sync_batchnorm"
    DEVICES = "recipe.devices"
    NODES = "recipe.nodes"
    WORKERS = "recipe.workers"
    CHECKPOINT = "recipe.checkpoint.steps"
    EXPERTS = "experts"
    SEEDS = "seeds"


# A phase with mixing, and the phase without mixing that follows.
FIRST_PHASE = {"from_epoch": 1}
UNMIXED = {"mixing": {"mixup": 0.0, "cutmix": 0.0}}
PHASE_START = "from_epoch"

# Deliberate differences from timm, as lines of comments.
BY_DESIGN = (
    "There are six splits: train, val and calib are parts of the training folder, tune, dev and "
    "test of the test folder (data.splits). timm trains on the whole training folder.",
    f"The best epoch on val is exported ({Key.MONITOR}, {Key.EXPORT}); timm selects model_best on "
    "the images that it reports accuracy on.",
    "Pixels are normalized by the mean and std of train, or of pretrained weights. Evaluation "
    "takes the largest centre crop.",
    f"{Key.BATCH_SIZE} counts all processes together. The learning rate changes with every update "
    "and warms up from zero.",
    "Class probabilities are always calibrated on calib.",
    "To compare a long-tail loss, add an expert: "
    "'balanced_softmax: {loss: {name: balanced_softmax}}' below 'experts'.",
)


def nest(values: dict[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as a nested experiment, its keys in the order of `Key`."""
    experiment: dict[str, Any] = {}
    for path in sorted(values, key=_place):
        section = experiment
        *parents, name = path.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[name] = values[path]
    return experiment


def _place(path: str) -> int:
    return max(place for place, key in enumerate(Key) if f"{path}.".startswith(f"{key}."))
