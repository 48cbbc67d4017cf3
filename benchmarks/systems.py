"""Training speed of three networks for photographs: this project's loop and timm's, in one run.

    make bench-systems

224×224 pixels from JPEG files of 256×256, random resized crops and mirrors, 2 loader processes, 2
CPU threads or a GPU, the same batch and precision. The other side is built of the parts that timm's
training script is made of: create_dataset over the folders, create_loader, create_optimizer_v2 and
its cosine schedule, its clipping of gradients off, autocast as with --amp. Each variant lives in a
process of its own and every round times one epoch of each in turn; the first does not count.

Measured on an AMD EPYC with AVX512-BF16, 2 cores that other work shared, torch 2.13.0+cpu, timm
1.0.31, bf16, median and range of 3 rounds; images/s, times timm's, and each loop's peak of memory
(of the process that trains, without its loader processes):

    vit_tiny_patch16_224    420 images, batch 32   timm 20.6 (11.4 to 23.7), 1.3 GiB
                                              tailproof 22.8 (14.3 to 23.2), 1.3 GiB    1.11
    convnext_tiny           128 images, batch 16   timm  6.0 (4.1 to 6.3), 2.2 GiB
                                              tailproof  7.7 (7.5 to 8.0), 2.0 GiB      1.28
    beit_base_patch16_224    40 images, batch 16   timm  2.5 (0.8 to 2.8), 4.6 GiB
                                              tailproof  2.5 (1.7 to 2.7), 3.9 GiB      0.97

The ranges overlap in all but the second: no slower, as far as these can tell. On a GPU it has not
been measured yet.
"""

import argparse
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import tailproof.models  # noqa: F401  # isort: skip - before timm: it registers models
import timm
import torch
from data import build, pictures
from rich.console import Console
from rich.table import Table
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn

from tailproof.config.data import Data
from tailproof.config.recipe import Recipe
from tailproof.models.precision import best_precision
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun

BATCHES = {"vit_tiny_patch16_224": 32, "convnext_tiny": 16, "beit_base_patch16_224": 16}
RATE, THREADS, WORKERS, CLASSES, EPOCHS = 1e-4, 2, 2, 10, 1000
TIMM, OURS = "timm", "tailproof"


class TimmLoop:
    """The training loop of timm's script."""

    def __init__(self, root: Path, model: str, device: torch.device, precision: str) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(THREADS)
        self.device, batch = device, BATCHES[model]
        self.loader = create_loader(
            create_dataset("", root=root / "raw" / "train", batch_size=batch),
            input_size=(3, 224, 224),
            batch_size=batch,
            is_training=True,
            use_prefetcher=device.type == "cuda",
            scale=(0.08, 1.0),
            color_jitter=0.0,
            interpolation="bicubic",
            num_workers=WORKERS,
            device=device,
        )
        self.model = timm.create_model(model, num_classes=CLASSES).to(device)
        self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = create_optimizer_v2(self.model, opt="adamw", lr=RATE, weight_decay=0.05)
        self.schedule, _ = create_scheduler_v2(
            self.optimizer, "cosine", EPOCHS, updates_per_epoch=len(self.loader)
        )
        self.loss = nn.CrossEntropyLoss()
        self.half = precision == "bf16"
        self.updates = 0

    def train(self) -> int:
        """Train an epoch; return how many images it had."""
        self.model.train()
        seen = 0
        for loaded, labels in self.loader:
            images = loaded.to(self.device).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                loss = self.loss(self.model(images), labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.updates += 1
            self.schedule.step_update(self.updates)
            seen += len(images)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return seen


class OurLoop:
    """This project's loop; EPOCHS are more than are trained, so that none validates."""

    def __init__(self, root: Path, model: str, precision: str) -> None:
        recipe = Recipe(
            model={"name": model},
            optimizer={"name": "adamw", "learning_rate": RATE, "weight_decay": 0.05},
            schedule={"name": "cosine"},
            epochs=EPOCHS,
            validate_every=EPOCHS,
            batch_size=BATCHES[model],
            drop_last=True,
            image_size=224,
            augmentation={"flip": True, "albumentations": [{"name": "RandomResizedCrop"}]},
            precision=precision,
            channels_last=True,
            threads=THREADS,
            workers=WORKERS,
            cache_gb=0.0,
        )
        self.run = TrainingRun(
            NetworkOnImages(root / "shards" / "manifest.json", recipe), 0, ProcessGroup(1)
        )

    def train(self) -> int:
        """Train an epoch; return how many images it had."""
        self.run.finish_epoch(lambda: None)
        return self.run.steps * self.run.recipe.batch_size


def serve_epochs(pipe: Connection, name: str, root: Path, model: str, precision: str) -> None:
    """Train an epoch whenever asked to; answer images a second and the peak of memory in GiB."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loop = (
        TimmLoop(root, model, device, precision)
        if name == TIMM
        else OurLoop(root, model, precision)
    )
    while pipe.recv():
        start = time.perf_counter()
        images = loop.train()
        speed = images / (time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        pipe.send((speed, peak / 2**30))


def measure(root: Path, model: str, precision: str, rounds: int) -> dict[str, list]:
    """Return (images a second, GiB) of both loops in each round."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in (TIMM, OURS):
        pipes[name], far = context.Pipe()
        processes.append(
            context.Process(target=serve_epochs, args=(far, name, root, model, precision))
        )
        processes[-1].start()
    found: dict[str, list] = {name: [] for name in pipes}
    for number in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            answer = pipe.recv()
            if number:
                found[name].append(answer)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    return found


def photographs(folder: Path, images: int) -> None:
    """Write JPEG pictures in class folders, and shard them; the held-out ones are few."""
    for number, picture in enumerate(pictures(images + 10 * CLASSES, 256)):
        pool = "train" if number < images else "test"
        path = folder / "raw" / pool / f"{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)
    source = {
        "name": "image_folder", "root": str(folder / "raw"), "train": "train", "test": "test"
    }  # fmt: skip
    build(Data(source=source, splits={"val": 0.05, "calib": 0.05}), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--models", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = best_precision(device, "auto")
    table = Table(title=f"training at 224×224, {precision} on {device.type}, {THREADS} threads")
    for column in ("model", "batch", "loop", "images/s", "range", "× timm", "peak, GiB"):
        table.add_column(column, justify="left" if column in ("model", "loop") else "right")
    with tempfile.TemporaryDirectory() as name:
        photographs(Path(name), arguments.images)
        for model in arguments.models:
            found = measure(Path(name), model, precision, arguments.rounds)
            base = statistics.median(speed for speed, _ in found[TIMM])
            for loop, answers in found.items():
                speeds = [speed for speed, _ in answers]
                table.add_row(
                    model,
                    str(BATCHES[model]),
                    loop,
                    f"{statistics.median(speeds):.1f}",
                    f"{min(speeds):.1f} to {max(speeds):.1f}",
                    f"{statistics.median(speeds) / base:.2f}",
                    f"{max(peak for _, peak in answers):.1f}",
                )
    Console().print(table)
    print(
        f"{platform.machine()}, torch {torch.__version__}, timm {timm.__version__}, "
        f"{arguments.rounds} rounds of {arguments.images} images"
    )


if __name__ == "__main__":
    main()
