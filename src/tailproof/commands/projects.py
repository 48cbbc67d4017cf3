"""Commands that start a project or look at an experiment before it runs."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tailproof.commands.experiment_argument import Experiment, with_extensions
from tailproof.output import say


def init(
    folder: Annotated[
        str,
        typer.Argument(
            help="New or empty folder; with --from-timm, an existing project is possible too."
        ),
    ] = ".",
    results: Annotated[
        str, typer.Option(help="Folder for all results: a name, or a path on another disk.")
    ] = "results",
    from_timm: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND", help="Translate this timm training command into an experiment."
        ),
    ] = None,
) -> None:
    """Create a project, or add an experiment translated from timm to an existing one."""
    from tailproof.from_timm import render, translate
    from tailproof.project import EXPERIMENTS, add_experiment, init_project

    experiment = None
    if from_timm is not None:
        translation = translate(from_timm)
        experiment = translation.name, render(translation)
    if experiment and Path(folder, EXPERIMENTS).is_dir():
        say(f"wrote {add_experiment(folder, *experiment)}")
        return
    for path in init_project(folder, results=results, experiment=experiment):
        say(f"wrote {Path(folder, path)}")
    change_folder = "" if Path(folder).resolve() == Path.cwd() else f"cd {shlex.quote(folder)} && "
    print()
    say(f"next: {change_folder}git init && snakemake --cores 2")


def import_(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A folder, table, JSON file or archive of images.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the experiment. Default: that of the folder.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="SOURCE",
            help="Source to read the path with, such as image_folder or metadata_csv. Default: "
            "the most specific source that recognizes it.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of labels, if it is not clear from the table."),
    ] = None,
) -> None:
    """Recognize how your images are organized, and write an experiment that trains on them."""
    from tailproof.importer import import_collection
    from tailproof.importer.terminal import print_import
    from tailproof.terminal import Console

    result = import_collection(path, name, source, label)
    print_import(result, Console(highlight=False))


def folds(
    experiment: Experiment,
    of: Annotated[int, typer.Option("--of", min=2, help="Number of folds.")] = 5,
) -> None:
    """Write one experiment per fold of an experiment, so that every image is tested once."""
    from tailproof.config.folds import write_folds
    from tailproof.project import project_paths

    for path in write_folds(experiment, of):
        say(f"wrote {path}")
    _say_next(project_paths().experiment(experiment) / "cross_fit" / "summary.csv")


def draws(experiment: Experiment) -> None:
    """Write an experiment for each seed in data.seeds after the first, which draws other splits.

    The experiment itself is the draw of the first seed.
    """
    from tailproof.config.draws import write_draws
    from tailproof.project import project_paths

    for path in write_draws(experiment):
        say(f"wrote {path}")
    _say_next(project_paths().experiment(experiment) / "draws" / "summary.csv")


def _say_next(file: Path) -> None:
    say(f"next: snakemake --cores 2 {shlex.quote(str(file))}")


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="An experiment of the project, or a timm model with published weights.",
            callback=with_extensions,
        ),
    ],
) -> None:
    """Download pretrained weights in advance, for machines without a network."""
    from tailproof.provenance.prefetch import prefetch

    for file, facts in prefetch(name).items():
        licence = facts["licence"] or "unknown"
        say(f"{file}: {facts['model']}, from {facts['origin']}, licence: {licence}")


def preflight(experiment: Experiment) -> None:
    """Preview what training will do, what it costs and what is wrong with the configuration.

    First runs the jobs whose files are missing, up to the preflight.
    """
    from rich.markdown import Markdown

    from tailproof.preflight.command import ask
    from tailproof.provenance.snakemake_bridge import run
    from tailproof.terminal import Console

    text, stopped = ask(experiment, run)
    Console().print(Markdown(text))
    if stopped:
        sys.exit(1)
