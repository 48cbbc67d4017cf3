"""The arguments of timm's train.py (1.0): names, types, defaults, and those not translated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        name: the first long name; ``DIR`` for the positional argument.
        kind: converts a word to a value.
        default: timm's default.
        values: the number of words that follow: 0, 1, 2 or 3, ``?`` (none or one), ``+``, ``*``.
        unused: why it has no effect on the experiment if no rule translates it.
    """

    name: str
    kind: Callable[[str], Any] = str
    default: Any = None
    values: int | str = 1
    unused: str = ""


def _flag(name: str, unused: str = "") -> Argument:
    return Argument(name, default=False, values=0, unused=unused)


_STEPPED = "only --sched step uses it"
_DECAYED = "only --sched step, multistep and plateau use it"
_NO_AUG = "--no-aug turns it off"
_UNMIXED = "neither --mixup nor --cutmix is on"

_TRANSLATED = (
    Argument("DIR", unused="--data-dir takes precedence"),
    Argument("--data-dir"),
    Argument(
        "--dataset",
        default="",
        unused="no source reads this format: convert it to folders, CSV tables or parquet",
    ),
    Argument(
        "--train-split",
        default="train",
        unused="there is no such folder, or the source knows its split",
    ),
    Argument(
        "--val-split",
        default="validation",
        unused="there is no such folder, or the source knows its split",
    ),
    _flag("--dataset-download", "only CIFAR and Fashion-MNIST can be downloaded"),
    Argument("--input-key", unused="only --dataset hfds/ and hfids/ use it"),
    Argument("--target-key", unused="only --dataset hfds/ and hfids/ use it"),
    Argument("--model", default="resnet50"),
    _flag("--pretrained"),
    Argument("--initial-checkpoint", default=""),
    Argument("--pretrained-path"),
    Argument("--img-size", int, unused="--input-size takes precedence"),
    Argument("--input-size", int, values=3),
    Argument("--drop", float, 0.0),
    Argument("--drop-path", float),
    Argument("--drop-block", float),
    Argument("--gp"),
    Argument("--bn-momentum", float),
    Argument("--bn-eps", float),
    Argument("--model-kwargs", default=(), values="*", unused="it has no values"),
    Argument("--batch-size", int, 128),
    Argument("--grad-accum-steps", int, 1),
    Argument("--nproc-per-node", int, 1),
    Argument("--nnodes", int, 1),
    _flag("--channels-last"),
    _flag("--grad-checkpointing"),
    Argument("--torchcompile", values="?"),
    _flag("--amp"),
    Argument("--amp-dtype", default="float16", unused="--amp is off"),
    _flag("--sync-bn", "timm leaves it out with one process"),
    Argument("--opt", default="sgd"),
    Argument("--opt-eps", float),
    Argument("--opt-betas", float, values="+"),
    Argument("--momentum", float),
    Argument("--weight-decay", float, 2e-5),
    Argument("--layer-decay", float),
    Argument("--layer-decay-min-scale", float),
    Argument("--layer-decay-no-opt-scale", float),
    Argument("--opt-kwargs", default=(), values="*", unused="it has no values"),
    Argument("--clip-grad", float, unused="gradients are clipped by their norm only"),
    Argument("--clip-mode", default="norm", unused="gradients are clipped by their norm only"),
    Argument("--lr", float),
    Argument("--lr-base", float, 0.1, unused="--lr takes precedence"),
    Argument("--lr-base-size", int, 256, unused="--lr takes precedence"),
    Argument("--lr-base-scale", default="", unused="--lr takes precedence"),
    Argument("--sched", default="cosine", unused="no such schedule: replaced by cosine"),
    Argument("--min-lr", float, 0.0, unused="only a cosine has a lowest rate"),
    Argument("--epochs", int, 300),
    Argument("--warmup-epochs", int, 5, unused="neither 0 nor --sched none warms up"),
    _flag("--warmup-prefix", "the schedule runs over all epochs"),
    Argument("--cooldown-epochs", int, 0, unused="only a cosine has a cool-down"),
    Argument("--decay-milestones", int, (90, 180, 270), "+", "only --sched multistep uses it"),
    Argument("--decay-epochs", float, 90.0, unused=_STEPPED),
    Argument("--decay-rate", float, 0.1, unused=_DECAYED),
    Argument("--patience-epochs", int, 10, unused="only --sched plateau uses it"),
    Argument("--smoothing", float, 0.1),
    _flag("--no-aug"),
    Argument("--scale", float, (0.08, 1.0), 2, _NO_AUG),
    Argument("--ratio", float, (3 / 4, 4 / 3), 2, _NO_AUG),
    Argument(
        "--train-interpolation",
        default="random",
        unused="albumentations uses one interpolation for all crops: bicubic",
    ),
    Argument("--hflip", float, 0.5, unused=_NO_AUG),
    Argument("--vflip", float, 0.0, unused="0 or --no-aug turns it off"),
    Argument(
        "--color-jitter",
        float,
        0.4,
        unused="timm leaves it out with --aa, with --no-aug and with --color-jitter-prob 0",
    ),
    Argument("--color-jitter-prob", float, unused="there is no --color-jitter to apply"),
    Argument("--grayscale-prob", float, 0.0, unused="0 or --no-aug turns it off"),
    Argument("--gaussian-blur-prob", float, 0.0, unused="0 or --no-aug turns it off"),
    Argument("--reprob", float, 0.0, unused="0 or --no-aug turns it off"),
    Argument("--remode", default="pixel", unused="--reprob is off"),
    Argument("--mixup", float, 0.0),
    Argument("--cutmix", float, 0.0),
    Argument("--mixup-prob", float, 1.0, unused=_UNMIXED),
    Argument("--mixup-switch-prob", float, 0.5, unused=_UNMIXED),
    Argument("--mixup-off-epoch", int, 0, unused="no mixing to turn off after that epoch"),
    _flag("--model-ema"),
    Argument("--model-ema-decay", float, 0.9998, unused="--model-ema is off"),
    Argument("--seed", int, 42),
    Argument("--workers", int, 4),
    Argument("--val-interval", int),
    Argument("--recovery-interval", int, 0, unused="0 saves the state every few minutes"),
    Argument("--eval-metric", default="top1", unused="no such monitor: replaced by val_accuracy"),
    Argument("--experiment", default=""),
)

