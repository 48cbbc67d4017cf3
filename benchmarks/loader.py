"""Loader speed and start-up: this project's streaming loader and its peers, in one run.

    make bench-loader

Colour pictures of 32 px (PNG, batch 128) and 224 px (JPEG of some 13 kB, batch 64), drawn to look
natural, shuffled; crop with padding, flip and normalization to float32 tensors; 2 workers. Every
loader reads the same encoded bytes in its own format from the same warm disk cache; each peer as
its documentation shows it (peers.py), decoding with Pillow and augmenting with torchvision v2
(torchvision's own JPEG decoder does not load beside a CPU build of torch). Each (loader, size) has
a process of its own, and in every round each makes one epoch in turn, so that a busy neighbour
meets them all. Start-up is the time from before the loader is made until its first batch is there,
in a fresh process, imports excluded; each round starts one of each.

Measured on 2 processors of an AMD EPYC, 5 rounds, median (range); torch 2.13.0, torchvision 0.28.0,
webdataset 1.0.2, litdata 0.2.76, mosaicml-streaming 0.13.0, datasets 5.2.0:

    32 px                  images/s                  start-up, s
    tailproof                33,485 (33,047-34,083)  0.07 (0.06-0.12)
    torch, files              5,635 (5,274-5,724)    0.12 (0.11-0.12)
    webdataset                3,811 (3,767-3,836)    0.16 (0.15-0.16)
    litdata                   5,607 (5,476-5,640)    0.26 (0.25-0.26)
    mosaicml-streaming        3,076 (3,040-3,186)    1.12 (1.04-1.23)
    HF datasets, map-style    6,687 (6,206-6,934)    0.72 (0.69-0.73)

    224 px                 images/s                  start-up, s
    tailproof                 3,969 (3,717-4,331)    0.10 (0.09-0.11)
    torch, files              1,324 (1,301-1,351)    0.18 (0.17-0.19)
    webdataset                  973 (957-976)        0.26 (0.26-0.26)
    litdata                   1,162 (1,120-1,186)    0.34 (0.32-0.35)
    mosaicml-streaming        1,057 (1,022-1,076)    1.18 (1.10-1.23)
    HF datasets, map-style    1,213 (1,167-1,255)    0.82 (0.79-0.85)

Most of the distance is augmentation: done on uint8 and normalized by table here, by torchvision on
float tensors in the peers, as their documentation shows it. At 224 px OpenCV's JPEG decoder is a
fifth faster than Pillow, too, with the same pixels.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from data import build, pictures
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tailproof.config.data import Data
from tailproof.loading import Split

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv" / "peers" / "bin" / "python"
OURS = "tailproof"
LOADERS = {  # name in peers.py and the Python whose environment has it
    OURS: sys.executable,
    "files": PEERS,
    "webdataset": PEERS,
    "litdata": PEERS,
    "streaming": PEERS,
    "datasets": sys.executable,
}
TITLES = {
    OURS: "tailproof",
    "files": "torch, files",
    "webdataset": "webdataset",
    "litdata": "litdata",
    "streaming": "mosaicml-streaming",
    "datasets": "HF datasets, map-style",
}
SIZES = {32: ("png", {}, 128), 224: ("jpg", {"quality": 93}, 64)}


def write_pictures(folder: Path, size: int, images: int) -> None:
    """Draw pictures into ten class folders, shard them, and write the peers' files and formats."""
    kind, options, _ = SIZES[size]
    for number, picture in enumerate(pictures(images, size)):
        path = folder / "raw" / f"{number % 10}" / f"{number:08d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
    source = {"name": "image_folder", "root": str(folder / "raw")}
    config = Data(source=source, held_out=0.02, splits={"val": 0.01, "calib": 0.01})
    train = Split(build(config, folder), "train")
    for row, label in enumerate(train.labels["class"].tolist()):
        path = folder / "files" / f"{label}" / f"{row:08d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(train.encoded(row))
    for name, python in LOADERS.items():
        if name != OURS:
            command = [python, HERE / "peers.py", "write", name, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name} could not write its format:\n{done.stderr}")


def read_ours(folder: Path, size: int, batch: int) -> Iterable:
    """Stream the split train, epoch after epoch."""
    from peers import MEAN, STD, WORKERS

    from tailproof.config.augmentation import Augmentation
    from tailproof.loading import Loader

    loader = Loader(
        Split(folder / "shards" / "manifest.json", "train"),
        batch_size=batch,
        image_size=size,
        normalization={"mean": MEAN, "std": STD},
        augmentation=Augmentation(crop_padding=size // 8, flip=True),
        workers=WORKERS,
        memory_budget=0,
    )

    class Epochs:
        epoch = 0

        def __iter__(self):
            self.epoch += 1
            return loader.epoch(self.epoch)

    return Epochs()


class Served:
    """A loader in a process of its own, asked for an epoch or for its first batch."""

    def __init__(self, name: str, folder: Path, size: int) -> None:
        script = "loader.py" if name == OURS else "peers.py"
        command = [LOADERS[name], HERE / script, "read", name, folder, size, SIZES[size][2]]
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, what: str) -> tuple[float, int]:
        """Return seconds and images."""
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit(f"{' '.join(self.process.args)} failed:\n{self.log.read_text()}")
        return float(answer[0]), int(answer[1])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def measure(folder: Path, size: int, images: int, rounds: int) -> tuple[dict, dict]:
    """Return images/s and start-up seconds of each round for each loader."""
    served = {name: Served(name, folder, size) for name in LOADERS}
    speeds: dict[str, list[float]] = {name: [] for name in LOADERS}
    starts: dict[str, list[float]] = {name: [] for name in LOADERS}
    for number in track(range(rounds + 1), f"{size} px, rounds"):
        for name, loader in served.items():
            seconds, delivered = loader.ask("epoch")
            if delivered != images:
                sys.exit(f"{name} delivered {delivered} of {images} images")
            if number:  # the first warms up
                speeds[name].append(images / seconds)
    for loader in served.values():
        loader.close()
    for _ in track(range(rounds), f"{size} px, start-up"):
        for name in LOADERS:
            loader = Served(name, folder, size)
            starts[name].append(loader.ask("first")[0])
            loader.close()
    return speeds, starts


def show(size: int, images: int, speeds: dict, starts: dict) -> None:
    """Print the table of one size."""
    kind, _, batch = SIZES[size]
    table = Table(title=f"{size} px {kind}, {images} images per epoch, batch {batch}, 2 workers")
    for column in ("loader", "images/s", "range", "× ours", "start-up, s", "range"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    base = statistics.median(speeds[OURS])
    for name, values in speeds.items():
        speed = statistics.median(values)
        table.add_row(
            TITLES[name],
            f"{speed:.0f}",
            f"{min(values):.0f} to {max(values):.0f}",
            f"{speed / base:.2f}",
            f"{statistics.median(starts[name]):.2f}",
            f"{min(starts[name]):.2f} to {max(starts[name]):.2f}",
        )
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, nargs=2, default=[16000, 4000], help="32 px, 224 px")
    arguments = parser.parse_args()
    for size, drawn in zip(SIZES, arguments.images, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder), size, drawn)
            images = len(Split(Path(folder) / "shards" / "manifest.json", "train"))
            show(size, images, *measure(Path(folder), size, images, arguments.rounds))
    pins = [line for line in (HERE / "peers.txt").read_text().split() if "==" in line]
    print(f"{platform.machine()}, {arguments.rounds} rounds; {', '.join(pins)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        from peers import serve

        serve(
            lambda: read_ours(Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])),
            lambda batch: len(batch.rows),
        )
    else:
        main()
