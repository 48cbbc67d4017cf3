"""Differences between methods on the same samples, with paired bootstrap intervals."""

from typing import Any

from tailproof.evaluation import bootstrap, hierarchy
from tailproof.evaluation.method import Method
from tailproof.evaluation.registry import LONG_TAIL, METRICS, UNCALIBRATED
from tailproof.evaluation.sample_groups import GAINED, PREFIX
from tailproof.evaluation.sample_groups import METRICS as GROUP_METRICS
from tailproof.evaluation.task import Task


def paired_differences(
    experts: list[Method], ensembles: list[Method], split: str, task: Task
) -> dict[str, Any]:
    """Return the paired differences of every two experts, and of ensembles and experts."""
    pairs = [(a, b) for index, a in enumerate(experts) for b in experts[index + 1 :]]
    pairs += [(a, b) for a in ensembles for b in experts]
    return {
        f"{a.name} - {b.name}": {
            metric: bootstrap.difference(a.values[split][metric], b.values[split][metric])
            for metric in _paired_metrics(task)
            if metric in a.values[split] and metric in b.values[split]
        }
        for a, b in pairs
    }


def calibration_effects(methods: list[Method], split: str) -> dict[str, Any]:
    """Return, per method, what calibration changed: after minus before, on the same samples."""
    return {
        method.name: {
            name: bootstrap.difference(
                method.values[split][name], method.values[split][f"{name}{UNCALIBRATED}"]
            )
            for name, metric in METRICS.items()
            if metric.before_calibration
        }
        for method in methods
    }


def _paired_metrics(task: Task) -> list[str]:
    paired = [name for name, metric in METRICS.items() if metric.paired]
    long_tail = [f"{LONG_TAIL}{name}" for name, metric in METRICS.items() if metric.long_tail]
    groups = [f"{PREFIX}{name}" for name in GROUP_METRICS] + [f"{GAINED}top1"]
    return list(dict.fromkeys([*paired, *long_tail, *hierarchy.measured(task), *groups]))
