import re
from html import unescape
from xml.etree import ElementTree

import pandas as pd
import pytest

from tailproof.report import charts
from tailproof.report.drawing import VARIABLES, draw
from tailproof.report.inputs import Results
from tailproof.report.training_charts import best_epoch, training


def lines(chart):
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)]


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
        best = best_epoch(history, "val_balanced_accuracy", 1)
        row = history.set_index("epoch").loc[best]
        assert row["val_balanced_accuracy"] == history["val_balanced_accuracy"].max()
        assert f"in epoch {best} (seed {seed})" in accuracy.caption
    assert "best epoch" in lines(loss)


def test_the_best_epoch_is_the_first_of_equals_and_lowest_for_a_loss():
    history = pd.DataFrame(
        {"epoch": [1, 2, 3, 4], "val_loss": [3.0, None, 1.0, 1.0], "val_f": [0.1, None, 0.9, 0.9]}
    )
    assert best_epoch(history, "val_loss", -1) == 3
    assert best_epoch(history, "val_f", 1) == 3


def test_reliability_quotes_ece_and_temperatures(results):
    chart = charts.reliability(results, "plain")
    ece = results.scores.value("test", "plain", "ece")["mean"]
    assert f"{100 * ece:.1f}" in chart.caption
    for found in results.calibrations["plain"].values():
        assert f"{found['temperature']:.2f}" in chart.caption
    assert {"before", "after"} <= set(lines(chart))
    assert "before" not in lines(charts.reliability(results, "stacked"))


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
    assert f"plug-in, worst {100 * row['risk'].item():.1f}" in chart.caption


def test_many_classes_become_one_area(results, monkeypatch):
    monkeypatch.setattr(charts, "NAMED_CLASSES", 3)
    assert "classes, largest first" in lines(charts.class_profile(results))
