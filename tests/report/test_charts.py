import json
import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest

from tailproof.report import charts
from tailproof.report.charts import low_fpr
from tailproof.report.metric_format import RULE_LABELS
from tailproof.report.results import Results
from tailproof.report.svg import VARIABLES, Point, draw
from tailproof.report.training_charts import training
from tests.report.drawn_results import write_results


def lines(chart):
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)]


def groups(chart, attribute="data-points"):
    """The groups of the SVG that carry an attribute, as {attribute: value} each."""
    root = ElementTree.fromstring(chart.svg.replace("xlink:href", "href"))
    return [each.attrib for each in root.iter("g") if attribute in each.attrib]


@pytest.fixture(scope="module")
def results(drawn):
    return Results.read("drawn", drawn[1], drawn[0])


def test_a_chart_is_well_formed_and_takes_no_colour_from_its_text():
    name = '#010101 id="x" </text><script>'
    chart = draw("a", "Title", name, 100, lambda figure: figure.text(0.5, 0.5, name))
    root = ElementTree.fromstring(chart.svg.replace("xlink:href", "href"))
    assert root.get("aria-label") == f"Title. {name}"
    assert name in ["".join(each.itertext()) for each in root.iter("text")]
    outside = re.sub(r">[^<]*<", "><", chart.svg[chart.svg.index(">") :])
    assert not any(colour in outside for colour in VARIABLES)


def test_what_is_marked_is_told_where_it_is_drawn():
    hostile = """<b> & ' " </title> 1>0"""

    def paint(figure):
        axes = figure.subplots()
        axes.set_xlim(0, 10)
        (line,) = axes.plot([0, 10, 20], [1, 2, 3])
        points = [Point(x, y, hostile, f"{y}") for x, y in ((0, 1), (10, 2), (20, 3))]
        figure.mark(line, method=hostile, name=hostile, points=points)

    chart = draw("a", "T", "c", 100, paint, along="x")
    (told,) = groups(chart)
    assert told["data-method"] == told["data-name"] == hostile
    points = json.loads(told["data-points"])
    assert [point[2:] for point in points] == [[hostile, "1"], [hostile, "2"]], "one is cut off"
    path = re.search(
        r'<path d="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) ', chart.svg.split("data-points")[1]
    )
    drawn = [float(number) for number in path.groups()]
    assert [*points[0][:2], *points[1][:2]] == pytest.approx(drawn, abs=0.06)
    titles = re.findall("<title>(.*?)</title>", chart.svg)
    assert [unescape(title) for title in titles] == [hostile]


def test_charts_of_the_same_name_are_the_same():
    first, second = (
        draw("a", "T", "c", 100, lambda figure: figure.subplots().plot([1, 2], "o-"))
        for _ in range(2)
    )
    assert first == second


def test_intervals_show_each_method_and_leave_out_what_is_undefined():
    values = {
        "one": {"mean": 0.5, "low": 0.4, "high": 0.6},
        "two": {"mean": 0.25, "low": None, "high": None},
        "none": {"mean": None, "low": None, "high": None},
    }
    chart = charts.intervals("a", "T", "c", "top1", values, strong="one", axis="%")
    assert {"one", "two", "50.0", "25.0"} <= set(lines(chart))
    assert "none" not in lines(chart)


def test_long_names_stay_apart():
    values = {
        f"expert_{index}_with_a_long_name": {"mean": 0.1, "low": 0, "high": 1} for index in range(3)
    }
    chart = charts.intervals("a", "T", "c", "nll", values, strong="", axis="")
    assert sum("…" in text for text in lines(chart)) == 3
    assert len({text for text in lines(chart) if "…" in text}) == 3


def test_profile_names_and_counts_each_class(results):
    shown = lines(charts.class_profile(results))
    for name, count in results.train_counts.items():
        assert str(count) in shown
        assert name in shown or len(name) > 18


def test_training_marks_the_best_validated_epoch(results):
    loss, accuracy = training(results, "plain")
    for seed, history in results.histories["plain"].items():
        column = "val_balanced_accuracy"
        best = history.best(column)
        assert best[column] == max(row[column] for row in history.rows if column in row)
        assert f"in epoch {best['epoch']} (seed {seed})" in accuracy.caption
    assert "best epoch" in lines(loss)


def test_training_tells_each_epoch_of_each_seed(results):
    loss, accuracy = training(results, "plain")
    for chart, column, scale in ((loss, "loss", 1), (accuracy, "balanced_accuracy", 100)):
        told = {each["data-name"]: json.loads(each["data-points"]) for each in groups(chart)}
        assert list(told) == ["train, seed 0", "val, seed 0", "train, seed 1", "val, seed 1"]
        rows = [row for row in results.histories["plain"][1].rows if f"val_{column}" in row]
        assert [point[2] for point in told["val, seed 1"]] == [
            f"epoch {row['epoch']}" for row in rows
        ]
        values = [float(point[3].split()[0]) for point in told["val, seed 1"]]
        assert values == pytest.approx([scale * row[f"val_{column}"] for row in rows], abs=0.051)


