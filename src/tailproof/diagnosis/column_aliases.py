"""Reads the column names of other tools: what a column is, of which split, in which unit."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

Role = Literal["epoch", "step", "attempt", "learning_rate", "samples", "metric", "other"]
Part = Literal["train", "val", "test", ""]

PARTS: dict[str, Part] = {
    **dict.fromkeys(
        ("train", "training", "tr", "trn", "trained", "learn", "fit", "minibatch"), "train"
    ),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "eval", "evaluation", "va"), "val"
    ),
    **dict.fromkeys(("test", "testing", "tst", "te", "holdout"), "test"),
}
"""Words for a split, in names of columns, folders and cells."""

_METRICS = {
    "loss": ("loss", "total_loss loss_total nll nll_loss ce ce_loss loss_ce cross_entropy "
             "crossentropy cross_entropy_loss xent xent_loss bce bce_loss log_loss logloss cost "
             "criterion focal_loss loss_value mlogloss multi_logloss binary_logloss multi_class"),
    "accuracy": ("accuracy acc", "top1 top_1 acc1 acc_1 top1_acc acc_top1 acc_top_1 top_1_acc "
                 "top1_accuracy top_1_accuracy accuracy_top1 accuracy_top_1 accuracy_1 prec1 "
                 "prec_1 precision_1 accuracy_score acc_score categorical_accuracy categorical_acc "
                 "sparse_categorical_accuracy sparse_categorical_acc binary_accuracy binary_acc "
                 "multiclass_accuracy multiclassaccuracy binaryaccuracy classification_accuracy "
                 "micro_accuracy accuracy_micro accuracy_micro_top1 class_acc accuracy01"),
    "error": ("", "error err error_rate err_rate error1 err1 error_1 err_1 top1_error top1_err "
              "top_1_error top_1_err err_top1 err_top_1 misclassification "
              "misclassification_rate classification_error merror multi_error binary_error"),
    "top5_accuracy": ("top5_accuracy", "top5 top_5 acc5 acc_5 top5_acc top_5_acc acc_top5 "
                      "acc_top_5 accuracy_top5 accuracy_top_5 top_5_accuracy accuracy_5 prec5 "
                      "prec_5 top_k_categorical_accuracy sparse_top_k_categorical_accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "balanced_acc bal_acc bal_accuracy bacc "
                          "mean_recall macro_recall recall_macro uar mean_class_accuracy "
                          "mean_class_acc mean_per_class_accuracy mean_per_class_acc "
                          "macro_accuracy macro_acc accuracy_macro acc_macro mca "
                          "balanced_accuracy_score"),
    "macro_f1": ("macro_f1 f1_macro macrof1 f1macro macro_f1_score f1_score_macro", "f1 f1_score "
                 "f1score fscore f_score f_1 f1_measure multiclass_f1_score multiclassf1score "
                 "multiclass_f1 binary_f1_score binaryf1score"),
    "auroc": ("auroc", "auc roc_auc auc_roc rocauc aucroc roc_auc_score multiclass_auroc "
              "binary_auroc multiclassauroc binaryauroc macro_auc auc_macro macro_auroc "
              "auroc_macro"),
    "precision": ("precision", ""),
    "recall": ("recall", ""),
}  # fmt: skip
"""Names of each metric: those that say exactly this, and those that are used for it."""

_ALIASES = {
    alias: (metric, rank)
    for metric, groups in _METRICS.items()
    for rank, group in enumerate(groups)
    for alias in group.split()
}
JUDGED = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc")
"""The metrics that detectors read."""

_EPOCH = {"epoch": 0, "ep": 1, "epoch_number": 1, "epoch_num": 1, "epoch_index": 1, "epoch_idx": 1,
          "epoch_id": 1, "current_epoch": 1, "epoch_no": 1, "epoch_n": 1, "epoche": 1,
          "epoque": 1, "epoca": 1, "num_epoch": 2, "n_epoch": 2, "epochs": 2}  # fmt: skip
_STEP = {"global_step": 0, "trainer_global_step": 0, "step": 1, "steps": 1, "iteration": 2,
         "iterations": 2, "iter": 2, "iters": 2, "it": 2, "itr": 2, "n_iter": 2, "num_iter": 2,
         "num_iters": 2, "update": 3, "updates": 3, "num_updates": 3, "batch": 4, "batch_idx": 4,
         "batch_index": 4, "minibatch": 4}  # fmt: skip
_ATTEMPT = {"attempt": 0, "run_attempt": 0, "restart": 0}
_SAMPLES = {"samples": 0, "samples_seen": 0, "n_samples": 0, "train_samples": 0}
_WHOLE: tuple[tuple[Role, dict[str, int]], ...] = (
    ("epoch", _EPOCH), ("step", _STEP), ("attempt", _ATTEMPT), ("samples", _SAMPLES)
)  # fmt: skip

_PLURALS = {"losses": "loss", "accs": "acc", "accuracies": "accuracy", "aucs": "auc", "f1s": "f1",
            "errors": "error", "errs": "err", "lrs": "lr", "rates": "rate", "recalls": "recall",
            "precisions": "precision", "aurocs": "auroc", "scores": "score"}  # fmt: skip
_PERCENT = {"percent", "pct", "percentage", "perc"}
_DECORATION = {"avg", "average", "ave", "mean", "running", "metrics", "metric", "scalars", "scalar",
               "logs", "log", "history", "overall", "on", "of", "the", "set", "data", "value",
               "total", "full", "score", "trainer", "model", "main", "per", "list", "hist",
               "array", "values", "curve", "current", "performance", "graphical",
               "kpi", "over"}  # fmt: skip
_STATISTIC = {"best", "max", "min", "std", "stdev", "stddev", "stderr", "sem", "var", "variance",
              "ema", "swa", "smoothed", "smooth", "median", "peak", "lowest",
              "highest"}  # fmt: skip
_TIMES = {"time", "timestamp", "date", "datetime", "day", "duration", "elapsed", "eta", "seconds",
          "sec", "secs", "minutes", "mins", "hours", "runtime", "walltime", "wall", "second",
          "unnamed", "index"}  # fmt: skip
_OTHERS = _TIMES | {"memory", "mem", "gpu", "cpu", "vram", "throughput", "speed", "fps", "flops",
                    "flos", "grad", "gradient", "momentum", "parameters", "params", "size", "host",
                    "patience", "vs"}  # fmt: skip
NO_METRIC = "not a metric"
"""Why times, sizes and counts are passed over."""
UNKNOWN = "not a known name"
_LEVELS = {"epoch": "epoch", "step": "step", "batch": "step", "iter": "step"}
LEVEL_RANK = {"epoch": 0, "": 1, "step": 2}
"""Lightning writes a metric several times; the column with the lowest rank is taken."""

_POINT = re.compile(r"(tpr_at_fpr|fpr_at_tpr)_([0-9.]+(?:e-?[0-9]+)?)")
RATES = re.compile(r"accuracy|f1|auroc|tpr_at_fpr|fpr_at_tpr|recall|precision")

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"(?<![0-9]e)-|(?<![0-9])\.|\.(?![0-9])|[^0-9a-z.\-]+")
_NUMBERED_SET = re.compile(r"(train|valid|validation|eval|test)_\d+")
_JOINED = re.compile(r"(train|validation|valid|val|test|eval|dev|tr)(.+)")


class ColumnName(NamedTuple):
    """What a name says by itself.

    Attributes:
        role: what the column is.
        part: the split of a metric; empty if the name does not say it.
        metric: the canonical name of a metric without its split, or the words of an unknown one.
        rank: 0 if the name says exactly this, higher for names that are also used for it.
        level: ``step`` for values of single batches, ``epoch`` for those of epochs.
        unit: ``percent`` if the name says so.
        known: whether the metric is a known one.
        reason: why the column is passed over, for the role ``other``.
    """

    role: Role
    part: Part = ""
    metric: str = ""
    rank: int = 0
    level: str = ""
    unit: str = ""
    known: bool = False
    reason: str = ""

    @property
    def judged(self) -> bool:
        """Whether detectors read this metric."""
        return self.metric in JUDGED or bool(_POINT.fullmatch(self.metric))


@lru_cache(4096)
def read_name(name: str) -> ColumnName:
    """Return what the name of a column says.

    ``valid/acc`` and ``ValAcc`` are the accuracy on val, ``Loss/train`` is the loss on train.
    """
    words = words_of(name)
    whole = _counter("_".join(words), _WHOLE)
    unit = "percent" if set(words) & _PERCENT else ""
    part, words = _split_off_part([word for word in words if word not in _PERCENT])
    counter = whole or _learning_rate(words, part) or _counter("_".join(words), _WHOLE[:2], 1)
    if counter:
        return counter
    level, words = _split_off_level(words)
    joined = _operating_point("_".join(words))
    metric, rank = _metric(words)
    if _POINT.fullmatch(joined) and part in ("", "val"):
        part, metric = "val", joined
    if metric:
        return ColumnName("metric", part, metric, rank, level, unit, known=True)
    if reason := _reason_for_no_metric(words):
        return ColumnName("other", part, joined, reason=reason)
    if not part:
        return ColumnName("other", part, joined, reason=UNKNOWN)
    return ColumnName("metric", part, joined, 0, level, unit)


def _counter(
    joined: str, tables: tuple[tuple[Role, dict[str, int]], ...], extra: int = 0
) -> ColumnName | None:
    for role, names in tables:
        if joined in names:
            return ColumnName(role, rank=names[joined] + extra)
    return None


def _reason_for_no_metric(words: list[str]) -> str:
    if set(words) & _STATISTIC:
        return "a best, extreme, mean or spread over epochs, not the value of one epoch"
    if not words or set(words) & _OTHERS or "_".join(words[-2:]) == "weight_decay":
        return NO_METRIC
    return ""


def words_of(name: str) -> list[str]:
    """Split a name at separators and at capitals, in lower case and without accents."""
    letters = unicodedata.normalize("NFKD", name).strip()
    text = "".join(letter for letter in letters if not unicodedata.combining(letter))
    text = re.sub(r"(?<![A-Za-z])m(AP|IoU)", lambda match: f"m{match[1].lower()}", text)
    text = _CAMEL.sub("_", text).replace("%", "_percent_").lower()
    text = re.sub(r"mini[-_ ]batch", "minibatch", text)  # MATLAB
    words = [_PLURALS.get(word, word) for word in _SEPARATORS.sub("_", text).split("_") if word]
    if len(words) == 1 and words[0] not in PARTS and (match := _JOINED.fullmatch(words[0])):
        rest = _PLURALS.get(match[2], match[2])
        if rest in _ALIASES:
            return [match[1], rest]
    return words


def _split_off_part(words: list[str]) -> tuple[Part, list[str]]:
    """Take the split out of a name; several splits in one name mean none."""
    named = [word for word in words if word in PARTS]
    if len(set(named)) > 1:
        named = [word for word in named if word not in ("eval", "evaluation")]
    if len({PARTS[word] for word in named}) != 1 or len(words) == len(named):
        return "", words
    return PARTS[named[0]], [word for word in words if word not in PARTS]


def _split_off_level(words: list[str]) -> tuple[str, list[str]]:
    for first, rest in ((-1, words[:-1]), (0, words[1:])):
        if rest and words[first] in _LEVELS:
            return _LEVELS[words[first]], rest
    return "", words


def _learning_rate(words: list[str], part: Part) -> ColumnName | None:
    joined = "_".join(words)
    if joined in ("lr", "learning_rate", "learningrate"):
        return ColumnName("learning_rate", rank=1 if part else 0)
    named = any(re.fullmatch(r"lr\d*", word) for word in words) or "learning_rate" in joined
    if not named or set(words) & set(_ALIASES):
        return None
    return ColumnName("learning_rate", rank=4 if set(words) & {"min", "max", "base"} else 2)


def _metric(words: list[str]) -> tuple[str, int]:
    """Return the known metric that words name, and how exactly; empty if there is none."""
    for kept, extra in ((words, 0), ([w for w in words if w not in _DECORATION], 1)):
        if "_".join(kept) in _ALIASES:
            metric, rank = _ALIASES["_".join(kept)]
            return metric, rank + extra
        if kept and kept[-1].isdigit() and "_".join(kept[:-1]) in _ALIASES:  # Keras' auc_1
            metric, rank = _ALIASES["_".join(kept[:-1])]
            if metric not in ("accuracy", "precision", "recall"):
                return metric, rank + extra + 1
    return "", 0


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


def with_plain_sets(names: Iterable[str]) -> dict[str, str]:
    """Return names of sets, without the number of a single set: ``valid_1`` of LightGBM is val."""
    matches = {name: _NUMBERED_SET.fullmatch(name) for name in names}
    words = {name: match[1] for name, match in matches.items() if match}
    only = len(words) == 1
    return {name: words[name] if only and name in words else name for name in matches}


def is_time(name: str) -> bool:
    """Return whether a column has times or numbers of rows."""
    return not name or bool(set(words_of(name)) & _TIMES)


def is_metric(name: str) -> bool:
    """Return whether a canonical name is that of a metric."""
    return name.startswith(("train_", "val_")) or bool(_POINT.fullmatch(name))
