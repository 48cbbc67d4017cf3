"""What a card says in words: how the expert was trained, and where it ends."""

from typing import Any

from tailproof.evaluation.deployment import Deployed
from tailproof.model_card.card_metrics import PERCENT, with_interval
from tailproof.model_card.expert_facts import CARD_SPLIT, ExpertFacts
from tailproof.number_format import written
from tailproof.text import listed

USED_FOR = {
    "train": "to learn from",
    "val": "to validate between epochs",
    "calib": "to fit the temperature",
    "tune": "to fit the rules of rejection and the weights of ensembles",
    "dev": "to look at while developing",
    "test": "measured at the end: the numbers below",
}
COLOURS = {"L": "grey", "RGB": "colour"}
LISTED = 20  # names in a sentence


def training(facts: ExpertFacts) -> dict[str, str]:
    """Return what matters of the recipe: a line by heading."""
    recipe, own = facts.recipe, facts.training
    start = "the publisher's weights" if recipe["model"]["pretrained"] else "random weights"
    stopped = " (stopped early)" if own["stopped_early"] else ""
    size = "×".join(map(str, facts.config["pretrained_cfg"]["input_size"][1:]))
    bands = facts.config["pretrained_cfg"]["input_size"][0]
    colour = COLOURS.get(facts.manifest["mode"], f"{bands} bands")
    chosen = {"last": "the last", "best": f"the best by {recipe['monitor']}"}[recipe["export"]]
    lines = {
        "Model": f"{_with_options(recipe['model'])}, {own['parameters']:,} parameters, from "
        f"{recipe['init_from'] or start}",
        "Loss": _with_options(recipe["loss"]),
        "Optimizer": _with_options(recipe["optimizer"]),
        "Schedule": _with_options(recipe["schedule"]),
        "Length": f"{own['epochs']} epochs{stopped}, batches of {recipe['batch_size']}, "
        f"{facts.config['tailproof']['precision']}",
        "Weights": f"of epoch {facts.config['tailproof']['epoch']}, {chosen}",
        "Images": f"{size} pixels, {colour}",
        "Augmentation": _options(recipe["augmentation"] | _mixing(recipe["mixing"])) or "none",
        "Heads": ", ".join(facts.temperatures) if len(facts.temperatures) > 1 else "",
        "Phases": f"{len(recipe['phases'])}, see config.json" if recipe["phases"] else "",
        "Seed": str(facts.seed),
    }
    return {name: line for name, line in lines.items() if line}


def limits(facts: ExpertFacts) -> list[str]:
    """Return what one should know before one trusts the expert, a sentence or two each."""
    counts = facts.counts("train")
    least, most = min(counts, key=counts.get), max(counts, key=counts.get)
    few = facts.metrics["groups"]["few"]
    found = [
        "It knows its classes alone. Of a picture of anything else it names one of them, and may "
        "be sure of it: the rules of rejection were fitted on images of these classes.",
        f"Training images a class go from {counts[least]:,} ({least}) to {counts[most]:,} "
        f"({most}). The temperature was fitted on a split of the same pool: where "
        "classes are distributed otherwise, probabilities are less well calibrated.",
    ]
    if few:
        recall = with_interval(facts.measured("few_accuracy"), PERCENT)
        found.append(
            f"{_classes(len(few))} fewer than {facts.evaluation.few_shot} training images: "
            f"{listed(few, LISTED)}. Their mean accuracy on {CARD_SPLIT} is {recall}."
        )
    if tiny := facts.splits["classes_under_10_training_samples"]:
        found.append(
            f"{_classes(len(tiny))} fewer than 10 training images: {listed(tiny, LISTED)}."
        )
    found += [f"Calibration: {_sentence(text)}" for text in facts.calibration["warnings"]]
    for rank, each in facts.calibration["other_ranks"].items():
        found += [f"Calibration of {rank}: {_sentence(text)}" for text in each["warnings"]]
    before, after = (facts.measured(name) for name in ("ece_uncalibrated", "ece"))
    if after["value"] > before["value"]:
        found.append(
            f"The temperature did not lower the calibration error on {CARD_SPLIT}: "
            f"{with_interval(before, PERCENT)} before, {with_interval(after, PERCENT)} after."
        )
    found += [f"Evaluation: {_sentence(text)}" for text in facts.metrics["notes"]]
    for each in facts.diagnosis["findings"]:
        found.append(f"Training ({each['severity']}): {_sentence(each['title'])}")
    return found


def rejection(facts: ExpertFacts, own: Deployed) -> list[dict[str, str]]:
    """Return what Chow's rule does on test at each listed coverage."""
    found = []
    for each in own.rules["chow"]:
        coverage = f"{each.coverage:g}"
        reached = facts.measured(f"coverage_chow_at_{coverage}")
        if reached is None or each.threshold is None:
            continue
        found.append(
            {
                "coverage": coverage,
                # The score of Chow's rule is the largest probability, less one.
                "threshold": f"{1 + each.threshold:.4f}",
                "reached": with_interval(reached, PERCENT),
                "risk": with_interval(facts.measured(f"risk_standard_chow_at_{coverage}"), PERCENT),
            }
        )
    return found


def cleaning(splits: dict[str, Any]) -> str:
    """Say what the source held and what of it was left out."""
    left_out = {
        "without a label": splits["unlabelled_dropped"],
        "exact duplicates": splits["duplicates_dropped"],
        "copies with different labels": splits["conflicting_dropped"],
    }
    told = [f"{count:,} {what}" for what, count in left_out.items() if count]
    return f"{splits['samples']:,} images; left out: {', '.join(told) or 'none'}"


def percent(value: float) -> str:
    """Write a share as a percentage."""
    return f"{written(value, PERCENT)} %"


def _classes(count: int) -> str:
    return "One class has" if count == 1 else f"{count:,} classes have"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _with_options(section: dict[str, Any]) -> str:
    """Write ``sgd (learning rate 0.1, momentum 0.9)``."""
    rest = {key: value for key, value in section.items() if key not in ("name", "pretrained")}
    own = _options(rest)
    return section["name"] + (f" ({own})" if own else "")


def _options(values: dict[str, Any]) -> str:
    told = []
    for key, value in values.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            told += [f"{name} {inner}"] if (inner := _options(value)) else []
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            told.append(", ".join(each["name"] for each in value))
        elif value is True:
            told.append(name)
        elif value not in (None, False, 0, []):
            told.append(f"{name} {value}")
    return ", ".join(told)


def _mixing(mixing: dict[str, Any]) -> dict[str, Any]:
    return mixing if mixing["mixup"] or mixing["cutmix"] else {}
