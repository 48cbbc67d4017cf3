"""Training speed and accuracy: this project's loop and the plain PyTorch loop, in one run.

    make bench-train

ResNet-32, 32×32 colour, batch 128, 2 CPU threads; random crop with 4 pixels of padding, mirror,
normalization. The plain loop is what most repositories have: torch's DataLoader with 2 workers
(kept alive), torchvision's transforms on each PIL image, float32. Images are in memory for both.
Each variant lives in a process of its own and every round times one epoch of each in turn, so that
a busy neighbour meets them all; speeds are compared within a round, and the median of the rounds is
what counts.

The last columns are of each variant trained on the same digits (scaled to 32×32) with the same
recipe and seeds, to show that what is faster does not learn less.

Measured on 2 cores of an AMD EPYC (Zen 5, family 26, AVX512-BF16) that other work shares, torch
2.13.0: images a second and times the plain loop, medians and ranges over 15 rounds of 3,000 images.

                        plain, fp32         ours, fp32                ours, bf16
    run 1               358 (275 to 402)    1.53 (1.02 to 1.87)       2.48 (1.98 to 3.33)
    run 2, quietest     422 (359 to 443)    1.45 (1.01 to 1.58)       2.34 (1.79 to 2.73)

Accuracy after 10 epochs, 3 seeds: 0.828 ± 0.123 plain, 0.854 ± 0.075 fp32, 0.836 ± 0.075 bf16. Both
reach the aim, 1.4 and 2.2.

What helped beyond channels_last and bf16: memory that is kept for the next step (core/process.py),
a tenth; shortcuts whose gradient stays channels_last (backbones/resnet_cifar.py), 3 to 4 %; and in
bf16 oneDNN's own layouts (models/onednn.py), a sixth: batch norm takes a half to a third of torch's
time in them, ReLU and sums a half, gradients of the weights of 16 channels four fifths. Without
them bf16 was 2.06 to 2.26 times the plain loop here, and 2.12 and 2.06 on another EPYC, where fp32
came to 1.42 and 1.45; there they have not been measured. In fp32 channels_last is faster.

Tried and not kept, for little: torch.compile (2 % after a minute); batch norm, ReLU and shortcut
fused by hand in C++ (a twentieth, for a compiler on every machine). For nothing: batch norm of 16
channels computed as one of 128; ReLU's gradient on bits read as integers; a residual block with its
own backward; SGD in one kernel; huge pages, jemalloc, mimalloc and tcmalloc; gradients of strided
weights by unfolding. For fp32, NNPACK's Winograd convolutions take 1.8 to 2.4 times oneDNN's time.
"""

import argparse
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from data import build
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tailproof.config.data import Data
from tailproof.config.recipe import Recipe
from tailproof.loading import Split
from tailproof.loading.resizing import fit
from tailproof.models import build_model, onednn
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun

from torchvision import transforms  # isort: skip - tailproof.models lets it be imported

BATCH, THREADS, RATE = 128, 2, 0.05
PLAIN = "plain loop, fp32"
VARIANTS = {"tailproof, fp32": {"precision": "fp32", "channels_last": True}}
if onednn.has_bf16():  # without instructions for it, an epoch takes many times as long
    VARIANTS["tailproof, bf16"] = {"precision": "bf16", "channels_last": True}


class Pictures(Dataset):
    """Decoded pictures with torchvision's transforms, as in a plain repository."""

    def __init__(self, images: list[Image.Image], labels: np.ndarray, transform: Callable) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


