"""Rules that translate the arguments of train.py to the settings of a recipe."""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tailproof.config.weights import HUB
from tailproof.from_timm.command import Command
from tailproof.from_timm.keys import FIRST_PHASE, PHASE_START, UNMIXED, Key
from tailproof.from_timm.registry import check_model, default_side
from tailproof.runtime.errors import TailproofError, unknown_name


@dataclass(frozen=True)
class Setting:
    """A value in the experiment and the arguments that it is derived from."""

    key: str
    value: Any
    source: tuple[str, ...] = ()


# Arguments whose value is used unchanged; omitted if the command does not give them.
_SAME = {
    "--experiment": Key.TITLE,
    "--drop": f"{Key.MODEL_OPTIONS}.drop_rate",
    "--drop-path": f"{Key.MODEL_OPTIONS}.drop_path_rate",
    "--drop-block": f"{Key.MODEL_OPTIONS}.drop_block_rate",
    "--gp": f"{Key.MODEL_OPTIONS}.global_pool",
    "--bn-momentum": f"{Key.MODEL_OPTIONS}.bn_momentum",
    "--bn-eps": f"{Key.MODEL_OPTIONS}.bn_eps",
    "--momentum": Key.MOMENTUM,
    "--opt-eps": f"{Key.OPTIMIZER_OPTIONS}.eps",
    "--opt-betas": f"{Key.OPTIMIZER_OPTIONS}.betas",
    "--layer-decay": Key.LAYER_DECAY,
    "--layer-decay-min-scale": f"{Key.OPTIMIZER_OPTIONS}.layer_decay_min_scale",
    "--layer-decay-no-opt-scale": f"{Key.OPTIMIZER_OPTIONS}.layer_decay_no_opt_scale",
    "--channels-last": Key.CHANNELS_LAST,
    "--grad-checkpointing": Key.ACTIVATION_CHECKPOINTING,
    "--nproc-per-node": Key.DEVICES,
    "--nnodes": Key.NODES,
    "--val-interval": Key.VALIDATE_EVERY,
}

# Arguments whose default in timm differs from Tailproof's: always written.
_STATED = {
    "--weight-decay": Key.WEIGHT_DECAY,
    "--smoothing": Key.LABEL_SMOOTHING,
    "--workers": Key.WORKERS,
}

_PRECISIONS = {"float16": "fp16", "bfloat16": "bf16"}
_MONITORS = {"top1": "val_accuracy", "loss": "val_loss"}
_INTERPOLATIONS = {"bilinear": 1, "bicubic": 2, "lanczos": 4}  # OpenCV's numbers
_FILLS = {"pixel": "random", "rand": "random_uniform", "const": [124, 116, 104]}  # ImageNet's mean
_CURVES = ("cosine", "tanh", "poly", "wsd", "rsqrt")
_SCHEDULES = (*_CURVES, "step", "multistep", "plateau", "constant", "none")


def recipe_settings(timm: Command) -> Iterator[Setting]:
    """Yield the settings of a command, except those of the data.

    Raises:
        TailproofError: arguments contradict each other, or a value is out of range.
    """
    yield from _model(timm)
    for name, key in _SAME.items():
        if name in timm:
            yield Setting(key, timm[name], (name,))
    for name, key in _STATED.items():
        yield Setting(key, timm[name], (name,))
    yield Setting(Key.LOSS, "cross_entropy")
    yield from _batches(timm)
    yield from _optimizer(timm)
    yield from _schedule(timm)
    yield from _augmentation(timm)
    yield from _mixing(timm)
    yield from _evaluation(timm)
    yield from _computation(timm)
    yield Setting(Key.SEEDS, [timm["--seed"]], ("--seed",))


def _processes(timm: Command) -> int:
    return timm["--nproc-per-node"] * timm["--nnodes"]


