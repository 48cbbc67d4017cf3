"""Commands about results: whether they still hold, where they are from, sharing them."""

import sys
from typing import Annotated

import typer

from tailproof.commands.experiment_argument import Experiment
from tailproof.output import say
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


def audit(
    experiment: Experiment,
    all_images: Annotated[
        bool, typer.Option("--all-images", help="Compare the pixels of every image of train.")
    ] = False,
) -> None:
    """Hash all files again and report which are proven, stale, altered, orphan or missing."""
    from tailproof.provenance.audit import audit as audit_experiment
    from tailproof.provenance.audit import print_audit
    from tailproof.recomputation.recompute import recompute
    from tailproof.terminal import Console

    result = audit_experiment(experiment, all_images=all_images, recompute=recompute)
    print_audit(result, Console())
    if not result.passed:
        sys.exit(1)


def reproduce(
    experiment: Experiment,
    jobs: Annotated[
        int, typer.Option(min=1, help="Number of jobs to draw at random and run again.")
    ] = 5,
    everything: Annotated[
        bool, typer.Option("--all", help="Run all jobs again, from the raw data.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Draw only jobs that this version or commit of tailproof ran."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder for the report. Default: reproduction/NAME.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--sign", metavar="KEY", help="Sign the report with this private key in PEM."),
    ] = None,
) -> None:
    """Run recorded jobs again, in a scratch project, and compare what they write.

    No file below the folder of results is changed.
    """
    from tailproof.provenance.reproduction_report import reproduce_and_report
    from tailproof.provenance.signatures import PrivateKey

    signer = None if key is None else PrivateKey.read(key)
    number = None if everything else jobs
    if not reproduce_and_report(experiment, number, seed, against, output, signer):
        sys.exit(1)


def upgrade(experiment: Experiment) -> None:
    """List the stages that this version of tailproof would run again, and why."""
    from tailproof.provenance.upgrade import print_stale_stages

    print_stale_stages(experiment)


def restore(experiment: Experiment) -> None:
    """Verify the files of a clone or pull against the ledger; mark intact ones as up to date."""
    from tailproof.provenance.restore import restore as restore_experiment

    restored = restore_experiment(experiment)
    for path, why in restored.damaged.items():
        say(f"to rebuild  {path}  {why}")
    say(
        f"{quantity(len(restored.proven), 'file')} marked as up to date, because their content "
        "matches the ledger"
    )


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


def lineage(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PATH[#KEY]", help="A results file that a job wrote; KEY names one value in it."
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


def attest(
    experiment: Experiment,
    fingerprints: Annotated[
        bool,
        typer.Option(
            "--fingerprints",
            help="Put fingerprints of all images into the folders, so that `tailproof contains` "
            "works with a copy.",
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
    say(
        "check whether you may share these folders: their records name "
        f"{', '.join(attested.people)} and the commands that ran"
    )


def crate(experiment: Experiment) -> None:
    """Export a finished run as an RO-Crate, and its shards as a Croissant dataset."""
    from tailproof.provenance.export.ro_crate import write_crate

    say(write_crate(experiment))


def log() -> None:
    """Write the log of all runs, also those in the git history: results/log.html, log.md."""
    from pathlib import Path

    from tailproof.report.log_page import write_log
    from tailproof.runtime.git import missing_history

    paths, count = write_log()
    say(f"{quantity(count, 'run')} in {' and '.join(map(str, paths))}")
    if missing := missing_history(Path()):
        say(missing)


def index() -> None:
    """Write an index of all experiments, finished or in progress: results/index.html."""
    from tailproof.report.index_page import write_index

    path, count = write_index()
    say(f"{quantity(count, 'experiment')} in {path}")


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
    """Show which images, or copies of them, were in train, val, calib, tune, dev or test.

    Exits with status 3 if any was; if none was, with 1 if some cannot be read, and else with 0.
    """
    from tailproof.provenance.contains import contains as contains_images
    from tailproof.terminal import Console

    if status := contains_images(expert, images, as_csv=as_csv, console=Console(highlight=False)):
        sys.exit(status)


def sign(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAME",
            help="Folder of an expert, folder of a report of `reproduce`, or name of an attested "
            "experiment.",
        ),
    ],
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Private elliptic-curve key in PEM.")
    ] = None,
    keyless: Annotated[
        bool, typer.Option("--keyless", help="Sign with an identity at Sigstore; needs a network.")
    ] = False,
) -> None:
    """Sign attested experts in the format of OpenSSF Model Signing, and statements as DSSE.

    A report of `tailproof reproduce` is signed in the same format.
    """
    from tailproof.provenance.sign import sign as sign_target
    from tailproof.provenance.signatures import Identity, PrivateKey

    if (key is None) != keyless:
        count = "neither" if key is None else "both"
        raise TailproofError(
            f"expected either --key KEY or --keyless, which needs a network, found {count}: give "
            "one of them"
        )
    folders, jobs = sign_target(target, Identity() if key is None else PrivateKey.read(key))
    for folder in folders:
        say(f"signed {folder}")
    if jobs:
        say(f"signed the statements about {quantity(jobs, 'job')}")


def verify(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder of an expert, of an experiment, or of a report of `reproduce`, or a copy."
        ),
    ],
    key: Annotated[
        str | None, typer.Option(metavar="PUB", help="The signer's public key in PEM.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Identity of the signer, if signed without a key, such as a@b.org."
        ),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="OpenID issuer that vouches for the identity, such as https://accounts.google.com.",
        ),
    ] = None,
) -> None:
    """Verify an attested expert or a report from its folder alone, and show what that proves."""
    from tailproof.provenance.signatures import open_signer
    from tailproof.provenance.verify import print_verification
    from tailproof.provenance.verify import verify as verify_folder
    from tailproof.terminal import Console

    verification = verify_folder(folder, open_signer(key, identity, issuer))
    print_verification(verification, Console(highlight=False))
