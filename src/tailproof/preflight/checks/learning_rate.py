"""Checks of the learning rate: warm-up, size and schedule."""

import re
from typing import NamedTuple

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.registry import check, each_trained_recipe
from tailproof.schedules import Phases, final_rate, peak_rate

TRANSFORMER = re.compile(r"vit|deit|beit|swin|eva|cait|xcit|former|scanline_causal|mixer")
ENOUGH_TO_FALL = 5  # a run of this many epochs should lower its rate
WELL_WITHIN = 3  # the proposed rate is inside the bounds by this factor
FAR = 10  # a rate above the bounds by this factor is an error


class Usual(NamedTuple):
    """The usual rates for a batch size, and their source."""

    low: float
    high: float
    batch: int
    source: str


SGD = Usual(1e-4, 0.5, 256, "Goyal et al. 2017: 0.1; FFCV's ImageNet recipes: 0.5")
ADAM = Usual(1e-5, 3e-3, 256, "Kingma & Ba 2015: 1e-3; Liu et al. 2022, ConvNeXt: 2.5e-4")
ADAM_TRANSFORMER = Usual(
    1e-6, 2e-3, 512, "Touvron et al. 2021, DeiT: 5e-4; Steiner et al. 2022: 1e-3 at 4096"
)
LION = Usual(1e-6, 5e-4, 256, "Chen et al. 2023: a third to a tenth of AdamW's")
LAMB = Usual(1e-4, 1e-2, 2048, "Wightman et al. 2021: 5e-3")
RMSPROP = Usual(1e-5, 5e-2, 256, "Tan & Le 2019, EfficientNet: 0.016")
FAMILIES = {
    "sgd": SGD,
    "sgdw": SGD,
    "momentum": SGD,
    "nesterov": SGD,
    "adam": ADAM,
    "adamw": ADAM,
    "nadam": ADAM,
    "nadamw": ADAM,
    "radam": ADAM,
    "lion": LION,
    "lamb": LAMB,
    "rmsprop": RMSPROP,
    "rmsproptf": RMSPROP,
}
"""Usual rates by optimizer; others are not checked."""


def usual_rates(recipe: Recipe, batch: int) -> tuple[float, float, str] | None:
    """Return the lowest and highest usual rate for a batch size, and the source; None if unknown.

    Rates scale with the batch size (Goyal et al. 2017) or with its square root (Krizhevsky 2014);
    the bounds allow both.
    """
    usual = FAMILIES.get(recipe.optimizer.name)
    if usual is ADAM and is_transformer(recipe):
        usual = ADAM_TRANSFORMER
    if usual is None:
        return None
    scales = (batch / usual.batch, (batch / usual.batch) ** 0.5)
    return usual.low * min(scales), usual.high * max(scales), usual.source


def is_transformer(recipe: Recipe) -> bool:
    """Return whether a transformer is trained, by its name."""
    return recipe.features is None and bool(TRANSFORMER.search(recipe.model.name))


@check("short_warmup")
@each_trained_recipe
def short_warmup(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a warm-up of less than an epoch, or a transformer from random weights without one."""
    phases = Phases.of_samples(recipe, facts.samples)
    steps, epochs = phases.warmup_steps, phases.warmup_epochs
    fresh = recipe.model.weights is None
    if steps == 0 and not (fresh and is_transformer(recipe)):
        return None
    if epochs >= 1 or recipe.epochs < ENOUGH_TO_FALL:
        return None
    problem = (
        f"the warm-up of {steps} step{'s' * (steps != 1)} is {epochs:.2f} of an epoch of "
        f"{phases.steps(1)} steps"
        if steps
        else "a transformer that starts from random weights has no warm-up"
    )
    return Finding(
        "short_warmup",
        f"{problem}: warm up for 1 or 2 epochs",
        "warning",
        epochs=(1,),
        evidence={"warmup_steps": steps, "warmup_epochs": epochs, "steps": phases.steps(1)},
        change={"schedule": {"warmup": {"epochs": 1.0, "steps": None}}},
        expects="a smoother first epoch and a lower risk of divergence",
    )


@check("unusual_rate")
@each_trained_recipe
def unusual_rate(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a rate far outside the usual range for optimizer, network and batch size."""
    phases = Phases.of_samples(recipe, facts.samples)
    rate, batch = peak_rate(recipe, phases)
    usual = usual_rates(recipe, batch)
    if usual is None or usual[0] <= rate <= usual[1]:
        return None
    low, high, source = usual
    last = final_rate(recipe, phases)
    word, better = ("high", high / WELL_WITHIN) if rate > high else ("low", low * WELL_WITHIN)
    better *= recipe.optimizer.learning_rate / rate  # the factor of a phase stays
    falls = f"; the schedule lowers it to {last:.2g}" if last < rate / 2 else ""
    return Finding(
        "unusual_rate",
        f"a learning rate of {rate:.3g} is {word} for {recipe.optimizer.name} and batch size "
        f"{batch}: {low:.1g} to {high:.2g} is usual{falls}",
        "error" if rate > FAR * high else "warning",
        evidence={
            "learning_rate": rate,
            "batch_size": batch,
            "usual": [low, high],
            "last_learning_rate": last,
            "source": source,
        },
        confidence=0.7 if last < rate / 100 else 0.85,
        change={"optimizer": {"learning_rate": float(f"{better:.2g}")}},
        expects="a loss that falls smoothly",
    )


@check("no_schedule")
@each_trained_recipe
def no_schedule(recipe: Recipe, _: ExperimentFacts) -> Finding | None:
    """Find a rate that stays constant."""
    constant = recipe.schedule.name == "constant"
    still = recipe.schedule.name == "multistep" and not recipe.schedule.milestones
    if not (constant or still) or recipe.epochs < ENOUGH_TO_FALL:
        return None
    if len({phase.learning_rate_factor for phase in recipe.timeline}) > 1:
        return None
    warmup = recipe.schedule.warmup
    same_warmup = warmup.model_dump(mode="json") if warmup else None
    return Finding(
        "no_schedule",
        f"the learning rate stays at {recipe.optimizer.learning_rate:.3g} in all "
        f"{recipe.epochs} epochs: use a schedule that lowers it",
        "warning",
        evidence={"learning_rate": recipe.optimizer.learning_rate, "epochs": recipe.epochs},
        change={"schedule": {"name": "cosine", "warmup": same_warmup}},
        expects="less noise and a higher accuracy at the end",
    )
