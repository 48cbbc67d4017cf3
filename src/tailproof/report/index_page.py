"""The index page of all experiments: results/index.html."""

from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from tailproof.config.validation import load_experiment
from tailproof.files import write_text
from tailproof.project import project_paths
from tailproof.report.checklist import Progress, counted
from tailproof.report.finding_cards import cards
from tailproof.report.headline import in_short
from tailproof.report.metric_format import kind, with_interval
from tailproof.report.render import render
from tailproof.report.results import CHOSEN_BY, Results
from tailproof.report.status_block import status_block
from tailproof.runtime.errors import TailproofError


class Entry(NamedTuple):
    """An experiment on the index page.

    Attributes:
        name: name of the experiment.
        title: title of the experiment.
        page: link to its report; empty if there is none yet.
        answer: its result in a sentence, or the reason why it has none.
        facts: further short texts by name.
        status: the values of `status.html.j2`; None if a file is wrong.
    """

    name: str
    title: str
    page: str
    answer: Markup | str
    facts: dict[str, Any]
    status: dict[str, Any] | None


def write_index(root: str | Path = ".") -> tuple[Path, int]:
    """Write results/index.html.

    It lists an unfinished experiment with its checklist, and one whose results do not match its
    configuration with the reason.

    Args:
        root: the repository, with config/ and results/ in it.

    Returns:
        The page, and how many experiments it lists.

    Raises:
        TailproofError: no experiment has results yet.
    """
    root = Path(root)
    names = [
        folder.name
        for folder in sorted(root.glob(f"{project_paths(root).results}/*/"))
        if _started(root, folder)
    ]
    if not names:
        raise TailproofError(
            f"{root / 'results'} has no results of any experiment: run one with "
            "`snakemake --cores all` first"
        )
    entries = [_entry(root, name) for name in names]
    page = root / project_paths(root).results / "index.html"
    write_text(page, render("index.html.j2", entries=entries))
    return page, len(entries)


def _started(root: Path, folder: Path) -> bool:
    configured = (root / "config" / "experiments" / f"{folder.name}.yaml").exists()
    return configured or _evaluated(folder)


def _evaluated(folder: Path) -> bool:
    return (folder / "evaluation" / "metrics.json").exists()


def _entry(root: Path, name: str) -> Entry:
    folder = root / project_paths(root).experiment(name)
    exists = (folder / "report" / "index.html").exists()
    page = f"{name}/report/index.html" if exists else ""
    title = name
    try:
        experiment = load_experiment(root / "config" / "experiments" / f"{name}.yaml")
        title = experiment.title
        progress = Progress(experiment, folder, root / project_paths(root).logs_of(name))
        status = status_block([], [*progress.criteria(), progress.audited()])
        if not _evaluated(folder):
            return Entry(name, title, page, "Not evaluated yet.", {}, status)
        results = Results.read(name, experiment, folder)
        return Entry(name, title, page, in_short(results.scores), _facts(results), status)
    except TailproofError as error:
        return Entry(name, title, page, f"Results cannot be read: {error}", {}, None)


def _facts(results: Results) -> dict[str, Any]:
    scores = results.scores
    reached = scores.value("test", scores.best, CHOSEN_BY)
    return {
        "Best on dev": f"{scores.best} ({kind(scores, scores.best)})",
        "Balanced accuracy on test": with_interval(CHOSEN_BY, reached),
        "Findings": counted([card.severity for card in cards(results)]),
    }
