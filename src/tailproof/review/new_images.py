"""New images of a folder, as the experts of an experiment answer them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tailproof.data.heic import without_heic
from tailproof.data.image_files import find_images
from tailproof.data.sources.folders.filesystem import read_file
from tailproof.data.thumbnails import Picture, picture
from tailproof.output import report
from tailproof.predict.classify import batch_size
from tailproof.predict.expert import open_expert
from tailproof.predict.image_inputs import GivenImage
from tailproof.predict.option_rules import Options
from tailproof.review.answers import RULE, Vote, collect_answers
from tailproof.review.queue import Images
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable


def read_new_images(folder: Path, voters: dict[str, Path], classes: list[str]) -> Images:
    """Return the images of a folder with the answers of the experts; report unreadable ones.

    Args:
        folder: the folder.
        voters: the folder of an expert by name.
        classes: the classes of the experiment.

    Raises:
        TailproofError: the folder has no image, or an expert cannot be opened or is of others.
    """
    votes = {name: dict(_votes(folder, name, place, classes)) for name, place in voters.items()}
    readable = set.intersection(*(set(of_voter) for of_voter in votes.values()))
    if not readable:
        raise TailproofError(f"{folder} has no image that can be read: see the messages above")
    files = sorted(readable)

    def stacked(name: str) -> Vote:
        p, accepted = zip(*(votes[name][file] for file in files), strict=True)
        return Vote(np.stack(p), np.array(accepted))

    answers = collect_answers((name, [stacked(name)]) for name in voters)
    names = np.array([file.relative_to(folder).as_posix() for file in files], object)
    return Images(names, "", np.full(len(files), -1), answers, {})


def _votes(
    folder: Path, name: str, place: Path, classes: list[str]
) -> Iterator[tuple[Path, tuple[np.ndarray, bool]]]:
    """Yield each readable file with the probabilities of an expert and whether it accepts."""
    expert = open_expert(place)
    if expert.classes != classes:
        raise TailproofError(f"{place} does not have the experiment's classes: run snakemake")
    found = find_images([folder], expert.loaded.deployment.images)
    files, broken = list(found.files), list(found.unreadable)
    answered = expert.classifier(Options(RULE), report).batches(
        [GivenImage(file, file) for file in files]
    )
    for batch in track(answered, name, -(-len(files) // batch_size(expert.loaded))):
        broken += batch.broken.values()
        if batch.answers is not None:
            p = batch.answers.probabilities[expert.target]
            answers = zip(p, batch.answers.accepted, strict=True)
            yield from zip([files[row] for row in batch.rows], answers, strict=True)
    if broken:
        shown = listed([printable(str(error)) for error in broken], 3)
        report(f"{name}: {quantity(len(broken), 'image')} could not be read: {shown}")
    if found.skipped:
        report(f"{name}: {found.passed_over}")


def pictures_of(folder: Path, names: list[str]) -> dict[str, Picture]:
    """Return the picture of each image by its path below the folder."""
    return {name: picture(without_heic(read_file(folder / name))) for name in names}
