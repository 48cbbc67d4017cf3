"""The command line interface `tailproof`."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tailproof.output import report, say, standard_streams
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.file_name_encoding import require_utf8
from tailproof.runtime.process import limit_spinning
from tailproof.text import quantity

app = typer.Typer(
    help="Inspect, audit and publish results built by Snakemake; start a project.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _with_extensions(experiment: str) -> str:
    """Import the project's extensions, which its configuration may name."""
    from tailproof.extensions import import_extensions

    import_extensions()
    return experiment


Experiment = Annotated[
    str,
    typer.Argument(
        help="Name of an experiment: NAME in config/experiments/NAME.yaml.",
        callback=_with_extensions,
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("tailproof"))
        raise typer.Exit


@app.callback()
def commands(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run one of the commands."""


@app.command()
def init(
    folder: Annotated[
        str, typer.Argument(help="New or empty folder, or a project with --from-timm.")
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
    from pathlib import Path

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
    change_folder = "" if Path(folder).resolve() == Path.cwd() else f"cd {folder} && "
    print()
    say(f"next: {change_folder}git init && snakemake --cores 2")


@app.command("import")
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
            help="What to take the path for, such as image_folder or metadata_csv. Default: the "
            "most specific that recognises it.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of labels, if the table leaves a doubt."),
    ] = None,
) -> None:
    """Look at your own images, say what they are taken for, and write their experiment."""
    from tailproof.importer import import_collection
    from tailproof.importer.terminal import print_import
    from tailproof.terminal import Console

    result = import_collection(path, name, source, label)
    print_import(result, Console(highlight=False))


@app.command()
def folds(
    experiment: Experiment,
    of: Annotated[int, typer.Option("--of", min=2, help="Number of folds.")] = 5,
) -> None:
    """Write an experiment for each fold of another one, so that every image is tested once."""
    from tailproof.config.folds import write_folds
    from tailproof.project import project_paths

    for path in write_folds(experiment, of):
        say(f"wrote {path}")
    say(f"next: snakemake --cores 2 {project_paths().experiment(experiment)}/cross_fit/summary.csv")


@app.command()
def draws(experiment: Experiment) -> None:
    """Write an experiment for each further draw of another one's splits, by its data.seeds."""
    from tailproof.config.draws import write_draws
    from tailproof.project import project_paths

    for path in write_draws(experiment):
        say(f"wrote {path}")
    say(f"next: snakemake --cores 2 {project_paths().experiment(experiment)}/draws/summary.csv")


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="An experiment of the project, or a model of timm with published weights.",
            callback=_with_extensions,
        ),
    ],
) -> None:
    """Fetch pretrained weights ahead, for machines without a network."""
    from tailproof.provenance.prefetch import prefetch

    for file, facts in prefetch(name).items():
        licence = facts["licence"] or "unknown"
        say(f"{file}: {facts['model']}, from {facts['origin']}, licence: {licence}")


@app.command()
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


@app.command()
def status(experiment: Experiment) -> None:
    """Show the checklist of an experiment: which criteria hold, fail or are still open."""
    from tailproof.report.status import print_criteria
    from tailproof.report.status import status as criteria_of
    from tailproof.terminal import Console

    criteria = criteria_of(experiment)
    print_criteria(criteria, Console(highlight=False))
    if any(criterion.state == "fails" for criterion in criteria):
        sys.exit(1)


@app.command()
def audit(
    experiment: Experiment,
    all_images: Annotated[
        bool, typer.Option("--all-images", help="Compare the pixels of every image of train.")
    ] = False,
) -> None:
    """Hash all files again and report which are proven, stale, altered, orphan or missing."""
    from tailproof.provenance.audit import audit as audit_experiment
    from tailproof.provenance.audit import print_audit
    from tailproof.terminal import Console

    result = audit_experiment(experiment, all_images=all_images)
    print_audit(result, Console())
    if not result.passed:
        sys.exit(1)


