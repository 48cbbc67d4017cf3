"""Time and memory of training a head on up to 400,000 x 768 features, from memory and from files.

    make bench-heads

Random features in half precision, 100 classes with an imbalance of 100, a linear head, batches of
256, one epoch with its validation on a tenth as many samples. Every cell is a process of its own.
"From files" keeps no features in memory but the blocks that are shuffled together. Each epoch reads
all rows once, after one pass for mean and deviation.

The peak includes pages of the files that are mapped, which the system takes back when it needs
memory, and the libraries (500 MB).

Measured on two cores, on which other programs ran:

       rows   features   from memory: epoch   before     peak   from files: epoch   before     peak
    100,000     146 MB                2.0 s    0.7 s   850 MB               1.8 s    0.7 s   868 MB
    200,000     293 MB                4.2 s    1.3 s  1237 MB               3.7 s    1.2 s  1186 MB
    400,000     586 MB                8.4 s    2.5 s  1926 MB               7.5 s    2.2 s  1607 MB
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

WIDTH, CLASSES, GROUP = 768, 100, 1024


def write_features(folder: Path, rows: int) -> Path:
    """Write features of train and val; return the manifest."""
    from tailproof.features.store import FeatureWriter, part_path

    rng = np.random.default_rng(0)
    share = 100 ** (-np.arange(CLASSES) / (CLASSES - 1))
    facts = {"layers": [["penultimate", WIDTH]], "dtype": "float16", "weights_sha256": ""}
    splits = {}
    for split, count in (("train", rows), ("val", rows // 10)):
        labels = rng.choice(CLASSES, count, p=share / share.sum())
        path = part_path(folder / "F", split, 0)
        path.parent.mkdir(parents=True)
        with FeatureWriter(
            path, ranks=["class"], views=1, facts=facts | {"shard_sha256": split}
        ) as writer:
            for start in range(0, count, GROUP):
                part = labels[start : start + GROUP]
                ids = [f"{split}-{row}" for row in range(start, start + len(part))]
                values = rng.standard_normal((len(part), 1, WIDTH), np.float32).astype(np.float16)
                writer.write(ids, {"class": part}, np.ones(len(part)), values)
        splits[split] = {"shards": [{"path": "", "sha256": split}], "rows": count}
    manifest = {
        "target": "class",
        "positive": None,
        "ranks": ["class"],
        "classes": {"class": [str(number) for number in range(CLASSES)]},
        "splits": splits,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json"


def measure(manifest: Path, cache_gb: float, results: multiprocessing.Queue) -> None:
    """Train one epoch; put its seconds, those before it, and the peak memory in MB."""
    from tailproof.config.recipe import Recipe
    from tailproof.features.store import FeatureSplit
    from tailproof.training.distributed import ProcessGroup
    from tailproof.training.head_on_features import HeadOnFeatures
    from tailproof.training.run import TrainingRun

    recipe = Recipe(
        model={"name": "resnet18", "weights": "drawn"},
        features={},
        loss={"name": "balanced_softmax"},
        batch_size=256,
        epochs=1,
        cache_gb=cache_gb,
    )
    begun = time.perf_counter()
    splits = (FeatureSplit(manifest.parent / "F", manifest, name) for name in ("train", "val"))
    run = TrainingRun(HeadOnFeatures(*splits, recipe), 0, ProcessGroup(1))
    started = time.perf_counter()
    run.finish_epoch(lambda: None)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results.put((ended - started, started - begun, peak))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 200_000, 400_000])
    arguments = parser.parse_args()
    table = Table("rows", "features, MB")
    for place in ("memory", "files"):
        table.add_column(f"from {place}: s an epoch", justify="right")
        table.add_column("s before", justify="right")
        table.add_column("peak, MB", justify="right")
    context = multiprocessing.get_context("spawn")
    for rows in arguments.rows:
        cells = []
        with tempfile.TemporaryDirectory() as folder:
            manifest = write_features(Path(folder), rows)
            for cache_gb in (2.0, 0.0):
                results = context.Queue()
                process = context.Process(target=measure, args=(manifest, cache_gb, results))
                process.start()
                epoch, before, peak = results.get()
                process.join()
                cells += [f"{epoch:.1f}", f"{before:.1f}", f"{peak:,.0f}"]
        table.add_row(f"{rows:,}", f"{rows * WIDTH * 2 / 2**20:,.0f}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
