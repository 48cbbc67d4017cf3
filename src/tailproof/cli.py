"""The command line interface `tailproof`."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tailproof.commands import experts, projects, proof, runs
from tailproof.output import report, standard_streams
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.file_name_encoding import require_utf8
from tailproof.runtime.process import limit_spinning, require_folder

app = typer.Typer(
    help="Start a project, follow its runs, use its experts, and prove and share its results.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS = {
    "Start": (
        projects.init,
        projects.import_,
        projects.folds,
        projects.draws,
        projects.fetch,
        projects.preflight,
    ),
    "Follow the runs": (runs.status, runs.watch, runs.track, runs.diagnose),
    "Use an expert": (
        experts.predict,
        experts.bundle,
        experts.export,
        experts.review,
        experts.relabel,
        experts.retrain,
    ),
    "Prove a number": (
        proof.audit,
        proof.lineage,
        proof.reproduce,
        proof.upgrade,
        proof.attest,
        proof.sign,
        proof.verify,
        proof.contains,
    ),
    "Share": (proof.publish, proof.restore, proof.crate, proof.log, proof.index),
}
"""All commands by the panel of the help that lists them."""

for panel, listed in COMMANDS.items():
    for command in listed:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)


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
            require_folder()
            limit_spinning()
            app()
        except TailproofError as error:
            report(error)
            sys.exit(error.status)


if __name__ == "__main__":
    main()
