"""The files of raw logits that the stage infer writes, one for each split."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tailproof.data.logits import Block, LabelledSamples, write_logits
from tailproof.data.taxonomy import head_columns
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

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
            f"{expert} was not trained on the classes of the shards: train the expert again"
        )


def write_raw_logits(
    folder: Path,
    split: Labelled,
    logits: Iterable[np.ndarray],
    heads: Mapping[str, int],
    facts: dict[str, Any],
) -> None:
    """Write ``FOLDER/SPLIT.parquet``.

    Args:
        folder: folder to write to.
        split: the split.
        logits: float32 [n, all classes], batch by batch.
        heads: number of outputs of each rank.
        facts: `expert`, `seed`, `target` and `weights_sha256`.

    Raises:
        TailproofError: a logit is not finite.
    """
    described = {**facts, "split": split.name}
    samples = LabelledSamples(np.array(split.sample_ids), split.labels, split.weight, described)
    path = folder / f"{split.name}.parquet"
    write_logits(path, samples, heads, _by_rank(split, logits, heads, facts["expert"]))
    log.info("%s: %s", split.name, quantity(len(split.sample_ids), "sample"))


def _by_rank(
    split: Labelled, logits: Iterable[np.ndarray], heads: Mapping[str, int], expert: str
) -> Iterator[Block]:
    columns, start = head_columns(heads), 0
    for batch in logits:
        infinite = np.flatnonzero(~np.isfinite(batch).all(axis=1))
        if len(infinite):
            raise TailproofError(
                f"expert {expert} computes a logit that is not finite for sample "
                f"{split.sample_ids[start + infinite[0]]} of {split.name}: train the expert again"
            )
        yield {rank: batch[:, part] for rank, part in columns.items()}
        start += len(batch)
