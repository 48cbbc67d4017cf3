"""The stage embed: features of a frozen backbone for one shard of every split."""

import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tailproof.config.frozen_backbone import Features
from tailproof.config.model import Model
from tailproof.digests import digest_of, known_sha256
from tailproof.features.backbone import Backbone
from tailproof.features.batches import Batch, Preparation, ShardImages
from tailproof.features.embed_state import BatchLog
from tailproof.features.store import FeatureWriter
from tailproof.files import atomic, read_json
from tailproof.models.device import start_device
from tailproof.models.initial_weights import weights_file
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import quantity

log = logging.getLogger(__name__)

AHEAD = 2
"""Batches per thread that are read before they are needed."""


def embed(
    model: Model,
    features: Features,
    normalize: bool | str | None,
    shards: Mapping[str, str],
    shard_facts: Mapping[str, str],
    pixel_sums: list[str],
    outputs: Mapping[str, str],
    states: Path,
    *,
    part: int,
    threads: int,
    code: str,
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """Write the features of one shard of every split.

    On a CPU, each thread computes whole batches by itself. Which rows are a batch depends on the
    shard alone, so the bytes do not depend on the number of threads. Finished batches are kept in a
    folder of `states`, so that another call with the same arguments on the same kind of device
    computes only the others.

    Args:
        model: name and weights of the backbone.
        features: what is computed of it.
        normalize: `normalize` of the recipe.
        shards: the shard of each split.
        shard_facts: the facts about the shard of each split, which the stage shard wrote.
        pixel_sums: the facts about all shards of train, if `normalize` is true.
        outputs: the file to write for each split.
        states: the folder for the states of this job; it is removed when all files are written.
        part: number of the shards.
        threads: CPU threads.
        code: digest of the code.
        digests: SHA-256 of the inputs, by path.

    Returns:
        A few facts for the record.

    Raises:
        TailproofError: a shard is not the one that its facts describe, the images or the options do
            not fit the network, or a feature is not finite.
    """
    images = {
        split: ShardImages(path, _verified(path, shard_facts[split], digests))
        for split, path in shards.items()
    }
    device = start_device(threads=1)
    first = next(iter(images.values()))
    backbone = Backbone(
        model,
        features,
        normalize,
        pixel_sums,
        mode=first.mode,
        channels=first.channels,
        device=device,
    )
    weights = weights_file(model)
    assert weights is not None  # features are those of a trained backbone
    deciding = [
        backbone.facts,
        backbone.device.type,
        backbone.batch_rows,
        known_sha256(weights, digests),
        code,
        [shard.sha256 for shard in images.values()],
    ]
    state = states / digest_of(deciding)[:16]
    for other in states.glob("*"):
        if other != state:
            shutil.rmtree(other, ignore_errors=True)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for split, shard in images.items():
            views = features.views if split == "train" else 1
            augmentation = features.view_augmentation
            preparation = Preparation(shard, backbone, augmentation, views, seed=part)
            with closing(BatchLog(state / split, backbone.width, backbone.dtype)) as done:
                _compute(preparation, backbone, done, pool, threads)
                _write(outputs[split], preparation, backbone.facts, done)
            log.info("%s: %s", split, quantity(len(shard), "sample"))
    shutil.rmtree(states, ignore_errors=True)
    return {"samples": sum(map(len, images.values())), "precision": backbone.precision}


def _verified(shard: str, facts: str, digests: Mapping[str, str]) -> str:
    """Return the SHA-256 of a shard.

    Raises:
        TailproofError: it is not the one in the facts.
    """
    digest = known_sha256(shard, digests)
    if digest != read_json(facts)["sha256"]:
        raise TailproofError(
            f"{shard} is not the file that {facts} describes (its SHA-256 differs): delete it and "
            "run snakemake again"
        )
    return digest


def _compute(
    preparation: Preparation,
    backbone: Backbone,
    done: BatchLog,
    pool: ThreadPoolExecutor,
    threads: int,
) -> None:
    """Add the features of all batches that are not done."""

    def compute(batch: Batch, pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(pixels).to(backbone.device)
        return backbone(preparation.normalized(images, batch))

    def prepare_and_compute(batch: Batch) -> np.ndarray:
        return compute(batch, preparation.pixels(batch))

    on_gpu = backbone.device.type == "cuda"
    work = preparation.pixels if on_gpu else prepare_and_compute
    batches = preparation.batches(len(done))
    results = _in_order(pool, work, batches, threads * AHEAD)
    label = f"embed {Path(preparation.shard.path).parent.name}"
    for batch, result in track(results, label, len(preparation.plan), len(done)):
        values = compute(batch, result) if on_gpu else result
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
            raise TailproofError(
                f"the backbone computes a feature that is not finite in {backbone.precision} for "
                f"sample {preparation.shard.sample_ids[batch.rows[row]]}: set "
                "recipe.features.precision to fp32, or choose other weights"
            )
        done.append(values)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Batch], Any], batches: Iterator[Batch], ahead: int
) -> Iterator[tuple[Batch, Any]]:
    """Yield each batch and its result, in order; `ahead` of them are in memory."""
    waiting: deque[tuple[Batch, Future]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(work, batch)))
            if len(waiting) == ahead:
                before, future = waiting.popleft()
                yield before, future.result()
        while waiting:
            before, future = waiting.popleft()
            yield before, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _write(output: str, preparation: Preparation, facts: dict[str, Any], done: BatchLog) -> None:
    """Write the file of one split from the finished batches, a row group at a time."""
    shard, views, start = preparation.shard, preparation.views, 0
    computed = iter(range(len(preparation.plan)))
    with (
        atomic(output) as temporary,
        FeatureWriter(
            temporary,
            ranks=shard.ranks,
            views=views,
            facts=facts | {"shard_sha256": shard.sha256},
        ) as writer,
    ):
        for rows in shard.groups:
            inside = slice(start, start + rows)
            batches: list[np.ndarray] = []
            while sum(map(len, batches)) < rows:
                batches.append(np.stack([done.read(next(computed)) for _ in range(views)], 1))
            writer.write(
                shard.sample_ids[inside],
                {rank: labels[inside] for rank, labels in shard.labels.items()},
                shard.weight[inside],
                np.concatenate(batches),
            )
            start += rows
