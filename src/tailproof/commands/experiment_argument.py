"""The argument that names an experiment."""

from typing import Annotated

import typer

from tailproof.runtime.errors import TailproofError


def with_extensions(experiment: str) -> str:
    """Import the project's extensions, which its configuration may name."""
    from tailproof.extensions import import_extensions

    import_extensions()
    return experiment


def _named(experiment: str) -> str:
    """Refuse what is a path, because all paths of an experiment are made of its name."""
    import re

    from tailproof.config.base import NAME

    if not re.fullmatch(NAME, experiment):
        raise TailproofError(
            f"'{experiment}' is not the name of an experiment, expected NAME of "
            "config/experiments/NAME.yaml"
        )
    return with_extensions(experiment)


Experiment = Annotated[
    str,
    typer.Argument(
        help="Name of an experiment: NAME in config/experiments/NAME.yaml.", callback=_named
    ),
]
