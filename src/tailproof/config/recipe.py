"""Configuration of the stage train: how one expert is trained."""

from functools import reduce
from itertools import pairwise
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tailproof import losses
from tailproof.config.base import Count, Fraction, OneOf, Positive, Registered, Strict
from tailproof.monitors import MONITORS, direction


class Model(Strict):
    """Any model of timm's registry; `cifar_resnet32` and its kin are added to it by tailproof."""

    name: str = "cifar_resnet32"
    pretrained: bool = False
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Passed to the model, e.g. {classifier: cosine} or {drop_path_rate: 0.1}.",
    )


Loss = Annotated[
    losses.Loss,
    Registered(
        losses.LOSSES,
        lambda kinds: Annotated[reduce(or_, kinds), Field(discriminator="name")],
    ),
]


class Optimizer(Strict):
    """Any optimizer of timm.optim; `sgd` is SGD with Nesterov momentum."""

    name: str = "sgd"
    learning_rate: Positive = 0.1
    weight_decay: float = Field(5e-4, ge=0, description="Not applied to norms and biases.")
    momentum: float = Field(0.9, ge=0, lt=1)
    options: dict[str, Any] = Field(default_factory=dict)


class Warmup(OneOf):
    """A linear warm-up from zero over so many epochs or so many steps, exactly one of them."""

    epochs: Positive | None = None
    steps: Count | None = None


class Constant(Strict):
    """The same rate throughout."""

    name: Literal["constant"]
    warmup: Warmup | None = None


class Multistep(Strict):
    """The rate times gamma after each milestone (in epochs)."""

    name: Literal["multistep"]
    milestones: list[Count]
    gamma: Positive = 0.1
    warmup: Warmup | None = None


class Cosine(Strict):
    """Half a cosine from the rate down to `min_lr` at the last step."""

    name: Literal["cosine"] = "cosine"
    min_lr: float = Field(0.0, ge=0)
    warmup: Warmup | None = None


class Plateau(Strict):
    """The rate times factor when the recipe's monitored metric has not improved for so long."""

    name: Literal["plateau"]
    factor: Positive = 0.1
    patience: Count = Field(10, description="In validations.")
    warmup: Warmup | None = None


Schedule = Annotated[Constant | Multistep | Cosine | Plateau, Field(discriminator="name")]


class Transform(Strict):
    """One albumentations transform by class name, e.g. {name: ColorJitter, options: {p: 0.5}}."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Augmentation(Strict):
    """What happens to training images, the same whether they are kept in memory or streamed."""

    crop_padding: int = Field(0, ge=0, description="Pad by so many black pixels, crop back.")
    flip: bool = Field(False, description="Mirror left to right with probability 0.5.")
    cutout: int = Field(0, ge=0, description="Side of a square of mean colour, in pixels.")
    line_dropout: Fraction = Field(0.0, description="Share of lines set to the mean, each alone.")
    noise: float = Field(
        0.0,
        ge=0,
        description="Gaussian, in the standard deviation of the normalised pixels. Meant for small "
        "arrays: large pictures have GaussNoise among the albumentations.",
    )
    albumentations: list[Transform] = Field(
        default_factory=list, description="Run for each image in workers, before the above."
    )


class Mixing(Strict):
    """MixUp and CutMix, done by timm."""

    mixup: float = Field(0.0, ge=0, description="alpha of the Beta distribution; 0 is off.")
    cutmix: float = Field(0.0, ge=0, description="alpha of the Beta distribution; 0 is off.")
    probability: Fraction = 1.0
    switch_probability: Fraction = Field(0.5, description="Of CutMix where both are on.")


class Phase(Strict):
    """What training changes from an epoch on; what a phase leaves out is as the recipe says."""

    from_epoch: Count = Field(
        description="Its first epoch, counted from 1; the first phase's is 1."
    )
    image_size: Count | None = Field(None, description="Side of the images trained on, in pixels.")
    augmentation: Augmentation | None = None
    mixing: Mixing | None = None
    batch_size: Count | None = None
    learning_rate_factor: Positive = Field(1.0, description="Times the schedule's rate.")


INHERITED = ("image_size", "augmentation", "mixing", "batch_size")

KEPT_STATES = 2  # of a run, on disk

Monitor = Annotated[
    str, Registered(MONITORS, lambda monitors: Literal[tuple(each.name for each in monitors)])
]


class EarlyStopping(Strict):
    """Stop after `patience` validations without a better value of the recipe's monitor."""

    patience: Count


class Ema(Strict):
    """An exponential moving average of the weights, which is then validated and exported."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.9998


class Checkpoint(OneOf):
    """How often a run's state is saved besides the ends of epochs: so many minutes or steps."""

    minutes: Positive | None = None
    steps: Count | None = None


EXECUTION_FIELDS = ("devices", "nodes", "workers", "cache_gb", "checkpoint")


