"""Transforms of albumentations and torchvision on single images, seeded by (seed, epoch, row)."""

import inspect
import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from tailproof.config.augmentation import Augmentation
from tailproof.config.transforms import ALBUMENTATIONS, TORCHVISION, Library, Transform
from tailproof.loading.resizing import shorten
from tailproof.loading.sampler import random_bits
from tailproof.runtime.errors import Interrupted, suggestion
from tailproof.text import quantity

Pipeline = Callable[[np.ndarray, int], np.ndarray]
"""Returns the augmented image [H', W', C] of an image [H, W, C] and a seed of 32 bits."""

SHOWN = 200  # characters of a library's own message

# Of albumentations: it says what else exists, not that something is wrong.
ADVICE = r".*(is a special|is an alias for|is very slow)"

MOVES_PIXELS = """
CenterCrop Compose ElasticTransform Identity Pad RandomAffine RandomApply RandomChoice RandomCrop
RandomErasing RandomHorizontalFlip RandomOrder RandomPerspective RandomResize RandomResizedCrop
RandomRotation RandomShortestSize RandomVerticalFlip RandomZoomOut Resize ScaleJitter
"""  # transforms of torchvision that neither scale nor clip pixels


class TransformError(Exception):
    """A transform does not accept its options or does not fit an image.

    Its argument is a sentence that the preflight stores. It is therefore written before the error
    is raised, where it is part of the code digest.
    """


