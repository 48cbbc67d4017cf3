"""Translates the data arguments of a training command."""

from collections.abc import Iterator
from pathlib import Path

from tailproof.from_timm.command import Command
from tailproof.from_timm.keys import Key
from tailproof.from_timm.rules import Setting
from tailproof.runtime.errors import TailproofError

# Folder names that timm treats as equal.
_SYNONYMS = (("train", "training"), ("val", "valid", "validation", "eval", "evaluation"))

_FOLDERS = ("", "torch/folder", "torch/image_folder")
_CIFAR = ("torch/cifar10", "torch/cifar100")
_IDX = {"torch/mnist": "MNIST/raw", "torch/fashion_mnist": "FashionMNIST/raw"}  # torchvision's


def data_settings(timm: Command) -> Iterator[Setting]:
    """Yield the settings of the data; the default folder is one below raw/.

    Raises:
        TailproofError: the command gives two data folders.
    """
    if None not in (timm["DIR"], timm["--data-dir"]) and timm["DIR"] != timm["--data-dir"]:
        raise TailproofError(
            f"the command gives two data folders, {timm['DIR']} and {timm['--data-dir']}: keep one"
        )
    family, slash, name = timm["--dataset"].partition("/")
    dataset = timm["--dataset"].lower() if slash else ""
    folder = timm["--data-dir"] or timm["DIR"]
    root = Path("raw") / (Path(name).name or "images")
    if folder:
        root = Path.home() / folder[2:] if folder.startswith("~/") else Path(folder)
        root /= _IDX.get(dataset, "")
    yield Setting(Key.ROOT, str(root), ("DIR", "--data-dir"))
    source = ("--dataset",)
    if dataset in _FOLDERS:
        yield Setting(Key.SOURCE, "image_folder", source)
        yield from _folders(timm, root)
    elif dataset in _CIFAR or dataset in _IDX:
        if dataset in _CIFAR:
            yield Setting(Key.SOURCE, name.lower(), source)
        else:
            yield Setting(Key.SOURCE, "idx")
            yield Setting(Key.DATASET, name.lower(), source)
        if timm["--dataset-download"] and dataset != "torch/mnist":
            yield Setting(Key.DOWNLOAD, True, ("--dataset-download",))
    elif family.lower() in ("hfds", "hfids"):
        yield Setting(Key.SOURCE, "parquet", source)
        for key, argument in ((Key.TRAIN, "--train-split"), (Key.TEST, "--val-split")):
            split = timm[argument].partition("[")[0]
            yield Setting(key, f"data/{split}-*.parquet", (argument,))
        yield Setting(Key.IMAGE_COLUMN, timm["--input-key"] or "image", ("--input-key",))
        yield Setting(Key.RANKS, [timm["--target-key"] or "label"], ("--target-key",))
    else:
        yield Setting(Key.SOURCE, "image_folder")


def _folders(timm: Command, root: Path) -> Iterator[Setting]:
    train = _split_folder(root, timm["--train-split"])
    test = _split_folder(root, timm["--val-split"])
    if train is not None:
        yield Setting(Key.TRAIN, train, ("--train-split",))
        if test not in (None, train):
            yield Setting(Key.TEST, test, ("--val-split",))


def _split_folder(root: Path, split: str) -> str | None:
    """Return the folder of a split below root as timm finds it; unchecked if root is missing."""
    name = split.partition("[")[0]
    if not root.is_dir():
        return name or None
    others = next((names for names in _SYNONYMS if name in names), ())
    return next((folder for folder in (name, *others) if folder and (root / folder).is_dir()), None)
