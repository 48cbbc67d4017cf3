"""`tailproof ready`: which criteria hold, before an experiment is trained, meanwhile and after."""

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tailproof.config.load import load_experiment
from tailproof.project import project_paths
from tailproof.provenance.audit import changed_jobs
from tailproof.report.checklist import Criterion, Progress
from tailproof.text import quantity

SIGNS = {"holds": "[green]✓[/green]", "fails": "[bold red]✗[/bold red]", "open": "○"}
WORDS = {"holds": "holds", "fails": "does not hold", "open": "still open"}


def ready(experiment: str) -> list[Criterion]:
    """Return what must hold of an experiment in the working directory now, the audit last.

    Raises:
        TailproofError: its configuration is wrong, or a file is damaged.
    """
    config = load_experiment(f"config/experiments/{experiment}.yaml")
    progress = Progress(
        config, project_paths().experiment(experiment), project_paths().logs_of(experiment)
    )
    return [*progress.criteria(), _up_to_date(experiment, progress), progress.audited()]


def _up_to_date(experiment: str, progress: Progress) -> Criterion:
    name = "Made by the configuration and code of now"
    if not (progress.folder / "provenance").exists():
        return Criterion(name, "open", "not made yet")
    changed = changed_jobs(experiment)
    if not changed:
        return Criterion(name, "holds", "no finished job would run otherwise")
    told = f"{quantity(len(changed), 'job')} to run again, with all that is made from them"
    return Criterion(name, "open", told, tuple(f"{job}: {why}" for job, why in changed.items()))


def print_criteria(criteria: list[Criterion], console: Console) -> None:
    """Print a line for each criterion, what is not yet so in full below it, and how many hold."""
    for each in criteria:
        state = "" if each.state == "holds" else f" ({WORDS[each.state]})"
        said = f"[bold]{escape(each.name)}[/bold]: {escape(each.said)}{state}"
        console.print(f"{SIGNS[each.state]} {said}")
        for line in each.details:
            console.print(Padding(escape(line), (0, 0, 0, 4)))
    holding = sum(each.state == "holds" for each in criteria)
    console.print(f"{holding} of {len(criteria)} hold")