@app.command()
def reproduce(
    experiment: Experiment,
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs to draw and run again.")] = 5,
    everything: Annotated[
        bool, typer.Option("--all", help="Run all jobs again, from the raw data.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Draw jobs that this version of tailproof, or commit, ran."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder for the report. Default: reproduction/NAME.")
    ] = None,
) -> None:
    """Run recorded jobs again, in a scratch project, and compare what they write.

    The results stay as they are.
    """
    from tailproof.provenance.reproduction_report import reproduce_and_report

    number = None if everything else jobs
    if not reproduce_and_report(experiment, number, seed, against, output):
        sys.exit(1)


@app.command()
def upgrade(experiment: Experiment) -> None:
    """List the stages that this version of tailproof would run again, and why."""
    from tailproof.provenance.upgrade import print_stale_stages

    print_stale_stages(experiment)


@app.command()
def restore(experiment: Experiment) -> None:
    """Verify the files of a clone or pull against the ledger; mark intact ones as up to date."""
    from tailproof.provenance.restore import restore as restore_experiment

    restored = restore_experiment(experiment)
    for path, why in restored.damaged.items():
        say(f"to rebuild  {path}  {why}")
    say(f"{quantity(len(restored.proven), 'file')} match the ledger and are marked as up to date")


@app.command()
def publish(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="Names of experiments; default: all in config/config.yaml."),
    ] = None,
) -> None:
    """Add finished experiments to DVC and their records to git's index; you commit and push."""
    from tailproof.provenance.publish import publish as publish_experiments
    from tailproof.provenance.publish import uncommitted

    names = publish_experiments(experiments or [])
    for name in names:
        say(f"{name}: files added to DVC; dvc.lock and records added to git's index")
    others = uncommitted()
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        say(f"changed or new, and not in git's index: {others[0]}{more}")
    say(f"next: git commit -m 'Publish {', '.join(names)}' && dvc push && git push")


@app.command()
def lineage(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PATH[#KEY]", help="A file that a job made; KEY names one value in it."
        ),
    ],
) -> None:
    """Trace a file, or one number in it, back to the raw data."""
    from tailproof.provenance.lineage import lineage as trace
    from tailproof.provenance.lineage import tree, verdict
    from tailproof.terminal import Console

    root = trace(place)
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    console.print(tree(root))
    console.print(verdict(root))


@app.command(
    help="Diagnose training runs from their history files, even unfinished or foreign ones, and "
    "suggest fixes.\n\n"
    "Reads what Keras, Lightning, fastai, timm, Ultralytics, Hugging Face, TensorBoard, MLflow and "
    "others write. The output first lists how each column was read. Several runs are compared."
)
def diagnose(
    histories: Annotated[
        list[str],
        typer.Argument(
            metavar="HISTORY…", help="History files (CSV, JSON, event files), or folders of them."
        ),
    ],
    config: Annotated[
        str | None,
        typer.Option(help="An experiment, or a YAML file with recipe, classes, targets."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=COLUMN,…",
            help="Columns that are read wrongly or not at all, such as "
            "val_auroc=AUC,val_accuracy=acc:percent.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was read and found as JSON.")
    ] = False,
) -> None:
    """Diagnose training runs from their history files."""
    import json

    from tailproof.diagnosis.command import diagnose_files, diagnosis_as_dict
    from tailproof.diagnosis.terminal import print_diagnosis
    from tailproof.terminal import Console

    diagnosis = diagnose_files(histories, config, columns)
    if as_json:
        # In ASCII, so that no name in it acts on a terminal.
        print(json.dumps(diagnosis_as_dict(diagnosis), indent=1, allow_nan=False))
    else:
        print_diagnosis(diagnosis, Console(highlight=False))


