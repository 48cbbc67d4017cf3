"""Checks of image preprocessing: normalization, augmentation and sizes."""

from typing import Any

from tailproof.config.equivalence import bare_phases
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.registry import check, each_recipe, reports

FIRST_SHARE = 0.2  # the first of growing sizes should have this share of the epochs


@check("no_normalization")
@each_recipe
def no_normalization(recipe: Recipe, _: ExperimentFacts) -> Finding | None:
    """Find images without normalization."""
    if recipe.normalize is not False:
        return None
    return Finding(
        "no_normalization",
        "images are not normalized",
        "warning",
        evidence={"normalize": False},
        change={"normalize": True},
        expects="a faster start",
    )


@check("weights_of_other_images")
@each_recipe
def weights_of_other_images(recipe: Recipe, _: ExperimentFacts) -> Finding | None:
    """Find pretrained weights that see images normalized in another way than they learnt."""
    if recipe.model.weights is None or recipe.as_backbone:
        return None
    return Finding(
        "weights_of_other_images",
        "images are not normalized as for the pretrained weights",
        "warning",
        evidence={"normalize": recipe.normalize},
        change={"normalize": "backbone"},
        expects="better features from the first epoch on",
    )


@check("blank_images")
@each_recipe
def blank_images(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find built-in augmentations that are as large as the images."""
    for phase in recipe.timeline:
        policy, side = phase.augmentation, phase.image_size
        sides = (side, side) if side else facts.sides
        if sides is None:
            continue
        every = policy.line_dropout == 1 or policy.cutout >= 2 * max(sides)
        if every or policy.cutout >= max(sides) or policy.crop_padding >= min(sides):
            return Finding(
                "blank_images",
                f"cutout {policy.cutout}, crop_padding {policy.crop_padding} and line_dropout "
                f"{policy.line_dropout:g} leave {'all' if every else 'some'} images of "
                f"{sides[0]}×{sides[1]} pixels blank: lower them",
                "error" if every else "warning",
                evidence={
                    "sides": list(sides),
                    "cutout": policy.cutout,
                    "crop_padding": policy.crop_padding,
                    "line_dropout": policy.line_dropout,
                },
            )
    return None


@check("bare_phase")
@each_recipe
def bare_phase(recipe: Recipe, _: ExperimentFacts) -> Finding | None:
    """Find a phase without augmentation after phases with it.

    This is a misreading of FixRes (Touvron et al. 2019), where the larger size is for evaluation.
    """
    numbers = bare_phases(recipe)
    if not numbers:
        return None
    phases = [phase.model_dump(mode="json") for phase in recipe.phases]
    for number in numbers:
        phases[number - 1]["augmentation"] = None
    # Without an augmentation of its own, the recipe has none that a phase could fall back on.
    falls_back = recipe.augmentation != type(recipe.augmentation)()
    starts = [recipe.phases[number - 1].from_epoch for number in numbers]
    return Finding(
        "bare_phase",
        f"phase {numbers[0]}, from epoch {starts[0]}, trains without augmentation, unlike "
        f"{'the ' * (len(numbers) == 1)}other phases: train will run ahead of val; to evaluate at "
        "another size, set 'eval_image_size'",
        "warning",
        epochs=tuple(starts),
        evidence={"phases": numbers, "from_epochs": starts},
        change={"phases": phases} if falls_back and phases else None,
        expects="no jump of training accuracy at the start of the phase, and a higher val accuracy",
    )


@check("short_first_phase")
@each_recipe
def short_first_phase(recipe: Recipe, _: ExperimentFacts) -> Finding | None:
    """Find growing image sizes with too few epochs at the first size."""
    phases = recipe.phases
    sizes = [phase.image_size for phase in phases if phase.image_size]
    if len(phases) < 2 or len(sizes) < len(phases):
        return None
    grows = sizes[0] < sizes[1]
    epochs = phases[1].from_epoch - 1
    if not grows or epochs >= FIRST_SHARE * recipe.epochs:
        return None
    return Finding(
        "short_first_phase",
        f"the first image size has only {epochs} of {recipe.epochs} epochs "
        f"({epochs / recipe.epochs:.0%}): epochs with small images are cheap, so use more of them",
        "info",
        epochs=(1,),
        evidence={"epochs": epochs, "of": recipe.epochs, "image_size": phases[0].image_size},
        confidence=0.6,
        change=_longer_first(recipe),
        expects="the same accuracy in less time",
    )


@reports("refused_transform")
def refused_transforms(experts: dict[str, list[str]]) -> list[Finding]:
    """Return one finding per problem of a transform that training will refuse.

    Args:
        experts: the experts that have the problem, by problem.
    """
    return [
        Finding("refused_transform", problem, "error", evidence={"experts": _once(names)})
        for problem, names in experts.items()
    ]


@reports("constant_transform")
def constant_transforms(experts: dict[str, list[str]]) -> list[Finding]:
    """Return the transforms that are no augmentation, but a preparation that only train gets.

    Args:
        experts: the experts that name the transform, by transform.
    """
    return [
        Finding(
            "constant_transform",
            f"{transform} changes every training image in the same way, but no image of val: set "
            "its 'p' below 1 (without such an option, list it under RandomApply), or apply it to "
            "all image files before prepare reads them",
            "warning",
            evidence={"experts": _once(names), "transform": transform},
            expects="images of train look like those of val",
        )
        for transform, names in experts.items()
    ]


@reports("enlarged_crops")
def enlarged_crops(experts: dict[tuple[int, int, int], list[str]]) -> list[Finding]:
    """Return the transforms that crop images to less than the image size of their phase.

    Args:
        experts: the experts by height and width of their crops, and image size.
    """
    return [
        Finding(
            "enlarged_crops",
            f"the transforms leave images of {height}×{width} pixels, which are then enlarged to "
            f"{size}×{size}, so images of val are sharper than those of train: make the crops "
            "larger",
            "warning",
            evidence={"experts": _once(names), "crop": [height, width], "image_size": size},
            expects="images of train are as sharp as those of val",
        )
        for (height, width, size), names in experts.items()
    ]


def _once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _longer_first(recipe: Recipe) -> dict[str, Any] | None:
    """Return the phases with a quarter of the epochs in the first, if the third one permits it."""
    start = round(recipe.epochs / 4) + 1
    if len(recipe.phases) > 2 and start >= recipe.phases[2].from_epoch:
        return None
    phases = [phase.model_dump(mode="json") for phase in recipe.phases]
    phases[1]["from_epoch"] = start
    return {"phases": phases}
