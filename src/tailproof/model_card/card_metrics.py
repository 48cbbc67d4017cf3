"""The metrics that a card shows, and how their values are written."""

from typing import Any, NamedTuple

from tailproof.model_card.expert_facts import ExpertFacts, Value
from tailproof.number_format import written


class Metric(NamedTuple):
    """A metric: its label, the form of its values, and its type on the Hugging Face hub."""

    label: str
    form: str
    kind: str


PERCENT, PLAIN = "%.1", ".4"
METRICS = {
    "top1": Metric("top-1 accuracy", PERCENT, "accuracy"),
    "balanced_accuracy": Metric("balanced accuracy", PERCENT, "balanced_accuracy"),
    "macro_f1": Metric("macro F1", PERCENT, "f1"),
    "many_accuracy": Metric("accuracy, classes with many images", PERCENT, "recall"),
    "medium_accuracy": Metric("accuracy, classes in between", PERCENT, "recall"),
    "few_accuracy": Metric("accuracy, classes with few images", PERCENT, "recall"),
    "auroc": Metric("AUROC", ".4", "roc_auc"),
    "auroc_one_vs_rest": Metric("AUROC, one vs rest", ".4", "roc_auc"),
    "tpr_at_fpr_1e-3": Metric("true positives at FPR 1e-3", PERCENT, "recall"),
    "tpr_at_fpr_1e-4": Metric("true positives at FPR 1e-4", PERCENT, "recall"),
    "tpr_at_fpr_0": Metric("true positives at no false positive", PERCENT, "recall"),
    "consistency": Metric("ranks agree", PERCENT, "accuracy"),
    "nll": Metric("negative log-likelihood, nats", ".3", "nll"),
    "brier": Metric("Brier score, 0 to 2", ".3", "brier_score"),
    "ece": Metric("expected calibration error", PERCENT, "ece"),
}


def rows(facts: ExpertFacts) -> list[dict[str, str]]:
    """Return label, value with interval, and mean over seeds of each metric that is defined."""
    found = []
    for name, metric in _named(facts).items():
        own, mean = facts.measured(name), facts.over_seeds(name)
        if own is not None:
            found.append(
                {
                    "label": metric.label,
                    "value": with_interval(own, metric.form),
                    "mean": with_interval(mean, metric.form),
                }
            )
    return found


def results(facts: ExpertFacts) -> list[dict[str, Any]]:
    """Return the metrics as `huggingface_hub.EvalResult` takes them: type, name and value."""
    return [
        {
            "metric_type": metric.kind,
            "metric_name": f"{metric.label}, 95 % interval {limits(own, PLAIN)}",
            "metric_value": own["value"],
        }
        for name, metric in _named(facts).items()
        if (own := facts.measured(name)) is not None
    ]


def with_interval(value: Value | None, form: str) -> str:
    """Write ``54.3 % [52.3, 56.1]``."""
    middle = None if value is None else value.get("value", value.get("mean"))
    text = written(middle, form)
    if middle is None:
        return text
    return f"{text}{' %' if form.startswith('%') else ''} {limits(value, form)}".rstrip()


def limits(value: Value, form: str) -> str:
    """Write ``[52.3, 56.1]``; nothing where it is undefined."""
    if value["low"] is None:
        return ""
    return f"[{written(value['low'], form)}, {written(value['high'], form)}]"


def _named(facts: ExpertFacts) -> dict[str, Metric]:
    """Return the metrics in their order, with the accuracies of the coarser ranks' heads."""
    others = [rank for rank in facts.temperatures if rank != facts.target]
    return METRICS | {
        f"{rank}_top1": Metric(f"top-1 accuracy of {rank}", PERCENT, "accuracy") for rank in others
    }
