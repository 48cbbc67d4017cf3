"""What is known of the files of well-known trainers beyond the names of their columns.

A family adds facts that names do not say: which split a bare name is of, which unit a rate has, and
which rows are no epochs.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tailproof.diagnosis.column_aliases import Part
from tailproof.diagnosis.readers.table import PassedOver, Rows

Unit = str


@dataclass(frozen=True)
class Family:
    """A trainer or logger whose files are recognized by their names.

    Attributes:
        name: the name of the trainer.
        recognizes: takes the lower-case names of all columns.
        bare: the split of metrics whose names say none; empty where twins decide.
        unit: the unit of its accuracies; empty if it has no rule.
        shares: accuracies in another unit, as shares.
        summary: names that only rows have which sum up the run.
        val_prefixes: prefixes of names of metrics on val.
        test_is_val: whether it calls val test.
    """

    name: str
    recognizes: Callable[[Collection[str]], bool]
    bare: Part = ""
    unit: Unit = ""
    shares: frozenset[str] = frozenset()
    summary: frozenset[str] = frozenset()
    val_prefixes: tuple[str, ...] = ()
    test_is_val: bool = False


def _any_starts(names: Collection[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)


FAMILIES = (
    Family(
        "Tailproof",
        lambda names: {"val_balanced_accuracy", "val_macro_f1", "learning_rate"} <= set(names),
        unit="share",
    ),
    Family(
        "Ultralytics",
        lambda names: _any_starts(names, "metrics/") and _any_starts(names, "train/", "val/"),
        bare="val",
        unit="share",
        val_prefixes=("metrics/",),
        test_is_val=True,
    ),
    Family("timm", lambda names: "eval_top1" in names, unit="percent"),
    Family(
        "DeiT, MAE, Swin or torchvision",
        lambda names: (
            "test_acc1" in names and bool({"n_parameters", "test_acc5", "train_lr"} & set(names))
        ),
        unit="percent",
        shares=frozenset({"train_class_acc"}),  # of BEiT and ConvNeXt
    ),
    Family(
        "detectron2",
        lambda names: "eta_seconds" in names and "total_loss" in names,
        val_prefixes=("bbox/", "segm/"),
    ),
    Family(
        "MMAction2",
        lambda names: "data_time" in names and _any_starts(names, "acc/", "val/acc/", "top1_acc"),
        unit="share",
        val_prefixes=("acc/",),
    ),
    Family(
        "OpenMMLab",
        lambda names: "data_time" in names,
        unit="percent",
        val_prefixes=("accuracy/", "accuracy_top-", "single-label/", "multi-label/", "coco/"),
    ),
    Family(
        "Hugging Face Trainer",
        lambda names: (
            bool({"grad_norm", "train_runtime", "eval_runtime", "total_flos"} & set(names))
            and bool({"loss", "eval_loss"} & set(names))
        ),
        unit="share",
        summary=frozenset({"train_runtime", "total_flos"}),
    ),
    Family(
        "a model card of Hugging Face",
        lambda names: {"training loss", "validation loss", "epoch"} <= set(names),
        bare="val",
    ),
    Family(
        "fastai",
        lambda names: {"epoch", "train_loss", "valid_loss", "time"} <= set(names),
        bare="val",
        unit="share",
    ),
    Family(
        "Keras",
        lambda names: "loss" in names and "val_loss" in names and "train_loss" not in names,
        unit="share",
    ),
    Family(
        "Lightning",
        lambda names: (
            {"epoch", "step"} <= set(names)
            and any(name.startswith(("train", "val", "lr-")) for name in names)
        ),
    ),
)


def recognize(names: Collection[str]) -> Family:
    """Return the family that uses these names; one without a name and facts if none does."""
    plain = [name.strip().lower() for name in names]
    return next((family for family in FAMILIES if family.recognizes(plain)), Family("", bool))


def without_summaries(family: Family, rows: Rows) -> tuple[Rows, list[PassedOver]]:
    """Leave out the rows that sum up the whole run."""
    if not family.summary:
        return rows, []
    kept = [row for row in rows if not family.summary & _filled(row)]
    count = len(rows) - len(kept)
    if not count or not kept:
        return rows, []
    return kept, [PassedOver("rows that sum up the run", count)]


def _filled(row: dict[str, Any]) -> set[str]:
    return {name for name, value in row.items() if value not in (None, "")}
