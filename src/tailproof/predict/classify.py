"""Images in, calibrated probabilities and decisions out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailproof.predict.expert import Expert
from tailproof.predict.image_files import Image, read_images
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError

BATCH_SIZE = 64


class Answer(NamedTuple):
    """What an expert says of one image.

    Attributes:
        file: the image.
        classes: the class of each rank, the target's first, which is the rule's choice; the most
            probable one of the others.
        probability: of the target's class.
        accepted: whether the rule answers.
        probabilities: [C] of each rank, the target's first.
    """

    file: Path
    classes: dict[str, str]
    probability: float
    accepted: bool
    probabilities: dict[str, np.ndarray]


@dataclass
class Batch:
    """Answers of some images, and what is wrong with those that could not be read."""

    answers: list[Answer]
    broken: list[TailproofError]


def predict(expert: Expert, rejector: Rejector, files: list[Path]) -> Iterator[Batch]:
    """Yield the answers to all images in their order, batch by batch.

    Raises:
        TailproofError: the expert gives logits that are not finite.
    """
    images = read_images(files, expert, ahead=2 * BATCH_SIZE)
    while batch := list(islice(images, BATCH_SIZE)):
        broken = [image for _, image in batch if isinstance(image, TailproofError)]
        read = [each for each in batch if not isinstance(each[1], TailproofError)]
        yield Batch(_answers(expert, rejector, read) if read else [], broken)


def _answers(expert: Expert, rejector: Rejector, batch: Iterable[Image]) -> list[Answer]:
    files, images = zip(*batch, strict=True)
    log_p = expert.log_probabilities(np.stack(images))
    chosen, accepted = rejector(log_p[expert.target])
    predicted = {rank: own.argmax(axis=1) for rank, own in log_p.items()} | {expert.target: chosen}
    p = {rank: np.exp(own) for rank, own in log_p.items()}
    return [
        Answer(
            file,
            {rank: expert.classes[rank][own[row]] for rank, own in predicted.items()},
            float(p[expert.target][row, chosen[row]]),
            bool(accepted[row]),
            {rank: own[row] for rank, own in p.items()},
        )
        for row, file in enumerate(files)
    ]
