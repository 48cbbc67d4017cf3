"""The model card of an ensemble, on one page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailproof.evaluation.deployment import Deployment
from tailproof.evaluation.registry import METRICS
from tailproof.model_card.card import markdown_template
from tailproof.model_card.card_metrics import rows
from tailproof.model_card.expert_facts import CARD_SPLIT, Value
from tailproof.model_card.prose import rejection
from tailproof.number_format import format_estimate
from tailproof.predict.bundle_file import BundleFile

METHODS = {
    "mean_logits": "the softmax of the mean of the calibrated logits",
    "mean_probabilities": "the mean of the calibrated probabilities",
    "stacked": "the softmax of the weighted sum of the calibrated logits; the weights were fitted "
    "on `tune`",
}


@dataclass(frozen=True)
class EnsembleFacts:
    """What the card says.

    Attributes:
        title: title of the experiment.
        bundle: bundle.json.
        deployment: deployment.json.
        promises: the content of guarantees.json.
        metrics: metrics.json of the experiment.
    """

    title: str
    bundle: BundleFile
    deployment: Deployment
    promises: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The taxonomic rank that is answered."""
        return self.bundle.target

    @property
    def calibrators(self) -> dict[str, None]:
        """The ranks that are answered: the target alone."""
        return {self.target: None}

    def measured(self, metric: str) -> Value | None:
        """Return a metric on test with its interval; None if it is undefined."""
        return self._defined(self.metrics["ensembles"][self.bundle.method], metric)

    def over_seeds(self, metric: str) -> Value:
        """Return a metric's mean over seeds on test."""
        method = self.metrics["ensembles"][self.bundle.method]
        return method["over_seeds"][CARD_SPLIT][metric]

    def of_expert(self, name: str, metric: str) -> str:
        """Write a metric of one of the experts on test."""
        value = self._defined(self.metrics["experts"][name], metric)
        return "" if value is None else format_estimate(value, METRICS[metric].form)

    def _defined(self, method: Mapping[str, Any], metric: str) -> Value | None:
        value = method["seeds"][str(self.bundle.seed)][CARD_SPLIT].get(metric)
        return None if value is None or value["value"] is None else value


def card_of(facts: EnsembleFacts) -> str:
    """Return the text of README.md."""
    bundle = facts.bundle
    first = next(iter(bundle.experts.values()))
    shared = [expert.backbone for expert in bundle.experts.values() if expert.backbone]
    return markdown_template("README.md.j2", "tailproof.bundle").render(
        facts=facts,
        bundle=bundle,
        classes=first.config.classes[bundle.target],
        combined=METHODS[bundle.method],
        backbones=len(set(shared)),
        sharing=len(shared),
        metrics=rows(facts),
        several_seeds=facts.over_seeds("top1")["seeds"],
        rejection=rejection(facts, facts.deployment),
        balanced=facts.of_expert,
        set_coverage=facts.promises["sets"][0]["coverage"],
        few=facts.deployment.tail,
    )
