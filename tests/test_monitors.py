import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tailproof.monitors import (
    MONITORS,
    PREFERRED,
    ClassCounts,
    Validation,
    direction,
    measure_monitors,
    register_monitor,
)
from tailproof.operating_points import POINTS

COLUMNS = ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_macro_f1")
METRICS = dict(zip(COLUMNS, (0.7, 0.8, 0.6, 0.5), strict=True))
COUNTS = ClassCounts(*np.array([[80, 10], [100, 20], [90, 30]]))


def test_the_table_holds_all_names_that_a_recipe_may_give():
    assert tuple(MONITORS) == (*COLUMNS, "val_auroc", *POINTS)
    assert set(PREFERRED) <= set(MONITORS)
    falling = {name for name, monitor in MONITORS.items() if not monitor.higher_is_better}
    assert falling == {"val_loss", *(name for name in POINTS if name.startswith("fpr_at_tpr"))}
    two = {name for name, monitor in MONITORS.items() if monitor.two_classes}
    assert two == {"val_auroc", *POINTS}


@pytest.mark.parametrize(
    ("metric", "sign"),
    [("val_loss", -1), ("val_macro_f1", 1), ("fpr_at_tpr_0.5", -1), ("tpr_at_fpr_0", 1),
     ("train_loss", -1), ("val_error", -1), ("val_accuracy_genus", 1), ("fpr_at_tpr_0.9", -1)],
)  # fmt: skip
def test_the_table_decides_which_way_is_better_and_else_the_name(metric, sign):
    assert direction(metric) == sign


def test_more_than_two_classes_show_no_monitor_of_two():
    assert measure_monitors(Validation(METRICS, COUNTS)) == METRICS


def test_two_classes_show_what_their_negatives_allow():
    scores = np.random.default_rng(0).normal(size=300)
    positive = scores + np.random.default_rng(1).normal(size=300) > 1
    values = measure_monitors(Validation(METRICS, COUNTS, scores, positive))
    hidden = {"tpr_at_fpr_1e-3", "tpr_at_fpr_1e-4", "tpr_at_fpr_1e-5"}
    assert set(values) == set(MONITORS) - hidden
    assert values["val_auroc"] == pytest.approx(roc_auc_score(positive, scores))
    one_class = Validation(METRICS, COUNTS, scores, np.zeros(300, bool))
    assert measure_monitors(one_class) == METRICS


def test_a_name_belongs_to_one_monitor():
    with pytest.raises(ValueError, match="val_loss"):
        register_monitor("val_loss", higher_is_better=False)
