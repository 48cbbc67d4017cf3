"""A user's project: where its files are, and how `tailproof init` makes one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tailproof.files import write_text
from tailproof.runtime.errors import TailproofError

_PACKAGED = Path(__file__).resolve().with_name("pipeline")

PIPELINE = _PACKAGED if _PACKAGED.is_dir() else _PACKAGED.parents[2]
"""The folder of Snakefile, rules, workflow, envs, profiles and slurm: in a wheel, or a checkout."""

SNAKEFILE = PIPELINE / "Snakefile"
"""What a project's own Snakefile includes."""

CONFIG = Path("config", "config.yaml")
EXPERIMENTS = Path("config", "experiments")

WEIGHTS, FEATURES = "weights", "features"

STORES = (WEIGHTS, FEATURES)
"""Folders that all experiments share; no experiment has such a name."""

LARGE_FILES = {WEIGHTS: "*.safetensors", FEATURES: "*/*.parquet"}
"""What git ignores in each of them, because DVC keeps it."""

EXAMPLE = "digits_lt"
"""The experiment that a new project starts with: its data come with scikit-learn."""

COPIED = (
    "profiles",
    "slurm",
    "dvc.yaml",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    "config/schema.json",
)
"""What is copied into a project as it stands, so that its user can change it."""

README = Path("config", "README.md")

GITIGNORE = (".snakemake/", ".state/", "logs/", "raw/")


@dataclass(frozen=True)
class Paths:
    """The folders of a project, from its root; the only place that spells them.

    Next to the folder of the results are `STORES`, which experiments share. A store has files and
    records like the folder of an experiment, and takes the place of one wherever they are read.

    Attributes:
        results: the folder of all experiments: `results` in config/config.yaml. It may be on
            another disk.
        logs: the folder of the logs of all stages.
        states: the folder of the states of unfinished training runs.
    """

    results: str = "results"
    logs: str = "logs"
    states: str = ".state"

    def experiment(self, name: str) -> Path:
        """Return the folder of an experiment's results, or of a store."""
        return Path(self.results).parent / name if name in STORES else Path(self.results, name)

    def provenance(self, name: str) -> Path:
        """Return the folder of the records of an experiment or a store."""
        return self.experiment(name) / "provenance"

    def record(self, experiment: str, stage: str, name: str) -> str:
        """Return the path of the record of a job."""
        return f"{self.provenance(experiment).as_posix()}/{stage}/{name}.json"

    def page(self, name: str) -> str:
        """Return the path of an experiment's report."""
        return f"{self.results}/{name}/report/index.html"

    def logs_of(self, name: str) -> Path:
        """Return the folder of an experiment's logs."""
        return Path(self.logs, name)

    @property
    def training_states(self) -> Path:
        """The folder of the states of training runs."""
        return Path(self.states, "train")

    @property
    def embedding_states(self) -> Path:
        """The folder of what unfinished jobs of the stage embed have computed."""
        return Path(self.states, "embed")

    def raw_status(self, name: str) -> Path:
        """Return the file with the status of raw files of an experiment that were hashed again."""
        return Path(self.states, "raw", f"{name}.parquet")

    def inside(self, path: str | Path) -> tuple[str, ...] | None:
        """Return the experiment or store that holds a path, and the parts of the path in it.

        None for a path outside of all, or that leads out of them by a part ``..``.
        """
        path = Path(path)
        for store in (*STORES, ""):
            folder = self.experiment(store)
            if path.is_relative_to(folder):
                parts = path.relative_to(folder).parts
                return None if ".." in parts else ((store, *parts) if store else parts)
        return None

    def features_among(self, files: Iterable[Any]) -> list[str]:
        """Return the keys of the stored features that files of a record belong to."""
        places = (self.inside(file.path) for file in files)
        return [place[1] for place in places if place and place[0] == FEATURES]

    def owner_of(self, path: str | Path) -> Path | None:
        """Return the folder of results, or of a store, that a path is in when links are followed.

        Snakemake alone writes there. None for a path elsewhere.
        """
        folders = (Path(self.results), *map(self.experiment, STORES))
        place = Path(path).resolve()
        return next((one for one in folders if place.is_relative_to(one.resolve())), None)

    def check_output(self, option: str, path: str | Path) -> None:
        """Refuse what a user names for a command to write, if Snakemake alone writes there.

        Args:
            option: how the user named it, such as ``--output``.
            path: what the user named.

        Raises:
            TailproofError: it is empty, or is in a folder of results or of a store.
        """
        if not str(path):
            raise TailproofError(f"{option} is empty, expected a path")
        if owned := self.owner_of(path):
            raise TailproofError(
                f"{option} is {path}, inside {owned}, which only snakemake writes: name a place "
                "elsewhere"
            )

    def weights(self, key: str) -> Path:
        """Return the file of fetched weights; the facts about them are next to it, as JSON."""
        return self.experiment(WEIGHTS) / f"{key}.safetensors"

    def features(self, key: str) -> Path:
        """Return the folder of stored features; see `tailproof.features.store`."""
        return self.experiment(FEATURES) / key


