"""The stage leakage: near duplicates in different splits, and in different classes."""

import base64
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.duplicate_pairs import Pairs, clusters_of, read_pairs
from tailproof.data.grey_thumbnail import read_thumbnails
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.files import write_json, write_text
from tailproof.text import quantity
from tailproof.untrusted_text import csv_line

log = logging.getLogger(__name__)

EXAMPLES = 8
CLASS_PAIRS = 10
MEMBERS = 6
LISTED_PAIRS = 10_000
TEST = "test"
COLUMNS = (
    "correlation", "mirrored", "scale", "first", "second", "first_class", "second_class",
    "first_split", "second_split", "first_path", "second_path",
)  # fmt: skip


def measure_leakage(
    samples_path: str | Path,
    splits_path: str | Path,
    pairs_path: str | Path,
    thumbnails_path: str | Path,
    config: Data,
    output: str | Path,
    cross_class_path: str | Path,
) -> None:
    """Count near duplicates in different splits, and list those of different classes.

    Samples that are connected by a chain of near duplicates count as near duplicates of each other,
    also if no split has the samples between them.

    Args:
        samples_path: samples.parquet.
        splits_path: splits.parquet.
        pairs_path: the pairs of near duplicates.
        thumbnails_path: the grey thumbnails, of which the report shows some.
        config: the configuration of the data.
        output: a JSON file of the counts and some clusters.
        cross_class_path: a CSV table of the pairs of different classes.

    Raises:
        TailproofError: a file is missing or damaged.
    """
    target = config.target or table_metadata(samples_path)["ranks"][-1]
    samples = read_parquet(samples_path, ["sample_id", target, "path"]).to_pandas()
    samples = samples.rename(columns={target: "class"})
    splits = read_parquet(splits_path, ["sample_id", "split"]).to_pandas()
    samples["split"] = samples["sample_id"].map(splits.set_index("sample_id")["split"])
    pairs, facts = read_pairs(pairs_path, samples["sample_id"])
    samples["cluster"] = clusters_of(pairs, len(samples))
    sizes = samples.groupby("cluster").size()
    clustered = samples[samples["cluster"].map(sizes) > 1]
    cross_class = _cross_class(samples, pairs)
    copies = count_copies(clustered)
    write_text(cross_class_path, "".join(map(csv_line, [COLUMNS, *cross_class[:LISTED_PAIRS]])))
    write_json(
        output,
        {
            **facts,
            "grouped": config.near_duplicates == "group",
            "pairs": len(pairs),
            "clusters": int((sizes > 1).sum()),
            "in_clusters": len(clustered),
            "largest_cluster": int(sizes.max()) if len(clustered) else 0,
            "copies": copies,
            "cross_class_pairs": len(cross_class),
            "class_pairs": _class_pairs(cross_class),
            "examples": _examples(clustered, thumbnails_path),
        },
    )
    if leaked := copies[TEST]["train"]:
        log.warning(
            "%s of %d in test %s a near duplicate in train: to keep them in one split, set "
            "data.near_duplicates to group",
            quantity(leaked, "sample"),
            int((splits["split"] == TEST).sum()),
            "has" if leaked == 1 else "have",
        )


def count_copies(samples: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many samples of each split have a near duplicate in each other split.

    Args:
        samples: the columns split, which may be empty, and cluster.
    """
    present = pd.crosstab(samples["cluster"], samples["split"]).reindex(
        columns=list(SPLITS), fill_value=0
    )
    return {
        split: {
            other: int(present.loc[present[other] > 0, split].sum())
            for other in SPLITS
            if other != split
        }
        for split in SPLITS
    }


def _cross_class(samples: pd.DataFrame, pairs: Pairs) -> list[list[Any]]:
    """Return a row per pair of two classes, the most alike first."""
    first, second = (samples.iloc[index] for index in (pairs.first, pairs.second))
    labels = first["class"].to_numpy(), second["class"].to_numpy()
    known = first["class"].notna().to_numpy() & second["class"].notna().to_numpy()
    differ = np.flatnonzero(known & (labels[0] != labels[1]))
    differ = differ[np.argsort(-pairs.correlation[differ], kind="stable")]
    sides = [
        side.iloc[differ][name]
        for name in ("sample_id", "class", "split", "path")
        for side in (first, second)
    ]
    texts = [side.astype(object).where(side.notna(), None).tolist() for side in sides]
    correlation = [round(float(value), 4) for value in pairs.correlation[differ]]
    scale = [round(float(value), 2) for value in pairs.scale[differ]]
    mirrored = ["yes" if value else "no" for value in pairs.mirrored[differ]]
    return [list(row) for row in zip(correlation, mirrored, scale, *texts, strict=True)]


def _class_pairs(cross_class: list[list[Any]]) -> list[dict[str, Any]]:
    """Return the pairs of classes with the most pairs of near duplicates."""
    names = [COLUMNS.index(name) for name in ("first_class", "second_class")]
    counts = Counter(tuple(sorted(row[name] for name in names)) for row in cross_class)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"classes": list(pair), "pairs": count} for pair, count in ranked[:CLASS_PAIRS]]


def _examples(clustered: pd.DataFrame, thumbnails_path: str | Path) -> list[dict[str, Any]]:
    """Return some clusters: those in several splits first, then of several classes, then large."""
    by_cluster = clustered.groupby("cluster")
    ranked = by_cluster.agg(
        splits=("split", "nunique"), classes=("class", "nunique"), size=("split", "size")
    ).sort_values(["splits", "classes", "size"], ascending=False, kind="stable")
    chosen = [by_cluster.get_group(number) for number in ranked.index[:EXAMPLES]]
    if not chosen:
        return []
    ids, thumbnails = read_thumbnails(thumbnails_path)
    rows = pd.Index(ids.to_pandas())
    return [
        {
            "size": len(members),
            "members": [
                {
                    "sample_id": member.sample_id,
                    "class": None if pd.isna(member.label) else member.label,
                    "split": None if pd.isna(member.split) else member.split,
                    "picture": None
                    if member.split == TEST
                    else _picture(thumbnails[rows.get_loc(member.sample_id)]),
                }
                for member in shown.rename(columns={"class": "label"}).itertuples()
            ],
        }
        for members in chosen
        for shown in [_spread(members)]
    ]


def _spread(members: pd.DataFrame) -> pd.DataFrame:
    """Return at most MEMBERS samples of a cluster, of as many splits and classes as possible."""
    number = members.groupby(["split", "class"], dropna=False).cumcount()
    return members.iloc[np.argsort(number.to_numpy(), kind="stable")[:MEMBERS]].sort_index()


def _picture(thumbnail: np.ndarray) -> str:
    """Return a thumbnail as the data URI of a PNG."""
    _, encoded = cv2.imencode(".png", thumbnail)
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"
