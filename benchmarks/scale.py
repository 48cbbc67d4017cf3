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

The same for files on disk, in class folders (`image_folder`) or in tars of 10,000 (`webdataset`):
`list` lists them, `import` also looks for labels and makes the splits, `prepare` lists, decodes and
hashes them as the job does, and `start` is what each start of Snakemake does once results exist.
Measured on 2 processors that others used too, so in seconds of processor time (µs a file, peak MB);
the row of 500,000 files in a run of its own, on a slower machine:

    files              list              prepare             start
     50,000, folder    0.9 (19, 164)     16.6 (333, 239)     1.4 (27, 216)
    125,000, folder    1.1 (9, 171)      38.6 (309, 289)     2.4 (19, 237)
    500,000, folder    2.6 (5, 246)     221.0 (442, 577)     8.3 (17, 471)
     50,000, tars      3.9 (77, 164)     14.9 (298, 225)     0.8 (15, 164)
    125,000, tars      8.4 (67, 174)     35.5 (284, 248)     0.7 (6, 165)

The same without decoding, for hard links to 20,000 files (`tailproof import` opens 40 of them):

    files              list              import
    100,000, folder    1.5 (15, 212)     6.5 (65, 312)
    500,000, folder    2.6 (5, 244)     29.2 (58, 622)

