"""The sentences of a model card: training, rejection and limitations."""

from typing import Any

from tailproof.config.weights import HUB
from tailproof.data.split_text import small_class_sentence
from tailproof.evaluation.deployment import Deployment
from tailproof.evaluation.registry import METRICS
from tailproof.model_card.card_metrics import MeasuredFacts, estimate
from tailproof.model_card.expert_facts import CARD_SPLIT, ExpertFacts
from tailproof.number_format import format_estimate
from tailproof.text import listed, quantity

COLOURS = {"L": "greyscale", "RGB": "colour"}
NAMES_LISTED = 20


def training(facts: ExpertFacts) -> dict[str, str]:
    """Return a summary of the recipe: {heading: line}."""
    lines = _of_network(facts) | (_of_head(facts) if facts.recipe["features"] else {})
    return {name: line for name, line in lines.items() if line}


def _of_head(facts: ExpertFacts) -> dict[str, str]:
    """Return the lines of a head on features, also the empty ones, that differ from a network's."""
    recipe, features = facts.recipe, facts.recipe["features"]
    head, backbones = recipe["head"], [recipe["model"], *features["concat"]]
    options = _options({key: value for key, value in head.items() if key != "kind"})
    kind = head["kind"].replace("_", " ") + (f" ({options})" if options else "")
    parameters = facts.training["trained_parameters"]
    trained = f", {parameters:,} trained parameters" if parameters else ", fitted without a loss"
    lines = {
        "Model": f"{kind} head{trained}, on frozen features of "
        + ", next to those of ".join(map(_backbone, backbones)),
        "Features": _layers(recipe)
        + (f", {features['views']} views of each training image" * (features["views"] > 1)),
        "Augmentation": _options(_mixing(recipe["mixing"])),
    }
    fitted = dict.fromkeys(("Loss", "Optimizer", "Schedule", "Length", "Weights"), "")
    return lines if parameters else lines | fitted


def _backbone(section: dict[str, Any]) -> str:
    """Write ``resnet18 (depth 3) with the weights start.pth``."""
    network = _with_options({key: section[key] for key in ("name", "options")})
    return f"{network} with the weights {_start(section['weights'])}"


def _layers(recipe: dict[str, Any]) -> str:
    """Write ``penultimate``, or for several backbones ``last of resnet18; last of vit``."""
    features = recipe["features"]
    if not features["concat"]:
        return listed(features["layers"])
    own = {"name": recipe["model"]["name"], "layers": features["layers"]}
    named = (f"{listed(one['layers'])} of {one['name']}" for one in (own, *features["concat"]))
    return "; ".join(named)


def _of_network(facts: ExpertFacts) -> dict[str, str]:
    """Return all lines, also the empty ones."""
    recipe, run = facts.recipe, facts.training
    stopped = " (stopped early)" if run["stopped_early"] else ""
    own = facts.config["tailproof"].get("inputs") or [facts.config["pretrained_cfg"]]
    channels = own[0]["input_size"][0]
    pixels = dict.fromkeys("×".join(map(str, taken["input_size"][1:])) for taken in own)
    colour = COLOURS.get(facts.manifest["mode"], quantity(channels, "channel"))
    exported = {"last": "the last", "best": f"the best by {recipe['monitor']}"}[recipe["export"]]
    trained, total = run["trained_parameters"], run["parameters"]
    count = f"{total:,}" if trained == total else f"{trained:,} of {total:,}"
    verb = "" if trained == total else " trained"
    return {
        "Model": f"{_with_options(recipe['model'])}, {count} parameters{verb}, "
        f"initialized from {_start(recipe['model']['weights'])}",
        "Tuning": _tuning(recipe),
        "Loss": _with_options(recipe["loss"]),
        "Distilled": _options(recipe["distill"]) if recipe["distill"] else "",
        "Optimizer": _with_options(recipe["optimizer"]),
        "Schedule": _with_options(recipe["schedule"]),
        "Length": f"{quantity(run['epochs'], 'epoch')}{stopped}, "
        f"batches of {recipe['batch_size']}, {facts.config['tailproof']['precision']}",
        "Weights": f"epoch {facts.config['tailproof']['epoch']}, {exported}",
        "Images": f"{' and '.join(pixels)} pixels, {colour}",
        "Augmentation": _options(recipe["augmentation"] | _mixing(recipe["mixing"])) or "none",
        "Sampler": recipe["sampler"] if recipe["sampler"] != "instance" else "",
        "Heads": ", ".join(facts.calibrators) if len(facts.calibrators) > 1 else "",
        "Phases": f"{len(recipe['phases'])}, see config.json" if recipe["phases"] else "",
        "Seed": str(facts.seed),
    }


