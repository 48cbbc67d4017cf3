"""The page of an experiment: one self-contained HTML file from everything on disk."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from tailproof.config.experiment import Experiment
from tailproof.data.split_text import cleaning_sentences, small_class_sentence
from tailproof.data.thumbnails import read_class_thumbnails
from tailproof.evaluation.class_groups import GROUPS, describe_groups
from tailproof.evaluation.registry import METRICS
from tailproof.files import write_text
from tailproof.operating_points import POINTS
from tailproof.report import (
    calibration_section,
    charts,
    class_mix_section,
    finding_cards,
    guarantee_section,
    inspection_section,
    leakage_section,
    lineage_picture,
    pooled_section,
    student_section,
    sweep_section,
    tables,
    unknown_section,
)
from tailproof.report.charts import low_fpr
from tailproof.report.checklist import Progress
from tailproof.report.headline import headline
from tailproof.report.keyed_number import compared, excludes_zero, keyed_interval, measured
from tailproof.report.metric_format import SPACE, interval, kind, listing, number
from tailproof.report.render import render
from tailproof.report.results import CHOSEN_BY, SHOWN, Results, Scores, Value
from tailproof.report.status_block import status_block
from tailproof.report.svg import Chart
from tailproof.report.training_charts import training
from tailproof.report.worst_errors import worst_errors
from tailproof.text import quantity

NAMES_QUOTED = 4


def write_page(
    name: str,
    experiment: Experiment,
    results: str | Path,
    output: str | Path,
    pooled: Iterable[str | Path] = (),
) -> None:
    """Write the report of an experiment.

    Reads evaluation/, inspection/, near_duplicates/, prepare.json, splits.json, shards/,
    preflight.json, each expert's history.csv, calibration.json and diagnosis.json, the selection of
    a sweep, experts/cost.json of students, and the records of the jobs that made them. The same
    files give exactly the same bytes.

    Args:
        name: name of the experiment.
        experiment: its configuration.
        results: the folder results/NAME.
        output: path of the page.
        pooled: cross_fit/metrics.json and draws/metrics.json, of those that there are.

    Raises:
        TailproofError: a file is missing, damaged, or of another configuration.
    """
    read = Results.read(name, experiment, Path(results), pooled)
    cards = finding_cards.cards(read)
    progress = Progress(experiment, read.folder)
    page = render(
        "page.html.j2",
        name=name,
        experiment=experiment,
        scores=read.scores,
        shown=SHOWN,
        **_results(read),
        **_data(read),
        **_behaviour(read),
        **_reproduction(read),
        findings=cards,
        status=status_block(cards, progress.criteria()),
        guarantees=guarantee_section.section(read),
        unknown=unknown_section.section(read),
        students=student_section.section(read),
        inspection=inspection_section.section(read),
        preflight=finding_cards.before_training(read.preflight),
        pooled=pooled_section.sections(read.pooled),
        sweep=sweep_section.section(experiment.sweep, read.selection)
        if experiment.sweep and read.selection
        else None,
        near_duplicates=leakage_section.section(read.leakage, read.splits["splits"]["test"])
        if read.leakage
        else None,
    )
    write_text(output, page)


def _results(results: Results) -> dict[str, Any]:
    scores = results.scores
    count = len(results.experiment.seeds)
    seeds = "one seed" if count == 1 else f"mean over {count} seeds"
    rows = quantity(scores.metrics["splits"]["test"]["rows"], "test sample")
    return {
        "answer": headline(results),
        "tiles": _tiles(results),
        "main": {
            split: tables.of_methods(
                scores, split, tables.main_columns(scores), f"Results on {split}, {seeds}"
            )
            for split in ("test", "dev")
        },
        "test_rows": rows,
        "differences": tables.against_first(scores, "test"),
        "difference_charts": _difference_charts(results),
        "all_pairs": tables.all_pairs(scores, "test"),
        "pairs": len(scores.metrics["paired"]["test"]),
        "groups": tables.of_methods(
            scores,
            "test",
            tables.columns_of("groups", scores),
            "Accuracy by group of classes on test",
        ),
        "group_charts": _group_charts(results),
        "recalls": charts.recalls(results),
        "class_table": tables.of_classes(results),
        "long_tail": tables.of_methods(
            scores,
            "test",
            tables.long_tail_columns(scores),
            "Results on test, weighted by the training class distribution",
        ),
        "class_mix_chart": class_mix_section.chart(scores),
        "class_mix_tables": class_mix_section.tables(scores),
        **_rare(results),
        "ranks": tables.section(scores),
        "sample_groups": scores.metrics["sample_groups"],
        "of_sample_groups": tables.of_sample_groups(scores)
        if scores.metrics["sample_groups"]
        else None,
    }


def _rare(results: Results) -> dict[str, Any]:
    """Return the values of the section on rare events, which only two-class tasks have."""
    scores = results.scores
    positive = scores.metrics["positive"]
    if positive is None:
        return {"positive": None}
    title = f"Detection of '{positive}' on test at low false-positive rates"
    return {
        "positive": positive,
        "rare_charts": low_fpr(results),
        "rare": tables.of_methods(scores, "test", tables.columns_of("rare", scores), title),
        "rare_notes": [note for note in scores.metrics["notes"] if any(map(note.count, POINTS))],
    }


def _tiles(results: Results) -> list[dict[str, Any]]:
    """Return the key figures: label, value, and the note below it, as texts and numbers."""
    scores = results.scores
    best = scores.best
    percent = f"{SPACE}%"
    reached = measured(scores, "test", best, CHOSEN_BY)
    tiles = [
        {
            "label": "Balanced accuracy on test",
            "value": [reached["main"], percent],
            "note": [keyed_interval(reached), f" · {best}"],
        }
    ]
    if best != scores.first:
        gain = compared(scores, "test", best, scores.first, CHOSEN_BY)
        tiles.append(
            {
                "label": f"Difference from {scores.first}",
                "value": [gain["main"], " points"],
                "note": [keyed_interval(gain), " · paired"],
            }
        )
    few = measured(scores, "test", best, "few_accuracy")
    if few["main"].value is not None:
        named = scores.metrics["groups"]["few"]
        classes = quantity(len(named), "class", "classes")
        tested = sum(results.splits["class_counts"][name]["test"] for name in named)
        tiles.append(
            {
                "label": "Accuracy in few-shot classes",
                "value": [few["main"], percent],
                "note": [keyed_interval(few), f" · {classes}, {quantity(tested, 'sample')}"],
            }
        )
    before, after = (
        measured(scores, "test", best, name)["main"] for name in ("ece_uncalibrated", "ece")
    )
    compared_with = {"lower": "lower than", "higher": "higher than", "same": "within noise of"}
    verdict = compared_with[scores.calibration_verdict("test", best)]
    tiles.append(
        {
            "label": "Calibration error (ECE) on test",
            "value": [after, percent],
            "note": [f"{verdict} the ", before, f"{percent} without calibration · {best}"],
        }
    )
    return tiles


def _difference_charts(results: Results) -> list[Chart]:
    scores = results.scores
    others = [method for method in scores.shown_methods if method != scores.first]
    charted = []
    for metric in ("balanced_accuracy", "few_accuracy", "nll") if others else ():
        values = {
            method: scores.difference("test", method, scores.first, metric) for method in others
        }
        defined = {method: value for method, value in values.items() if value["low"] is not None}
        if defined:
            charted.append(_difference_chart(scores, metric, defined))
    return charted


def _difference_chart(scores: Scores, metric: str, values: dict[str, Value]) -> Chart:
    clear = [method for method, value in values.items() if excludes_zero(value)]
    quoted = scores.best if scores.best in values else next(iter(values))
    value = values[quoted]
    better = "higher" if METRICS[metric].higher_is_better else "lower"
    caption = (
        f"{quoted}: {number(metric, value['difference'], sign=True)} "
        f"{interval(metric, value, sign=True)}; {better} is better. The "
        f"interval excludes zero for {_some(clear, values)}."
    )
    return charts.intervals(
        f"difference-{metric}",
        "Few-shot accuracy" if metric == "few_accuracy" else METRICS[metric].label,
        caption,
        metric,
        values,
        strong=scores.best,
        axis="points" if METRICS[metric].percent else "difference",
        zero=True,
    )


def _some(names: list[str], methods: Collection[str]) -> str:
    if len(names) > NAMES_QUOTED:
        return f"{len(names)} of {len(methods)} methods"
    return listing(names) if names else "none"


def _group_charts(results: Results) -> list[Chart]:
    scores = results.scores
    spans = describe_groups(results.experiment.evaluation)
    group_charts = []
    for group in GROUPS:
        if members := scores.metrics["groups"][group]:
            metric = f"{group}_accuracy"
            values = {
                method: scores.value("test", method, metric) for method in scores.shown_methods
            }
            best = max(values, key=lambda method: values[method]["mean"] or 0)
            group_charts.append(
                charts.intervals(
                    f"group-{group}",
                    group.capitalize(),
                    f"{quantity(len(members), 'class', 'classes')} with {spans[group]}. Highest: "
                    f"{best}, {number(metric, values[best]['mean'], unit=True)}.",
                    metric,
                    values,
                    strong=scores.best,
                    axis="mean recall on test, %",
                )
            )
    return group_charts


def _data(results: Results) -> dict[str, Any]:
    return {
        "left_out": tables.left_out(results),
        "data_warnings": results.prepared["warnings"],
        "cleaning": cleaning_sentences(results.splits),
        "small_classes": small_class_sentence(results.splits, len(results.classes)),
        "profile": charts.class_profile(results),
        "split_table": tables.split_sizes(results),
        "class_pictures": read_class_thumbnails(results.folder / "thumbnails.json"),
        "class_rows": tables.CLASS_ROWS,
        "classes": results.classes,
        "train_counts": results.train_counts,
    }


def _behaviour(results: Results) -> dict[str, Any]:
    scores = results.scores
    by_class = dict.fromkeys([scores.first, scores.best])
    method, errors = worst_errors(results)
    warnings = {
        warning: None
        for seeds in results.calibrations.values()
        for calibration in seeds.values()
        for warning in calibration["warnings"]
    }
    return {
        "training": [
            chart for expert in scores.shown_experts for chart in training(results, expert)
        ],
        "reliability": [charts.reliability(results, each) for each in scores.shown_methods],
        "calibrators": calibration_section.calibrators(results),
        "calibrator_choice": calibration_section.choices(results),
        "calibration_effects": calibration_section.effects(scores),
        "calibration_warnings": list(warnings),
        "risks": [
            charts.risk_coverage(results, "standard", "plugin_balanced"),
            charts.risk_coverage(results, "balanced", "plugin_balanced"),
            charts.risk_coverage(results, "worst", "plugin_worst"),
        ],
        "coverages": tables.at_coverages(results),
        "confusion_by_group": [
            tables.confusion_by_group(results, each) for each in scores.shown_methods
        ],
        "confusion_by_class": [tables.confusion_by_class(results, each) for each in by_class]
        if len(results.classes) <= tables.CONFUSED_CLASSES
        else [],
        "agreement": tables.agreement(scores),
        "errors_of": f"the {kind(scores, method)} {method}",
        "errors": errors,
        "errors_shown": quantity(len(errors), "error"),
    }


def _reproduction(results: Results) -> dict[str, Any]:
    value = results.experiment.model_dump(mode="json")
    measured_metrics = results.scores.metrics_measured
    value["experts"] = {
        name: _changes(value["recipe"], recipe) for name, recipe in value["experts"].items()
    }
    diagram = lineage_picture.LineageDiagram.of(results)
    return {
        "configuration": yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=88),
        "metrics": [metric for name, metric in METRICS.items() if name in measured_metrics],
        "diagram": diagram,
        "digests": lineage_picture.digests(diagram),
        "example": results.scores.keys("test", results.scores.best, CHOSEN_BY)["mean"],
    }


def _changes(base: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that `tailproof.config.merge` merges into `base` to get `whole`."""
    changes = {}
    for key, value in whole.items():
        old = base.get(key)
        if value == old and key in base:
            continue
        changes[key] = value
        if (
            isinstance(value, dict)
            and isinstance(old, dict)
            and all(value.get(tag) == old.get(tag) for tag in ("name", "kind"))
        ):
            changes[key] = _changes(old, value)
    return changes
