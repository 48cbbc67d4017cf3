"""The command `tailproof retrain`: a new head from verified labels, next to the old one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tailproof.config.splits import SPLITS
from tailproof.data.taxonomy import head_columns
from tailproof.digests import sha256_file
from tailproof.evaluation.metrics import METRICS
from tailproof.evaluation.task import Task
from tailproof.features.concatenation import open_features
from tailproof.features.merging import check_weights
from tailproof.features.store import FeatureSplit
from tailproof.files import write_json
from tailproof.number_format import format_estimate, format_number
from tailproof.predict.trained_head import TrainedHead
from tailproof.project import project_paths
from tailproof.retraining.comparison import compare_heads, verdict
from tailproof.retraining.origin import Origin
from tailproof.retraining.verified_labels import Correction, VerifiedLabels, correct_labels
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.signals import StopRequest
from tailproof.text import listed, quantity
from tailproof.training.distributed import ProcessGroup
from tailproof.training.head_on_features import HeadOnFeatures
from tailproof.training.run import TrainingRun
from tailproof.training.train import train

FITTED = ("train", "val")
"""Splits that training reads."""

HELD_OUT = "dev"
"""The split that scores both heads: no head is fitted to it, and test is not for choosing."""


@dataclass(frozen=True)
class Retrained:
    """A new head and how it compares with the old one.

    Attributes:
        expert: folder of the old head.
        weights_sha256: SHA-256 of its weights.
        labels_sha256: SHA-256 of the table of verified labels.
        corrections: what the verified labels are to each split.
        unlabelled: number of rows without a label.
        unknown: samples of the table that are in no split.
        samples: number of samples that score both heads.
        scores: see `tailproof.retraining.comparison.compare_heads`.
    """

    expert: str
    weights_sha256: str
    labels_sha256: str
    corrections: dict[str, Correction]
    unlabelled: int
    unknown: list[str]
    samples: int
    scores: dict[str, dict[str, Any]]

    def to_jsonable(self) -> dict[str, Any]:
        """Return the content of retrained.json."""
        corrections = {name: one._asdict() for name, one in self.corrections.items()}
        return asdict(self) | {"corrections": corrections, "scored_on": HELD_OUT}


def retrain(expert: str, table: str, output: str) -> Retrained:
    """Fit the head of an expert again with verified labels, and score both on dev.

    Recipe, seed, features and samples are those of the expert. Verified labels replace the given
    ones of train, val and dev; those of the other splits are passed over.

    Args:
        expert: folder of a head on features, in the results of this project.
        table: CSV table of verified labels.
        output: new folder for the new head.

    Raises:
        TailproofError: the output exists or is among the results; the table, the expert or its
            features cannot be used; or no label of train or val changes.
    """
    verified = VerifiedLabels.read(table)
    _check_output(output)
    origin = Origin.read(expert)
    splits = {name: open_features(origin.features, origin.manifest, name) for name in SPLITS}
    check_weights(origin.recipe.models, splits["train"])
    manifest = splits["train"].manifest
    indices = verified.indices(table, manifest["classes"][manifest["target"]])
    corrections = {name: correct_labels(split, indices) for name, split in splits.items()}
    samples = {sample for split in splits.values() for sample in split.sample_ids}
    unknown = sorted(indices.keys() - samples)
    _check_changes(table, origin, corrections, unknown)
    with _new_folder(output) as folder:
        fitted, val = (splits[name] for name in FITTED)
        learner = HeadOnFeatures(fitted, val, origin.recipe)
        run = TrainingRun(learner, origin.seed, ProcessGroup(1))
        train(run, folder, folder.with_name("states"), "retrained", StopRequest())
        result = Retrained(
            expert=origin.expert.as_posix(),
            weights_sha256=origin.weights.sha256,
            labels_sha256=sha256_file(table),
            corrections=corrections,
            unlabelled=verified.unlabelled,
            unknown=unknown,
            samples=len(splits[HELD_OUT]),
            scores=_compare(origin, folder, splits[HELD_OUT]),
        )
        write_json(folder / "retrained.json", result.to_jsonable())
    return result


def summary(result: Retrained) -> Iterator[str]:
    """Yield the lines that say what was fitted, and how the two heads compare."""
    corrections = result.corrections
    yield "labels: " + "; ".join(
        _corrected(name, corrections[name]) for name in (*FITTED, HELD_OUT)
    )
    others = [name for name in corrections if name not in (*FITTED, HELD_OUT)]
    unused = sum(corrections[name].verified for name in others)
    passed_over = [
        f"{unused:,} of {', '.join(others)}, which neither fit nor score a head",
        f"{result.unlabelled:,} without a label",
        f"{len(result.unknown):,} of samples in no split ({listed(result.unknown)})",
    ]
    counts = [unused, result.unlabelled, len(result.unknown)]
    if any(counts):
        shown = [text for text, count in zip(passed_over, counts, strict=True) if count]
        yield f"skipped: {'; '.join(shown)}"
    yield (
        f"scored on {HELD_OUT}: {quantity(result.samples, 'sample')}, "
        f"{corrections[HELD_OUT].verified:,} with a verified label"
    )
    for name, scores in result.scores.items():
        if scores["difference"]["difference"] is not None:
            old, new = (format_estimate(scores[head], "%.1") for head in ("old", "new"))
            yield f"  {METRICS[name].title}: old {old}, new {new}, {_difference(scores)}"
    yield verdict(result.scores)


def _difference(scores: Mapping[str, Any]) -> str:
    difference = scores["difference"]
    low, high = (format_number(difference[end], "+%.1") for end in ("low", "high"))
    return f"difference {format_number(difference['difference'], '+%.1')} points [{low}, {high}]"


def _corrected(name: str, correction: Correction) -> str:
    return f"{name} {correction.verified:,} verified, {correction.changed:,} changed"


def _check_output(output: str) -> None:
    project_paths().check_output("--output", output)
    place = Path(output).resolve()
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise TailproofError(f"--output is {output}, which exists: name a new folder")


def _check_changes(
    table: str, origin: Origin, corrections: Mapping[str, Correction], unknown: list[str]
) -> None:
    """Refuse a table with which the new head would be the old one."""
    if any(corrections[name].changed for name in FITTED):
        return
    if not any(one.verified for one in corrections.values()):
        raise TailproofError(
            f"{table} has no sample of {origin.experiment}, but "
            f"{quantity(len(unknown), 'other')}: {listed(unknown)}; expected ids as in "
            "samples.parquet: use a table of this experiment"
        )
    counts = "; ".join(_corrected(name, one) for name, one in corrections.items())
    raise TailproofError(
        f"{table} changes no label of train or val, so the new head would be the old one "
        f"({counts}): verify labels of train, or correct those of the source and run snakemake"
    )


@contextmanager
def _new_folder(output: str) -> Iterator[Path]:
    """Make a folder, whole or not at all; what the block writes next to it is removed."""
    place = Path(output)
    with _writing(output):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(prefix=".retrain-", dir=place.parent)
    with temporary:
        folder = Path(temporary.name, "expert")
        folder.mkdir()
        yield folder
        with _writing(output):
            folder.rename(place)


@contextmanager
def _writing(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TailproofError(
            f"--output {output} cannot be written ({error.strerror}): name another folder"
        ) from None


def _compare(origin: Origin, new: Path, split: FeatureSplit) -> dict[str, dict[str, Any]]:
    heads = {"old": origin.expert, "new": new}
    return compare_heads(
        {name: _target_logits(folder, split) for name, folder in heads.items()},
        split.labels[split.manifest["target"]],
        split.name,
        Task.read(origin.manifest, origin.evaluation),
        origin.evaluation,
    )


def _target_logits(expert: Path, split: FeatureSplit) -> np.ndarray:
    """Return the uncalibrated logits of a head at the target rank, [N, C]."""
    head = TrainedHead.open(expert, split.width)
    columns = head_columns(head.heads)[head.target]
    return np.concatenate([logits[:, columns] for _, logits in head.blocks(split)])