def project_paths(root: str | Path = ".") -> Paths:
    """Return the folders of the project in `root`, read from its config/config.yaml."""
    return _read_paths(Path(root).resolve() / CONFIG)


@cache
def _read_paths(config: Path) -> Paths:
    """Read one key. Whether the file is valid is checked where all of it is loaded."""
    try:
        value = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return Paths()
    results = value.get("results") if isinstance(value, dict) else None
    return Paths(results=results.rstrip("/")) if isinstance(results, str) else Paths()


def stage_script(stage: str) -> Path:
    """Return the script of a stage."""
    return PIPELINE / "workflow" / "scripts" / f"{stage}.py"


def init_project(
    folder: str | Path, *, results: str = "results", experiment: tuple[str, str] | None = None
) -> list[str]:
    """Make a project in a new or empty folder, ready for `snakemake --cores 2`.

    Args:
        folder: the folder of the project.
        results: the folder of its results, relative to the project or absolute.
        experiment: name and YAML text of its first experiment. Default: the example.

    Returns:
        the paths of the written files, relative to the folder.

    Raises:
        TailproofError: the folder is a file or is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TailproofError(
            f"{folder} exists and is not an empty folder: name a new or empty folder"
        )
    name, text = experiment or (EXAMPLE, _read(PIPELINE / EXPERIMENTS / f"{EXAMPLE}.yaml"))
    files = {
        "Snakefile": _read(PIPELINE / "workflow" / "project" / "Snakefile"),
        CONFIG.as_posix(): _read(PIPELINE / "workflow" / "project" / "config.yaml").format(
            experiment=name, results=results
        ),
        (EXPERIMENTS / f"{name}.yaml").as_posix(): text,
        README.as_posix(): _without_links(_read(PIPELINE / README)),
        ".gitignore": "\n".join([*GITIGNORE, *_ignored(results)]) + "\n",
    }
    for relative, content in files.items():
        write_text(folder / relative, content)
    for relative in COPIED:
        _copy(PIPELINE / relative, folder / relative)
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def add_experiment(folder: str | Path, name: str, text: str) -> str:
    """Add an experiment to a project; return the path of its file.

    Raises:
        TailproofError: the project has an experiment of this name.
    """
    path = Path(folder) / EXPERIMENTS / f"{name}.yaml"
    if path.exists():
        raise TailproofError(f"{path} exists: rename or remove it first")
    write_text(path, text)
    return path.as_posix()


def _ignored(results: str) -> list[str]:
    """Return what git ignores of results inside the project: not the records and the .dvc files."""
    if Path(results).is_absolute():
        return []
    return [
        f"{results}/*/*",
        f"!{results}/*/provenance/",
        f"!{results}/*/*.dvc",
        f"{results}/*.html",
        f"{results}/*.md",
        *(f"{Paths(results).experiment(store)}/{files}" for store, files in LARGE_FILES.items()),
    ]


def _without_links(markdown: str) -> str:
    """Return the text without links to docs/, which a project does not have."""
    return re.sub(r"\[([^\]]+)\]\(\.\./docs/[^)]+\)", r"\1", markdown)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        for entry in source.iterdir():
            _copy(entry, target / entry.name)
    else:
        write_text(target, _read(source))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
