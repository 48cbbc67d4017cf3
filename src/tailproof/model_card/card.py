"""The stage card: README.md, example.py and two JSON files, which complete an expert's folder.

README.md is a model card for the Hugging Face hub: YAML front matter, then Markdown.
"""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tailproof.config.splits import SPLITS
from tailproof.data.multiband import MODE
from tailproof.data.split_text import SPLIT_PURPOSES, cleaning_sentences
from tailproof.evaluation.deployment import Deployment
from tailproof.files import write_json, write_text
from tailproof.model_card import prose
from tailproof.model_card.card_metrics import estimate, hub_results, rows
from tailproof.model_card.expert_facts import CARD_SPLIT, ExpertFacts
from tailproof.model_card.rejection_rules import deployment_of

OURS = ("cifar_resnet", "scanline_", "tuned_network", "backbone_with_head", "backbones_with_head")
"""Prefixes of the models that Tailproof registers in timm."""

MOST_CLASSES = 60  # beyond that, a table of groups replaces the table of classes


def write_card(
    facts: ExpertFacts,
    rejectors: str | Path,
    readme: str | Path,
    example: str | Path,
    deployment: str | Path,
    guarantees: str | Path,
) -> None:
    """Write the four files.

    Args:
        facts: facts about the expert.
        rejectors: rejectors.csv of the experiment.
        readme: path of the card.
        example: path of the example.
        deployment: path of deployment.json.
        guarantees: path of guarantees.json.

    Raises:
        TailproofError: rejectors.csv has no rule for the expert.
    """
    fitted = deployment_of(facts, rejectors)
    kind = facts.calibrators[facts.target].kind
    code = example_of(facts.config, facts.manifest["mode"], facts.columns, kind)
    write_text(example, code)
    fitted.write(deployment)
    write_json(guarantees, facts.promises)
    write_text(readme, card_of(facts, fitted, code))


def example_of(config: dict[str, Any], mode: str, columns: slice, calibrator: str) -> str:
    """Return a short script that classifies an image with timm and the files in the folder.

    Args:
        config: config.json.
        mode: mode of the images.
        columns: outputs of the model that belong to the target.
        calibrator: kind of the target's calibrator.
    """
    total = config["num_classes"]
    return markdown_template("example.py.j2").render(
        ours=config["architecture"].startswith(OURS),
        on_features=config["architecture"].startswith("backbone"),
        several="inputs" in config["tailproof"],
        bands=mode == MODE,
        mode=mode,
        calibrator=calibrator,
        columns="" if columns == slice(0, total) else f"[{columns.start}:{columns.stop}]",
    )


def card_of(facts: ExpertFacts, deployment: Deployment, example: str) -> str:
    """Return the text of README.md."""
    counts = {split: facts.counts(split) for split in SPLITS}
    groups = facts.metrics["groups"]
    group_of = {name: group for group, names in groups.items() for name in names}
    return markdown_template("README.md.j2").render(
        facts=facts,
        coverage=deployment.coverage,
        set_coverage=facts.promises["sets"][0]["coverage"],
        example=example.rstrip(),
        front_matter=_front_matter(facts),
        splits={split: sum(by_class.values()) for split, by_class in counts.items()},
        purposes=SPLIT_PURPOSES,
        counts=counts,
        group_of=group_of,
        groups={group: names for group, names in groups.items() if names},
        listed=len(facts.classes) <= MOST_CLASSES,
        cleaning=cleaning_sentences(facts.splits),
        training=prose.training(facts),
        metrics=rows(facts),
        several_seeds=facts.over_seeds("top1")["seeds"],
        before=estimate(facts, "ece_uncalibrated"),
        after=estimate(facts, "ece"),
        debiased_before=estimate(facts, "ece_debiased_uncalibrated"),
        debiased_after=estimate(facts, "ece_debiased"),
        rejection=prose.rejection(facts, deployment),
        limitations=prose.limitations(facts),
    )


def _front_matter(facts: ExpertFacts) -> str:
    """Return the card's metadata as YAML, without a licence, since none is configured."""
    from huggingface_hub import EvalResult, ModelCardData

    where: dict[str, Any] = {
        "task_type": "image-classification",
        "dataset_name": facts.title,
        "dataset_type": facts.experiment,
        "dataset_split": CARD_SPLIT,
    }
    return ModelCardData(
        model_name=f"{facts.experiment}/{facts.expert}/seed-{facts.seed}",
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "timm", "tailproof", "calibration", "long-tail"],
        eval_results=[EvalResult(**where, **result) for result in hub_results(facts)],
    ).to_yaml()


def markdown_template(name: str, package: str = "tailproof.model_card") -> Any:
    """Return a template of a package; its filter md escapes text."""
    environment = Environment(  # noqa: S701 - Markdown and Python, not HTML
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": _markdown}
    return environment.get_template(name)


def _markdown(text: str) -> str:
    """Escape text for Markdown, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))