class PlainLoop:
    """The training loop of a plain repository."""

    def __init__(self, manifest: Path, epochs: int, seed: int) -> None:
        torch.set_num_threads(THREADS)
        torch.manual_seed(seed)
        train, val = Split(manifest, "train"), Split(manifest, "val")
        facts = train.manifest
        end = [transforms.ToTensor(), transforms.Normalize(**facts["normalization"])]
        crop = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        self.loader = DataLoader(
            Pictures(_pictures(train), train.labels["class"], transforms.Compose(crop + end)),
            batch_size=BATCH,
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
        )
        self.val = DataLoader(
            Pictures(_pictures(val), val.labels["class"], transforms.Compose(end)), batch_size=BATCH
        )
        self.model = build_model(
            "cifar_resnet32",
            classes=len(facts["classes"]["class"]),
            channels=train.channels,
            options={},
        )
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), RATE, 0.9, weight_decay=5e-4, nesterov=True
        )
        total = epochs * len(self.loader)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, total)

    def train(self, epoch: int) -> None:
        self.model.train()
        for images, labels in self.loader:
            loss = self.loss(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        right = [(self.model(images).argmax(1) == labels) for images, labels in self.val]
        return {"val_accuracy": torch.cat(right).float().mean().item()}


def _pictures(split_: Split) -> list[Image.Image]:
    images = (fit(split_.image(row), 32) for row in range(len(split_)))
    return [Image.fromarray(image.squeeze()) for image in images]


class OurLoop:
    """This project's loop; the last of `epochs` ends with a validation."""

    def __init__(self, manifest: Path, epochs: int, seed: int, options: dict) -> None:
        recipe = Recipe(
            optimizer={"learning_rate": RATE, "weight_decay": 5e-4},
            schedule={"name": "cosine"},
            epochs=epochs,
            validate_every=epochs,
            batch_size=BATCH,
            image_size=32,
            augmentation={"crop_padding": 4, "flip": True},
            threads=THREADS,
            **options,
        )
        self.run = TrainingRun(NetworkOnImages(manifest, recipe), seed, ProcessGroup(1))

    def train(self, epoch: int) -> None:
        self.row = self.run.finish_epoch(lambda: None)

    def validate(self) -> dict[str, float]:
        return self.row


def random_pictures(folder: Path, images: int) -> Path:
    """Write random 32×32 colour pictures in ten class folders and shard them."""
    rng = np.random.default_rng(0)
    for number in range(images):
        path = folder / "raw" / f"{number % 10}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    source = {"name": "image_folder", "root": str(folder / "raw")}
    return build(Data(source=source, held_out=0.05), folder)


def times_plain(speeds: dict[str, list[float]], name: str) -> list[float]:
    """Return how many times as fast as the plain loop a variant was in each round."""
    return [own / plain for own, plain in zip(speeds[name], speeds[PLAIN], strict=True)]


def make_loop(name: str, manifest: Path, epochs: int, seed: int) -> "PlainLoop | OurLoop":
    if name == PLAIN:
        return PlainLoop(manifest, epochs, seed)
    return OurLoop(manifest, epochs, seed, VARIANTS[name])


def serve_epochs(pipe: Connection, name: str, manifest: Path, epochs: int) -> None:
    """Train an epoch whenever asked to, and answer how many seconds it took."""
    loop = make_loop(name, manifest, epochs + 1, 0)  # none of them is the last, which validates
    for epoch in range(1, epochs + 1):
        pipe.recv()
        start = time.perf_counter()
        loop.train(epoch)
        pipe.send(time.perf_counter() - start)


def time_epochs(manifest: Path, rounds: int) -> dict[str, list[float]]:
    """Return images a second of each variant in each round; each lives in a process of its own."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in (PLAIN, *VARIANTS):
        pipes[name], far = context.Pipe()
        context.Process(target=serve_epochs, args=(far, name, manifest, rounds + 1)).start()
    images = len(Split(manifest, "train"))
    speeds: dict[str, list[float]] = {name: [] for name in pipes}
    for epoch in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send("go")
            seconds = pipe.recv()
            if epoch:  # the first warms up
                speeds[name].append(images / seconds)
    return speeds


def accuracies(manifest: Path, epochs: int, seeds: int) -> dict[str, list[float]]:
    """Return the final validation accuracy of each variant for each seed."""
    found: dict[str, list[float]] = {}
    for name in (PLAIN, *VARIANTS):
        for seed in range(seeds):
            loop = make_loop(name, manifest, epochs, seed)
            for epoch in range(1, epochs + 1):
                loop.train(epoch)
            found.setdefault(name, []).append(loop.validate()["val_accuracy"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speeds = time_epochs(
            random_pictures(Path(folder) / "random", arguments.images), arguments.rounds
        )
        digits = build(
            Data(source={"name": "digits"}, splits={"val": 0.2}), Path(folder) / "digits"
        )
        reached = accuracies(digits, arguments.epochs, arguments.seeds)
    table = Table(title=f"ResNet-32, 32×32, batch {BATCH}, {THREADS} threads")
    for column in ("loop", "images/s (range)", "× plain (range)", "digits accuracy"):
        table.add_column(column, no_wrap=True)
    for name, values in speeds.items():
        ratios, ends = times_plain(speeds, name), reached[name]
        table.add_row(
            name,
            f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{statistics.mean(ends):.3f} ± {statistics.stdev(ends):.3f}",
        )
    Console().print(table)
    print(
        f"{platform.machine()}, torch {torch.__version__}, {arguments.rounds} rounds of "
        f"{arguments.images} images; accuracy over {arguments.seeds} seeds of {arguments.epochs} "
        "epochs"
    )
    if not onednn.has_bf16():
        print("bf16 is left out: this processor has no instructions for it")


if __name__ == "__main__":
    main()
