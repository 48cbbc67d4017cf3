"""Classifies images with calibrated probabilities and a decision to accept or reject."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailproof.predict.expert import Expert
from tailproof.predict.image_files import Image, read_images
from tailproof.predict.promises import RiskRejector, RollUpColumns, SetColumns
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError

BATCH_SIZE = 64
Decision = Rejector | RiskRejector
Context = Callable[[Sequence[Path], np.ndarray], np.ndarray]
"""Changes the target's log-probabilities [N, C] of images by their context."""

Promises = Sequence[SetColumns | RollUpColumns]

MOST_VALUES = 2**28
"""Largest number of values in a batch, 1 GiB; images of more than 2,048 × 2,048 make less of it."""


class Answer(NamedTuple):
    """The prediction for one image.

    Attributes:
        file: the image file, or the name of a group of images.
        classes: the predicted class of each rank, the target's first. The rule chooses the class of
            the target; at the other ranks it is the most probable one.
        probability: probability of the target's class.
        accepted: whether the rule accepts the prediction.
        probabilities: [C] of each rank, the target's first.
        images: the number of images that the answer is for.
        promises: the cells of the columns of promises.
    """

    file: Path | str
    classes: dict[str, str]
    probability: float
    accepted: bool
    probabilities: dict[str, np.ndarray]
    images: int = 1
    promises: tuple[str, ...] = ()


@dataclass
class Batch:
    """The predictions for a batch of images, and the errors of images that could not be read."""

    answers: list[Answer]
    broken: list[TailproofError]


def batch_size(expert: Expert) -> int:
    """Return the number of images in a batch."""
    return max(1, min(BATCH_SIZE, MOST_VALUES // prod(expert.shape)))


def read_batches(
    expert: Expert, files: list[Path]
) -> Iterator[tuple[list[Image], list[TailproofError]]]:
    """Yield the readable images of each batch with their files, and the errors of the others."""
    size = batch_size(expert)
    images = read_images(files, expert, ahead=2 * size)
    while batch := list(islice(images, size)):
        broken = [image for _, image in batch if isinstance(image, TailproofError)]
        yield [pair for pair in batch if not isinstance(pair[1], TailproofError)], broken


def predict(
    expert: Expert,
    rejector: Decision,
    files: list[Path],
    promises: Promises = (),
    context: Context | None = None,
) -> Iterator[Batch]:
    """Yield the predictions for all images in order, batch by batch.

    Args:
        expert: the expert.
        rejector: what accepts an answer.
        files: the image files.
        promises: what makes the columns of promises.
        context: what changes probabilities by the context of the images.

    Raises:
        TailproofError: a logit is not finite.
    """
    for readable, broken in read_batches(expert, files):
        answers = _answers(expert, rejector, readable, promises, context) if readable else []
        yield Batch(answers, broken)


def _answers(
    expert: Expert,
    rejector: Decision,
    batch: Iterable[Image],
    promises: Promises,
    context: Context | None,
) -> list[Answer]:
    files, images = zip(*batch, strict=True)
    log_p = expert.log_probabilities(np.stack(images))
    if context is not None:
        log_p[expert.target] = context(files, log_p[expert.target])
    return answers_of(expert, rejector, files, log_p, promises)


def answers_of(
    expert: Expert,
    rejector: Decision,
    names: Sequence[Path | str],
    log_p: dict[str, np.ndarray],
    promises: Promises = (),
) -> list[Answer]:
    """Return the answers for N images, or groups of images.

    Args:
        expert: the expert.
        rejector: what accepts an answer.
        names: N files or groups.
        log_p: log-probabilities [N, C] of each rank, the target's first.
        promises: what makes the columns of promises.
    """
    chosen, accepted = rejector(log_p[expert.target])
    predicted = {rank: values.argmax(axis=1) for rank, values in log_p.items()}
    predicted[expert.target] = chosen
    p = {rank: np.exp(values) for rank, values in log_p.items()}
    columns = [make(log_p[expert.target]) for make in promises]
    return [
        Answer(
            file,
            {rank: expert.classes[rank][index[row]] for rank, index in predicted.items()},
            float(p[expert.target][row, chosen[row]]),
            bool(accepted[row]),
            {rank: values[row] for rank, values in p.items()},
            promises=tuple(cell for cells in columns for cell in cells[row]),
        )
        for row, file in enumerate(names)
    ]