class Recipe(Strict):
    """How one expert is trained. An experiment's `recipe` is the default of all its experts.

    Fields named in `EXECUTION_FIELDS` say how a run is carried out, not what it learns: a
    change of them makes nothing stale, and a run resumes from a state made with others.
    """

    model: Model = Model()
    loss: Loss = losses.CrossEntropy()
    heads: Literal["all"] | Annotated[dict[str, Positive], Field(min_length=1)] | None = Field(
        None,
        description="Taxonomic ranks that the model has a head for: all, half of the loss on the "
        "finest, or each with its weight in the loss; by default the target alone.",
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Cosine()
    epochs: Count = 200
    batch_size: Count = 128
    drop_last: bool = Field(False, description="Leave out an epoch's last, smaller batch.")
    image_size: Count | None = Field(
        None, description="Side in pixels; by default the images' own size, if they all share it."
    )
    eval_image_size: Count | None = Field(
        None,
        description="Side of the images validated and inferred on, where it is not the last "
        "phase's.",
    )
    normalize: bool = Field(
        True,
        description="By mean and std of the training split; else 8-bit pixels are in [0, 1] and "
        "others as they are.",
    )
    augmentation: Augmentation = Augmentation()
    mixing: Mixing = Mixing()
    phases: list[Phase] = Field(
        [], description="Sizes, augmentation and more that change at some epochs."
    )
    monitor: Monitor = Field(
        "val_balanced_accuracy",
        description="Which column of history.csv chooses the best epoch; those from val_auroc on "
        "are for two classes.",
    )
    export: Literal["last", "best"] = Field(
        "last", description="Which epoch's weights are exported: the last, or the best by monitor."
    )
    validate_every: Count = Field(1, description="In epochs; the last one always is validated.")
    early_stopping: EarlyStopping | None = None
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32", description="auto: bf16 where the device computes in it, found by a probe."
    )
    channels_last: bool = False
    grad_accum_steps: Count = Field(
        1, description="Parts that a batch is computed in, one after the other, to save memory."
    )
    grad_clip_norm: Positive | None = Field(
        None, description="Largest norm of an update's gradient."
    )
    ema: Ema | None = None
    compile: bool = Field(False, description="Through torch.compile; slow to start.")
    activation_checkpointing: bool = Field(
        False, description="Compute activations twice to save memory, in timm models that can."
    )
    sync_batchnorm: bool = Field(False, description="Batch statistics over all GPUs.")
    init_from: str | None = Field(
        None,
        description="Weights to start from: an expert's folder, a .safetensors file, a state.",
    )
    resume_from: str | None = Field(
        None, description="Go on from the state with this key, whatever has changed since."
    )
    threads: Count = Field(1, description="CPU threads; other counts give other last bits.")
    devices: Count = Field(1, description="Processes a node, one a GPU where there are GPUs.")
    nodes: Count = Field(1, description="Nodes of the cluster that train one expert together.")
    workers: int = Field(0, ge=0, description="Loader processes of each training process.")
    checkpoint: Checkpoint = Checkpoint(minutes=5.0)
    cache_gb: float = Field(
        2.0, ge=0, description="Splits that decode to less are kept in memory, others streamed."
    )

    def result_fields(self) -> dict[str, Any]:
        """Return, as plain values, the fields that decide what is learnt."""
        return self.model_dump(mode="json", exclude=set(EXECUTION_FIELDS))

    def execution_fields(self) -> dict[str, Any]:
        """Return, as plain values, the fields that decide only how the run is carried out."""
        return self.model_dump(mode="json", include=set(EXECUTION_FIELDS))

    @property
    def timeline(self) -> list[Phase]:
        """The phases, nothing left out that the recipe says; without phases one long one."""
        return [
            phase.model_copy(
                update={
                    name: getattr(self, name) for name in INHERITED if getattr(phase, name) is None
                }
            )
            for phase in self.phases or [Phase(from_epoch=1)]
        ]

    @property
    def final_size(self) -> int | None:
        """Side of the images that are validated and inferred on; None is the images' own."""
        return self.eval_image_size or self.timeline[-1].image_size

    @property
    def initial_weights(self) -> Path | None:
        """The file that `init_from` names, by itself or as an expert's folder."""
        if self.init_from is None:
            return None
        path = Path(self.init_from)
        return path if path.suffix in (".safetensors", ".pt") else path / "model.safetensors"

    @property
    def monitor_sign(self) -> float:
        """1 where a higher value of the monitor is better, -1 where a lower one is."""
        return direction(self.monitor)

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        self._check_order()
        if self.sync_batchnorm and self.grad_accum_steps > 1 and not self.drop_last:
            raise ValueError(
                "sync_batchnorm with grad_accum_steps needs batches of one size: "
                "set 'drop_last: true'"
            )
        for number, phase in enumerate(self.timeline, start=1):
            self._check_batches(phase, f"phase {number}: " if self.phases else "")
        return self

    def _check_order(self) -> None:
        starts = [phase.from_epoch for phase in self.phases]
        if starts and starts[0] != 1:
            raise ValueError(
                f"the first phase starts at epoch {starts[0]}: set its from_epoch to 1"
            )
        for number, (before, start) in enumerate(pairwise(starts), start=2):
            if start <= before:
                raise ValueError(
                    f"phase {number} starts at epoch {start}, phase {number - 1} at {before}: each "
                    "lasts until the next one starts, so name them in the order of their epochs, "
                    "no two from the same"
                )
        if starts and starts[-1] > self.epochs:
            raise ValueError(
                f"phase {len(starts)} starts at epoch {starts[-1]}, after the last: raise epochs, "
                f"which is {self.epochs}, or leave it out"
            )

    def _check_batches(self, phase: Phase, where: str) -> None:
        ranks = self.devices * self.nodes
        if phase.batch_size % ranks:
            raise ValueError(
                f"{where}batch_size is the batch of all processes together: {phase.batch_size} "
                f"cannot be shared by {self.devices} devices on {self.nodes} nodes"
            )
        if (phase.mixing.mixup or phase.mixing.cutmix) and not (
            self.drop_last and phase.batch_size % (2 * ranks) == 0
        ):
            raise ValueError(
                f"{where}mixup and cutmix pair images: set 'drop_last: true', a batch_size that "
                f"divides by {2 * ranks}"
            )
