"""The few numbers of an evaluation that its record keeps for the experiment log."""

from typing import Any

KEPT = ("balanced_accuracy", "top1")


def results_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return ``{test: {method: {metric: mean over seeds}}}`` of every expert and ensemble.

    Args:
        metrics: what metrics.json holds.
    """
    methods = metrics["experts"] | metrics["ensembles"]
    return {
        "test": {
            name: {metric: found["over_seeds"]["test"][metric]["mean"] for metric in KEPT}
            for name, found in methods.items()
        }
    }
