"""The files of the stage score_unknown: scores of images, and what is kept of the features."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tailproof.config.splits import SCORED_SPLITS, UNKNOWN_SPLITS
from tailproof.data.tables import with_metadata, write_parquet
from tailproof.data.taxonomy import head_columns
from tailproof.digests import sha256_file
from tailproof.guarantees.unknown_scores import NEIGHBORS, SCORES, KnownFeatures, logit_scores
from tailproof.predict.known_features_file import FILE, write_known_features
from tailproof.predict.raw_logits import Labelled
from tailproof.predict.trained_expert import TrainedExpert
from tailproof.runtime.errors import TailproofError

SCORED = "unknown_scores.parquet"


class Computed(NamedTuple):
    """What an expert computes of the images of a split.

    Attributes:
        split: the split.
        logits: float32 [N, all classes].
        features: what its classifier gets, float32 [N, D].
    """

    split: Labelled
    logits: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, split: Labelled, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> "Computed":
        """Join blocks of logits and features."""
        logits, features = zip(*blocks, strict=True)
        return cls(split, np.concatenate(logits), np.concatenate(features))


def splits_to_score(known: Any, unknown: Any) -> dict[str, Any]:
    """Return where each split to compute is, by its name, train first.

    Args:
        known: where the six splits are.
        unknown: where the images of unknown classes are; None without any.
    """
    places = dict.fromkeys(SCORED_SPLITS, known)
    return places if unknown is None else places | dict.fromkeys(UNKNOWN_SPLITS, unknown)


def write_unknown_scores(
    expert: TrainedExpert, facts: dict[str, Any], computed: Iterator[Computed]
) -> None:
    """Fit on the first split, and write the scores of the others into the expert's folder.

    Args:
        expert: the expert.
        facts: `expert`, `seed`, `target` and `weights_sha256`.
        computed: what the expert computes, train first.

    Raises:
        TailproofError: a number is not finite.
    """
    train = next(computed)
    _require_finite(train, facts["expert"])
    known = KnownFeatures.fit(train.features, train.split.labels[expert.target])
    columns = head_columns(expert.heads)[expert.target]
    tables = []
    for values in computed:
        _require_finite(values, facts["expert"])
        logits, split = values.logits[:, columns], values.split
        scores = logit_scores(logits) | known.scores(values.features)
        labels = split.labels[expert.target]
        own = {
            "sample_id": split.sample_ids,
            "split": [split.name] * len(labels),
            "label": pa.array(labels, pa.int64()),
            "predicted": pa.array(logits.argmax(axis=1), pa.int64()),
            **{name: scores[name].astype(np.float32) for name in SCORES},
        }
        tables.append(pa.table(own))
    write_known_features(known, expert.folder / FILE)
    kept = {"train": len(train.features), "bank": len(known.bank), "neighbors": NEIGHBORS}
    facts = facts | kept | {"features_sha256": sha256_file(expert.folder / FILE)}
    write_parquet(expert.folder / SCORED, with_metadata(pa.concat_tables(tables), facts))


def _require_finite(values: Computed, name: str) -> None:
    finite = np.isfinite(values.logits).all(1) & np.isfinite(values.features).all(1)
    if not finite.all():
        raise TailproofError(
            f"expert {name} computes a number that is not finite for sample "
            f"{values.split.sample_ids[int(finite.argmin())]} of {values.split.name}: train the "
            "expert again"
        )
