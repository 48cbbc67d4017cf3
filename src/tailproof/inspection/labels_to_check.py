"""labels_to_check.csv: the most doubtful labels, as tasks for Label Studio."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailproof.data.thumbnails import Picture
from tailproof.inspection.held_out_predictions import INSPECTED, HeldOutPredictions
from tailproof.inspection.label_noise import LabelDoubts
from tailproof.inspection.label_studio import write_tasks
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_text
from tailproof.untrusted_text import plain_cell

LISTED = 0.1
"""Labels that are wrong with a smaller probability are not listed."""

MOST = 2000
"""Labels in the list at most. Correct these and run again: the next ones follow."""

COLUMNS = ("label", "suggested_label", "score", "split", "sample_id")


class DoubtfulLabel(NamedTuple):
    """A label that may be wrong.

    Attributes:
        sample_id: the sample.
        split: its split.
        label: its class.
        suggested: the most probable other class.
        score: the probability that the label is wrong.
    """

    sample_id: str
    split: str
    label: str
    suggested: str
    score: float


def list_doubtful_labels(
    predictions: HeldOutPredictions, doubts: LabelDoubts, classes: list[str]
) -> list[DoubtfulLabel]:
    """Return the labels that are wrong with a probability of `LISTED`, at most `MOST` of them.

    The most probable one is first.
    """
    order = np.argsort(-doubts.probability, kind="stable")[:MOST]
    return [
        DoubtfulLabel(
            predictions.sample_ids[row],
            INSPECTED[predictions.splits[row]],
            classes[predictions.labels[row]],
            classes[doubts.suggested[row]],
            float(f"{doubts.probability[row]:.4f}"),
        )
        for row in order[doubts.probability[order] >= LISTED].tolist()
    ]


def write_labels_to_check(
    path: str | Path,
    doubtful: list[DoubtfulLabel],
    urls: dict[str, str | None],
    pictures: dict[str, Picture],
) -> None:
    """Write labels_to_check.csv.

    Args:
        path: the file.
        doubtful: its rows.
        urls: the URL of each sample's image, from `find_image_urls`.
        pictures: the picture of each sample whose image has no URL; the table contains it.
    """
    rows = [
        (label.label, label.suggested, label.score, label.split, label.sample_id)
        for label in doubtful
    ]
    write_tasks(path, COLUMNS, rows, urls, pictures)


def read_doubts(path: str | Path) -> dict[str, float]:
    """Return the probability that the label is wrong by sample, as labels_to_check.csv lists it.

    Raises:
        TailproofError: the file is missing, or is not such a table.
    """
    try:
        rows = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        return {plain_cell(row["sample_id"]): float(row["score"]) for row in rows}
    except (csv.Error, KeyError, TypeError, ValueError):
        raise TailproofError(
            f"{path} is damaged, expected the columns {', '.join(COLUMNS)}: delete it and run "
            "snakemake again"
        ) from None
