"""Tries the transforms of a recipe on an image before training, one after the other."""

import warnings
from collections.abc import Iterator

import numpy as np

from tailproof.config.augmentation import Augmentation
from tailproof.config.transforms import Transform
from tailproof.loading.resizing import shorten
from tailproof.loading.transforms import (
    Pipeline,
    TransformError,
    build_pipeline,
    parameters_of,
)

DRAWS = 16  # of images that must keep their size
NOISE_DRAWS = 8  # of noise, in which a transform should change something
IN_TURN = ("Compose", "RandomApply", "Sequential")  # other containers choose some transforms
MAY_IDLE = ("Crop", "Identity", "NoOp", "Pad", "PadIfNeeded")  # leave some images as they are


class TransformTrial:
    """What is wrong with the transforms of a recipe, all of it, and what they do to the size.

    Args:
        policy: augmentation of training images.
        size: side of the training images in pixels; None means their original size.
        image: an image of the split train, [H, W, C].

    Attributes:
        problems: one sentence for each problem.
        image: the image after all transforms.
        resized: whether a transform has changed the size of the image.
        constant: names of the transforms that change every image in the same way.
    """

    def __init__(self, policy: Augmentation, size: int | None, image: np.ndarray) -> None:
        self._size = size
        self.problems: list[str] = []
        self.constant: list[str] = []
        self.image, self.resized = shorten(image) if size else image, False
        for transform in (*policy.albumentations, *policy.torchvision):
            before = len(self.problems)
            self.image = self._try(transform, self.image)
            if len(self.problems) == before and _is_constant(transform, size, image):
                self.constant.append(transform.name)

    def _try(self, transform: Transform, image: np.ndarray) -> np.ndarray:
        """Apply a transform; return the image after it, or the same image if it has a problem."""
        before, inside = len(self.problems), image
        for inner in transform.inner:
            after = self._try(inner, inside)
            inside = after if transform.name in IN_TURN else image
        if len(self.problems) > before:
            return image
        place = f"recipe.augmentation.{transform.library.name}: {transform.name}"
        try:
            with warnings.catch_warnings():
                # The library warns of what it leaves out, such as a change of colour on grey.
                warnings.simplefilter("error", UserWarning)
                build_pipeline([transform], self._size, pictures=image.dtype == np.uint8)
                pipeline = _always(transform, self._size, image)
                augmented = [pipeline(image.copy(), draw) for draw in range(self._draws)]
                again = pipeline(image.copy(), 0)
                problem = self._problem(image, augmented, again) or _idle(
                    transform, pipeline, image
                )
        except TransformError as error:
            self.problems.append(error.args[0])
            return image
        if problem:
            self.problems.append(f"{place} {problem}")
            return image
        self.resized |= augmented[0].shape != image.shape
        return augmented[0]

    @property
    def _draws(self) -> int:
        return 1 if self._size else DRAWS

    def _problem(
        self, image: np.ndarray, augmented: list[np.ndarray], again: np.ndarray
    ) -> str | None:
        if not np.array_equal(augmented[0], again):
            return (
                "returns different pixels for the same seed, so that no run could be repeated: "
                "remove it"
            )
        sizes = [pixels.shape[:2] for pixels in augmented if pixels.shape != image.shape]
        if sizes and self._size is None:
            (height, width, _), (new_height, new_width) = image.shape, sizes[0]
            return (
                f"changes the size of images from {height}×{width} to {new_height}×{new_width} "
                "pixels, and evaluation does not: set recipe.image_size, to which both are "
                "resized, or remove it"
            )
        return None


def _always(transform: Transform, size: int | None, image: np.ndarray) -> Pipeline:
    """Build a pipeline that applies the transform to every image."""
    if not transform.inner and "p" in parameters_of(transform.library, transform.name):
        certain = {**transform.options, "p": 1.0}
        transform = transform.model_copy(update={"options": certain})
    return build_pipeline([transform], size, pictures=image.dtype == np.uint8)


def _idle(transform: Transform, pipeline: Pipeline, image: np.ndarray) -> str | None:
    """Return whether a transform never changes a picture, such as a change of hue in a grey one."""
    if image.dtype != np.uint8 or transform.name in MAY_IDLE or transform.inner:
        return None
    try:
        changed = any(
            not np.array_equal(pipeline(noise.copy(), draw), noise)
            for draw, noise in enumerate(_noise(image.shape[2]))
        )
    except TransformError:  # it needs larger images
        return None
    if changed:
        return None
    pictures = "grey pictures" if image.shape[2] == 1 else "pictures"
    options = f"with {transform.options} " if transform.options else ""
    return f"{options}changes nothing in {pictures}: change its options or remove it"


def _is_constant(transform: Transform, size: int | None, image: np.ndarray) -> bool:
    """Return whether a transform changes the values of every picture, and always in one way."""
    if image.dtype != np.uint8:
        return False
    pipeline = build_pipeline([transform], size, pictures=True)
    noise = next(_noise(image.shape[2]))
    try:
        first, *others = (pipeline(noise.copy(), draw) for draw in range(NOISE_DRAWS))
    except TransformError:  # it needs larger images
        return False
    changed = first.shape == noise.shape and not np.array_equal(first, noise)
    return changed and all(np.array_equal(first, other) for other in others)


def _noise(channels: int) -> Iterator[np.ndarray]:
    """Yield pictures on which every transform should have an effect, of an uncommon size."""
    generator = np.random.default_rng(0)
    for draw in range(NOISE_DRAWS):
        low, high = (64, 192) if draw % 2 else (0, 256)
        yield generator.integers(low, high, (61, 83, channels), dtype=np.uint8)
