"""The CSV tables of the stages evaluate, cross_fit and draws: the columns of each file NAME.csv.

This module imports nothing, so that rules can read the names when Snakemake starts.
"""

COLUMNS = {
    "summary": "split method kind metric mean sd low high seeds",
    "per_class": "split method class group train_count support recall recall_low recall_high "
    "precision f1",
    "reliability": "split method stage bin lower upper confidence accuracy count",
    "risk_coverage": "split method weighting rule risk_kind coverage risk low high",
    "confusion": "split method true predicted count",
    "errors": "method seed rank sample_id true predicted confidence",
    "rejectors": "method seed weighting rule coverage shift_head shift_tail gain_head gain_tail "
    "multiplier_head multiplier_tail threshold",
    "low_fpr": "split method seed metric threshold true_positives positives tpr tpr_low tpr_high "
    "false_positives negatives fpr fpr_low fpr_high",
    "roc": "split method fpr tpr low high",
    "class_mixes": "split method class_mix metric mean sd low high seeds",
}

TABLES = [name for name in COLUMNS if name != "summary"]
"""All tables except the summary, which the workflow lists separately."""

CROSS_FIT_COLUMNS = {
    "summary": "method kind metric mean sd low high seeds",
    "per_class": "method class group train_count support recall recall_low recall_high",
    "predictions": "method seed fold sample_id true predicted confidence",
}
"""The tables of the stage cross_fit."""

DRAWS_COLUMNS = {
    "summary": "method kind metric mean sd lowest highest draws",
    "per_draw": "experiment data_seed method kind metric mean sd low high seeds",
}
"""The tables of the stage draws."""
