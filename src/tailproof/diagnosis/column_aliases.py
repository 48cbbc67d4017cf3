"""Maps the column names of other tools to those of history.csv."""

import re

_PARTS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "va"), "val"),
}
_METRICS = {
    **dict.fromkeys(
        ("acc", "top1", "top_1", "acc1", "top1_acc", "top1_accuracy", "categorical_accuracy",
         "sparse_categorical_accuracy", "multiclassaccuracy", "accuracy_score"),
        "accuracy",
    ),
    **dict.fromkeys(("balanced_acc", "bal_acc", "bacc", "mean_recall"), "balanced_accuracy"),
    **dict.fromkeys(("f1_macro", "f1", "f1_score", "macrof1", "f1score"), "macro_f1"),
    **dict.fromkeys(("auc", "roc_auc", "auc_roc"), "auroc"),
    **dict.fromkeys(("nll", "ce", "ce_loss", "cross_entropy", "crossentropy"), "loss"),
}  # fmt: skip
_WHOLE = {
    **dict.fromkeys(("lr", "learningrate", "learning_rate", "train_lr"), "learning_rate"),
    **dict.fromkeys(("epoch", "epochs", "ep"), "epoch"),
    **dict.fromkeys(("step", "global_step", "iteration", "iter", "it", "steps"), "step"),
    **dict.fromkeys(("attempt", "run_attempt", "restart"), "attempt"),
    **dict.fromkeys(("samples", "samples_seen", "n_samples", "train_samples"), "samples"),
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "auroc": "val_auroc",
    "balanced_accuracy": "val_balanced_accuracy",
    "macro_f1": "val_macro_f1",
}
_POINT = re.compile(r"(tpr_at_fpr|fpr_at_tpr)_([0-9.]+(?:e-?[0-9]+)?)")
RATES = re.compile(r"accuracy|f1|auroc|tpr_at_fpr|fpr_at_tpr|recall|precision")
LEVEL = {"epoch": 0, "": 1, "step": 2}
"""Lightning writes a metric several times; the column with the lowest rank is taken."""


def canonical(name: str) -> tuple[str, int]:
    """Return the canonical name of a column, and its rank among columns of that name.

    ``valid/acc`` is ``val_accuracy``, ``Loss/train`` is ``train_loss``; ``train_loss_epoch``
    precedes ``train_loss_step``.
    """
    key = re.sub(r"(?<![0-9]e)-|[\s/:|]+", "_", name.strip().lower()).strip("_")
    level = ""
    for ending in ("epoch", "step"):
        if key.endswith(f"_{ending}") and key != f"global_{ending}":
            key, level = key.removesuffix(f"_{ending}"), ending
    rank = LEVEL[level]
    if re.match(r"(lr|learning_rate)_(?!f)", key):
        return "learning_rate", rank
    key = _WHOLE.get(key, key)
    if key in ("epoch", "step", "attempt", "learning_rate", "samples"):
        return key, rank
    first, _, rest = key.partition("_")
    head, _, last = key.rpartition("_")
    if first in _PARTS and rest:
        part, metric = _PARTS[first], rest
    elif last in _PARTS and head:
        part, metric = _PARTS[last], head
    else:
        part, metric = "", key
    metric = _operating_point(_METRICS.get(metric, metric))
    if metric.startswith(("tpr_at_fpr_", "fpr_at_tpr_")) and part in ("", "val"):
        return metric, rank
    return (f"{part}_{metric}" if part else _WHOLE.get(metric, metric)), rank


def _operating_point(metric: str) -> str:
    """Format the rate of an operating point as history.csv does: ``1e-4``, ``0.85``."""
    match = _POINT.fullmatch(metric)
    if not match:
        return metric
    value = float(match[2]) if match[2].count(".") < 2 and match[2] != "." else 0.0
    if match[1] == "fpr_at_tpr" or value == 0:
        return f"{match[1]}_{value:g}"
    digits, exponent = f"{value:e}".split("e")
    digits = digits.rstrip("0").rstrip(".")
    return f"{match[1]}_{digits}e{int(exponent)}"


def is_metric(name: str) -> bool:
    """Return whether a canonical name is that of a metric."""
    return name.startswith(("train_", "val_")) or bool(_POINT.fullmatch(name))


def rises(name: str) -> bool:
    """Return whether higher values of a metric are better."""
    return not ("loss" in name or "error" in name or name.startswith("fpr_at"))