def _model(timm: Command) -> Iterator[Setting]:
    name = timm["--model"]
    for prefix in ("hf-hub:", "hf_hub:", "timm/"):
        name = name.removeprefix(prefix)
    check_model(name)
    yield Setting(Key.MODEL, name, ("--model",))
    for option, value in _options(timm, "--model-kwargs"):
        yield Setting(f"{Key.MODEL_OPTIONS}.{option}", value, ("--model-kwargs",))
    named = ("--pretrained", "--pretrained-path", "--initial-checkpoint")
    if given := tuple(argument for argument in named if timm[argument]):
        last = given[-1]  # timm reads them one after the other
        yield Setting(Key.WEIGHTS, HUB if last == "--pretrained" else timm[last], given)
    if "--input-size" in timm:
        _, height, width = timm["--input-size"]
        if height != width:
            raise TailproofError(
                f"--input-size is {height} by {width}, but recipe.image_size is the side of a "
                "square: replace --input-size by --img-size N"
            )
        yield Setting(Key.IMAGE_SIZE, height, ("--input-size",))
    elif "--img-size" in timm:
        yield Setting(Key.IMAGE_SIZE, timm["--img-size"], ("--img-size",))
    else:
        yield Setting(Key.IMAGE_SIZE, default_side(name), ("--model",))


def _options(timm: Command, argument: str) -> Iterator[tuple[str, Any]]:
    for word in timm[argument]:
        option, equals, text = word.partition("=")
        if not (equals and option.isidentifier()):
            raise TailproofError(f"{argument} has '{word}', expected NAME=VALUE")
        try:
            yield option, json.loads(json.dumps(ast.literal_eval(text)))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            yield option, text  # as timm does


def _batches(timm: Command) -> Iterator[Setting]:
    parts = max(1, timm["--grad-accum-steps"])
    yield Setting(
        Key.BATCH_SIZE, timm["--batch-size"] * _processes(timm) * parts, ("--batch-size",)
    )
    yield Setting(Key.DROP_LAST, True)
    if "--grad-accum-steps" in timm:
        yield Setting(Key.GRAD_ACCUM_STEPS, parts, ("--grad-accum-steps",))


def _optimizer(timm: Command) -> Iterator[Setting]:
    name = timm["--opt"].lower()
    if name.startswith("lookahead_"):
        raise TailproofError(
            f"--opt {name}: lookahead is not supported: use --opt {name.removeprefix('lookahead_')}"
        )
    yield Setting(Key.OPTIMIZER, name, ("--opt",))
    for option, value in _options(timm, "--opt-kwargs"):
        yield Setting(f"{Key.OPTIMIZER_OPTIONS}.{option}", value, ("--opt-kwargs",))
    if timm["--lr"]:
        yield Setting(Key.LEARNING_RATE, timm["--lr"], ("--lr",))
    else:
        scale = timm["--lr-base-scale"] or (
            "sqrt" if any(kind in name for kind in ("ada", "lamb")) else "linear"
        )
        batch = timm["--batch-size"] * _processes(timm) * max(1, timm["--grad-accum-steps"])
        if timm["--lr-base-size"] < 1 or batch < 1:
            raise TailproofError(
                f"--batch-size times the number of processes is {batch} and --lr-base-size is "
                f"{timm['--lr-base-size']}, expected at least 1 each"
            )
        ratio = (batch / timm["--lr-base-size"]) ** (0.5 if scale == "sqrt" else 1)
        source = ("--lr-base", "--lr-base-size", "--lr-base-scale", "--lr")
        yield Setting(Key.LEARNING_RATE, timm["--lr-base"] * ratio, source)
    if timm["--clip-grad"] is not None and timm["--clip-mode"] == "norm":
        yield Setting(Key.GRAD_CLIP_NORM, timm["--clip-grad"], ("--clip-grad", "--clip-mode"))


