"""Runs stages again that need neither training nor all images, from what their records say.

Each function takes the record of a job and the folder for its outputs. It calls what the script of
the stage calls.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tailproof.bundle.bundle import bundle
from tailproof.bundle.inputs import Sources
from tailproof.config.data import Data
from tailproof.config.evaluation import Evaluation
from tailproof.config.experiment import Experiment
from tailproof.config.guarantees import Guarantees
from tailproof.data.context import write_context
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet
from tailproof.data.thumbnails import write_class_thumbnails
from tailproof.diagnosis.diagnose import write_diagnosis
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.sample_groups import read_groups
from tailproof.guarantees.guarantee import guarantee
from tailproof.inspection.inspect import inspect
from tailproof.model_card.card import write_card
from tailproof.model_card.expert_facts import ExpertFacts
from tailproof.project import project_paths
from tailproof.report.page import write_page
from tailproof.report.svg import without_charts
from tailproof.report.training_charts import write_curves
from tailproof.runtime.records import Record
from tailproof.runtime.stages import (
    POOLED,
    job_of,
    logits_by_expert,
    paths_by,
    unknown_scores_by_expert,
)

Remake = Callable[[Record, Path], None]


def _split(record: Record, folder: Path) -> None:
    split(
        _input(record, "samples.parquet"),
        Data(**record.parameters["data"]),
        folder / "splits.parquet",
        folder / "splits.json",
        _optional_input(record, "near_duplicates/pairs.parquet"),
    )


def _context(record: Record, folder: Path) -> None:
    data = Data(**record.parameters["data"])
    root = Path(getattr(data.source, "root", ""))
    listed = read_parquet(_input(record, "raw.parquet"), ["path"])["path"].to_pylist()
    above = root.parent if root.is_file() else root
    # The raw data may be on another machine; their folder may be there all the same, but empty.
    if any((above / path).is_file() for path in listed):
        write_context(data, _input(record, "samples.parquet"), folder / "context.parquet")


def _thumbnails(record: Record, folder: Path) -> None:
    write_class_thumbnails(_input(record, "manifest.json"), folder / "thumbnails.json")


def _diagnose(record: Record, folder: Path) -> None:
    write_diagnosis(
        _input(record, "history.csv"),
        _input(record, "training.json"),
        _input(record, "manifest.json"),
        record.parameters["recipes"],
        _optional_input(record, "selection.json"),
        record.parameters["targets"],
        folder / "diagnosis.json",
    )


def _evaluate(record: Record, folder: Path) -> None:
    evaluate(
        _logits(record),
        _input(record, "manifest.json"),
        Evaluation(**record.parameters["evaluation"]),
        folder,
        read_groups(_input(record, "samples.parquet")),
        record.parameters["students"],
    )


def _guarantee(record: Record, folder: Path) -> None:
    guarantee(
        _logits(record),
        _input(record, "manifest.json"),
        _input(record, "samples.parquet"),
        Evaluation(**record.parameters["evaluation"]),
        Guarantees(**record.parameters["guarantees"]),
        record.experiment,
        folder,
        _input(record, "splits.parquet"),
        _optional_input(record, "context.parquet"),
        unknown_scores_by_expert(outputs_of(record, "score_unknown")),
        record.parameters["students"],
    )


def _inspect(record: Record, folder: Path) -> None:
    logits = paths_by("export", ("expert", "seed", "split"), outputs_of(record, "export"))
    inspect(
        _input(record, "manifest.json"),
        _input(record, "samples.parquet"),
        {
            name: [path for key, path in logits.items() if key[-1] == name]
            for name in record.parameters["splits"]
        },
        Evaluation(**record.parameters["evaluation"]),
        folder,
    )


def _card(record: Record, folder: Path) -> None:
    names = ("config", "calibration", "training", "diagnosis", "manifest", "splits", "metrics")
    files = {name: _input(record, f"{name}.json") for name in names}
    files["promises"] = _input(record, "guarantee_rules.json")
    facts = ExpertFacts.read(
        files,
        _input(record, "model.safetensors"),
        Evaluation(**record.parameters["evaluation"]),
        experiment=record.experiment,
        title=record.parameters["title"],
        source=record.parameters["source"],
        expert=record.wildcards["expert"],
        seed=int(record.wildcards["seed"]),
    )
    outputs = ("README.md", "example.py", "deployment.json", "guarantees.json")
    rejectors = _input(record, "rejectors.csv")
    write_card(facts, rejectors, *(folder / name for name in outputs))


def _bundle(record: Record, folder: Path) -> None:
    inputs, parameters = _inputs(record), record.parameters

    def of_experts(name: str, stage: str = "train") -> Mapping[Any, str]:
        return paths_by(stage, ("expert",), [path for path in inputs if path.endswith(name)])

    sources = Sources(
        experiment=record.experiment,
        title=parameters["title"],
        method=cast("Any", record.wildcards["method"]),
        seed=int(record.wildcards["seed"]),
        experts=parameters["experts"],
        weights=of_experts("/model.safetensors"),
        configs=of_experts("/config.json"),
        calibrations=of_experts("/calibration.json", "calibrate"),
        logits=paths_by("export", ("expert", "split"), outputs_of(record, "export")),
        manifest=_input(record, "manifest.json"),
        samples=_input(record, "samples.parquet"),
        metrics=_input(record, "metrics.json"),
        splits=_optional_input(record, "splits.parquet"),
        context=_optional_input(record, "context.parquet"),
        rules=_optional_input(record, "guarantee_rules.json"),
        known=of_experts("/unknown.safetensors", "score_unknown"),
    )
    evaluation, guarantees = parameters["evaluation"], parameters["guarantees"]
    bundle(sources, Evaluation(**evaluation), Guarantees(**guarantees), folder)


def _report(record: Record, folder: Path) -> None:
    """Write the page without its charts, and the learning curves."""
    experiment = Experiment(**record.parameters["experiment"])
    results = project_paths().experiment(record.experiment)
    pooled = outputs_of(record, *POOLED)
    with without_charts():
        write_page(record.experiment, experiment, results, folder / "index.html", pooled)
    write_curves(experiment, results, folder / "curves.csv")


REMADE: dict[str, Remake] = {
    "context": _context,
    "split": _split,
    "thumbnails": _thumbnails,
    "evaluate": _evaluate,
    "guarantee": _guarantee,
    "inspect": _inspect,
    "diagnose": _diagnose,
    "card": _card,
    "bundle": _bundle,
    "report": _report,
}
"""By the stage, in the order of the pipeline."""


def _inputs(record: Record) -> list[str]:
    return [file.path for file in record.inputs]


def _input(record: Record, name: str) -> str:
    """Return the input whose path ends with a name.

    Raises:
        LookupError: the job has none.
    """
    path = _optional_input(record, name)
    if path is None:
        raise LookupError(f"its record lists no input {name}")
    return path


def _optional_input(record: Record, name: str) -> str | None:
    return next((path for path in _inputs(record) if path.endswith(f"/{name}")), None)


def outputs_of(record: Record, *stages: str) -> list[str]:
    """Return the inputs that some stages wrote."""
    return [path for path in _inputs(record) if (job_of(path) or ("",))[0] in stages]


def _logits(record: Record) -> dict[str, dict[str, dict[str, str]]]:
    return logits_by_expert(outputs_of(record, "export"), SimpleNamespace(**record.parameters))
