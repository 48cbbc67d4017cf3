"""labels_to_check.csv: the most doubtful labels, as tasks for Label Studio."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tailproof.data.thumbnails import Picture
from tailproof.files import write_text
from tailproof.inspection.held_out_predictions import INSPECTED, HeldOutPredictions
from tailproof.inspection.label_noise import LabelDoubts
from tailproof.untrusted_text import csv_line

LISTED = 0.1
"""Labels that are wrong with a smaller probability are not listed."""

MOST = 2000
"""Labels in the list at most. Correct these and run again: the next ones follow."""

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves the files below its document root."""

COLUMNS = ("image", "label", "suggested_label", "score", "split", "sample_id")


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


def find_image_urls(samples_path: str | Path, sample_ids: Collection[str]) -> dict[str, str | None]:
    """Return where Label Studio finds the image file of each sample.

    Args:
        samples_path: samples.parquet.
        sample_ids: the samples.

    Returns:
        a URL by sample; None if the image is part of a larger file.
    """
    table = pq.read_table(
        samples_path,
        columns=["sample_id", "path", "row"],
        filters=pc.field("sample_id").isin(pa.array(list(sample_ids), pa.string())),
    )
    return {
        row["sample_id"]: None if row["row"] is not None else LOCAL_FILES + quote(row["path"])
        for row in table.to_pylist()
    }


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
        (
            urls[label.sample_id] or pictures[label.sample_id].uri,
            label.label,
            label.suggested,
            label.score,
            label.split,
            label.sample_id,
        )
        for label in doubtful
    ]
    write_text(path, "".join(map(csv_line, (COLUMNS, *rows))))
