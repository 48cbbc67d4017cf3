"""Commands about runs: their state, their curves, what went wrong."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tailproof.commands.experiment_argument import Experiment
from tailproof.output import say
from tailproof.text import quantity


def status(experiment: Experiment) -> None:
    """Show the checklist of an experiment: which criteria hold, fail or are still open."""
    from tailproof.report.status import print_criteria
    from tailproof.report.status import status as criteria_of
    from tailproof.terminal import Console

    criteria = criteria_of(experiment)
    print_criteria(criteria, Console(highlight=False))
    if any(criterion.state == "fails" for criterion in criteria):
        sys.exit(1)


def watch(
    experiment: Experiment,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page. Default: any free port.")
    ] = 0,
) -> None:
    """Serve a local page that follows an experiment while it runs: progress, curves, findings.

    It only reads files, so it works for Slurm jobs too and changes no result.
    """
    from tailproof.watch.server import watch as watch_experiment

    for address in watch_experiment(experiment, port):
        say(f"{experiment} is at {address}")
        say("Ctrl-C ends the page, not the experiment")
        sys.stdout.flush()


def track(
    experiment: Experiment,
    tensorboard: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write event files of TensorBoard below this folder."),
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Write to this MLflow server or store.")
    ] = None,
) -> None:
    """Write the curves of an experiment, finished or running, to TensorBoard or MLflow.

    It ends once all runs are finished. A failure of a tracker stops no run.
    """
    from tailproof.tracking.follow import follow, open_trackers

    trackers = open_trackers(tensorboard, mlflow)
    try:
        count = follow(experiment, trackers)
    except KeyboardInterrupt:
        return
    places = " and ".join(filter(None, (tensorboard, mlflow)))
    say(f"{quantity(count, 'run')} in {places}")


def _config_file(named: str) -> str:
    """Return the file of the experiment with a name; any other file as it is named."""
    from tailproof.project import EXPERIMENTS

    file = EXPERIMENTS / f"{named}.yaml"
    return str(file) if file.is_file() and not Path(named).exists() else named


def diagnose(
    histories: Annotated[
        list[str],
        typer.Argument(
            metavar="HISTORY…", help="History files (CSV, JSON, event files), or folders of them."
        ),
    ],
    config: Annotated[
        str | None,
        typer.Option(
            help="Name of an experiment, its file, or a YAML file with recipe, classes and targets."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=COLUMN,…",
            help="Right columns, where they are misread or not recognized, such as "
            "val_auroc=AUC,val_accuracy=acc:percent.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was read and found as JSON.")
    ] = False,
) -> None:
    """Find problems of training runs in their history files, which other tools may have written.

    It suggests fixes, and reads what Keras, Lightning, fastai, timm, Ultralytics, Hugging Face,
    TensorBoard, MLflow and others write. The output first lists how each column was read. Several
    runs are compared.
    """
    import json

    from tailproof.diagnosis.command import diagnose_files, diagnosis_as_dict
    from tailproof.diagnosis.terminal import print_diagnosis
    from tailproof.terminal import Console

    diagnosis = diagnose_files(histories, config and _config_file(config), columns)
    if as_json:
        # In ASCII, so that no name in it acts on a terminal.
        print(json.dumps(diagnosis_as_dict(diagnosis), indent=1, allow_nan=False))
    else:
        print_diagnosis(diagnosis, Console(highlight=False))
