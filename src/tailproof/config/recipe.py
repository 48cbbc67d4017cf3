"""Configuration of the stage train: the recipe that one expert is trained by."""

from collections.abc import Iterable
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tailproof import losses
from tailproof.config.augmentation import Augmentation, Mixing
from tailproof.config.base import Count, OneOf, Positive, Registered, Strict
from tailproof.config.distill import Distill
from tailproof.config.frozen_backbone import Features, FrozenBackbone, HeadFeatures
from tailproof.config.head import FITTED, HEAD_DEFAULTS, RESCALED, Head
from tailproof.config.model import Model, Tune
from tailproof.config.optimizer import Cosine, Optimizer, Schedule
from tailproof.monitors import MONITORS, direction

Loss = Annotated[
    losses.Loss,
    Registered(
        losses.LOSSES,
        lambda kinds: Annotated[reduce(or_, kinds), Field(discriminator="name")],
    ),
]


Sampler = Literal["instance", "class_aware", "square_root"]


class Phase(Strict):
    """Settings that apply from an epoch on; unset fields are inherited from the recipe."""

    from_epoch: Count = Field(
        description="First epoch of the phase, from 1; the first phase must start at 1."
    )
    image_size: Count | None = Field(None, description="Side of training images in pixels.")
    augmentation: Augmentation | None = None
    mixing: Mixing | None = None
    loss: Loss | None = Field(
        None, description="Complete settings of the loss, including its name."
    )
    sampler: Sampler | None = Field(None, description="How samples are drawn.")
    batch_size: Count | None = None
    learning_rate_factor: Positive = Field(
        1.0, description="Factor on the scheduled learning rate."
    )


class WholePhase(Phase):
    """A phase with all inherited fields filled in; an image size of None is that of the data."""

    augmentation: Augmentation
    mixing: Mixing
    loss: Loss
    sampler: Sampler
    batch_size: Count


INHERITED = ("image_size", "augmentation", "mixing", "loss", "sampler", "batch_size")

KEPT_STATES = 2  # states of a run that are kept on disk

Monitor = Annotated[
    str, Registered(MONITORS, lambda monitors: Literal[tuple(monitor.name for monitor in monitors)])
]


class EarlyStopping(Strict):
    """Stop training when the monitor stops improving."""

    patience: Count = Field(
        description="Validations without an improvement of the monitor before stopping."
    )


class Ema(Strict):
    """Exponential moving average of the weights; the average is validated and exported."""

    decay: float = Field(0.9998, gt=0, lt=1, description="Decay per update.")


class Checkpoint(OneOf):
    """How often to save a run's state within epochs; set exactly one of `minutes` and `steps`."""

    minutes: Positive | None = Field(None, description="Minutes between two saved states.")
    steps: Count | None = Field(None, description="Updates between two saved states.")


ONLY_FOR_NETWORKS = (
    "image_size",
    "eval_image_size",
    "augmentation",
    "tune",
    "freeze",
    "test_views",
    "channels_last",
    "compile",
    "activation_checkpointing",
    "sync_batchnorm",
)
"""Fields of a recipe that have no meaning for a head on features."""

EXECUTION_FIELDS = ("devices", "nodes", "workers", "cache_gb", "checkpoint")


_INSTEAD = {
    "image_size": " and set features.size instead",
    "eval_image_size": " and set features.size instead",
    "augmentation": " and set features.views and features.augmentation instead",
}


