"""Commands that use an expert: answers about images, other formats, corrected labels."""

import shlex
import sys
from typing import Annotated

import typer

from tailproof.commands.experiment_argument import Experiment, with_extensions
from tailproof.output import say


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
            help="Add a set of classes that holds the true one with this probability, such as 0.9.",
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
            help=(
                "Accept as many answers as possible while the share of wrong ones stays below "
                "this, such as 0.05."
            )
        ),
    ] = None,
    by_group: Annotated[
        bool,
        typer.Option(
            "--by-group",
            help="With --risk: keep the share of wrong answers below it in each class group "
            "(many, medium, few), not only over all answers.",
        ),
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
            help=(
                "Table with the column 'file' and the columns of the expert's context, such as "
                "habitat."
            ),
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder",
            help=(
                "Give one answer for all images in each folder, or with the same value in this "
                "column of --table."
            ),
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="CSV table with the column 'file' and the column that --group names."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Text file with the possible classes, one per line.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="CSV table with the columns 'class' and 'count': how frequent each class is."
        ),
    ] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Estimate from the images how frequent each class is.")
    ] = False,
) -> None:
    """Classify images with an expert: calibrated probabilities, accepted or rejected.

    Needs only the expert's folder.
    """
    from tailproof.predict.command import predict_images
    from tailproof.predict.option_rules import Promised

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


def export(
    expert: Annotated[
        str,
        typer.Argument(
            help="Folder of an expert or a bundle: results/NAME/experts/EXPERT/seed-S, or a copy."
        ),
    ],
    onnx: Annotated[str, typer.Option(metavar="FILE", help="The file to write, such as a.onnx.")],
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help=(
                "Image file or folder for the comparison; needed for a copy outside its experiment."
            ),
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Quantize the network to 8 bits, and count the answers that change."
        ),
    ] = False,
) -> None:
    """Export an expert as one ONNX file, which is kept only if it gives the same answers."""
    from tailproof.onnx_export.command import export as export_expert

    parity = export_expert(expert, onnx, images or [], int8=int8)
    say(parity.sentence())
    say(f"wrote {onnx} and {onnx}.json")


def bundle(
    experiment: Experiment,
    method: Annotated[
        str, typer.Option(help="Ensemble: stacked, mean_logits or mean_probabilities.")
    ] = "stacked",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the experts. Default: the first one.")
    ] = None,
) -> None:
    """Write an ensemble as one folder, which predicts like the folder of an expert.

    First runs the jobs whose files are missing.
    """
    from tailproof.bundle.command import build_bundle
    from tailproof.provenance.snakemake_bridge import run

    folder = build_bundle(experiment, method, seed, run)
    say(f"built {folder}; next: tailproof predict {shlex.quote(str(folder))} IMAGES…")


def retrain(
    expert: Annotated[
        str,
        typer.Argument(
            help="Folder of a head on features: results/NAME/experts/EXPERT/seed-S.",
            callback=with_extensions,
        ),
    ],
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS",
            help="Table with the columns 'sample_id' and 'label'; or the queue of `tailproof "
            "review` with the column 'verified' filled in; or Label Studio's export (CSV or JSON).",
        ),
    ],
    output: Annotated[str, typer.Option(metavar="FOLDER", help="New folder for the new head.")],
) -> None:
    """Fit a new head to verified labels, and compare it with the old one, which is kept."""
    from tailproof.retraining.retrain import retrain as retrain_head
    from tailproof.retraining.retrain import summary

    for line in summary(retrain_head(expert, labels, output)):
        say(line)
    say(f"wrote {output}; {expert} is unchanged, and no stage reads the new head")


def review(
    experiment: Experiment,
    number: Annotated[
        int, typer.Option(min=1, help="Maximum number of images in the queue.")
    ] = 100,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Split to review; repeat the option for several. Default: val, calib, tune and "
            "dev, that is, all but train and test."
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Review the images in this folder instead of a split."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="New folder. Default: review/NAME.")
    ] = None,
) -> None:
    """List the images that a person should review, as a page and as tasks for Label Studio.

    Use the answers with `tailproof relabel` or `tailproof retrain`.
    """
    from tailproof.review.review import review as review_experiment

    result = review_experiment(experiment, number, split or (), images, output)
    for line in result.summary():
        say(line)
    say(f"look at them in {result.folder}/index.html")


def relabel(
    experiment: Experiment,
    answers: Annotated[
        str,
        typer.Argument(
            metavar="ANSWERS",
            help="The queue with its column verified filled in, or Label Studio's export.",
        ),
    ],
    output: Annotated[str, typer.Option(metavar="TABLE.csv", help="New table of all labels.")],
) -> None:
    """Write a table of all labels, in which verified labels replace the given ones."""
    from tailproof.retraining.relabel import write_label_table

    for line in write_label_table(experiment, answers, output).summary():
        say(line)