@pytest.mark.parametrize(
    ("monitor", "parts"), [("val_macro_f1", {"train", "val"}), ("tpr_at_fpr_0", {"val"})]
)
def test_training_draws_what_the_epoch_is_chosen_by(results, monitor, parts):
    value = results.experiment.model_dump(mode="json")
    value["experts"]["plain"]["monitor"] = monitor
    rates = (0.2, None, 0.7, 0.6, 0.5)
    histories = {
        seed: replace(
            history,
            columns=(*history.columns, "tpr_at_fpr_0"),
            rows=tuple(
                row if rate is None else row | {"tpr_at_fpr_0": rate}
                for row, rate in zip(history.rows, rates, strict=True)
            ),
        )
        for seed, history in results.histories["plain"].items()
    }
    experiment = type(results.experiment).model_validate(value)
    changed = replace(results, experiment=experiment, histories={"plain": histories})
    loss, accuracy, chosen = training(changed, "plain")
    assert monitor in loss.caption
    best = histories[0].best(monitor)
    at_best = f"{100 * best['val_balanced_accuracy']:.1f}\u00a0% in epoch {best['epoch']} (seed 0)"
    assert at_best in accuracy.caption
    reached = f"{100 * best[monitor]:.1f}\u00a0% in epoch {best['epoch']} (seed 0)"
    assert reached in chosen.caption
    assert {each["data-name"].split(",")[0] for each in groups(chosen)} == parts


def test_training_marks_the_phases_that_were_reached(results):
    value = results.experiment.model_dump(mode="json")
    sizes = {1: 8, 3: 12, 4: 12, 9: 16}
    phases = [{"from_epoch": epoch, "image_size": size} for epoch, size in sizes.items()]
    value["experts"]["plain"] |= {"phases": phases, "epochs": 9}
    changed = replace(results, experiment=type(results.experiment).model_validate(value))
    for chart in training(changed, "plain"):
        shown = lines(chart)
        assert [text for text in shown if text in ("8 px", "12 px", "phase 3")] == [
            "8 px", "12 px", "phase 3",
        ]  # fmt: skip
        assert "16 px" not in shown, "early stopping ended before"
    caption = training(changed, "plain")[0].caption
    assert "Phases: 8 px from epoch 1, 12 px from epoch 3, phase 3 from epoch 4." in caption
    assert "Phases" not in training(results, "plain")[0].caption


def test_low_fpr_draws_and_quotes_what_is_found(rare):
    results = Results.read("rare", rare[1], rare[0])
    drawn = low_fpr(results)
    assert [chart.method for chart in drawn] == results.scores.shown_methods
    for chart in drawn:
        found = results.scores.value("test", chart.method, "tpr_at_fpr_1e-2")["mean"]
        assert f"{100 * found:.1f}\u00a0%" in chart.caption and "at 0.01" in chart.caption
        told = {each["data-name"]: json.loads(each["data-points"]) for each in groups(chart)}
        assert list(told) == list(dict.fromkeys([results.scores.first, chart.method]))
        at = {point[2]: point[3] for point in told[chart.method]}
        assert at["false-positive rate 0.01"].startswith(f"{100 * found:.1f}\u00a0%")
        assert "false-positive rate 0.0001" not in at, "1,200 negatives cannot show it"
        across = [point[0] for point in told[chart.method]]
        assert np.diff(across) == pytest.approx(np.diff(across).mean(), abs=0.15), "log axis"


def test_low_fpr_is_of_two_classes_with_negatives_alone(results, tmp_path):
    assert low_fpr(results) == []
    experiment = write_results(tmp_path / "few", ["control", "lens"], seeds=[0], positive="lens")
    few = low_fpr(Results.read("few", experiment, tmp_path / "few"))
    assert "%" not in few[0].caption


def test_reliability_quotes_ece_and_temperatures(results):
    chart = charts.reliability(results, "plain")
    ece = results.scores.value("test", "plain", "ece")["mean"]
    assert f"{100 * ece:.1f}" in chart.caption
    for found in results.calibrations["plain"].values():
        assert f"{found['temperature']:.2f}" in chart.caption
    assert {"before", "after"} <= set(lines(chart))
    assert {"before", "after"} <= set(lines(charts.reliability(results, "stacked")))


def test_risk_coverage_quotes_the_curve(results):
    chart = charts.risk_coverage(results, "worst", "plugin_worst")
    table = results.tables["risk_coverage"]
    row = table[
        (table["split"] == "test")
        & (table["method"] == results.scores.best)
        & (table["weighting"] == "plain")
        & (table["risk_kind"] == "worst")
        & (table["rule"] == "plugin_worst")
        & (table["coverage"] == 0.8)
    ]
    label = RULE_LABELS["plugin_worst"]
    assert f"{label} {100 * row['risk'].item():.1f}" in chart.caption


def test_many_classes_become_one_area(results, monkeypatch):
    monkeypatch.setattr(charts, "NAMED_CLASSES", 3)
    assert "classes, largest first" in lines(charts.class_profile(results))
