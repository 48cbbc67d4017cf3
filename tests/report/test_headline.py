import re

from tailproof.report.headline import headline
from tailproof.report.metric_format import number, with_interval
from tailproof.report.results import Results


def words(markup):
    return re.sub(r"<[^>]*>", "", markup)


def test_the_headline_quotes_the_run(drawn):
    folder, experiment = drawn
    results = Results.read("drawn", experiment, folder)
    scores = results.scores
    text = words(headline(results))
    value = scores.value("test", scores.best, "balanced_accuracy")
    gain = scores.difference("test", scores.best, "plain", "balanced_accuracy")
    assert scores.best in text
    assert with_interval("balanced_accuracy", value) in text
    assert f"{number('top1', abs(gain['difference']))}\u00a0points" in text
    assert ("includes zero" in text) == (gain["low"] <= 0 <= gain["high"])
    assert scores.on_dev(scores.best) == max(map(scores.on_dev, scores.methods))


def test_the_headline_admits_what_is_not_significant(drawn):
    folder, experiment = drawn
    results = Results.read("drawn", experiment, folder)
    scores = results.scores
    pair = scores.metrics["paired"]["test"][f"{scores.best} - plain"]["balanced_accuracy"]
    pair.update(difference=-0.01, low=-0.03, high=0.01)
    assert "1.0\u00a0points lower" in words(headline(results))
    assert "includes zero" in words(headline(results))


def test_every_number_of_the_headline_has_its_key(drawn):
    folder, experiment = drawn
    results = Results.read("drawn", experiment, folder)
    scores = results.scores
    text = headline(results)
    loose = words(re.sub(r"<span.*?</span>", "", text))
    assert not re.search(r"\d\.\d", loose)
    keys = scores.keys_of_difference("test", scores.best, scores.first, "balanced_accuracy")
    for key in keys.values():
        assert f'data-key="{key}"' in text


def test_the_headline_shows_no_noise_as_an_effect_of_calibration(drawn):
    folder, experiment = drawn
    scores = (results := Results.read("drawn", experiment, folder)).scores
    effect = scores.metrics["calibration"]["test"][scores.best]["ece_debiased"]
    kind = "ensembles" if scores.is_ensemble(scores.best) else "experts"
    values = scores.metrics[kind][scores.best]["over_seeds"]["test"]
    values["ece_uncalibrated"]["mean"], values["ece"]["mean"] = 0.058, 0.023
    texts = {}
    for verdict, (low, high) in {
        "lower": (-0.05, -0.01), "higher": (0.01, 0.05), "same": (-0.05, 0.01)
    }.items():  # fmt: skip
        effect.update(difference=(low + high) / 2, low=low, high=high)
        assert scores.calibration_verdict("test", scores.best) == verdict
        texts[verdict] = words(headline(results)).split("Calibration ")[1]
        assert re.search(rf"{scores.best}.*5\.8\u00a0%.*2\.3\u00a0%", texts[verdict])
    assert "noise (" in texts["same"]
    assert not any("noise (" in texts[verdict] for verdict in ("lower", "higher"))
