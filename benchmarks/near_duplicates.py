"""Recall and precision of near duplicates by kind of copy, next to imagededup, and their cost.

    make bench-near-duplicates CIFAR100=path/to/cifar100

1. Copies of each kind are planted among photographs of CIFAR-100 that are enlarged four times, as
   if they were larger ones. Both programs get the same files. A pair of two originals is wrong:
   among so few pictures, CIFAR-100's own near duplicates are rare. imagededup runs PHash with its
   default threshold of 10 bits; its CNN needs weights from the network.
2. The digits of scikit-learn are all different, but many look alike.
3. Near duplicates between the training and the test images of CIFAR-100.
4. The time and memory of the search for 433,000 pictures, a tenth of them copies. The other
   pictures are blends of two photographs, mirrored and weighted at random.
5. `tailproof contains`, with --contains alone: copies of each kind, asked of 10,000 photographs of
   the training set, in the project and from fingerprints; and photographs of the test set, which
   are other ones except for CIFAR-100's own near duplicates. Then 100,000 PNG files, of which
   60,000 are all of CIFAR-100, asked of the 50,000 training images.

The folder holds train.parquet and test.parquet as Hugging Face has them.
"""

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from tailproof.data.copy_search import KnownPictures
from tailproof.data.duplicate_pairs import clusters_of
from tailproof.data.fingerprint_table import Fingerprints, max_distance_for
from tailproof.data.grey_thumbnail import FLAT_VALUE, SIDE, thumbnail
from tailproof.data.near_duplicates import find_pairs, threshold_for, without_chains
from tailproof.data.picture_hashes import hash_of, spectra_of, windows
from tailproof.provenance.contains import read_one

PEER = Path(".venv/imagededup/bin/python")
PEER_SCRIPT = """
import json, logging, pathlib, sys
from imagededup.methods import PHash
logging.disable(logging.WARNING)
hasher, found = PHash(verbose=False), {}
for folder in sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_dir()):
    encodings = hasher.encode_images(image_dir=folder, num_enc_workers=0)
    copies = hasher.find_duplicates(encoding_map=encodings, num_dist_workers=0)
    found[folder.name] = sorted({tuple(sorted((a, b))) for a in copies for b in copies[a]})
json.dump(found, open(sys.argv[2], "w"))
"""
LARGE = 433_000
ENLARGED = 128


def photographs(folder: Path, part: str) -> list[bytes]:
    """Return the encoded pictures of train or test."""
    table = pq.read_table(folder / f"{part}.parquet", columns=["image"])
    return [image["bytes"] for image in table["image"].to_pylist()]


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def enlarge(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def crop(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    side = round(share * len(pixels))
    top, left = rng.integers(0, len(pixels) - side + 1, 2)
    return pixels[top : top + side, left : left + side]


def linear(pixels: np.ndarray, factor: float, offset: float) -> np.ndarray:
    return np.clip(pixels * factor + offset, 0, 255).astype(np.uint8)


def turn(pixels: np.ndarray, degrees: float) -> np.ndarray:
    turned = np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC))
    margin = round(len(pixels) * 0.03)
    return turned[margin:-margin, margin:-margin]


KINDS = {
    "JPEG, quality 50": lambda p, rng: jpeg(p, 50),
    "JPEG, quality 20": lambda p, rng: jpeg(p, 20),
    "resized to a half": lambda p, rng: resize(p, 64),
    "resized to a quarter": lambda p, rng: resize(p, 32),
    "cropped to 95 %": lambda p, rng: crop(p, 0.95, rng),
    "cropped to 90 %": lambda p, rng: crop(p, 0.9, rng),
    "cropped to 85 %": lambda p, rng: crop(p, 0.85, rng),
    "mirrored": lambda p, rng: p[:, ::-1],
    "30 % brighter, clipped": lambda p, rng: linear(p, 1.3, 0),
    "30 % darker": lambda p, rng: linear(p, 0.7, 0),
    "30 % more contrast": lambda p, rng: linear(p, 1.3, -38),
    "rotated by 2°": lambda p, rng: turn(p, 2),
    "rotated by 5°": lambda p, rng: turn(p, 5),
    "cropped, mirrored, JPEG": lambda p, rng: jpeg(crop(p, 0.95, rng)[:, ::-1].copy(), 50),
}


def ours(pictures: list[np.ndarray]) -> set[tuple[int, int]]:
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    pairs = find_pairs(thumbnails, threshold_for(thumbnails))
    pairs, _ = without_chains(pairs, len(thumbnails))
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def theirs(collections: list[list[np.ndarray]], peer: Path) -> list[set[tuple[int, int]]]:
    with tempfile.TemporaryDirectory() as name:
        output = Path(name, "pairs.json")
        for place, pictures in enumerate(collections):
            folder = Path(name, f"{place:03d}")
            folder.mkdir()
            for number, picture in enumerate(pictures):
                Image.fromarray(picture).save(folder / f"{number}.png", compress_level=1)
        subprocess.run([peer, "-c", PEER_SCRIPT, name, output], check=True, capture_output=True)
        found = json.loads(output.read_text())
    return [
        {tuple(sorted(int(Path(name).stem) for name in pair)) for pair in found[folder]}
        for folder in sorted(found)
    ]


