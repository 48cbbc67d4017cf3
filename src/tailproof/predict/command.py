"""The command `tailproof predict`."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tailproof.data.image_files import find_images
from tailproof.output import report
from tailproof.predict.classify import Answer, Decision, Promises, batch_size, predict
from tailproof.predict.expert import Expert, open_expert
from tailproof.predict.groups import groups_of, predict_groups
from tailproof.predict.priors import with_priors
from tailproof.predict.promises import RiskRejector, RollUpColumns, SetColumns, open_guarantees
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import tune_malloc
from tailproof.runtime.progress import track
from tailproof.terminal import Console, escape
from tailproof.text import listed, quantity
from tailproof.untrusted_text import csv_line, printable


class Promised(NamedTuple):
    """What the answers should promise; None for nothing.

    Attributes:
        set_coverage: how often a set holds the true class.
        score: the procedure of the sets; None for `SCORE`.
        risk: the largest share of wrong answers among the accepted ones.
        by_group: whether the risk holds in every group of classes.
        precision: the smallest share of right answers at the rank that is answered.
    """

    set_coverage: float | None = None
    score: str | None = None
    risk: float | None = None
    by_group: bool = False
    precision: float | None = None

    @property
    def levels(self) -> tuple[float | None, ...]:
        """The level of each promise."""
        return self.set_coverage, self.risk, self.precision


NOTHING = Promised()
CHOW, SCORE = "chow", "pas"


def predict_images(
    folder: str,
    places: list[str],
    *,
    as_csv: bool,
    rule: str,
    coverage: float | None,
    group: str | None = None,
    table: str | None = None,
    classes: str | None = None,
    prior: str | None = None,
    adapt: bool = False,
    promised: Promised = NOTHING,
) -> bool:
    """Print an expert's predictions for images; return whether all images could be read.

    Errors of images go to stderr, followed by what was passed over in folders, and by the duration
    without the loading of the expert.

    Args:
        folder: folder of the expert.
        places: image files and folders.
        as_csv: whether to print CSV with all probabilities instead of a table.
        rule: name of the rule that accepts or rejects predictions.
        coverage: accepted fraction on the split tune; None for the default in deployment.json.
        group: what makes images one thing with one answer: folder, or a column of the table.
        table: path of a table with the columns file and `group`.
        classes: path of a text file with the allowed classes.
        prior: path of a table with the number of samples of each class.
        adapt: whether to estimate the class shares of the images.
        promised: what the answers should promise.

    Raises:
        TailproofError: the folder is not an expert, or the rule or an image path does not exist,
            or the table does not list an image, or a promise cannot be made.
    """
    tune_malloc()
    expert = open_expert(folder)
    changes = {"--group": group, "--classes": classes, "--prior": prior, "--adapt": adapt or None}
    changed = [name for name in changes if changes[name] is not None]
    _check_promised(promised, rule, coverage, changed)
    if adapt and group is not None:
        raise TailproofError(
            "--adapt estimates how frequent classes are among images, not among groups: leave out "
            "--adapt or --group, or name the number of groups of each class with --prior"
        )
    rejector, promises = _decisions(folder, expert, rule, coverage, promised)
    found = find_images(places, expert.deployment.images)
    files, broken = list(found.files), found.unreadable
    count, images = {True: 0, False: 0}, [0]

    if classes is not None or prior is not None or adapt:
        expert = with_priors(expert, files, classes, prior, adapt=adapt)
    if group is None:
        if table is not None:
            raise TailproofError("--table is for --group: name its column of groups with --group")
        predicted = predict(expert, rejector, files, promises)
    else:
        predicted = predict_groups(expert, rejector, files, groups_of(files, group, table))

    def answers() -> Iterator[Answer]:
        batches = -(-len(files) // batch_size(expert))
        for batch in track(predicted, "predict", batches):
            broken.extend(batch.broken)
            for answer in batch.answers:
                count[answer.accepted] += 1
                images[0] += answer.images
                yield answer

    ranks = {expert.target: expert.classes[expert.target], **expert.classes}
    names = [name for column in promises for name in column.names]
    start = time.perf_counter()
    write = write_csv if as_csv else print_table
    write(ranks, answers(), names, grouped=group is not None)
    seconds = time.perf_counter() - start
    sys.stdout.flush()
    for error in broken:
        report(printable(error))
    if found.skipped:
        counts = [f"{printable(item.reason)} ({item.count:,})" for item in found.skipped]
        report(f"passed over in folders: {listed(counts)}")
    done = images[0]
    answered = quantity(done, "image")
    if group is not None:
        answered += f" in {quantity(sum(count.values()), 'group')}"
    unread = f"; {len(broken):,} could not be read" if broken else ""
    without = f", fitted without {listed(changed)}" if changed else ""
    print(
        f"{answered}, {count[False]} rejected by {rejector.rule}{without}; "
        f"{seconds:.2f} s on {expert.device.type}, "
        f"{done / seconds:.0f} images/s{unread}",
        file=sys.stderr,
    )
    return not broken


def _check_promised(
    promised: Promised, rule: str, coverage: float | None, changes: list[str]
) -> None:
    """Check that the options fit together; `changes` are those that change the probabilities."""
    if changes and promised.levels != (None, None, None):
        raise TailproofError(
            "--set, --risk and --precision were fitted on the probabilities of single images, "
            f"which {changes[0]} changes: leave out one of them"
        )
    if promised.by_group and promised.risk is None:
        raise TailproofError("--by-group is about a promised risk: add --risk")
    if promised.score is not None and promised.set_coverage is None:
        raise TailproofError("--score is about sets of classes: add --set")
    if promised.risk is not None and rule != CHOW:
        raise TailproofError(
            f"--risk decides with the largest probability, --rule {printable(rule)} with another "
            "score: leave out one of them"
        )
    if promised.risk is not None and coverage is not None:
        raise TailproofError("--risk and --coverage both decide what is accepted: give one of them")


def _decisions(
    folder: str, expert: Expert, rule: str, coverage: float | None, promised: Promised
) -> tuple[Decision, Promises]:
    """Return what accepts answers, and what makes the columns of the promises."""
    if promised.levels == (None, None, None):
        return Rejector(expert.deployment, expert.classes[expert.target], rule, coverage), ()
    guarantees = open_guarantees(folder, expert)
    promises = []
    if promised.set_coverage is not None:
        promises.append(SetColumns(guarantees, promised.set_coverage, promised.score or SCORE))
    if promised.precision is not None:
        promises.append(RollUpColumns(guarantees, promised.precision))
    if promised.risk is None:
        return Rejector(expert.deployment, expert.classes[expert.target], rule, coverage), promises
    rejector = RiskRejector(guarantees, promised.risk, by_group=promised.by_group)
    if rejector.warning:
        report(rejector.warning)
    return rejector, promises


WORDS = {True: "accept", False: "reject"}
PIPED = 10_000  # width of a table that is written to a file, so that nothing is cut off


def write_csv(
    ranks: dict[str, list[str]],
    answers: Iterable[Answer],
    promises: Sequence[str] = (),
    *,
    grouped: bool = False,
) -> None:
    """Write one CSV row per answer to stdout, with all probabilities as columns ``RANK=CLASS``.

    Names are printable, and no cell is a formula of a spreadsheet.

    Args:
        ranks: class names by rank, the target's first.
        answers: the predictions.
        promises: names of the columns of promises.
        grouped: whether each is for a group of images.
    """
    target, *others = map(printable, ranks)
    unit = ["group", "images"] if grouped else ["file"]
    columns = [f"{rank}={name}" for rank, names in ranks.items() for name in names]
    head = [*unit, target, "probability", "decision", *others, *promises]
    head += map(printable, columns)
    sys.stdout.write(csv_line(head))
    for answer in answers:
        chosen, *above = map(printable, answer.classes.values())
        values = [value for row in answer.probabilities.values() for value in row]
        probability, *numbers = (f"{value:.7g}" for value in (answer.probability, *values))
        name = [printable(answer.file), *([answer.images] if grouped else [])]
        decision = [*name, chosen, probability, WORDS[answer.accepted], *above]
        decision += map(printable, answer.promises)
        sys.stdout.write(f"{csv_line(decision)[:-1]},{','.join(numbers)}\n")


def print_table(
    ranks: dict[str, list[str]],
    answers: Iterable[Answer],
    promises: Sequence[str] = (),
    *,
    grouped: bool = False,
) -> None:
    """Print a table with one row per answer: the class at each rank, probability and decision."""
    target, *others = ranks
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("group" if grouped else "file", overflow="fold")
    if grouped:
        table.add_column("images", justify="right")
    table.add_column(escape(target), overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    for rank in others:
        table.add_column(escape(rank), overflow="fold")
    for name in promises:
        table.add_column(name, overflow="fold")
    for answer in answers:
        chosen, *above = map(escape, answer.classes.values())
        name = [escape(answer.file), *([str(answer.images)] if grouped else [])]
        shown = [*name, chosen, f"{answer.probability:.4f}"]
        style = "" if answer.accepted else "yellow"
        cells = [WORDS[answer.accepted], *above, *map(escape, answer.promises)]
        table.add_row(*shown, *cells, style=style)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else PIPED).print(table)