def _schedule(timm: Command) -> Iterator[Setting]:
    name, warmup = timm["--sched"], timm["--warmup-epochs"]
    if name not in _SCHEDULES:
        raise unknown_name("--sched", name, _SCHEDULES)
    extra = {}  # epochs that timm adds
    if name in _CURVES:
        yield Setting(Key.SCHEDULE, "cosine", ("--sched",) if name == "cosine" else ())
        yield Setting(Key.MIN_LR, timm["--min-lr"], ("--min-lr",))
        extra["--cooldown-epochs"] = timm["--cooldown-epochs"]
    elif name in ("step", "multistep"):
        yield Setting(Key.SCHEDULE, "multistep", ("--sched",))
        yield from _milestones(timm)
        yield Setting(Key.GAMMA, timm["--decay-rate"], ("--decay-rate",))
    elif name == "plateau":
        yield Setting(Key.SCHEDULE, "plateau", ("--sched",))
        yield Setting(Key.FACTOR, timm["--decay-rate"], ("--decay-rate",))
        # torch waits for one more than its patience
        yield Setting(Key.PATIENCE, timm["--patience-epochs"] + 1, ("--patience-epochs",))
    else:
        yield Setting(Key.SCHEDULE, "constant", ("--sched",))
    if warmup and name != "none":
        yield Setting(Key.WARMUP, warmup, ("--warmup-epochs",))
        if timm["--warmup-prefix"] and name != "plateau":
            extra["--warmup-prefix"] = warmup
    epochs = timm["--epochs"] + sum(extra.values())
    yield Setting(Key.EPOCHS, epochs, ("--epochs", *extra))