def limitations(facts: ExpertFacts) -> list[str]:
    """Return the limitations of the expert as short paragraphs."""
    counts = facts.counts("train")
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    sentences = [
        "It knows only these classes. An image of anything else is assigned to one of them, "
        "possibly with high confidence: the rejection rules were fitted only on images of these "
        "classes.",
        f"Training images per class range from {counts[least]:,} ({least}) to {counts[most]:,} "
        f"({most}). Calibrators were fitted on splits of the same data: "
        "on data with another class distribution, probabilities are less well calibrated.",
    ]
    if few := facts.metrics["groups"]["few"]:
        sentences.append(
            f"{_classes(len(few))} fewer than {facts.evaluation.few_shot} training images: "
            f"{listed(few, NAMES_LISTED)}. {'Its' if len(few) == 1 else 'Their mean'} accuracy on "
            f"{CARD_SPLIT} is {estimate(facts, 'few_accuracy')}."
        )
    if facts.splits["classes_under_10_training_samples"]:
        sentences.append(small_class_sentence(facts.splits, len(facts.classes)))
    sentences += _calibration(facts)
    sentences += [f"Promises: {_sentence(note)}" for note in facts.promises["notes"]]
    sentences += [f"Evaluation: {_sentence(note)}" for note in facts.metrics["notes"]]
    sentences += [
        f"Training ({finding['severity']}): {_sentence(finding['title'])}"
        for finding in facts.diagnosis["findings"]
    ]
    return sentences


def _calibration(facts: ExpertFacts) -> list[str]:
    """Return the warnings of the calibration, and a note if it made things worse."""
    sentences = [f"Calibration: {_sentence(text)}" for text in facts.calibration["warnings"]]
    for rank, fit in facts.calibration["other_ranks"].items():
        sentences += [f"Calibration of {rank}: {_sentence(text)}" for text in fit["warnings"]]
    if facts.calibration_raised:
        sentences.append(
            f"Calibration raised the calibration error on {CARD_SPLIT} beyond noise: "
            f"{estimate(facts, 'ece_uncalibrated')} before, {estimate(facts, 'ece')} after."
        )
    return sentences


def rejection(facts: MeasuredFacts, deployment: Deployment) -> list[dict[str, str]]:
    """Return coverage and error on test of Chow's rule at each configured coverage."""
    rows = []
    percent = METRICS["top1"].form
    for rule in deployment.rules["chow"]:
        coverage = f"{rule.coverage:g}"
        reached = facts.measured(f"coverage_chow_at_{coverage}")
        risk = facts.measured(f"risk_standard_chow_at_{coverage}")
        if reached is None or risk is None or rule.threshold is None:
            continue
        rows.append(
            {
                "coverage": coverage,
                # The score of Chow's rule is the largest probability minus one.
                "threshold": f"{1 + rule.threshold:.4f}",
                "reached": format_estimate(reached, percent),
                "risk": format_estimate(risk, percent),
            }
        )
    return rows


def _classes(count: int) -> str:
    return "One class has" if count == 1 else f"{count:,} classes have"


def _start(weights: str | None) -> str:
    published = "the publisher's weights" if weights == HUB else weights
    return published or "random weights"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _tuning(recipe: dict[str, Any]) -> str:
    """Write ``adapter lora, blocks all, dim auto, head cosine; frozen: conv_stem, blocks.0``."""
    tune, freeze = recipe["tune"], recipe["freeze"]
    frozen = f"frozen: {', '.join(freeze)}" if freeze else ""
    return "; ".join(filter(None, (_options(tune) if tune else "", frozen)))


def _with_options(section: dict[str, Any]) -> str:
    """Write ``sgd (learning rate 0.1, momentum 0.9)``."""
    others = {key: value for key, value in section.items() if key not in ("name", "weights")}
    options = _options(others)
    return section["name"] + (f" ({options})" if options else "")


def _options(values: dict[str, Any]) -> str:
    texts = []
    for key, value in values.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            texts += [f"{name} {inner}"] if (inner := _options(value)) else []
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            texts.append(", ".join(transform["name"] for transform in value))
        elif value is True:
            texts.append(name)
        elif value not in (None, False, 0, []):
            texts.append(f"{name} {value}")
    return ", ".join(texts)


def _mixing(mixing: dict[str, Any]) -> dict[str, Any]:
    return mixing if mixing["mixup"] or mixing["cutmix"] else {}
