"""Growth with the number of images: prepare, split, shard and a streamed epoch, in time and memory.

    make bench-scale

A table of labels and JPEG pictures of 32 px, about 1 kB each, no two alike, in 100 classes whose
sizes fall off as in nature, three ranks and groups of up to five; as many rows as asked for (the
largest is FungiTastic's size). Each stage runs in a process of its own; its time is that of the
process, imports included, its memory the peak resident set (of the reader's workers: the largest).
The epoch is streamed by one process with 2 workers, batches of 256, crop and flip.

Measured on 2 processors of an AMD EPYC, one run, seconds (µs a row, peak MB):

    rows      prepare          split           shard            epoch            its worker, MB
     25,000    2.5 (99, 197)   0.8 (33, 251)    2.3 (90, 270)    5.5 (222, 381)   390
     50,000    4.3 (86, 211)   1.1 (21, 286)    3.8 (77, 260)    6.0 (121, 386)   416
    100,000    8.1 (81, 242)   1.7 (17, 338)    7.0 (70, 289)    6.6 (66, 397)    447
    200,000   15.6 (78, 299)   2.9 (15, 410)   13.5 (68, 348)    7.7 (38, 403)    515
    400,000   32.5 (81, 395)   4.9 (12, 634)   25.9 (65, 458)   10.3 (26, 445)    645

Time grows no faster than the rows; an epoch spends its first 5 s importing torch and starting
workers. What memory grows by is the table of samples, 0.3 to 1 kB a row.
"""

import argparse
import csv
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from data import build_shards, pictures
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tailproof.config.data import Data
from tailproof.config.recipe import Augmentation
from tailproof.data.prepare import prepare
from tailproof.data.splits import split

ROWS = [25_000, 50_000, 100_000, 200_000, 400_000]
DISTINCT = 2048
CLASSES = 100
FOLDER_FILES = 1000


def write_source(folder: Path, rows: int) -> Data:
    """Write the pictures and their table; return the data section."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, CLASSES + 1)
    labels = rng.choice(CLASSES, rows, p=share / share.sum())
    labels[: 20 * CLASSES] = np.arange(20 * CLASSES) % CLASSES  # enough of each to split
    observations = np.cumsum(rng.random(rows) < 0.5)
    encoded = track(_jpegs(rows), f"{rows} pictures", rows)
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "family", "genus", "species", "observationID"])
        for row, (data, label) in enumerate(zip(encoded, labels.tolist(), strict=True)):
            path = folder / f"{row // FOLDER_FILES:03d}" / f"{row:06d}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            ranks = (f"f{label % 10}", f"g{label % 50}", f"s{label}")
            table.writerow([path.relative_to(folder), *ranks, f"{label}-{observations[row]}"])
    return Data(
        source={
            "name": "metadata_csv",
            "root": str(folder),
            "table": "metadata.csv",
            "ranks": ["family", "genus", "species"],
        }
    )


def _jpegs(rows: int):
    for picture in pictures(rows, 32, DISTINCT):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=85)
        yield file.getvalue()


def run_prepare(config: Data, folder: Path) -> None:
    prepare(config, folder / "samples.parquet")


def run_split(config: Data, folder: Path) -> None:
    split(folder / "samples.parquet", config, folder / "splits.parquet", folder / "splits.json")


def run_epoch(config: Data, folder: Path) -> None:
    from tailproof.loading import Loader, Split

    train = Split(folder / "shards" / "manifest.json", "train")
    loader = Loader(
        train,
        batch_size=256,
        image_size=32,
        normalization=train.manifest["normalization"],
        augmentation=Augmentation(crop_padding=4, flip=True),
        workers=2,
        memory_budget=0,
    )
    for _ in loader.epoch(1):
        pass


STAGES = {"prepare": run_prepare, "split": run_split, "shard": build_shards, "epoch": run_epoch}


def _alone(pipe, stage: Callable, config: Data, folder: Path) -> None:
    stage(config, folder)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    pipe.send([found.ru_maxrss * 1024 for found in usage])


def measure(stage: Callable, config: Data, folder: Path) -> tuple[float, list[int]]:
    """Run a stage in a fresh process; return seconds and peak bytes, its own and its children's."""
    context = multiprocessing.get_context("spawn")
    pipe, far = context.Pipe()
    start = time.perf_counter()
    process = context.Process(target=_alone, args=(far, stage, config, folder))
    process.start()
    far.close()
    try:
        peaks = pipe.recv()
    except EOFError:
        raise SystemExit(f"{stage.__name__} failed") from None
    process.join()
    return time.perf_counter() - start, peaks


def show(found: dict[str, list[tuple]]) -> None:
    """Print the table: one section per stage, one line per size."""
    table = Table(title="Growth with the number of images")
    for column in ("stage", "rows", "s", "µs per row", "peak MB", "worker MB"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, lines in found.items():
        for rows, seconds, (own, workers) in lines:
            table.add_row(
                name,
                f"{rows:,}",
                f"{seconds:.1f}",
                f"{seconds / rows * 1e6:.0f}",
                f"{own / 1e6:.0f}",
                f"{workers / 1e6:.0f}" if workers else "",
                end_section=rows == lines[-1][0],
            )
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    arguments = parser.parse_args()
    found: dict[str, list[tuple]] = {name: [] for name in STAGES}
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            raw, work = Path(folder) / "raw", Path(folder) / "work"
            raw.mkdir()
            config = write_source(raw, rows)
            for name, stage in STAGES.items():
                found[name].append((rows, *measure(stage, config, work)))
    show(found)


if __name__ == "__main__":
    main()
