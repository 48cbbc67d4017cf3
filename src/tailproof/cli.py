"""The command `tailproof`: what can be asked of results that are there."""

import sys
from typing import Annotated

import typer

from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

app = typer.Typer(
    help="Questions to the results of an experiment. `snakemake` makes them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Experiment = Annotated[str, typer.Argument(help="Its name: config/experiments/NAME.yaml.")]


@app.callback()
def commands() -> None:
    """Give every command its name, even while there is one alone."""


@app.command()
def init(
    folder: Annotated[str, typer.Argument(help="A new or empty folder.")] = ".",
    results: Annotated[
        str, typer.Option(help="Folder of all results: a name, or a path on another disk.")
    ] = "results",
    from_timm: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="A training command of timm to start from."),
    ] = None,
) -> None:
    """Make a project of your own, or add an experiment to it from a timm training command."""
    from pathlib import Path

    from tailproof.from_timm import render, translate
    from tailproof.project import EXPERIMENTS, add_experiment, init_project

    experiment = None
    if from_timm is not None:
        translation = translate(from_timm)
        experiment = translation.name, render(translation)
    if experiment and Path(folder, EXPERIMENTS).is_dir():
        print(f"wrote {add_experiment(folder, *experiment)}")
        return
    for path in init_project(folder, results=results, experiment=experiment):
        print(f"wrote {Path(folder, path)}")
    change = "" if Path(folder).resolve() == Path.cwd() else f"cd {folder} && "
    print(f"\nnext: {change}git init && snakemake --cores 2")


@app.command()
def preflight(experiment: Experiment) -> None:
    """Show what training is about to do and what is wrong with it; make what is missing for it."""
    from rich.console import Console
    from rich.markdown import Markdown

    from tailproof.preflight.command import ask
    from tailproof.provenance.snakemake_bridge import run

    text, stopped = ask(experiment, run)
    Console().print(Markdown(text))
    if stopped:
        sys.exit(1)


@app.command()
def status(experiment: Experiment) -> None:
    """Show the checklist of an experiment: the criteria that hold, fail or are still open."""
    from rich.console import Console

    from tailproof.report.status import print_criteria
    from tailproof.report.status import status as criteria_of

    criteria = criteria_of(experiment)
    print_criteria(criteria, Console(highlight=False))
    if any(criterion.state == "fails" for criterion in criteria):
        sys.exit(1)


@app.command()
def audit(experiment: Experiment) -> None:
    """Hash everything again: what is proven, stale, altered, orphan or missing, and why."""
    from rich.console import Console

    from tailproof.provenance.audit import audit as look
    from tailproof.provenance.audit import print_audit

    found = look(experiment)
    print_audit(found, Console())
    if not found.passed:
        sys.exit(1)


@app.command()
def restore(experiment: Experiment) -> None:
    """Check files that came with a clone or a pull against the ledger; mark fresh what holds."""
    from tailproof.provenance.restore import restore as mark

    found = mark(experiment)
    for path, why in found.damaged.items():
        print(f"to make again  {path}  {why}")
    print(f"{quantity(len(found.proven), 'file')} found as the ledger says and marked as made")


@app.command()
def publish(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Their names; without: all in config/config.yaml.")
    ] = None,
) -> None:
    """Give finished experiments to DVC and their records to git, for you to commit and push."""
    from tailproof.provenance.publish import publish as give
    from tailproof.provenance.publish import uncommitted

    names = give(experiments or [])
    for name in names:
        print(f"{name}: DVC has its files, git's index has dvc.lock and its records")
    others = uncommitted()
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        print(f"not in git's index as it is here: {others[0]}{more}")
    print(f"next: git commit -m 'Publish {', '.join(names)}' && dvc push && git push")


@app.command()
def lineage(
    place: Annotated[
        str, typer.Argument(metavar="PATH[#KEY]", help="A file that a job made; a value in it.")
    ],
) -> None:
    """Follow a file, or one number in it, back to the raw data."""
    from rich.console import Console

    from tailproof.provenance.lineage import lineage as trace
    from tailproof.provenance.lineage import tree, verdict

    found = trace(place)
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    console.print(tree(found))
    console.print(verdict(found))


@app.command()
def diagnose(
    histories: Annotated[
        list[str], typer.Argument(metavar="HISTORY…", help="CSV, JSON or JSON lines; several runs.")
    ],
    config: Annotated[
        str | None, typer.Option(help="An experiment, or YAML with recipe, classes, expect.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Read runs off their histories, anyone's, also while they go on: what is wrong, and a change.

    Lightning's metrics.csv and TensorBoard's exports are read too. Several runs are compared.
    """
    from rich.console import Console

    from tailproof.diagnosis.command import diagnose_files, findings_as_dicts
    from tailproof.diagnosis.terminal import print_findings
    from tailproof.files import json_text

    found = diagnose_files(histories, config)
    if as_json:
        print(json_text(findings_as_dicts(found)), end="")
    else:
        print_findings(found, Console(highlight=False))


@app.command()
def predict(
    expert: Annotated[
        str, typer.Argument(help="Its folder: results/NAME/experts/EXPERT/seed-S, or a copy.")
    ],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES…", help="Files and folders.")],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the probabilities of all classes as CSV.")
    ] = False,
    rule: Annotated[
        str, typer.Option(help="When to accept: chow, plugin_balanced or plugin_worst.")
    ] = "chow",
    coverage: Annotated[
        float | None, typer.Option(help="The share to accept, as on the split tune.")
    ] = None,
) -> None:
    """Classify images by an expert's folder alone: calibrated probabilities, accept or reject."""
    from tailproof.predict.command import predict_images

    if not predict_images(expert, images, as_csv=as_csv, rule=rule, coverage=coverage):
        sys.exit(1)


@app.command()
def crate(experiment: Experiment) -> None:
    """Describe a finished run for others: an RO-Crate, and its shards as a Croissant dataset."""
    from tailproof.provenance.export.ro_crate import write_crate

    print(write_crate(experiment))


@app.command()
def log() -> None:
    """Write the experiment log of all runs, past ones from git: results/log.html, log.md."""
    from tailproof.report.log_page import write_log

    paths, count = write_log()
    print(f"{quantity(count, 'run')} in {' and '.join(map(str, paths))}")


@app.command()
def index() -> None:
    """Write the index over all experiments, finished or under way: results/index.html."""
    from tailproof.report.index_page import write_index

    path, count = write_index()
    print(f"{quantity(count, 'experiment')} in {path}")


def main() -> None:
    """Run the command; a mistake is told in one sentence, with exit status 1."""
    try:
        app()
    except TailproofError as error:
        print(f"tailproof: {error}", file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
