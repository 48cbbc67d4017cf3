"""The command `tailproof predict`."""

import sys
import time
from collections.abc import Iterator

from tailproof.core.errors import TailproofError
from tailproof.core.process import keep_freed_memory
from tailproof.core.progress import track
from tailproof.core.words import quantity
from tailproof.prediction.expert import open_expert
from tailproof.prediction.images import find_images
from tailproof.prediction.output import print_table, printable, write_csv
from tailproof.prediction.predict import BATCH_SIZE, Answer, predict
from tailproof.prediction.rejector import Rejector


def predict_images(
    folder: str, places: list[str], *, as_csv: bool, rule: str, coverage: float | None
) -> bool:
    """Print an expert's answers to images; return whether all of them could be read.

    What is wrong with an image is told on stderr, with the time that it all took, without that of
    loading the expert.

    Args:
        folder: the expert's.
        places: image files and folders.
        as_csv: print all probabilities as CSV, else a table.
        rule: that says when the expert answers.
        coverage: the share of the split tune that it answers there; None is predict.json's.

    Raises:
        TailproofError: the folder, the rule or a place is wrong.
    """
    keep_freed_memory()
    expert = open_expert(folder)
    rejector = Rejector(expert.deployed, expert.classes[expert.target], rule, coverage)
    files = find_images(places, expert.deployed.images)
    broken: list[TailproofError] = []
    count = {True: 0, False: 0}

    def answers() -> Iterator[Answer]:
        batches = -(-len(files) // BATCH_SIZE)
        for batch in track(predict(expert, rejector, files), "predict", batches):
            broken.extend(batch.broken)
            for answer in batch.answers:
                count[answer.accepted] += 1
                yield answer

    ranks = {expert.target: expert.classes[expert.target], **expert.classes}
    start = time.perf_counter()
    (write_csv if as_csv else print_table)(ranks, answers())
    seconds = time.perf_counter() - start
    sys.stdout.flush()
    for error in broken:
        print(f"tailproof: {printable(str(error))}", file=sys.stderr)
    done = sum(count.values())
    print(
        f"{quantity(done, 'image')}, {count[False]} rejected by {rejector.name} at "
        f"coverage {rejector.coverage:g}; {seconds:.2f} s on {expert.device.type}, "
        f"{done / seconds:.0f} images/s",
        file=sys.stderr,
    )
    return not broken
