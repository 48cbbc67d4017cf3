"""The rules that choose the values of an experiment from what is in a collection.

Each value comes with its reason, which becomes a comment in the file. docs/import.md lists the
rules.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tailproof.importer.collection import Pictures
from tailproof.text import quantity

SMALL_SIDE = 48  # pixels; smaller pictures suit the networks for CIFAR
LEVEL = 1.5  # classes with a smaller imbalance count as equally large
FEW_EPOCHS, MANY_EPOCHS = 10, 60
PRESENTED = 240_000  # pictures that a run sees in all its epochs, if the epochs allow
PER_SHARD = 20_000
STEP = 32  # image sizes are multiples of it

NETWORKS = ((3_000, "resnet10t", 64), (20_000, "resnet18", 96), (200_000, "resnet18", 128))
"""Up to how many training pictures which network has which image size."""
LARGEST = ("resnet50", 224)

BATCHES = ((500, 16), (3_000, 32), (20_000, 64), (math.inf, 128))
"""Up to how many training pictures a batch has how many."""

MIRRORED = re.compile(r"(left|right|links|rechts|gauche|droite)", re.IGNORECASE)
SIGNS = re.compile(r"-?\d+(\.\d+)?|.")
"""Names of digits and letters, which are others when they are mirrored."""

POSITIVE = re.compile(
    r"(yes|true|pos(itive)?|1|1\.0|present|abnormal|malignant|melanoma|cancer(ous)?|tumou?r"
    r"|disease[ds]?|sick|ill|infected|parasiti[sz]ed|pneumonia|covid.*|defect(ive)?|def|damaged?"
    r"|crack(ed)?|anomal(y|ous)|bad|rotten|fire|smoke|fraud|fake|occupied|lens|animal)",
    re.IGNORECASE,
)
"""Names of the one of two classes that is looked for."""


@dataclass
class Settings:
    """Values of a section, and the reasons for some of them.

    Attributes:
        values: the values by key.
        reasons: sentences by key.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, value: Any, reason: str | None = None) -> None:
        """Set a value."""
        self.values[key] = value
        if reason:
            self.reasons[key] = reason


def design_recipe(train: Counter[str], pictures: Pictures) -> Settings:
    """Return the recipe of all experts.

    Args:
        train: the number of training pictures of each class.
        pictures: a few of the pictures.
    """
    recipe, count = Settings(), train.total()
    network, size, why = _network(count, pictures)
    recipe.add("model", {"name": network}, why)
    recipe.add("image_size", size, _why_size(size, pictures))
    batch = next(batch for most, batch in BATCHES if count <= most)
    rate = float(f"{0.1 * math.sqrt(batch / 256):.1g}")
    recipe.add(
        "optimizer",
        {"name": "sgd", "learning_rate": rate, "weight_decay": 5e-4},
        f"SGD at 0.1 for batches of 256, scaled by the square root of the batch size {batch}.",
    )
    epochs = min(max(round(PRESENTED / count), FEW_EPOCHS), MANY_EPOCHS)
    recipe.add("schedule", {"name": "cosine", "warmup": {"epochs": 2}})
    recipe.add(
        "epochs",
        epochs,
        f"About {PRESENTED:,} pictures in all, {FEW_EPOCHS} to {MANY_EPOCHS} epochs of {count:,}.",
    )
    recipe.add("batch_size", batch)
    _augment(recipe, train, pictures, size)
    recipe.add("precision", "auto", "bf16 where the processor or GPU computes in it.")
    if "albumentations" in recipe.values["augmentation"]:
        recipe.add("workers", 2, "Processes that decode and crop; a GPU needs 4 to 8.")
    return recipe


def _network(count: int, pictures: Pictures) -> tuple[str, int, str]:
    side = pictures.side
    if side <= SMALL_SIDE:
        name = "cifar_resnet20" if count <= NETWORKS[1][0] else "cifar_resnet32"
        return name, side, f"A network for small pictures: their shorter side is {side} pixels."
    name, size = next(((name, size) for most, name, size in NETWORKS if count <= most), LARGEST)
    size = min(size, max(side // STEP * STEP, 2 * STEP))
    why = (
        f"From scratch, because nothing is downloaded here. {quantity(count, 'training picture')} "
        "suit this network; with 'weights: hub' it starts from pretrained weights, which is better."
    )
    return name, size, why


def _why_size(size: int, pictures: Pictures) -> str:
    sizes = pictures.sizes
    if pictures.of_one_size:
        height, width = sizes[0]
        found = f"{width}×{height} pixels"
    else:
        shorter = sorted(min(each) for each in sizes)
        found = f"shorter sides of {shorter[0]} to {shorter[-1]} pixels"
    larger = "; larger is slower and usually better" if pictures.side >= 2 * size else ""
    return f"The pictures looked at have {found}{larger}."


def _augment(recipe: Settings, train: Counter[str], pictures: Pictures, size: int) -> None:
    augmentation: dict[str, Any] = {}
    signs = sum(bool(SIGNS.fullmatch(name)) for name in train)
    sided = [name for name in train if MIRRORED.search(name)]
    if signs > len(train) / 2:
        why = (
            "No mirror images: the classes have numbers or letters as names, so the pictures may "
            "show these."
        )
    elif sided:
        why = f"No mirror images: '{sided[0]}' may become another class."
    else:
        augmentation["flip"] = True
        why = "Mirror images count as the same class: remove 'flip' if they are not."
    if pictures.side <= SMALL_SIDE or pictures.bands:
        augmentation["crop_padding"] = max(size // 8, 1)
    else:
        crop = {"name": "RandomResizedCrop", "options": {"scale": [0.5, 1.0]}}
        augmentation["albumentations"] = [crop]
    recipe.add("augmentation", augmentation, why)


def design_experts(train: Counter[str]) -> tuple[dict[str, Any], str]:
    """Return the experts, and why."""
    imbalance = max(train.values()) / min(train.values())
    if imbalance >= LEVEL:
        experts: dict[str, Any] = {
            "cross_entropy": {"loss": {"name": "cross_entropy"}},
            "balanced_softmax": {"loss": {"name": "balanced_softmax"}},
        }
        return experts, (
            f"The largest class has {imbalance:.3g} times as many training pictures as the "
            "smallest: balanced softmax gives all classes the same weight."
        )
    experts = {
        "cross_entropy": {"loss": {"name": "cross_entropy"}},
        "label_smoothing": {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
    }
    return experts, "The classes are about equally large: no loss for a long tail is needed."


def design_evaluation(train: Counter[str]) -> tuple[dict[str, Any], str] | None:
    """Return limits that divide classes into many- and few-shot; None if the defaults do."""
    counts = sorted(train.values())
    if len(counts) < 3 or (counts[0] < 20 and counts[-1] > 100) or counts[-1] / counts[0] < LEVEL:
        return None
    few, many = counts[len(counts) // 3], counts[-(len(counts) // 3) - 1]
    if not counts[0] < few <= many < counts[-1]:
        return None
    return {"many_shot": many, "few_shot": few}, (
        "These limits split the classes into thirds by their number of training pictures."
    )


def positive_class(counts: Counter[str]) -> tuple[str, str] | None:
    """Return the one of two classes to find, and why; None if there are not two."""
    if len(counts) != 2:
        return None
    named = [name for name in counts if POSITIVE.fullmatch(name)]
    if len(named) == 1:
        return named[0], "The class to find, chosen by its name."
    rarer = min(counts, key=lambda name: counts[name])
    return rarer, "The class to find: the rarer of the two."