class ImageAugment:
    """The transforms of a recipe, seeded for each image by (seed, epoch, row).

    Args:
        policy: augmentation of training images.
        seed: seed of the run.
        size: side of the output images in pixels, for transforms that need a size and have none;
            None means the original size.
        pictures: whether pixels have 8 bits. For other pixels only transforms that move pixels
            are allowed, because the others clip their values to [0, 1].

    Raises:
        TransformError: an option is unknown, or a transform does not fit the pixels.
    """

    def __init__(
        self, policy: Augmentation, seed: int, size: int | None = None, *, pictures: bool = True
    ) -> None:
        self.seed, self._size = seed, size
        self._pipelines = [
            build_pipeline(transforms, size, pictures=pictures)
            for transforms in (policy.albumentations, policy.torchvision)
            if transforms
        ]

    def __call__(self, image: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """Return the augmented image, [H', W', C].

        Raises:
            TransformError: a transform fails, or changes the type or the channels of the image.
        """
        image = shorten(image) if self._size else image
        bits = random_bits(self.seed, epoch, np.array([row]), len(self._pipelines))[0]
        for pipeline, drawn in zip(self._pipelines, bits, strict=True):
            image = pipeline(image, int(drawn >> np.uint64(32)))
        return image


def import_library(library: Library) -> ModuleType:
    """Import the module of a library that holds its transforms; it takes seconds."""
    if library is ALBUMENTATIONS:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations

        return albumentations
    import tailproof.torchvision_stub  # noqa: F401 - before torchvision

    # isort: split
    from torchvision.transforms import v2

    return v2


def parameters_of(library: Library, name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters that the class of a transform takes."""
    kind = getattr(import_library(library), name)
    parameters = inspect.signature(kind.__init__).parameters
    return {name: parameters[name] for name in list(parameters)[1:]}


def build_pipeline(
    transforms: Sequence[Transform], size: int | None, *, pictures: bool
) -> Pipeline:
    """Build the transforms, which are all of one library.

    Raises:
        TransformError: an option is unknown, or a transform does not fit the pixels.
    """
    kind = _Albumentations if transforms[0].library is ALBUMENTATIONS else _Torchvision
    return kind(list(transforms), size, pictures=pictures)


class _Albumentations:
    def __init__(self, transforms: list[Transform], size: int | None, *, pictures: bool) -> None:
        self._transforms = transforms
        albumentations = import_library(ALBUMENTATIONS)
        built = [_build_transform(albumentations, transform, size) for transform in transforms]
        if not pictures:
            _check_bands(ALBUMENTATIONS, _changing_values(albumentations, transforms))
        self._compose = albumentations.Compose(built)

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        self._compose.set_random_seed(seed)
        with _failures(self._transforms, image):
            augmented = self._compose(image=image)["image"]
            return _checked(augmented, image)


def _changing_values(albumentations: ModuleType, transforms: list[Transform]) -> Iterator[str]:
    for transform in transforms:
        yield from _changing_values(albumentations, transform.inner)
        if issubclass(getattr(albumentations, transform.name), albumentations.ImageOnlyTransform):
            yield transform.name


class _Torchvision:
    def __init__(self, transforms: list[Transform], size: int | None, *, pictures: bool) -> None:
        self._transforms = transforms
        v2 = import_library(TORCHVISION)
        built = [_build_transform(v2, transform, size) for transform in transforms]
        if not pictures:
            names = [name for transform in transforms for name in _names(transform)]
            _check_bands(TORCHVISION, (name for name in names if name not in MOVES_PIXELS.split()))
        self._compose = v2.Compose(built)

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        # A copy, because some transforms change an image in place, which may be kept in memory.
        picture = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
        with _failures(self._transforms, image), torch.random.fork_rng(devices=[]), _one_thread():
            torch.default_generator.manual_seed(seed)
            augmented = self._compose(picture)
            if isinstance(augmented, torch.Tensor) and augmented.ndim == 3:
                augmented = np.ascontiguousarray(augmented.permute(1, 2, 0).numpy())
            return _checked(augmented, image)


def _names(transform: Transform) -> Iterator[str]:
    yield transform.name
    for inner in transform.inner:
        yield from _names(inner)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as loader workers do, which have one thread: the last bits may depend on it."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _build_transform(module: ModuleType, transform: Transform, size: int | None) -> Any:
    """Build a transform with the transforms inside it.

    Raises:
        TransformError: it does not accept its options.
    """
    kind, parameters = (
        getattr(module, transform.name),
        parameters_of(transform.library, transform.name),
    )
    options = dict(transform.options)
    place = f"recipe.augmentation.{transform.library.name}: {transform.name}"
    for name in options:
        if name not in parameters:
            expected = f"expected some of {', '.join(parameters)}" if parameters else "it has none"
            sentence = f"{place} has no option '{name}'{suggestion(name, parameters)}; {expected}"
            raise TransformError(sentence)
    for name in ("size", "height", "width") if size else ():
        if name in parameters and parameters[name].default is inspect.Parameter.empty:
            options.setdefault(name, (size, size) if name == "size" else size)
    if transform.inner:
        options["transforms"] = [_build_transform(module, inner, size) for inner in transform.inner]
    try:
        for name, value in options.items():
            if isinstance(parameters[name].default, Enum) and isinstance(value, str):
                options[name] = type(parameters[name].default)(value)
        with warnings.catch_warnings():
            # albumentations warns of an option that it cannot use, and uses its default instead.
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", ADVICE, UserWarning)
            return kind(**options)
    except (Interrupted, TransformError):
        raise
    except Exception as error:  # whatever a library raises
        sentence = (
            f"{place} does not accept {transform.options} ({_reason(error)}): correct the options"
        )
        raise TransformError(sentence) from error


@contextmanager
def _failures(transforms: list[Transform], image: np.ndarray) -> Iterator[None]:
    """Turn what one of the transforms raises into a sentence with its name."""
    try:
        yield
    except (Interrupted, TransformError):
        raise
    except Exception as error:  # whatever a library raises
        library = transforms[0].library
        names = [name for transform in transforms for name in _names(transform)]
        owners = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
        raised = [type(owner).__name__ for owner in owners]
        last = next((name for name in reversed(raised) if name in names), " or ".join(names))
        height, width, channels = image.shape
        change = "change its options"
        if last in names and "pad_if_needed" in parameters_of(library, last):
            change = "lower its size, set 'pad_if_needed: true'"
        sentence = (
            f"recipe.augmentation.{library.name}: {last} fails on an image of {height}×{width} "
            f"pixels and {quantity(channels, 'channel')} ({_reason(error)}): {change} or remove it"
        )
        raise TransformError(sentence) from error


def _checked(augmented: Any, image: np.ndarray) -> np.ndarray:
    """Return an augmented image if it has the type and the channels of the image before.

    Raises:
        TypeError: it has not.
    """
    problem = ""
    if not isinstance(augmented, np.ndarray) or augmented.ndim != 3:
        problem = f"it returns {type(augmented).__name__}, expected an image"
    elif augmented.dtype != image.dtype:
        problem = f"it returns pixels of type {augmented.dtype}, expected {image.dtype}"
    elif augmented.shape[2] != image.shape[2]:
        problem = f"it returns {augmented.shape[2]} channels, expected {image.shape[2]}"
    if problem:
        raise TypeError(problem)
    return augmented


def _check_bands(library: Library, names: Iterator[str]) -> None:
    for name in names:
        sentence = (
            f"recipe.augmentation.{library.name}: {name} would clip arrays of bands to [0, 1], "
            "expected transforms that only move pixels: remove it, or use 'noise' and "
            "'line_dropout'"
        )
        raise TransformError(sentence)


def _reason(error: Exception) -> str:
    """Return the message of a library in one line."""
    if isinstance(error.__cause__, ValidationError):
        texts = [
            ": ".join([*map(str, problem["loc"][:1]), problem["msg"].removeprefix("Value error, ")])
            for problem in error.__cause__.errors()
        ]
        text = "; ".join(dict.fromkeys(texts))
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