class Recipe(Strict):
    """How one expert is trained. An experiment's `recipe` is the default of all its experts.

    The fields in `EXECUTION_FIELDS` affect how a run is executed, not what it learns: changing them
    makes nothing stale, and a run can resume from a state that was saved with other values.
    """

    model: Model = Model()
    features: HeadFeatures | None = Field(
        None,
        description="Train a head on features of model.weights, which stay frozen. Default: train "
        "the whole network.",
    )
    head: Head | None = Field(
        None,
        description="What is trained on features. Default if `features` is set: {kind: linear}. "
        "The defaults of `optimizer` and `epochs` are then AdamW at 0.001 and 20.",
    )
    loss: Loss = losses.CrossEntropy()
    heads: Literal["all"] | Annotated[dict[str, Positive], Field(min_length=1)] | None = Field(
        None,
        description="Taxonomic ranks that get a head: 'all' (the finest rank has half of the "
        "loss weight, the others share the rest), or a mapping from rank to loss "
        "weight. Default: only the target rank.",
    )
    tune: Tune | None = None
    freeze: list[str] | None = Field(
        None,
        description="Stages of the pretrained network that stay frozen, e.g. [conv_stem, "
        "blocks.0], or [blocks] for a whole list. Default: with tune, all but the head; "
        "otherwise none.",
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Cosine()
    epochs: Count = Field(200, description="Number of training epochs.")
    batch_size: Count = Field(
        128, description="Images per update, over all GPUs and nodes together."
    )
    drop_last: bool = Field(
        False, description="Drop the last batch of an epoch if it is smaller than the others."
    )
    image_size: Count | None = Field(
        None,
        description="Side of training images in pixels. Default: that of the backbone if it "
        "normalizes, else their original size, which must be the same for all images.",
    )
    eval_image_size: Count | None = Field(
        None,
        description="Side of the images in validation and inference, in pixels. Default: the size "
        "in the last phase of training.",
    )
    test_views: Literal["flip", "five_crops", "ten_crops"] | None = Field(
        None,
        description="In validation and inference, average the logits of an image and its mirror "
        "image, or of five crops (centre and corners) as large as the training "
        "images, or of these and their mirror images. Crops need an eval_image_size "
        "above image_size.",
    )
    normalize: bool | Literal["backbone"] | None = Field(
        None,
        description="backbone: normalize pixels as for model.weights, with their mean, std, "
        "interpolation and default image size. true: by mean and std of each channel on the "
        "training split. false: 8-bit pixels are scaled to [0, 1], others are left unchanged. "
        "Default: backbone with model.weights, else true.",
    )
    augmentation: Augmentation = Augmentation()
    mixing: Mixing = Mixing()
    distill: Distill | None = Field(
        None,
        description="Make the expert a student of the ensemble of the other experts. Default: it "
        "learns from labels alone.",
    )
    sampler: Sampler = Field(
        "instance",
        description="How the samples of an epoch are drawn, always as many as train has. instance: "
        "each once. class_aware: equally many of each class. square_root: each class in "
        "proportion to the square root of its size. Classes are those of the target rank.",
    )
    phases: list[Phase] = Field(
        [],
        description="Changes of image size, augmentation, mixing, loss, sampler or batch size at "
        "given epochs.",
    )
    monitor: Monitor = Field(
        "val_balanced_accuracy",
        description="Column of history.csv that selects the best epoch. val_auroc, tpr_at_fpr_* "
        "and fpr_at_tpr_* need a binary task.",
    )
    export: Literal["last", "best"] = Field(
        "last", description="Export the weights of the last epoch, or of the best one by `monitor`."
    )
    validate_every: Count = Field(
        1, description="Epochs between validations; the last epoch is always validated."
    )
    early_stopping: EarlyStopping | None = None
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32", description="Compute precision; auto is bf16 if the device supports it, else fp32."
    )
    channels_last: bool = Field(False, description="Use the channels_last memory format.")
    grad_accum_steps: Count = Field(
        1,
        description="Split each batch into this many parts, and accumulate gradients, to save "
        "memory.",
    )
    grad_clip_norm: Positive | None = Field(
        None, description="Clip the gradient to this norm. Default: no clipping."
    )
    ema: Ema | None = None
    compile: bool = Field(False, description="Use torch.compile; the first epoch is slower.")
    activation_checkpointing: bool = Field(
        False,
        description="Recompute activations in the backward pass to save memory; timm models only.",
    )
    sync_batchnorm: bool = Field(False, description="Compute batch statistics over all GPUs.")
    resume_from: str | None = Field(
        None,
        description="Resume from the newest state in the folder with this name below .state/train, "
        "even if the recipe or the code has changed since.",
    )
    threads: Count = Field(
        1, description="CPU threads per process; results depend on it in the last bits."
    )
    devices: Count = Field(1, description="Processes per node: one per GPU, if there are GPUs.")
    nodes: Count = Field(1, description="Cluster nodes that train one expert together.")
    workers: int = Field(0, ge=0, description="Loader workers per training process.")
    checkpoint: Checkpoint = Field(
        Checkpoint(minutes=5.0), description="Default: save the state every 5 minutes."
    )
    cache_gb: float = Field(
        2.0,
        ge=0,
        description="Memory in GiB for decoded images; a split that does not fit is streamed.",
    )

    def result_fields(self) -> dict[str, Any]:
        """Return, as plain values, the fields that affect what is learnt."""
        return self.model_dump(mode="json", exclude=set(EXECUTION_FIELDS))

    def execution_fields(self) -> dict[str, Any]:
        """Return, as plain values, the fields that affect only how the run is executed."""
        return self.model_dump(mode="json", include=set(EXECUTION_FIELDS))

    @property
    def timeline(self) -> list[WholePhase]:
        """The phases with all inherited fields filled in; a single phase if none are configured."""
        inherited = {name: getattr(self, name) for name in INHERITED}
        return [
            WholePhase.model_construct(
                **inherited | {name: value for name, value in phase if value is not None}
            )
            for phase in self.phases or [Phase(from_epoch=1)]
        ]

    @property
    def final_size(self) -> int | None:
        """Side of the images in validation and inference; None is their original size."""
        return self.eval_image_size or self.timeline[-1].image_size

    @property
    def final_loss(self) -> Loss:
        """The loss that every validation measures."""
        return self.timeline[-1].loss

    @property
    def as_backbone(self) -> bool:
        """Whether images are prepared as for the weights that training starts from."""
        return self.normalize == "backbone" or (
            self.normalize is None and self.model.weights is not None
        )

    @property
    def normalize_as(self) -> bool | str:
        """`normalize` with its default filled in."""
        return "backbone" if self.as_backbone else self.normalize is not False

    @property
    def models(self) -> list[Model]:
        """The networks that weights are read of: `model`, and the further backbones."""
        concat = self.features.concat if self.features else []
        return [self.model, *(backbone.model for backbone in concat)]

    @property
    def backbones(self) -> list[FrozenBackbone]:
        """The backbones of a head, in the order of their features; none of a network."""
        if self.features is None:
            return []
        shared = {name: getattr(self.features, name) for name in Features.model_fields}
        first = FrozenBackbone(self.model, self.normalize_as, Features(**shared))
        others = [
            FrozenBackbone(
                backbone.model,
                backbone.normalize,
                Features(**shared | {"size": backbone.size, "layers": backbone.layers}),
            )
            for backbone in self.features.concat
        ]
        return [first, *others]

    @property
    def monitor_sign(self) -> float:
        """1 if a higher value of the monitor is better, -1 if a lower one is."""
        return direction(self.monitor)

    @property
    def is_fitted(self) -> bool:
        """Whether the expert is a head that is computed in one pass, without a loss."""
        return isinstance(self.head, FITTED)

    @model_validator(mode="before")
    @classmethod
    def _heads_have_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("features") is None:
            return value
        value = HEAD_DEFAULTS | {
            key: field for key, field in value.items() if (key, field) != ("head", None)
        }
        given, default = value["optimizer"], HEAD_DEFAULTS["optimizer"]
        if isinstance(given, dict) and given.get("name", default["name"]) == default["name"]:
            value["optimizer"] = default | given
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        self._check_order()
        self._check_weights()
        self._check_features()
        self._check_views()
        if self.sync_batchnorm and self.grad_accum_steps > 1 and not self.drop_last:
            raise ValueError(
                "sync_batchnorm with grad_accum_steps above 1 needs batches of equal size, found "
                "'drop_last: false': set 'drop_last: true'"
            )
        for number, phase in enumerate(self.timeline, start=1):
            self._check_batches(phase, f"phase {number}: " if self.phases else "")
        return self

    def _check_weights(self) -> None:
        if self.normalize == "backbone" and not self.model.weights:
            raise ValueError(
                "normalize is backbone, but model.weights is not set: set model.weights, or set "
                "normalize to true"
            )

        for field in ("tune", "freeze"):
            if getattr(self, field) and not self.model.weights:
                raise ValueError(
                    f"{field} freezes weights, but model.weights is not set, and frozen random "
                    f"weights are useless: set model.weights, or remove {field}"
                )

    def _check_features(self) -> None:
        if self.features is None:
            if self.head is not None:
                raise ValueError(
                    "head is trained on features, but features is not set: set features and "
                    "model.weights, or remove head"
                )
            return
        if not self.model.weights:
            raise ValueError(
                "features need a pretrained backbone, but model.weights is not set: set "
                "model.weights, or remove features"
            )
        self._check_backbones()
        fields = type(self).model_fields
        for name in ONLY_FOR_NETWORKS:
            if getattr(self, name) != fields[name].default:
                raise ValueError(
                    f"{name} is only for networks that are trained on images, but features is "
                    "set, so a head is trained on features: remove "
                    f"{name}{_INSTEAD.get(name, '')}, or remove features"
                )
        for phase in self.phases:
            if phase.image_size or phase.augmentation:
                raise ValueError(
                    "image_size and augmentation of phases are only for networks that are "
                    "trained on images, but features is set: remove them"
                )
        if self.precision in ("bf16", "fp16"):
            raise ValueError(
                f"precision is {self.precision}, but a head is trained in fp32: remove precision, "
                "or set features.precision instead, in which the features are computed"
            )
        if self.optimizer.layer_decay or self.optimizer.head_learning_rate_factor != 1:
            raise ValueError(
                "optimizer.layer_decay and optimizer.head_learning_rate_factor are only for "
                "whole networks, but features is set, so only a head is trained: remove them"
            )
        if self.devices * self.nodes > 1:
            raise ValueError(
                f"devices × nodes is {self.devices} × {self.nodes}, but a single process trains a "
                "head: set both to 1"
            )
        if self.distill and isinstance(self.head, FITTED):
            raise ValueError(
                f"distill is part of a loss, but the head '{self.head.kind}' is computed without "
                "a loss: choose the head linear, cosine or mlp, or remove distill"
            )
        if any(phase.mixing.cutmix for phase in self.timeline):
            raise ValueError(
                "mixing.cutmix needs images, but features is set: remove cutmix, or use mixup"
            )

    def _check_backbones(self) -> None:
        backbones = self.backbones
        if len(backbones) > 1 and isinstance(self.head, RESCALED):
            raise ValueError(
                f"head.kind is {self.head.kind}, which rescales the classifier of one backbone, "
                "but features.concat names further ones: remove concat, or choose another kind"
            )
        for place, backbone in enumerate(backbones):
            if backbone in backbones[:place]:
                raise ValueError(
                    f"features.concat[{place - 1}] is '{backbone.model.name}' with the weights "
                    f"{backbone.model.weights} again, and repeated features add no information: "
                    "remove this entry, or change its weights, size, layers or normalize"
                )

    def _check_views(self) -> None:
        if self.test_views in (None, "flip"):
            return
        size = self.timeline[-1].image_size
        if self.eval_image_size is None or self.eval_image_size <= (size or 0):
            raise ValueError(
                f"test_views is {self.test_views}, which cuts crops as large as the training "
                "images out of larger ones, but eval_image_size is "
                f"{self.eval_image_size or 'unset'} and image_size is {size or 'unset'}: set "
                "eval_image_size to more than image_size, for example to 8/7 of it"
            )

    def _check_order(self) -> None:
        starts = [phase.from_epoch for phase in self.phases]
        if starts and starts[0] != 1:
            raise ValueError(
                f"phases[0].from_epoch is {starts[0]}, expected 1: the first phase starts training"
            )
        for number, (before, start) in enumerate(pairwise(starts), start=2):
            if start <= before:
                raise ValueError(
                    f"phase {number} starts at epoch {start}, expected more than {before}, where "
                    f"phase {number - 1} starts: list the phases in increasing order of from_epoch"
                )
        if starts and starts[-1] > self.epochs:
            raise ValueError(
                f"phase {len(starts)} starts at epoch {starts[-1]}, expected at most epochs, which "
                f"is {self.epochs}: raise epochs or remove the phase"
            )

    def _check_batches(self, phase: WholePhase, where: str) -> None:
        ranks = self.devices * self.nodes
        if phase.batch_size % ranks:
            raise ValueError(
                f"{where}batch_size is {phase.batch_size}, expected a multiple of {ranks} "
                f"(devices × nodes = {self.devices} × {self.nodes}), because all processes share "
                "each batch"
            )
        if (phase.mixing.mixup or phase.mixing.cutmix) and not (
            self.drop_last and phase.batch_size % (2 * ranks) == 0
        ):
            raise ValueError(
                f"{where}mixup and cutmix pair images within a batch, expected 'drop_last: true' "
                f"and a batch_size that is a multiple of {2 * ranks}, found 'drop_last: "
                f"{str(self.drop_last).lower()}' and a batch_size of {phase.batch_size}: set them"
            )


def pretrained_models(recipes: Iterable[Recipe]) -> dict[str, Model]:
    """Return the models that start from pretrained weights, by the key of the weights."""
    models = [model for recipe in recipes for model in recipe.models]
    return {key: model for model in models if (key := model.weights_key)}
