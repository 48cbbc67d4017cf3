"""Images per second of `tailproof predict`, from files on disk to decisions.

    make bench-predict

Two networks of random weights, in folders as the stage card leaves them: ResNet-32 on 8×8 grey PNG
files, and timm's ResNet-18 at 224 pixels, 1,000 classes, on JPEG files of 640×480. Reading,
decoding, resizing, the network, probabilities and the rule of rejection count, loading the network
does not; one run before the counted ones is left out. Beside it the network alone, on batches that
are in memory: what is lost to all the rest. fp32, on a GPU where there is one. The fastest run is
what the machine can do, the median what it did: they differ where other work runs on it.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from untrained_expert import write_expert

from tailproof.data.image_files import find_images
from tailproof.predict.classify import BATCH_SIZE
from tailproof.predict.expert import Expert, open_expert
from tailproof.predict.image_inputs import list_images
from tailproof.predict.option_rules import Options
from tailproof.runtime.process import tune_malloc

CASES = {
    "cifar_resnet32, 8 px, PNG": ("cifar_resnet32", "L", 8, 10, 2000),
    "resnet18, 224 px, JPEG": ("resnet18", "RGB", 224, 1000, 128),
}


def write_images(folder: Path, mode: str, count: int) -> None:
    """Write smooth random pictures: 8×8 PNG in grey, 640×480 JPEG in colour."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(count):
        if mode == "L":
            bits = draw.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(bits).save(folder / f"{number:05d}.png")
        else:
            small = Image.fromarray(draw.integers(0, 256, (30, 40, 3), np.uint8))
            large = small.resize((640, 480), Image.Resampling.BICUBIC)
            large.save(folder / f"{number:05d}.jpg", quality=90)


def rates(run: Callable[[], int], runs: int) -> list[float]:
    """Return the images per second of each run, after a warm-up run."""
    run()
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        count = run()
        found.append(count / (time.perf_counter() - start))
    return found


def alone(expert: Expert, count: int) -> Callable[[], int]:
    """Return a run of the network on `count` images that are in memory as it takes them."""
    (network,) = expert.loaded.networks
    batch = torch.zeros(BATCH_SIZE, *network.preparation.shape, device=network.device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    batches = max(1, count // BATCH_SIZE)

    @torch.inference_mode()
    def run() -> int:
        for _ in range(batches):
            network.model(batch).cpu()
        return batches * BATCH_SIZE

    return run


def cell(found: list[float]) -> str:
    return f"{max(found):,.0f} ({statistics.median(found):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    table = Table(title=f"images per second, fastest of {runs} runs (median)")
    for column in ("expert", "images", "tailproof predict", "network alone"):
        table.add_column(column, justify="left" if column == "expert" else "right")
    tune_malloc()  # as the command does
    with tempfile.TemporaryDirectory() as temporary:
        for name, (model, mode, size, classes, count) in CASES.items():
            folder = Path(temporary) / model
            expert = open_expert(write_expert(folder / "expert", model, mode, size, classes))
            write_images(folder / "images", mode, count)
            files, _ = list_images(list(find_images([folder / "images"], mode).files))
            classifier = expert.classifier(Options(), print)

            def whole(classifier=classifier, files=files) -> int:
                return sum(len(batch.rows) for batch in classifier.batches(files))

            speeds = [rates(run, runs) for run in (whole, alone(expert, count))]
            table.add_row(name, f"{count:,}", *map(cell, speeds))
    Console(width=120).print(table)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
