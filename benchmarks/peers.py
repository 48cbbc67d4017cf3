"""The peers of loader.py: each writes its own format from the same image files, and reads it.

Each as its documentation shows it, with the decoding and torchvision transforms that its users
have. Run by loader.py, in the environment of the peer: only what it needs is imported.
"""

import io
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader

# Lets torchvision be imported; kept, since that holds only while what it declares lives.
STUB = runpy.run_path(str(Path(__file__).parents[1] / "src" / "tailproof" / "torchvision_stub.py"))

from torchvision.datasets import ImageFolder  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
WORKERS = 2
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
SHARD_IMAGES = 500  # each worker of webdataset reads shards of its own: some for each


def transform(size: int) -> v2.Compose:
    """Crop with padding, flip and normalization of one PIL image."""
    return v2.Compose(
        [
            v2.RandomCrop(size, padding=size // 8),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def files(folder: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the encoded images and their labels, shuffled once, as every format advises."""
    paths = sorted((folder / "files").glob("*/*"), key=lambda path: path.stem)
    for path in paths:
        yield path.read_bytes(), int(path.parent.name)


def opened(encoded: bytes) -> Image.Image:
    """Decode as torchvision's ImageFolder does."""
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def write_files(folder: Path) -> None:
    """Nothing: it reads the files as they are."""


def read_files(folder: Path, size: int, batch: int) -> Iterable:
    """torchvision's ImageFolder in torch's DataLoader."""
    return DataLoader(
        ImageFolder(folder / "files", transform(size)),
        batch_size=batch,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def write_webdataset(folder: Path) -> None:
    """Write tar shards."""
    import webdataset

    (folder / "webdataset").mkdir()
    pattern = str(folder / "webdataset" / "%05d.tar")
    with webdataset.ShardWriter(pattern, maxcount=SHARD_IMAGES, verbose=0) as sink:
        for number, (encoded, label) in enumerate(files(folder)):
            sink.write({"__key__": f"{number:08d}", "jpg": encoded, "cls": label})


def read_webdataset(folder: Path, size: int, batch: int) -> Iterable:
    """The pipeline of its README: shards shuffled, then samples in a buffer of 1,000."""
    import webdataset

    shards = sorted(map(str, (folder / "webdataset").glob("*.tar")))
    dataset = (
        webdataset.WebDataset(shards, shardshuffle=100)
        .shuffle(1000)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(transform(size), lambda label: label)
        .batched(batch)
    )
    return webdataset.WebLoader(
        dataset, batch_size=None, num_workers=WORKERS, persistent_workers=True
    )


def write_litdata(folder: Path) -> None:
    """Write its chunks of 64 MB."""
    import litdata

    litdata.optimize(
        fn=_litdata_sample,
        inputs=list(files(folder)),
        output_dir=str(folder / "litdata"),
        chunk_bytes="64MB",
        num_workers=1,
    )


def _litdata_sample(sample: tuple[bytes, int]) -> dict[str, Any]:
    return {"image": sample[0], "label": sample[1]}


def read_litdata(folder: Path, size: int, batch: int) -> Iterable:
    """Its StreamingDataset in its StreamingDataLoader."""
    import litdata

    augment = transform(size)

    class Images(litdata.StreamingDataset):
        def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
            sample = super().__getitem__(index)
            return augment(opened(sample["image"])), sample["label"]

    return litdata.StreamingDataLoader(
        Images(str(folder / "litdata"), shuffle=True),
        batch_size=batch,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def write_streaming(folder: Path) -> None:
    """Write MDS shards."""
    from streaming import MDSWriter

    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(out=str(folder / "streaming"), columns=columns) as sink:
        for encoded, label in files(folder):
            sink.write({"image": encoded, "label": label})


def read_streaming(folder: Path, size: int, batch: int) -> Iterable:
    """Its StreamingDataset in torch's DataLoader."""
    from streaming import StreamingDataset

    augment = transform(size)

    class Images(StreamingDataset):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            sample = super().__getitem__(index)
            return augment(opened(sample["image"])), sample["label"]

    return DataLoader(
        Images(local=str(folder / "streaming"), shuffle=True, batch_size=batch),
        batch_size=batch,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def write_datasets(folder: Path) -> None:
    """Write parquet, and let it convert that to its own cache as a first use does."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"image": [], "label": []}
    for encoded, label in files(folder):
        rows["image"].append({"bytes": encoded, "path": None})
        rows["label"].append(label)
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "datasets.parquet")
    _open_datasets(folder)


def _open_datasets(folder: Path) -> Any:
    import datasets

    return datasets.load_dataset(
        "parquet",
        data_files=str(folder / "datasets.parquet"),
        split="train",
        cache_dir=str(folder / "datasets"),
    )


def read_datasets(folder: Path, size: int, batch: int) -> Iterable:
    """Map-style, with `set_transform`, in torch's DataLoader: twice as fast as streaming."""
    augment = transform(size)

    def augmented(rows: dict[str, list]) -> dict[str, list]:
        images = [augment(image.convert("RGB")) for image in rows["image"]]
        return {"image": images, "label": rows["label"]}

    dataset = _open_datasets(folder)
    dataset.set_transform(augmented)
    return DataLoader(
        dataset,
        batch_size=batch,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def serve(read: Callable[[], Iterable], count: Callable[[Any], int]) -> None:
    """Answer each line of standard input with the seconds that it took and the images delivered.

    ``first``: from before the loader is made until its first batch is there. ``epoch``: one epoch.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes elsewhere
    loader = None
    for line in sys.stdin:
        start = time.perf_counter()
        loader = loader or read()
        images = 0
        for batch in loader:
            images += count(batch)
            if line.strip() == "first":
                break
        print(time.perf_counter() - start, images, file=answers, flush=True)
        if line.strip() == "first":
            os._exit(0)  # the workers are still busy; nobody waits for them


def count_images(batch: Any) -> int:
    """Return the images of a peer's batch."""
    images = batch["image"] if isinstance(batch, dict) else batch[0]
    assert images.dtype == torch.float32
    return len(images)


if __name__ == "__main__":
    action, peer, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if action == "write":
        globals()[f"write_{peer}"](folder)
    else:
        size, batch = int(sys.argv[4]), int(sys.argv[5])
        serve(lambda: globals()[f"read_{peer}"](folder, size, batch), count_images)
