"""The command `tailproof predict`."""

import csv
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tailproof.predict.classify import BATCH_SIZE, Answer, predict
from tailproof.predict.expert import open_expert
from tailproof.predict.image_files import find_images
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import tune_malloc
from tailproof.runtime.progress import track
from tailproof.text import quantity


def predict_images(
    folder: str, places: list[str], *, as_csv: bool, rule: str, coverage: float | None
) -> bool:
    """Print an expert's predictions for images; return whether all images could be read.

    Errors of images go to stderr, followed by the duration without the loading of the expert.

    Args:
        folder: folder of the expert.
        places: image files and folders.
        as_csv: whether to print CSV with all probabilities instead of a table.
        rule: name of the rule that accepts or rejects predictions.
        coverage: accepted fraction on the split tune; None for the default in deployment.json.

    Raises:
        TailproofError: the folder is not an expert, or the rule or an image path does not exist.
    """
    tune_malloc()
    expert = open_expert(folder)
    rejector = Rejector(expert.deployment, expert.classes[expert.target], rule, coverage)
    files = find_images(places, expert.deployment.images)
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


WORDS = {True: "accept", False: "reject"}
PIPED = 10_000  # width of a table that is written to a file, so that nothing is cut off


def write_csv(ranks: dict[str, list[str]], answers: Iterable[Answer]) -> None:
    """Write one CSV row per image to stdout, with all probabilities as columns ``RANK=CLASS``.

    Args:
        ranks: class names by rank, the target's first.
        answers: the predictions.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    target, *others = ranks
    columns = [f"{rank}={name}" for rank, names in ranks.items() for name in names]
    writer.writerow(["file", target, "probability", "decision", *others, *columns])
    for answer in answers:
        chosen, *above = answer.classes.values()
        values = [value for row in answer.probabilities.values() for value in row]
        numbers = [f"{value:.7g}" for value in (answer.probability, *values)]
        decision = [printable(answer.file), chosen, numbers[0], WORDS[answer.accepted]]
        writer.writerow([*decision, *above, *numbers[1:]])


def print_table(ranks: dict[str, list[str]], answers: Iterable[Answer]) -> None:
    """Print a table with one row per image: its class at each rank, probability and decision."""
    target, *others = ranks
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column(escape(target), overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    for rank in others:
        table.add_column(escape(rank), overflow="fold")
    for answer in answers:
        chosen, *above = map(escape, answer.classes.values())
        shown = [escape(printable(answer.file)), chosen, f"{answer.probability:.4f}"]
        style = "" if answer.accepted else "yellow"
        table.add_row(*shown, WORDS[answer.accepted], *above, style=style)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else PIPED).print(table)


def printable(text: str | Path) -> str:
    """Return printable text, even for a file name that is not valid UTF-8."""
    return str(text).encode(errors="replace").decode()