def planted(pool: list[bytes], count: int, runs: int, peer: Path) -> Table:
    """Return the recall and the wrong pairs of each kind: mean over runs, lowest and highest."""
    table = Table(title=f"{count} photographs and a copy of each, {runs} runs")
    for head in ("copies", "recall", "wrong pairs", "PHash: recall", "wrong pairs"):
        table.add_column(head, justify="left" if head == "copies" else "right")
    scores = []
    for run in range(runs):
        rng = np.random.default_rng(run)
        chosen = rng.choice(len(pool), count, replace=False)
        originals = [enlarge(decode(pool[index])) for index in chosen]
        shown = [
            [*originals, *(change(picture, rng) for picture in originals)]
            for change in KINDS.values()
        ]
        scores.append(
            [
                [_score(found, count) for found in both]
                for both in zip(map(ours, shown), theirs(shown, peer), strict=True)
            ]
        )
    for place, kind in enumerate(KINDS):
        sides = ([run[place][side] for run in scores] for side in (0, 1))
        table.add_row(kind, *(cell for side in sides for cell in _cells(side)))
    return table


def _score(found: set[tuple[int, int]], count: int) -> tuple[float, int]:
    right = sum(second - first == count for first, second in found)
    return right / count, len(found) - right


def _cells(scores: list[tuple[float, int]]) -> list[str]:
    recalls, wrong = zip(*scores, strict=True)
    mean, low, high = statistics.mean(recalls), min(recalls), max(recalls)
    return [f"{mean:.3f} ({low:.3f}–{high:.3f})", f"{min(wrong)}–{max(wrong)}"]


def look_alikes(peer: Path) -> str:
    from sklearn.datasets import load_digits

    digits = load_digits()
    shown = [np.kron(each * 255 / 16, np.ones((4, 4))).astype(np.uint8) for each in digits.images]
    sentences = []
    for name, found in (("tailproof", ours(shown)), ("PHash", theirs([shown], peer)[0])):
        wrong = sum(digits.target[first] != digits.target[second] for first, second in found)
        sentences.append(f"{name}: {len(found):,} pairs, {wrong:,} of them of different digits")
    return f"{len(shown):,} digits: " + "; ".join(sentences)


def cifar(train: list[bytes], test: list[bytes]) -> str:
    thumbnails = np.stack([thumbnail(decode(data)) for data in [*train, *test]])
    threshold = threshold_for(thumbnails)
    pairs, alike = without_chains(find_pairs(thumbnails, threshold), len(thumbnails))
    clusters = clusters_of(pairs, len(thumbnails))
    copied = np.isin(clusters[len(train) :], clusters[: len(train)])
    strict = pairs.where(pairs.correlation >= 0.95)
    close = clusters_of(strict, len(thumbnails))
    closely = np.isin(close[len(train) :], close[: len(train)])
    sizes = np.bincount(clusters)
    return (
        f"CIFAR-100: {len(pairs):,} pairs from a correlation of {threshold:.3f}, "
        f"{(sizes > 1).sum():,} clusters, the largest of {sizes.max()}; {copied.sum():,} of "
        f"{len(test):,} test images have a near duplicate in train, {closely.sum():,} from a "
        f"correlation of 0.95; {alike} images in clusters that were too large"
    )


def blends(photos: np.ndarray, count: int) -> np.ndarray:
    """Return thumbnails of pictures that do not exist, the last tenth with a copy."""
    rng = np.random.default_rng(0)
    made = np.empty((count, SIDE, SIDE), np.uint8)
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        one, other = photos[rng.integers(0, len(photos), (2, size))].astype(np.float32) - FLAT_VALUE
        weight = rng.uniform(0.3, 0.7, (size, 1, 1)).astype(np.float32)
        mixed = weight * one + (1 - weight) * other[:, :, ::-1]
        mixed *= 127 / np.abs(mixed).max(axis=(1, 2), keepdims=True)
        made[start : start + size] = np.round(mixed + FLAT_VALUE)
    copies = count // 10
    noise = rng.integers(-6, 7, (copies, SIDE, SIDE))
    made[-copies:] = np.clip(made[:copies].astype(int) + noise, 0, 255)
    return made


