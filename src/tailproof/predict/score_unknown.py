"""The stage score_unknown: how well an expert knows images of tune, test and unknown classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from tailproof.config.splits import SCORED_SPLITS, UNKNOWN_SPLITS
from tailproof.data.shard_check import verify
from tailproof.data.tables import with_metadata, write_parquet
from tailproof.data.taxonomy import head_columns
from tailproof.digests import known_sha256, sha256_file
from tailproof.features.store import FeatureSplit
from tailproof.files import read_json
from tailproof.guarantees.unknown_scores import (
    NEIGHBORS,
    SCORES,
    KnownFeatures,
    logit_scores,
)
from tailproof.loading import Loader, Split
from tailproof.models import load_expert
from tailproof.predict.classifier_inputs import with_features
from tailproof.predict.infer import BATCH_SIZE
from tailproof.predict.infer_head import open_head
from tailproof.predict.known_features_file import FILE, write_known_features
from tailproof.predict.raw_logits import Labelled, check_classes
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import tune_malloc
from tailproof.runtime.progress import track

SCORED = "unknown_scores.parquet"


class Computed(NamedTuple):
    """What an expert computes of the images of a split.

    Attributes:
        logits: float32 [N, all classes].
        features: what its classifier gets, float32 [N, D].
    """

    logits: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class ScoredExpert:
    """The expert of a job.

    Attributes:
        folder: its folder.
        name: its name.
        seed: its seed.
        weights_sha256: SHA-256 of its weights.
        heads: number of outputs of each rank.
        target: the rank that decisions refer to.
    """

    folder: Path
    name: str
    seed: int
    weights_sha256: str
    heads: dict[str, int]
    target: str


@torch.inference_mode()
def score_unknown(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    unknown: str | Path | None,
    threads: int,
    memory_budget: float,
    workers: int,
    digests: Mapping[str, str],
) -> None:
    """Write `SCORED` and `FILE` into the folder of an expert that is a network.

    Args:
        expert: folder of the trained expert.
        name: name of the expert.
        seed: seed of the expert.
        manifest: shards/manifest.json.
        unknown: shards/unknown.json; None without unknown images.
        threads: CPU threads.
        memory_budget: bytes available for a decoded split.
        workers: loader processes.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a number is not finite, a shard does not match its manifest, or the expert
            was trained on other classes.
    """
    verify(manifest, *SCORED_SPLITS, digests=digests)
    if unknown:
        verify(unknown, *UNKNOWN_SPLITS, digests=digests)
    torch.set_num_threads(threads)
    tune_malloc()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, config = load_expert(expert)
    model = model.to(device, memory_format=torch.channels_last)
    prepared, facts = config.pretrained_cfg, config.tailproof
    _, height, width = prepared.input_size
    scored = ScoredExpert(
        Path(expert),
        name,
        seed,
        known_sha256(Path(expert) / "model.safetensors", digests),
        facts.heads,
        facts.target,
    )

    def compute(split: Split) -> Computed:
        check_classes(expert, split.manifest, facts.heads, prepared.label_names)
        loader = Loader(
            split,
            batch_size=BATCH_SIZE,
            image_size=height if height == width else None,
            normalization={"mean": prepared.mean, "std": prepared.std},
            interpolation=prepared.interpolation,
            workers=workers,
            memory_budget=memory_budget,
            device=device,
        )
        parts = (with_features(model, batch.inputs) for batch in loader.epoch(1))
        arrays = [[values.float().cpu().numpy() for values in part] for part in parts]
        return Computed(*(np.concatenate(part) for part in zip(*arrays, strict=True)))

    splits = _open(Split, (manifest,), (unknown,), name)
    _write(scored, ((split, compute(split)) for split in splits))


@torch.inference_mode()
def score_unknown_of_head(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    features: str | Path,
    unknown: str | Path | None,
    unknown_features: str | Path,
    threads: int,
    digests: Mapping[str, str],
) -> None:
    """Write `SCORED` and `FILE` into the folder of an expert that is a head.

    Args:
        expert: folder of the trained expert.
        name: name of the expert.
        seed: seed of the expert.
        manifest: shards/manifest.json.
        features: the folder of the features of the six splits.
        unknown: shards/unknown.json; None without unknown images.
        unknown_features: the folder of the features of the unknown images.
        threads: CPU threads.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a number is not finite, the features are not those of the shards, or the
            expert was trained on other classes.
    """
    torch.set_num_threads(threads)
    config, weights = read_json(Path(expert) / "config.json"), Path(expert) / "model.safetensors"
    heads, names = config["tailproof"]["heads"], config["pretrained_cfg"]["label_names"]
    digest = known_sha256(weights, digests)
    scored = ScoredExpert(Path(expert), name, seed, digest, heads, config["tailproof"]["target"])

    def compute(split: FeatureSplit) -> Computed:
        check_classes(expert, split.manifest, heads, names)
        head = open_head(weights, config, split.width)
        blocks = [block[:, 0].astype(np.float32) for _, block in split.blocks()]
        logits = [head(torch.from_numpy(block)).numpy() for block in blocks]
        return Computed(np.concatenate(logits), np.concatenate(blocks))

    splits = _open(FeatureSplit, (features, manifest), (unknown_features, unknown), name)
    _write(scored, ((split, compute(split)) for split in splits))


def _open(kind: type, known: tuple, unknown: tuple, name: str) -> Iterator[Any]:
    """Yield the splits to compute, train first."""
    unknown_splits = UNKNOWN_SPLITS if unknown[-1] else ()
    for split in track((*SCORED_SPLITS, *unknown_splits), f"score {name}"):
        yield kind(*(unknown if split in UNKNOWN_SPLITS else known), split)


def _write(expert: ScoredExpert, computed: Iterator[tuple[Labelled, Computed]]) -> None:
    """Fit on the first split, and write the scores of the others."""
    split, train = next(computed)
    _require_finite(split, train, expert.name)
    known = KnownFeatures.fit(train.features, split.labels[expert.target])
    columns = head_columns(expert.heads)[expert.target]
    tables = []
    for split, values in computed:
        _require_finite(split, values, expert.name)
        logits = values.logits[:, columns]
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
    facts = {
        "expert": expert.name,
        "seed": expert.seed,
        "target": expert.target,
        "weights_sha256": expert.weights_sha256,
        "train": len(train.features),
        "bank": len(known.bank),
        "neighbors": NEIGHBORS,
    }
    write_known_features(known, expert.folder / FILE)
    facts["features_sha256"] = sha256_file(expert.folder / FILE)
    write_parquet(expert.folder / SCORED, with_metadata(pa.concat_tables(tables), facts))


def _require_finite(split: Labelled, values: Computed, name: str) -> None:
    finite = np.isfinite(values.logits).all(1) & np.isfinite(values.features).all(1)
    if not finite.all():
        raise TailproofError(
            f"expert {name} computes a number that is not finite for sample "
            f"{split.sample_ids[int(finite.argmin())]} of {split.name}: train it again"
        )
