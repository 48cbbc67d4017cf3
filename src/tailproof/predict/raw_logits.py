"""The files of raw logits that the stage infer writes, one for each split."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tailproof.data.logits import Logits
from tailproof.data.taxonomy import head_columns
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)


class Labelled(Protocol):
    """A split of images or features; see `tailproof.loading.Split`."""

    name: str
    sample_ids: list[str]
    labels: dict[str, np.ndarray]
    weight: np.ndarray


def check_classes(
    expert: str | Path, manifest: dict[str, Any], heads: Mapping[str, int], names: list[str]
) -> None:
    """Check that an expert has the classes of the data.

    Args:
        expert: folder of the expert.
        manifest: the manifest of the shards.
        heads: number of outputs of each rank.
        names: class names in the order of the outputs.

    Raises:
        TailproofError: it was trained on other classes.
    """
    classes = manifest["classes"]
    if [name for rank in heads for name in classes.get(rank, [])] != names:
        raise TailproofError(
            f"{expert} was trained on other classes than those of the shards: train it again"
        )


def write_raw_logits(
    folder: Path,
    split: Labelled,
    logits: np.ndarray,
    heads: Mapping[str, int],
    facts: dict[str, Any],
) -> None:
    """Write ``FOLDER/SPLIT.parquet``.

    Args:
        folder: folder to write to.
        split: the split.
        logits: float32 [N, all classes].
        heads: number of outputs of each rank.
        facts: `expert`, `seed`, `target` and `weights_sha256`.

    Raises:
        TailproofError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(1))[0])
        raise TailproofError(
            f"expert {facts['expert']} computes a logit that is not finite for sample "
            f"{split.sample_ids[row]} of {split.name}: train it again"
        )
    parts = {rank: logits[:, columns] for rank, columns in head_columns(heads).items()}
    described = {**facts, "split": split.name}
    raw = Logits(np.array(split.sample_ids), split.labels, split.weight, parts, described)
    raw.write(folder / f"{split.name}.parquet")
    log.info("%s: %d rows", split.name, len(split.sample_ids))
