import numpy as np
import pytest

from tailproof.evaluation.deployment import Deployment, FittedRule
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import Grouped, apply, head_and_tail
from tailproof.evaluation.selective import fit_rules
from tailproof.predict.rejector import Rejector

CLASSES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def drawn():
    """Samples of four classes, the true one more probable."""
    draw = np.random.default_rng(0)
    labels = draw.choice(4, size=400, p=[0.4, 0.3, 0.2, 0.1])
    return Prediction.from_logits(draw.normal(size=(400, 4)) + 2 * np.eye(4)[labels], labels)


@pytest.mark.parametrize("tail", [["c", "d"], ["b"], [], CLASSES])
@pytest.mark.parametrize("rule", ["chow", "plugin_balanced", "plugin_worst"])
def test_decisions_are_those_that_were_evaluated(drawn, tail, rule):
    is_tail = np.isin(CLASSES, tail)
    there = [not is_tail.all(), is_tail.any()]
    groups, weight = head_and_tail(is_tail), np.ones(400)
    rules = fit_rules(drawn, weight, is_tail, [0.8, 0.85])[rule]

    def both(values):
        cells = iter(values.tolist())
        return [next(cells) if each else None for each in there]

    deployment = Deployment(
        experiment="drawn",
        expert="drawn",
        seed=0,
        weights_sha256="0" * 64,
        images="L",
        tail=tail,
        coverage=0.8,
        rules={
            rule: [
                FittedRule(
                    coverage=each.coverage,
                    shift=both(each.shift),
                    gain=both(each.gain),
                    multiplier=both(each.multiplier),
                    threshold=each.threshold if np.isfinite(each.threshold) else None,
                )
                for each in rules
            ]
        },
    )
    for fitted in rules:
        score, wrong = apply(fitted, Grouped.of(drawn, groups, weight))
        chosen, accepted = Rejector(deployment, CLASSES, rule, fitted.coverage)(drawn.log_p)
        assert (accepted == (score >= fitted.threshold)).all()
        assert ((chosen != drawn.labels) == wrong).all()
        assert accepted.mean() == pytest.approx(fitted.coverage, abs=0.01)
    assert Rejector(deployment, CLASSES, rule).coverage == 0.8
