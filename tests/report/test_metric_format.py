import pytest

from tailproof.evaluation.registry import METRICS
from tailproof.evaluation.roc import MEASURED
from tailproof.report.metric_format import interval, listing, number, with_interval
from tailproof.report.results import Results

RANKS = [name for name, metric in METRICS.items() if metric.table == "ranks"]
OF_SOME = (*MEASURED, "top3", *RANKS)  # two classes, or several ranks


@pytest.mark.parametrize(
    ("metric", "value", "more", "text"),
    [
        ("top1", 0.93456, {}, "93.5"),
        ("top1", 0.93456, {"unit": True}, "93.5\u00a0%"),
        ("top1", -0.05, {"sign": True}, "−5.0"),
        ("top1", 0.05, {"sign": True}, "+5.0"),
        ("top1", -0.0001, {"sign": True}, "0.0"),
        ("nll", 0.1234, {"unit": True}, "0.123"),
        ("aurc_standard_chow", 0.00768, {}, "0.0077"),
        ("long_tail_ece_uncalibrated", 0.5, {}, "50.0"),
        ("few_accuracy", None, {"unit": True}, "–"),
    ],
)
def test_number(metric, value, more, text):
    assert number(metric, value, **more) == text


def test_intervals():
    value = {"mean": 0.5, "low": 0.4, "high": 0.6}
    assert interval("top1", value) == "[40.0,\u00a060.0]"
    assert with_interval("top1", value) == "50.0\u00a0%\u00a0[40.0,\u00a060.0]"
    assert interval("top1", {"low": None, "high": None}) == ""
    assert interval("top1", {"low": 0.0, "high": 0.0}) == "", "six samples, all wrong"
    assert with_interval("nll", {"mean": None, "low": None, "high": None}) == "–"


def test_words():
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(list("abcdef"), limit=4) == "a, b, c, d and 2 more"


@pytest.mark.parametrize("metric", [name for name in METRICS if name not in OF_SOME])
def test_every_metric_is_one_that_evaluate_writes(drawn, metric):
    folder, experiment = drawn
    scores = Results.read("drawn", experiment, folder).scores
    assert scores.value("test", "plain", metric)["mean"] is not None


def test_the_metrics_of_two_classes_are_ones_that_evaluate_writes():
    rare = {name for name, metric in METRICS.items() if metric.table == "rare"}
    assert set(MEASURED) <= set(METRICS) and rare <= set(MEASURED)