def _milestones(timm: Command) -> Iterator[Setting]:
    epochs = range(timm["--epochs"])
    if timm["--sched"] == "step":
        interval = timm["--decay-epochs"]
        if not interval >= 1:
            raise TailproofError(f"--decay-epochs is {interval}, expected 1 or more")
        drops = pairwise(epoch // interval for epoch in epochs)
        milestones = [epoch for epoch, (old, new) in enumerate(drops, 1) if new > old]
        yield Setting(Key.MILESTONES, milestones, ("--decay-epochs",))
    else:
        # timm's milestone acts one epoch early
        milestones = [milestone - 1 for milestone in timm["--decay-milestones"]]
        if milestones != sorted(set(milestones)) or milestones[0] < 1:
            found = " ".join(map(str, timm["--decay-milestones"]))
            raise TailproofError(
                f"--decay-milestones is {found}, expected increasing whole numbers of at least 2"
            )
        within = [milestone for milestone in milestones if milestone in epochs]
        yield Setting(Key.MILESTONES, within, ("--decay-milestones",))


def _augmentation(timm: Command) -> Iterator[Setting]:
    if timm["--no-aug"]:
        yield Setting(Key.FLIP, False, ("--no-aug",))
        return
    interpolation = timm["--train-interpolation"]
    crop: dict[str, Any] = {"scale": list(timm["--scale"]), "ratio": list(timm["--ratio"])}
    crop["interpolation"] = _INTERPOLATIONS.get(interpolation, _INTERPOLATIONS["bicubic"])
    crop["area_for_downscale"] = "image"  # smooth as timm's crops are, not aliased
    known = ("--train-interpolation",) if interpolation in _INTERPOLATIONS else ()
    yield _transform("RandomResizedCrop", crop, "--scale", "--ratio", *known)
    if timm["--hflip"] in (0, 0.5):
        yield Setting(Key.FLIP, timm["--hflip"] == 0.5, ("--hflip",))
    else:
        yield Setting(Key.FLIP, False)
        yield _transform("HorizontalFlip", {"p": timm["--hflip"]}, "--hflip")
    if timm["--vflip"]:
        yield _transform("VerticalFlip", {"p": timm["--vflip"]}, "--vflip")
    policy, jitter, often = timm["--aa"], timm["--color-jitter"], timm["--color-jitter-prob"]
    if jitter and often != 0 and (not policy or "3a" in policy):
        strength = [max(0.0, 1 - jitter), 1 + jitter]
        options: dict[str, Any] = dict.fromkeys(("brightness", "contrast", "saturation"), strength)
        options |= {"hue": [0.0, 0.0], "p": 1.0 if often is None else often}
        yield _transform("ColorJitter", options, "--color-jitter", "--color-jitter-prob")
    if timm["--grayscale-prob"]:
        yield _transform("ToGray", {"p": timm["--grayscale-prob"]}, "--grayscale-prob")
    if timm["--gaussian-blur-prob"]:
        options = {"blur_limit": [23, 23], "sigma_limit": [0.1, 2.0]}
        options["p"] = timm["--gaussian-blur-prob"]
        yield _transform("GaussianBlur", options, "--gaussian-blur-prob")
    if timm["--reprob"]:
        if timm["--remode"] not in _FILLS:
            raise unknown_name("--remode", timm["--remode"], _FILLS)
        options = {"scale": [0.02, 1 / 3], "ratio": [0.3, 1 / 0.3]}
        options |= {"fill": _FILLS[timm["--remode"]], "p": timm["--reprob"]}
        yield _transform("Erasing", options, "--reprob", "--remode")


def _transform(name: str, options: dict[str, Any], *source: str) -> Setting:
    return Setting(Key.TRANSFORMS, {"name": name, "options": options}, source)


def _mixing(timm: Command) -> Iterator[Setting]:
    mixup = timm["--mixup"]
    cutmix = 1.0 if timm["--cutmix-minmax"] else timm["--cutmix"]  # as timm does
    if not (mixup or cutmix):
        for name, key in (("--mixup", Key.MIXUP), ("--cutmix", Key.CUTMIX)):
            if name in timm:
                yield Setting(key, timm[name], (name,))
        return
    if timm["--batch-size"] % 2:
        raise TailproofError(
            f"--mixup and --cutmix pair images, but --batch-size is {timm['--batch-size']}: "
            "make it even"
        )
    yield Setting(Key.MIXUP, mixup, ("--mixup",))
    yield Setting(Key.CUTMIX, cutmix, ("--cutmix",))
    yield Setting(Key.MIXING_PROBABILITY, timm["--mixup-prob"], ("--mixup-prob",))
    yield Setting(Key.SWITCH_PROBABILITY, timm["--mixup-switch-prob"], ("--mixup-switch-prob",))
    last = timm["--mixup-off-epoch"]
    if 0 < last < timm["--epochs"]:
        phases = [FIRST_PHASE, {PHASE_START: last + 1, **UNMIXED}]
        yield Setting(Key.PHASES, phases, ("--mixup-off-epoch",))


def _evaluation(timm: Command) -> Iterator[Setting]:
    metric = timm["--eval-metric"]
    known = ("--eval-metric",) if metric in _MONITORS else ()
    yield Setting(Key.MONITOR, _MONITORS.get(metric, "val_accuracy"), known)
    yield Setting(Key.EXPORT, "best")
    if timm["--model-ema"]:
        yield Setting(Key.EMA, timm["--model-ema-decay"], ("--model-ema", "--model-ema-decay"))


def _computation(timm: Command) -> Iterator[Setting]:
    if timm["--amp"]:
        kind = timm["--amp-dtype"]
        if kind not in _PRECISIONS:
            raise unknown_name("--amp-dtype", kind, _PRECISIONS)
        yield Setting(Key.PRECISION, _PRECISIONS[kind], ("--amp", "--amp-dtype"))
    if "--torchcompile" in timm:
        yield Setting(Key.COMPILE, True, ("--torchcompile",))
    if timm["--sync-bn"] and _processes(timm) > 1:
        yield Setting(Key.SYNC_BATCHNORM, True, ("--sync-bn",))
    if timm["--recovery-interval"]:
        yield Setting(Key.CHECKPOINT, timm["--recovery-interval"], ("--recovery-interval",))