@app.command()
def predict(
    expert: Annotated[
        str,
        typer.Argument(
            help="Folder of an expert or a bundle: results/NAME/experts/EXPERT/seed-S, or a copy."
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Image files and folders.")
    ],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the probabilities of all classes as CSV.")
    ] = False,
    rule: Annotated[
        str, typer.Option(help="Rejection rule: chow, plugin_balanced or plugin_worst.")
    ] = "chow",
    coverage: Annotated[
        float | None, typer.Option(help="Share of images to accept, as measured on the split tune.")
    ] = None,
    set_coverage: Annotated[
        float | None,
        typer.Option(
            "--set",
            metavar="COVERAGE",
            help="Add the set of classes that holds the true one this often, such as 0.9.",
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="Score of the sets: pas (the default), thr, aps, raps, interp_q or classwise."
        ),
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option(
            help="Accept as much as keeps the share of wrong answers below, such as 0.05."
        ),
    ] = None,
    by_group: Annotated[
        bool,
        typer.Option("--by-group", help="Keep the risk in each class group: many, medium, few."),
    ] = False,
    precision: Annotated[
        float | None,
        typer.Option(help="Add the finest rank whose answers are right this often, such as 0.95."),
    ] = None,
    unknown: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Call images of no known class unknown, with at most this share of false alarms, "
            "such as 0.05.",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Table with the columns file and those of the expert's context, such as habitat.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder",
            help="Give one answer for all images of a folder, or with the same cell in a column.",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="CSV table with the columns file and the one of --group.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Text file with the classes that are possible, one per line.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(help="CSV table with the columns class and count: how frequent classes are."),
    ] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Estimate from the images how frequent classes are.")
    ] = False,
) -> None:
    """Classify images with an expert: calibrated probabilities, and accept or reject.

    Needs only the expert's folder.
    """
    from tailproof.predict.command import predict_images
    from tailproof.predict.options import Promised

    promised = Promised(set_coverage, score, risk, by_group, precision, unknown)
    if not predict_images(
        expert,
        images,
        as_csv=as_csv,
        rule=rule,
        coverage=coverage,
        group=group,
        table=table,
        classes=classes,
        prior=prior,
        adapt=adapt,
        context=context,
        promised=promised,
    ):
        sys.exit(1)


@app.command()
def bundle(
    experiment: Experiment,
    method: Annotated[
        str, typer.Option(help="Ensemble: stacked, mean_logits or mean_probabilities.")
    ] = "stacked",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the experts. Default: the first one.")
    ] = None,
) -> None:
    """Put an ensemble into one folder, which predicts like that of an expert.

    First runs the jobs whose files are missing.
    """
    from tailproof.bundle.command import build_bundle
    from tailproof.provenance.snakemake_bridge import run

    folder = build_bundle(experiment, method, seed, run)
    say(f"built {folder}; next: tailproof predict {folder} IMAGES…")


@app.command()
def retrain(
    expert: Annotated[
        str,
        typer.Argument(
            help="Folder of a head on features: results/NAME/experts/EXPERT/seed-S.",
            callback=_with_extensions,
        ),
    ],
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS.csv",
            help="Table with the columns sample_id and label, or Label "
            "Studio's export of labels_to_check.csv.",
        ),
    ],
    output: Annotated[str, typer.Option(metavar="FOLDER", help="New folder for the new head.")],
) -> None:
    """Fit a new head from verified labels, and score it next to the old one, which stays."""
    from tailproof.retraining.retrain import retrain as retrain_head
    from tailproof.retraining.retrain import summary

    for line in summary(retrain_head(expert, labels, output)):
        say(line)
    say(f"wrote {output}; {expert} is as it was, and no stage reads the new head")