# Why an argument has no equivalent: its name, with `=` and the number of its values if it has any.
_UNTRANSLATED = {
    "timm's own policies are not offered: list RandAugment, AutoAugment or AugMix under "
    "recipe.augmentation.torchvision": "--aa=1",
    "albumentations erases one rectangle per image": "--recount=1",
    "crops are of random size and place (rrc)": "--train-crop-mode=1",
    "an epoch has as many samples as train": "--aug-repeats=1 --epoch-repeats=1",
    "the loss compares no copies of an image": ("--jsd-loss --aug-splits=1 --resplit --split-bn"),
    "the loss is over classes that exclude each other": (
        "--bce-loss --bce-sum --bce-target-thresh=1 --bce-pos-weight=1 --task=1 "
        "--target-format=1 --multilabel-threshold=1"
    ),
    "a batch is mixed as a whole": "--mixup-mode=1",
    "the size of a patch follows from --cutmix": "--cutmix-minmax=+",
    "pixels are normalized as for the pretrained weights, or else by mean and std of train": (
        "--mean=+ --std=+"
    ),
    "evaluation resizes the shorter side to the image size, as for the pretrained weights or else "
    "bicubic, and crops the centre": "--crop-pct=1 --interpolation=1 --tta=1",
    "evaluation uses the batch size of training": "--validation-batch-size=1",
    "classes and channels are those of the data": (
        "--num-classes=1 --class-map=1 --in-chans=1 --input-img-mode=1 --train-num-samples=1 "
        "--val-num-samples=1 --dataset-trust-remote-code"
    ),
    "the head starts as timm builds it": "--head-init-scale=1 --head-init-bias=1",
    "the schedule has no noise, cycles or other curves": (
        "--lr-noise=+ --lr-noise-pct=1 --lr-noise-std=1 --lr-cycle-mul=1 --lr-cycle-decay=1 "
        "--lr-cycle-limit=1 --lr-k-decay=1 --lr-decay-fn=1 --lr-stable-timescale=1"
    ),
    "the rate changes with every update": "--sched-on-updates",
    "the warm-up starts from zero": "--warmup-lr=1",
    "timm ignores it too: --drop-path has taken its place": "--drop-connect=1",
    "the average has one decay, and is kept with the model": (
        "--model-ema-force-cpu --model-ema-warmup"
    ),
    "an interrupted run resumes by itself": "--resume=1 --no-resume-opt --start-epoch=1",
    "weights are float32": "--model-dtype=1",
    "computation is torch's own": (
        "--torchscript --torchcompile-mode=1 --fuser=1 --fast-norm --amp-impl=1 --synchronize-step"
    ),
    "processes are started by Tailproof": (
        "--device=1 --device-modules=+ --local-rank=1 --no-ddp-bb --dist-bn=1"
    ),
    "loading is Tailproof's own": (
        "--worker-seeding=1 --pin-mem --no-prefetcher --use-multi-epochs-loader --save-images"
    ),
    "the folder of results holds history and weights, .state the saved states": (
        "--output=1 --log-interval=1 --checkpoint-hist=1 --log-wandb --wandb-project=1 "
        "--wandb-tags=+ --wandb-resume-id=1"
    ),
    "images are squares of one size": (
        "--naflex-loader --naflex-train-seq-lens=+ --naflex-max-seq-len=1 --naflex-patch-sizes=+ "
        "--naflex-patch-size-probs=+ --naflex-loss-scale=1"
    ),
    "a student learns from an ensemble of experts (recipe.distill), not from a model of timm": (
        "--kd-model-name=1 --kd-distill-type=1 --kd-loss-type=1 --distill-loss-weight=1 "
        "--task-loss-weight=1 --kd-temperature=1 --kd-student-feature-dim=1 "
        "--kd-teacher-feature-dim=1 --kd-token-distill-type=1"
    ),
}


def _untranslated() -> list[Argument]:
    rows = []
    for unused, names in _UNTRANSLATED.items():
        for name, _, values in (word.partition("=") for word in names.split()):
            count = int(values) if values.isdigit() else values or 0
            rows.append(Argument(name, values=count, unused=unused))
    return rows


ARGUMENTS = {argument.name: argument for argument in (*_TRANSLATED, *_untranslated())}

ALIASES = {
    "-b": "--batch-size",
    "-vb": "--validation-batch-size",
    "-j": "--workers",
    "-c": "--config",
    "-d": "--dataset",
    "--dr": "--decay-rate",
    "--local_rank": "--local-rank",
    "--native-amp": "--amp",
    "--apex-amp": "--amp",
}