Time grows no faster than the rows; an epoch spends its first 5 s importing torch and starting
workers. What memory grows by is the table of samples, 0.3 to 1 kB a row.
"""

import argparse
import csv
import io
import multiprocessing
import os
import resource
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from data import build_shards, pictures
from drawn_logits import (
    EXPERTS,
    Drawn,
    raw_of,
    split_sizes,
    write_collection,
    write_expert,
)
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.export import export
from tailproof.config.augmentation import Augmentation
from tailproof.config.calibration import Calibration
from tailproof.config.data import Data
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.splits import CALIBRATED, SPLITS
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import files_to_read, list_raw, replaced_raw
from tailproof.data.sources import open_source
from tailproof.data.splits import split
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.sample_groups import read_groups
from tailproof.guarantees.guarantee import guarantee
from tailproof.importer import import_collection
from tailproof.inspection.held_out_predictions import INSPECTED
from tailproof.inspection.inspect import inspect

ROWS = [25_000, 50_000, 100_000, 200_000, 400_000]
FILES = [50_000, 125_000, 500_000]
LOGITS = ["2786,37000,14000", "2786,433000,60000", "10000,50000,20000"]
TAR_SAMPLES = 10_000
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


def write_folder(folder: Path, rows: int) -> Data:
    """Write the pictures into class folders of equal size; return the data section."""
    for row, data in enumerate(track(_marked_jpegs(rows), f"{rows} files", rows)):
        path = folder / f"class{row % CLASSES:03d}" / f"{row:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return Data(source={"name": "image_folder", "root": str(folder)})


def write_tars(folder: Path, rows: int) -> Data:
    """Write the pictures into tars of WebDataset; return the data section."""
    encoded = track(_marked_jpegs(rows), f"{rows} files in tars", rows)
    for number in range(0, rows, TAR_SAMPLES):
        with tarfile.open(folder / f"{number // TAR_SAMPLES:06d}.tar", "w") as tar:
            for row, data in enumerate(islice(encoded, TAR_SAMPLES), start=number):
                for suffix, content in (("jpg", data), ("cls", b"%d" % (row % CLASSES))):
                    member = tarfile.TarInfo(f"{row:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                tar.members.clear()
    return Data(source={"name": "webdataset", "root": str(folder)})


def _jpegs(rows: int):
    for picture in pictures(rows, 32, DISTINCT):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=85)
        yield file.getvalue()


def _marked_jpegs(rows: int) -> Iterator[bytes]:
    """Yield files that all differ, which takes less time than pictures that do."""
    encoded = list(_jpegs(min(rows, DISTINCT)))
    return (encoded[row % len(encoded)] + row.to_bytes(8) for row in range(rows))


def run_prepare(config: Data, folder: Path) -> None:
    prepare(config, folder / "samples.parquet")


def run_split(config: Data, folder: Path) -> None:
    split(folder / "samples.parquet", config, folder / "splits.parquet", folder / "splits.json")


def run_list(config: Data, folder: Path) -> None:
    len(open_source(config.source))


def run_import(config: Data, folder: Path) -> None:
    (folder / "config" / "experiments").mkdir(parents=True)
    os.chdir(folder)
    import_collection(config.source.root)


def run_prepare_and_hash(config: Data, folder: Path) -> None:
    samples = folder / "samples.parquet"
    list_raw(config, samples, folder / "raw.parquet", prepare(config, samples))


def run_start(config: Data, folder: Path) -> None:
    """What each start of Snakemake does: list the files, look for replaced ones."""
    files_to_read(config, folder / "raw.parquet")
    replaced_raw(config, folder / "raw.parquet", time.time(), folder / "seen.parquet")


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


FILE_STAGES = {
    "list": run_list,
    "import": run_import,
    "prepare": run_prepare_and_hash,
    "start": run_start,
}
LAYOUTS = {"folder": write_folder, "tars": write_tars}
STAGES = {"prepare": run_prepare, "split": run_split, "shard": build_shards, "epoch": run_epoch}


def _alone(pipe, stage: Callable, config: Data, folder: Path) -> None:
    stage(config, folder)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    busy = sum(found.ru_utime + found.ru_stime for found in usage)
    pipe.send((busy, [found.ru_maxrss * 1024 for found in usage]))


def measure(stage: Callable, config: Data, folder: Path) -> tuple[float, float, list[int]]:
    """Run a stage in a fresh process.

    Returns:
        Its seconds, its seconds of processor time, and peak bytes, its own and its children's.
    """
    context = multiprocessing.get_context("spawn")
    pipe, far = context.Pipe()
    start = time.perf_counter()
    process = context.Process(target=_alone, args=(far, stage, config, folder))
    process.start()
    far.close()
    try:
        busy, peaks = pipe.recv()
    except EOFError:
        raise SystemExit(f"{stage.__name__} failed") from None
    process.join()
    return time.perf_counter() - start, busy, peaks


def infer_drawn(drawn: Drawn, folder: Path) -> None:
    """What infer does after the network: raw logits of one expert, of all splits."""
    write_expert(drawn, folder, EXPERTS[0], SPLITS)


def infer_others(drawn: Drawn, folder: Path) -> None:
    """The same for the other experts, without train, which nothing reads."""
    for expert in EXPERTS[1:]:
        write_expert(drawn, folder, expert, CALIBRATED)


def calibrate_drawn(drawn: Drawn, folder: Path) -> None:
    config = Calibration()
    for expert in EXPERTS:
        raw = raw_of(folder, expert)
        splits = {split: raw / f"{split}.parquet" for split in config.splits}
        calibrate(splits, config, raw.parent / "calibration.json")


def export_drawn(drawn: Drawn, folder: Path) -> None:
    for expert, (paths,) in _logits_of(folder).items():
        raw = {split: raw_of(folder, expert) / path.name for split, path in paths.items()}
        export(raw, raw_of(folder, expert).parent / "calibration.json", paths)


def evaluate_drawn(drawn: Drawn, folder: Path) -> None:
    groups = read_groups(folder / "samples.parquet")
    files = {expert: {0: paths} for expert, (paths,) in _logits_of(folder).items()}
    manifest = folder / "shards" / "manifest.json"
    evaluate(files, manifest, Evaluation(), folder / "evaluation", groups)


def guarantee_drawn(drawn: Drawn, folder: Path) -> None:
    files = {expert: {0: paths} for expert, (paths,) in _logits_of(folder).items()}
    manifest, samples = folder / "shards" / "manifest.json", folder / "samples.parquet"
    promised = Evaluation(), Guarantees()
    guarantee(files, manifest, samples, *promised, "drawn", folder / "evaluation")


def inspect_drawn(drawn: Drawn, folder: Path) -> None:
    every = [paths for (paths,) in _logits_of(folder).values()]
    logits = {split: [paths[split] for paths in every] for split in INSPECTED}
    manifest, samples = folder / "shards" / "manifest.json", folder / "samples.parquet"
    inspect(manifest, samples, logits, Evaluation(), folder / "inspection")


def _logits_of(folder: Path) -> dict[str, list[dict[str, Path]]]:
    """Return the calibrated logits of each expert by split."""
    return {
        expert: [
            {
                split: raw_of(folder, expert).parent / "logits" / f"{split}.parquet"
                for split in CALIBRATED
            }
        ]
        for expert in EXPERTS
    }


LOGIT_STAGES = {
    "infer": infer_drawn,
    "infer, others": infer_others,
    "calibrate": calibrate_drawn,
    "export": export_drawn,
    "evaluate": evaluate_drawn,
    "guarantee": guarantee_drawn,
    "inspect": inspect_drawn,
}


def run_logits(size: str) -> Iterator[tuple[str, tuple[float, float, list[int]]]]:
    """Draw the logits of three experts, and yield the measurement of each stage.

    Args:
        size: CLASSES,TRAIN,TEST.
    """
    classes, train, test = map(int, size.split(","))
    with tempfile.TemporaryDirectory() as folder:
        drawn = Drawn(classes, split_sizes(train, test))
        write_collection(Path(folder), classes, drawn.sizes)
        for name, stage in LOGIT_STAGES.items():
            result = measure(stage, drawn, Path(folder))
            print(f"{size}: {name}", *result, flush=True)
            yield name, result
        written = Path(folder).glob(f"experts/{EXPERTS[0]}/**/*.parquet")
        size_on_disk = sum(path.stat().st_size for path in written)
        print(f"{size}: an expert's logits take {size_on_disk / 1e6:.0f} MB")


def show(found: dict[str, list[tuple]]) -> None:
    """Print the table: one section per stage, one line per size."""
    table = Table(title="Growth with the number of images and classes")
    for column in ("stage", "rows", "s", "µs per row", "CPU s", "peak MB", "worker MB"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, lines in found.items():
        for rows, seconds, busy, (own, workers) in lines:
            table.add_row(
                name,
                f"{rows:,}" if isinstance(rows, int) else rows,
                f"{seconds:.1f}",
                f"{seconds / rows * 1e6:.0f}" if isinstance(rows, int) else "",
                f"{busy:.1f}",
                f"{own / 1e6:.0f}",
                f"{workers / 1e6:.0f}" if workers else "",
                end_section=rows == lines[-1][0],
            )
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--files", type=int, nargs="*", default=FILES)
    parser.add_argument("--layouts", nargs="*", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--logits", nargs="*", metavar="CLASSES,TRAIN,TEST", default=LOGITS)
    arguments = parser.parse_args()
    found: dict[str, list[tuple]] = defaultdict(list)
    for rows in arguments.rows:
        for name, result in run_stages(write_source, STAGES, rows):
            found[name].append((rows, *result))
    for layout in arguments.layouts:
        write = LAYOUTS[layout]
        for rows in arguments.files:
            for name, result in run_stages(write, FILE_STAGES, rows):
                found[f"{name}, {layout}"].append((rows, *result))
    for size in arguments.logits:
        for name, result in run_logits(size):
            found[name].append((size, *result))
    show(found)


def run_stages(
    write: Callable[[Path, int], Data], stages: dict[str, Callable], rows: int
) -> Iterator[tuple[str, tuple[float, float, list[int]]]]:
    """Write a collection, and yield the measurement of each stage, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        raw, work = Path(folder) / "raw", Path(folder) / "work"
        raw.mkdir()
        config = write(raw, rows)
        for name, stage in stages.items():
            result = measure(stage, config, work)
            print(f"{write.__name__}, {rows}: {name}", *result, flush=True)
            yield name, result


if __name__ == "__main__":
    main()
