"""The results that the report reads, and the few choices it makes."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.config.sweep import WINNER
from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.table_columns import TABLES
from tailproof.files import read_json
from tailproof.history import History
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record, read_record
from tailproof.untrusted_text import plain_cell

CHOSEN_BY = "balanced_accuracy"
SHOWN = 8  # experts in charts at most; tables hold all
_TEXT = {
    "split", "method", "class", "group", "stage", "weighting", "rule", "risk_kind", "true",
    "predicted", "sample_id", "seed", "class_mix",
}  # fmt: skip

Value = dict[str, float | int | None]


@dataclass(frozen=True)
class Scores:
    """The content of metrics.json.

    Attributes:
        path: path of metrics.json, for error messages.
        metrics: its content.
        experts: names in the order of the configuration.
    """

    path: Path
    metrics: dict[str, Any]
    experts: list[str]

    @classmethod
    def read(cls, folder: Path, experts: list[str] | None = None) -> "Scores":
        """Read ``evaluation/metrics.json`` under an experiment's results.

        Raises:
            TailproofError: the file is missing or lacks one of the named experts.
        """
        path = folder / "evaluation" / "metrics.json"
        metrics = _need(read_json, path)
        try:
            found = list(metrics["experts"])
            for key in ("paired", "agreement", "calibration", "class_mixes"):
                metrics[key]["test"]
            metrics["ensembles"]
        except (KeyError, TypeError) as error:
            raise TailproofError(
                f"{path} has no field {error}: run snakemake again with --forcerun evaluate"
            ) from None
        if experts is not None and set(experts) != set(found):
            raise TailproofError(
                f"{path} has the experts {', '.join(found)}, but the configuration names "
                f"{', '.join(experts)}: run snakemake again with --forcerun evaluate"
            )
        return cls(path, metrics, experts or found)

    @property
    def ensembles(self) -> list[str]:
        """The ensembles; empty if there is only one expert."""
        return list(self.metrics["ensembles"])

    @property
    def methods(self) -> list[str]:
        """Experts, then ensembles."""
        return self.experts + self.ensembles

    @property
    def first(self) -> str:
        """The reference expert: the first of the configuration."""
        return self.experts[0]

    @cached_property
    def best(self) -> str:
        """The method with the highest balanced accuracy on dev; on a tie, the first."""
        return max(self.methods, key=self.on_dev)

    @cached_property
    def best_expert(self) -> str:
        """The best expert."""
        return max(self.experts, key=self.on_dev)

    @cached_property
    def best_ensemble(self) -> str | None:
        """The best ensemble; None without ensembles."""
        return max(self.ensembles, key=self.on_dev, default=None)

    @cached_property
    def shown_experts(self) -> list[str]:
        """At most `SHOWN` experts for charts: the first, and the best on dev."""
        ranked = sorted(self.experts, key=self.on_dev, reverse=True)
        names = {self.first, *[name for name in ranked if name != self.first][: SHOWN - 1]}
        return [name for name in self.experts if name in names]

    @property
    def shown_methods(self) -> list[str]:
        """The shown experts, then all ensembles."""
        return self.shown_experts + self.ensembles

    @property
    def metrics_measured(self) -> set[str]:
        """The names of all metrics that evaluate measured of an expert on test."""
        return set().union(*(e["over_seeds"]["test"] for e in self.metrics["experts"].values()))

    def is_ensemble(self, method: str) -> bool:
        """Return whether a method is an ensemble."""
        return method in self.metrics["ensembles"]

    def on_dev(self, method: str) -> float:
        """Return the value on dev by which methods are ranked."""
        value = self.value("dev", method, CHOSEN_BY)["mean"]
        return -math.inf if value is None else value

    def value(self, split: str, method: str, metric: str) -> Value:
        """Return mean, sd, low, high and seeds; all None if the method lacks the metric."""
        values = self.metrics[self._kind(method)][method]["over_seeds"][split]
        return values.get(metric, dict.fromkeys(("mean", "sd", "low", "high", "seeds")))

    def keys(self, split: str, method: str, metric: str) -> dict[str, str]:
        """Return the dotted key of each field of `value`; empty if the method lacks the metric."""
        kind = self._kind(method)
        fields = self.metrics[kind][method]["over_seeds"][split].get(metric, ())
        return {field: f"{kind}.{method}.over_seeds.{split}.{metric}.{field}" for field in fields}

    def _kind(self, method: str) -> str:
        return "ensembles" if self.is_ensemble(method) else "experts"

    def difference(self, split: str, method: str, other: str, metric: str) -> Value:
        """Return difference, low and high of `method` minus `other`, on the same samples.

        Raises:
            TailproofError: metrics.json does not compare the two.
        """
        pair, swapped = self._pair(split, method, other)
        values = self.metrics["paired"][split][pair][metric]
        if not swapped:
            return values
        ends = {"difference": values["difference"], "low": values["high"], "high": values["low"]}
        return {field: None if value is None else -value for field, value in ends.items()}

    def keys_of_difference(
        self, split: str, method: str, other: str, metric: str
    ) -> dict[str, str]:
        """Return the dotted key of each field of `difference`.

        Raises:
            TailproofError: metrics.json does not compare the two.
        """
        pair, swapped = self._pair(split, method, other)
        stored = ("difference", "high", "low") if swapped else ("difference", "low", "high")
        return {
            field: f"paired.{split}.{pair}.{metric}.{name}"
            for field, name in zip(("difference", "low", "high"), stored, strict=True)
        }

    def effect_of_calibration(self, split: str, method: str, metric: str) -> Value:
        """Return difference, low and high of a metric after calibration minus before."""
        return self.metrics["calibration"][split][method][metric]

    def keys_of_effect(self, split: str, method: str, metric: str) -> dict[str, str]:
        """Return the dotted key of each field of `effect_of_calibration`."""
        fields = self.metrics["calibration"][split][method][metric]
        return {field: f"calibration.{split}.{method}.{metric}.{field}" for field in fields}

    def calibration_verdict(self, split: str, method: str) -> str:
        """Return lower, higher or same: what calibration did to the debiased calibration error.

        It is the same as long as the 95 % interval of the difference includes zero.
        """
        effect = self.effect_of_calibration(split, method, "ece_debiased")
        low, high = effect["low"], effect["high"]
        if low is None or high is None or low <= 0 <= high:
            return "same"
        return "lower" if high < 0 else "higher"

    def _pair(self, split: str, method: str, other: str) -> tuple[str, bool]:
        """Return the name of a pair in metrics.json, and whether it is `other` minus `method`."""
        for pair, swapped in ((f"{method} - {other}", False), (f"{other} - {method}", True)):
            if pair in self.metrics["paired"][split]:
                return pair, swapped
        raise TailproofError(
            f"{self.path} does not compare '{method}' with '{other}': run snakemake again with "
            "--forcerun evaluate"
        )


@dataclass(frozen=True)
class Results:
    """The results of an experiment.

    Attributes:
        name: name of the experiment.
        experiment: its configuration.
        folder: results/NAME.
        scores: evaluation/metrics.json.
        prepared: prepare.json.
        splits: splits.json.
        manifest: shards/manifest.json.
        preflight: preflight.json.
        guarantees: evaluation/guarantees.json.
        inspection: inspection/summary.json.
        tables: the CSV tables of evaluate by name.
        histories: {expert: {seed: history.csv}}.
        calibrations: {expert: {seed: calibration.json}}.
        diagnoses: {expert: {seed: diagnosis.json}}.
        records: records of the jobs before the report, by ``RULE/NAME``.
        selection: experts/winner/selection.json; None without a sweep.
        leakage: near_duplicates/leakage.json; None without a search for near duplicates.
        cost: experts/cost.json; None without students.
        pooled: metrics.json of all folds and of all draws, by stage, of those that there are.
    """

    name: str
    experiment: Experiment
    folder: Path
    scores: Scores
    prepared: dict[str, Any]
    splits: dict[str, Any]
    manifest: dict[str, Any]
    preflight: dict[str, Any]
    guarantees: dict[str, Any]
    inspection: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    histories: dict[str, dict[int, History]]
    calibrations: dict[str, dict[int, dict[str, Any]]]
    diagnoses: dict[str, dict[int, dict[str, Any]]]
    records: dict[str, Record]
    selection: dict[str, Any] | None
    leakage: dict[str, Any] | None
    cost: dict[str, Any] | None
    pooled: dict[str, dict[str, Any]]

    @classmethod
    def read(
        cls, name: str, experiment: Experiment, folder: Path, pooled: Iterable[str | Path] = ()
    ) -> "Results":
        """Read an experiment's results, and the metrics of its folds and draws.

        Raises:
            TailproofError: a file is missing, damaged, or of another configuration.
        """
        scores = Scores.read(folder, experiment.evaluated)

        def of_seeds(read: Callable[[Path], Any], file: str) -> dict[str, dict[int, Any]]:
            return {
                expert: {
                    seed: _need(read, folder / "experts" / expert / f"seed-{seed}" / file)
                    for seed in experiment.seeds
                }
                for expert in experiment.evaluated
            }

        return cls(
            name=name,
            experiment=experiment,
            folder=folder,
            scores=scores,
            prepared=_need(read_json, folder / "prepare.json"),
            splits=_need(read_json, folder / "splits.json"),
            manifest=_need(read_json, folder / "shards" / "manifest.json"),
            preflight=_need(read_json, folder / "preflight.json"),
            guarantees=_need(read_json, folder / "evaluation" / "guarantees.json"),
            inspection=_need(read_json, folder / "inspection" / "summary.json"),
            tables={
                table: _need(read_table, folder / "evaluation" / f"{table}.csv") for table in TABLES
            },
            histories=of_seeds(History.read, "history.csv"),
            calibrations=of_seeds(read_json, "calibration.json"),
            diagnoses=of_seeds(read_json, "diagnosis.json"),
            records={
                job: _need(read_record, folder / "provenance" / f"{job}.json")
                for job in expected_jobs(experiment)
            },
            selection=_need(read_json, folder / "experts" / WINNER / "selection.json")
            if experiment.sweep
            else None,
            leakage=None
            if experiment.data.near_duplicates == "off"
            else _need(read_json, folder / "near_duplicates" / "leakage.json"),
            cost=_need(read_json, folder / "experts" / "cost.json")
            if experiment.students
            else None,
            pooled={Path(path).parent.name: read_json(path) for path in pooled},
        )

    def recipe(self, expert: str) -> Recipe:
        """Return the recipe of an evaluated expert."""
        if self.selection and expert == WINNER:
            return self.experiment.points[self.selection["winner"]]
        return self.experiment.experts[expert]

    @property
    def classes(self) -> list[str]:
        """Class names of the target rank."""
        return self.scores.metrics["classes"]

    @cached_property
    def train_counts(self) -> dict[str, int]:
        """Training samples of each class, in class order."""
        return {name: self.splits["class_counts"][name]["train"] for name in self.classes}

    @cached_property
    def groups(self) -> dict[str, str]:
        """Many, medium or few for each class."""
        groups = self.scores.metrics["groups"]
        return {name: group for group in GROUPS for name in groups[group]}


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV table of the stage evaluate; class names such as ``NA`` or ``1`` stay text.

    Raises:
        TailproofError: the file is missing or is not a table.
    """
    try:
        table = pd.read_csv(
            path, dtype=dict.fromkeys(_TEXT, "str"), keep_default_na=False, na_values=[""]
        )
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TailproofError(
            f"{path} is not a CSV table ({error}): delete it and run snakemake again"
        ) from None
    for column in table.columns.intersection(_TEXT):
        table[column] = table[column].map(plain_cell, na_action="ignore")
    return table


def _need(read: Callable[[Path], Any], path: Path) -> Any:
    if not path.exists():
        raise TailproofError(
            f"{path} does not exist, but the report needs it: build it with `snakemake --cores "
            f"all {path}`"
        )
    return read(path)
