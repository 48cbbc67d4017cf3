"""Training time of the three experts of ``config/experiments/cifar100_lt.yaml``, on random pixels.

    make bench-experts                                 # the whole recipe: for a GPU
    python benchmarks/experts.py --epochs 1            # a quick speed check

10,847 images of 32×32 in 100 classes, 500 to 5 per class (imbalance 100), as in CIFAR-100-LT; speed
does not depend on their content. ResNet-32, in-memory loader, crop, flip and validation as in the
recipe; all steps of the stage train, from the check of the shards to the exported weights.

It is not measured on a GPU yet. The target is under 60 s per expert on an H200; the run from which
the recipe is taken took 8,640 s.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from data import build
from PIL import Image
from rich.console import Console
from rich.table import Table

from tailproof.config.data import Data
from tailproof.config.validation import load_experiment
from tailproof.data.long_tail import long_tail_counts
from tailproof.files import read_json
from tailproof.training.launcher import launch

CLASSES, LARGEST, HELD_OUT = 100, 500, 20
EXPERIMENT = Path(__file__).parents[1] / "config" / "experiments" / "cifar100_lt.yaml"


def random_cifar(folder: Path) -> Path:
    """Write random pictures with the class counts of CIFAR-100-LT and shard them."""
    rng = np.random.default_rng(0)
    counts = long_tail_counts(np.full(CLASSES, LARGEST), "exponential", 100, None)
    for pool, sizes in (("train", counts), ("test", [HELD_OUT] * CLASSES)):
        for name, size in enumerate(sizes):
            place = folder / "raw" / pool / f"{name:02d}"
            place.mkdir(parents=True)
            for number in range(int(size)):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    source = {"name": "image_folder", "root": str(folder / "raw"), "train": "train", "test": "test"}
    return build(Data(source=source), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    arguments = parser.parse_args()
    experts = load_experiment(EXPERIMENT).experts
    changes = {"threads": arguments.threads, "compile": arguments.compile}
    table = Table(title="three experts of cifar100_lt, random pixels")
    for column in ("expert", "device", "epochs", "seconds", "images/s"):
        table.add_column(column, justify="left" if column in ("expert", "device") else "right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = random_cifar(folder)
        images = read_json(manifest)["splits"]["train"]["rows"]
        for expert, recipe in experts.items():
            epochs = arguments.epochs or recipe.epochs
            start = time.perf_counter()
            changed = recipe.model_copy(update={**changes, "epochs": epochs})
            launch(manifest, changed, 0, folder / expert, folder / "states", "", folder / "log")
            seconds = time.perf_counter() - start
            facts = read_json(folder / expert / "training.json")
            speed = images / np.median(facts["seconds_an_epoch"])
            device = f"{facts['attempts'][0]['device']}, {facts['precision']}"
            table.add_row(expert, device, str(epochs), f"{seconds:.1f}", f"{speed:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
