"""What a user adds from outside the package, each by one file of their own."""

import numpy as np
import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.registry import METRICS, metric
from tailproof.files import read_json
from tailproof.model_card.card_metrics import rows
from tailproof.model_card.expert_facts import ExpertFacts
from tailproof.report import tables
from tailproof.report.results import Scores
from tests.evaluation.drawn_experts import write_experts


@pytest.fixture
def confidence_metric():
    """A metric that a module outside of the package registers."""

    @metric(
        "mean_confidence",
        label="Confidence",
        title="mean confidence",
        meaning="Mean of the largest probability.",
        higher_is_better=True,
        percent=True,
        hub_type="confidence",
    )
    def mean_confidence(samples):
        return samples.weights @ samples.prediction.confidence / samples.weights.sum(axis=1)

    yield METRICS["mean_confidence"]
    del METRICS["mean_confidence"]


def test_a_metric_from_outside_is_evaluated_and_shown(tmp_path, confidence_metric):
    files = write_experts(tmp_path)
    manifest, config = tmp_path / "manifest.json", Evaluation(bootstrap=100, coverages=[0.5, 1.0])
    evaluate(files, manifest, config, tmp_path / "evaluation")

    written = read_json(tmp_path / "evaluation" / "metrics.json")
    logits = Logits.read(files["plain"][0]["test"])
    expected = Prediction.from_logits(logits.values, logits.target).confidence.mean()
    estimate = written["experts"]["plain"]["seeds"]["0"]["test"]["mean_confidence"]
    assert estimate["value"] == pytest.approx(expected)
    assert estimate["low"] < estimate["value"] < estimate["high"]
    weighted = written["experts"]["plain"]["over_seeds"]["test"]["long_tail_mean_confidence"]
    assert weighted["low"] < weighted["mean"] < weighted["high"]
    pair = written["paired"]["test"]["plain - adjusted"]["mean_confidence"]
    assert np.isfinite([pair["difference"], pair["low"], pair["high"]]).all()

    scores = Scores.read(tmp_path)
    table = tables.of_methods(scores, "test", tables.main_columns(scores), "")
    column = [heading.split(",")[0] for heading in table.head].index("Confidence")
    assert (
        table.rows[0].cells[column].main.value
        == (written["experts"]["plain"]["over_seeds"]["test"]["mean_confidence"]["mean"])
    )

    files = {key: {} for key in ("training", "diagnosis", "manifest", "splits", "digests")}
    named = {"experiment": "drawn", "title": "", "source": "", "expert": "plain", "seed": 0}
    expert = ExpertFacts(
        config={"tailproof": {"target": "label"}},
        calibration={"temperature": 1.5, "other_ranks": {}, "weights_sha256": "0" * 64},
        metrics=written,
        evaluation=config,
        promises={},
        **files,
        **named,
    )
    (row,) = (row for row in rows(expert) if row["title"] == "mean confidence")
    assert row["value"].startswith(f"{100 * expected:.1f} % [")
