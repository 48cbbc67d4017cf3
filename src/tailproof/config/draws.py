"""Several draws of the splits: writes and reads the experiment of each seed of the data."""

from typing import Any

from tailproof.config.derived import Derived, experiment_path, refuse_seen_images
from tailproof.config.validation import load_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.runtime.errors import TailproofError


def write_draws(name: str) -> list[str]:
    """Write the experiments of all draws but the first, which is the experiment itself.

    Returns:
        Their paths.

    Raises:
        TailproofError: the experiment is wrong or has no `data.seeds`, or a file exists that is
            not of these draws.
    """
    return _draws(name).write()


def read_draws(name: str) -> dict[str, int]:
    """Return the seed of the data of each draw, by the name of its experiment.

    Raises:
        TailproofError: the experiments are missing or wrong, or differ from the one that they are
            made from as it is now.
    """
    names = [name, *_draws(name).check()]
    return dict(zip(names, load_experiment(experiment_path(name)).data.seeds, strict=True))


def _draws(name: str) -> Derived:
    path = experiment_path(name)
    experiment = load_experiment(path)
    seeds = experiment.data.seeds
    if not seeds:
        first = experiment.data.seed
        raise TailproofError(
            f"{path} has no data.seeds: add the seeds of the draws to the section data, such as "
            f"'seeds: [{first}, {first + 1}, {first + 2}]'"
        )
    refuse_seen_images(name, experiment)
    value = read_yaml(path)
    values = {str(seed): _draw(value, seed) for seed in seeds[1:]}
    return Derived(name, "draw", f"tailproof draws {name}", values)


def _draw(value: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the plain values of the experiment of a draw."""
    data = {key: section for key, section in value["data"].items() if key != "seeds"}
    return {**value, "title": f"{value['title']}, draw {seed}", "data": {**data, "seed": seed}}
