"""The stage card: README.md, example.py and predict.json, so that an expert's folder stands alone.

README.md is a model card as the Hugging Face hub reads it: a front matter in YAML, then Markdown.
"""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tailproof.config.splits import SPLITS
from tailproof.data.multiband import MODE
from tailproof.evaluation.deployment import Deployed
from tailproof.files import write_text
from tailproof.model_card import prose
from tailproof.model_card.card_metrics import METRICS, results, rows, with_interval
from tailproof.model_card.expert_facts import CARD_SPLIT, ExpertFacts
from tailproof.model_card.rejection_rules import deployed

OURS = ("cifar_resnet", "scanline_")
"""How the names begin of the models that timm gets from `tailproof.models`."""

MOST_CLASSES = 60  # in a table


def write_card(
    facts: ExpertFacts,
    rejectors: str | Path,
    readme: str | Path,
    example: str | Path,
    predict: str | Path,
) -> None:
    """Write the three files.

    Args:
        facts: of the expert.
        rejectors: rejectors.csv of the experiment.
        readme: where the card goes.
        example: where the example goes.
        predict: where predict.json goes.

    Raises:
        TailproofError: rejectors.csv has no rule for the expert.
    """
    own = deployed(facts, rejectors)
    code = example_of(facts.config, facts.manifest["mode"], facts.columns)
    write_text(example, code)
    own.write(predict)
    write_text(readme, card_of(facts, own, code))


def example_of(config: dict[str, Any], mode: str, columns: slice) -> str:
    """Return ten lines of Python that classify an image by timm and the folder they lie in.

    Args:
        config: config.json.
        mode: of the images.
        columns: which of the outputs are the target's.
    """
    total = config["num_classes"]
    return _template("example.py.j2").render(
        ours=config["architecture"].startswith(OURS),
        bands=mode == MODE,
        mode=mode,
        columns="" if columns == slice(0, total) else f"[{columns.start}:{columns.stop}]",
    )


def card_of(facts: ExpertFacts, own: Deployed, example: str) -> str:
    """Return the text of README.md."""
    counts = {split: facts.counts(split) for split in SPLITS}
    groups = facts.metrics["groups"]
    group_of = {name: group for group, names in groups.items() for name in names}
    return _template("README.md.j2").render(
        facts=facts,
        coverage=own.coverage,
        example=example.rstrip(),
        front_matter=_front_matter(facts),
        splits={split: sum(own.values()) for split, own in counts.items()},
        used_for=prose.USED_FOR,
        counts=counts,
        group_of=group_of,
        groups={group: names for group, names in groups.items() if names},
        listed=len(facts.classes) <= MOST_CLASSES,
        cleaning=prose.cleaning(facts.splits),
        training=prose.training(facts),
        metrics=rows(facts),
        several_seeds=facts.over_seeds("top1")["seeds"],
        before=with_interval(facts.measured("ece_uncalibrated"), METRICS["ece"].form),
        after=with_interval(facts.measured("ece"), METRICS["ece"].form),
        rejection=prose.rejection(facts, own),
        limits=prose.limits(facts),
    )


def _front_matter(facts: ExpertFacts) -> str:
    """Return the card's metadata as YAML; the licence is left out, since nobody has stated one."""
    from huggingface_hub import EvalResult, ModelCardData

    where = {
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
        eval_results=[EvalResult(**where, **result) for result in results(facts)],
    ).to_yaml()


def _template(name: str) -> Any:
    environment = Environment(  # noqa: S701 - Markdown and Python, not HTML
        loader=PackageLoader("tailproof.model_card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": _markdown, "percent": prose.percent}
    return environment.get_template(name)


def _markdown(text: str) -> str:
    """Let text stand in Markdown as it is, on one line, whatever it holds."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))