def scale(folder: Path, runs: int) -> Table:
    """Return the cost of the search in processes of their own, without making the thumbnails."""
    table = Table(title=f"The search alone, one thread, {runs} runs each")
    for head in ("pictures", "processor, s", "wall, s", "memory, MB", "copies found"):
        table.add_column(head, justify="right")
    photos = np.stack([thumbnail(decode(data)) for data in photographs(folder, "train")[:20_000]])
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "thumbnails.npy")
        for count in (LARGE // 4, LARGE):
            np.save(path, blends(photos, count))
            command = [sys.executable, __file__, "--search", path]
            outputs = [subprocess.check_output(command) for _ in range(runs)]
            costs = [json.loads(output) for output in outputs]
            spreads = [
                f"{min(cost[key] for cost in costs):.0f}–{max(cost[key] for cost in costs):.0f}"
                for key in ("processor", "wall", "memory")
            ]
            table.add_row(f"{count:,}", *spreads, f"{costs[0]['found']:.4f}")
    return table


def search(path: Path) -> dict[str, float]:
    thumbnails = np.load(path)
    wall, processor = time.perf_counter(), time.process_time()
    pairs = find_pairs(thumbnails, threshold_for(thumbnails))
    pairs, _ = without_chains(pairs, len(thumbnails))
    copies = len(thumbnails) // 10
    return {
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "found": int((pairs.second - pairs.first == len(thumbnails) - copies).sum()) / copies,
    }


def fingerprints_of(thumbnails: np.ndarray) -> Fingerprints:
    """Return the fingerprints of pictures that all are in one split."""
    spectra = spectra_of(thumbnails, np.arange(len(thumbnails)))
    hashes = hash_of(spectra, windows()[0])
    names = np.full(len(thumbnails), "x", object)
    limit = max_distance_for(spectra, hashes, threshold_for(thumbnails))
    usable = thumbnails.max(axis=(1, 2)) != thumbnails.min(axis=(1, 2))
    return Fingerprints(None, hashes, usable, names, names, limit, "RGB")


def asked(train: list[bytes], test: list[bytes], count: int, known: int = 10_000) -> Table:
    """Return how many copies of each kind are recognised, and of which picture."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(train), known, replace=False)
    thumbnails = np.stack([thumbnail(enlarge(decode(train[index]))) for index in chosen])
    originals = [enlarge(decode(train[index])) for index in chosen[:count]]
    others = [enlarge(decode(data)) for data in test[: 2 * count]]
    shown = [change(picture, rng) for change in KINDS.values() for picture in originals]
    shown = np.stack([thumbnail(picture) for picture in [*shown, *others]])
    published = fingerprints_of(thumbnails)
    copies = KnownPictures(thumbnails, np.zeros(known, int)).copies(shown)
    sides = ((copies.asked, copies.known), published.near(shown)[:2])
    title = f"{count} of {known:,} photographs; hashes that differ in {published.max_distance} bits"
    table = Table(title=title)
    for head in ("copies", "recall", "another", "fingerprints: recall", "another"):
        table.add_column(head, justify="left" if head == "copies" else "right")
    for place, kind in enumerate(KINDS):
        cells = [kind]
        for index, row in sides:
            of_kind = index // count == place
            right = int((index[of_kind] % count == row[of_kind]).sum())
            cells += [f"{right / count:.3f}", f"{(of_kind.sum() - right) / count:.3f}"]
        table.add_row(*cells)
    shares = [float((index >= len(KINDS) * count).sum()) / len(others) for index, _ in sides]
    table.add_row("photographs of test", "", f"{shares[0]:.3f}", "", f"{shares[1]:.3f}")
    return table


def hundred_thousand(train: list[bytes], test: list[bytes]) -> str:
    """Return the processor time of asking about 100,000 files."""
    thumbnails = np.stack([thumbnail(decode(data)) for data in train])
    with tempfile.TemporaryDirectory() as name:
        for number, data in enumerate([*train, *test, *train[:40_000]]):
            Path(name, f"{number}.png").write_bytes(data)
        files = sorted(Path(name).iterdir())
        wall, processor = time.perf_counter(), time.process_time()
        read = list(map(read_one, files))
        reading = time.process_time() - processor
        asked_about = np.stack([facts[2] for facts in read])
        found = len(KnownPictures(thumbnails, np.zeros(len(train), int)).copies(asked_about))
        searching = time.process_time() - processor - reading
        wall = time.perf_counter() - wall
    return (
        f"{len(files):,} files: {found:,} are copies of a training image; processor time: reading, "
        f"decoding and hashing {reading:.0f} s, searching {searching:.0f} s; {wall:.0f} s in all"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("cifar100", type=Path, nargs="?", help="folder of train and test.parquet")
    parser.add_argument("--count", type=int, default=1000, help="photographs with copies")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", type=Path, default=PEER, help="a Python that has imagededup")
    parser.add_argument("--contains", action="store_true", help="run the fifth part alone")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(search(options.search)))
        return
    if options.cifar100 is None:
        parser.error("name the folder of CIFAR-100: make bench-near-duplicates CIFAR100=FOLDER")
    console = Console()
    train, test = (photographs(options.cifar100, part) for part in ("train", "test"))
    if options.contains:
        console.print(asked(train, test, options.count))
        console.print(hundred_thousand(train, test))
        return
    console.print(cifar(train, test))
    console.print(look_alikes(options.peer))
    console.print(planted(train, options.count, options.runs, options.peer))
    console.print(scale(options.cifar100, options.runs))


if __name__ == "__main__":
    main()
