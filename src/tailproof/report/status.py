"""`tailproof status`: the checklist of an experiment before, during and after training."""

from rich.padding import Padding

from tailproof.config.validation import load_experiment
from tailproof.project import project_paths
from tailproof.provenance.staleness import changed_jobs
from tailproof.report.checklist import SIGNS, STATE_WORDS, Criterion, Progress
from tailproof.terminal import Console, escape
from tailproof.text import quantity

STYLES = {"holds": "green", "fails": "bold red", "open": "default"}


def status(experiment: str) -> list[Criterion]:
    """Return the criteria of an experiment in the working directory, the audit last.

    Raises:
        TailproofError: its configuration is wrong, or a file is damaged.
    """
    config = load_experiment(f"config/experiments/{experiment}.yaml")
    progress = Progress(
        config, project_paths().experiment(experiment), project_paths().logs_of(experiment)
    )
    return [*progress.criteria(), _up_to_date(experiment, progress), progress.audited()]


def _up_to_date(experiment: str, progress: Progress) -> Criterion:
    name = "Up to date with configuration and code"
    if not (progress.folder / "provenance").exists():
        return Criterion(name, "open", "no job has run yet")
    changed = changed_jobs(experiment)
    if not changed:
        return Criterion(name, "holds", "no finished job needs to run again")
    them = "it" if len(changed) == 1 else "them"
    summary = f"{quantity(len(changed), 'job')} to run again, with all jobs that depend on {them}"
    return Criterion(name, "open", summary, tuple(f"{job}: {why}" for job, why in changed.items()))


def print_criteria(criteria: list[Criterion], console: Console) -> None:
    """Print a line for each criterion, its details below it, and how many hold."""
    for criterion in criteria:
        state = criterion.state
        word = "" if state == "holds" else f" ({STATE_WORDS[state]})"
        line = f"[bold]{escape(criterion.name)}[/bold]: {escape(criterion.summary)}{word}"
        console.print(f"[{STYLES[state]}]{SIGNS[state]}[/] {line}")
        for detail in criterion.details:
            console.print(Padding(escape(detail), (0, 0, 0, 4)))
    holding = sum(criterion.state == "holds" for criterion in criteria)
    console.print(f"{holding} of {len(criteria)} hold")