@app.command()
def contains(
    expert: Annotated[
        str,
        typer.Argument(
            metavar="EXPERT", help="Name of an experiment, or folder of an expert or a copy of it."
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Image files and folders.")
    ],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a row for every image as CSV.")
    ] = False,
) -> None:
    """Say which images, or copies of them, were in train, val, calib, tune, dev or test.

    Exits with status 3 if any was, with 0 if none was, and with 1 if some cannot be read.
    """
    from tailproof.provenance.contains import contains as contains_images
    from tailproof.terminal import Console

    if status := contains_images(expert, images, as_csv=as_csv, console=Console(highlight=False)):
        sys.exit(status)


@app.command()
def attest(
    experiment: Experiment,
    fingerprints: Annotated[
        bool,
        typer.Option(
            "--fingerprints",
            help="Put fingerprints of all images into the folders, so that `contains` answers "
            "from a copy.",
        ),
    ] = False,
) -> None:
    """Write in-toto statements: one per job, and one per expert with its whole lineage."""
    from tailproof.provenance.attest import attest as attest_experiment

    attested = attest_experiment(experiment, fingerprints=fingerprints)
    for folder in attested.folders:
        say(f"wrote {folder}/attestation")
    say(
        f"{quantity(attested.jobs, 'job')} and {quantity(len(attested.folders), 'expert')} attested"
    )
    say(f"the records in the folders name {', '.join(attested.people)} and the commands that ran")


@app.command()
def sign(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAME", help="Folder of an expert, or name of an attested experiment."
        ),
    ],
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Private elliptic-curve key in PEM.")
    ] = None,
    keyless: Annotated[
        bool, typer.Option("--keyless", help="Sign with an identity at Sigstore; needs a network.")
    ] = False,
) -> None:
    """Sign attested experts in the format of OpenSSF Model Signing, and statements as DSSE."""
    from tailproof.provenance.sign import sign as sign_target
    from tailproof.provenance.signatures import Identity, PrivateKey

    if (key is None) != keyless:
        raise TailproofError("name the key to sign with: --key KEY, or --keyless with a network")
    folders, jobs = sign_target(target, Identity() if key is None else PrivateKey.read(key))
    for folder in folders:
        say(f"signed {folder}")
    if jobs:
        say(f"signed the statements about {quantity(jobs, 'job')}")


@app.command()
def verify(
    folder: Annotated[
        str, typer.Argument(help="Folder of an expert or of an experiment, or a copy of it.")
    ],
    key: Annotated[
        str | None, typer.Option(metavar="PUB", help="The signer's public key in PEM.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who signed without a key, such as a@b.org.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="Who vouches for the identity.")
    ] = None,
) -> None:
    """Verify an attested expert from its folder alone, and say what that proves."""
    from tailproof.provenance.signatures import open_signer
    from tailproof.provenance.verify import print_verification
    from tailproof.provenance.verify import verify as verify_folder
    from tailproof.terminal import Console

    verification = verify_folder(folder, open_signer(key, identity, issuer))
    print_verification(verification, Console(highlight=False))


@app.command()
def crate(experiment: Experiment) -> None:
    """Export a finished run as an RO-Crate, and its shards as a Croissant dataset."""
    from tailproof.provenance.export.ro_crate import write_crate

    say(write_crate(experiment))


@app.command()
def log() -> None:
    """Write the log of all runs, past ones from git history: results/log.html, log.md."""
    from pathlib import Path

    from tailproof.report.log_page import write_log
    from tailproof.runtime.git import missing_history

    paths, count = write_log()
    say(f"{quantity(count, 'run')} in {' and '.join(map(str, paths))}")
    if missing := missing_history(Path()):
        say(missing)


@app.command()
def index() -> None:
    """Write an index of all experiments, finished or in progress: results/index.html."""
    from tailproof.report.index_page import write_index

    path, count = write_index()
    say(f"{quantity(count, 'experiment')} in {path}")


def main() -> None:
    """Run a command; report an error in one sentence and exit with its status."""
    with standard_streams():
        try:
            require_utf8()
            limit_spinning()
            app()
        except TailproofError as error:
            report(error)
            sys.exit(error.status)


if __name__ == "__main__":
    main()
