"""The command line interface `tailproof`."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tailproof.commands import answers, projects, proof, runs
from tailproof.output import report, standard_streams
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.file_name_encoding import require_utf8
from tailproof.runtime.process import limit_spinning

app = typer.Typer(
    help="Inspect, audit and publish results built by Snakemake; start a project.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS = (
    projects.init,
    projects.import_,
    projects.folds,
    projects.draws,
    projects.fetch,
    projects.preflight,
    runs.status,
    runs.watch,
    runs.track,
    runs.diagnose,
    proof.audit,
    proof.reproduce,
    proof.upgrade,
    proof.restore,
    proof.publish,
    proof.lineage,
    proof.attest,
    proof.sign,
    proof.verify,
    proof.contains,
    answers.predict,
    answers.export,
    answers.bundle,
    answers.retrain,
    answers.review,
    answers.relabel,
    proof.crate,
    proof.log,
    proof.index,
)
"""All commands, in the order of the help."""

for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)


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
