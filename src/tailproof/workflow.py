"""What the rules know of experiments: inputs, parameters and resources. None needs Snakemake."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from tailproof.config.base import NAME
from tailproof.config.draws import read_draws
from tailproof.config.experiment import Experiment
from tailproof.config.expert_recipes import (
    all_recipes,
    is_head,
    largest_recipe,
    max_over_recipes,
    possible_recipes,
)
from tailproof.config.features import backbones_by_key, shard_fields
from tailproof.config.folds import read_folds
from tailproof.config.frozen_backbone import FrozenBackbone
from tailproof.config.lint import warnings
from tailproof.config.model import Model
from tailproof.config.recipe import Recipe, pretrained_models
from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER
from tailproof.config.validation import load_experiment
from tailproof.config.weights import HUB, weights_source
from tailproof.data.raw_checksums import RawFiles, files_to_read, replaced_raw
from tailproof.digests import sha256_file
from tailproof.preflight.gate import blocking_message
from tailproof.preflight.slurm_resources import measured_resource
from tailproof.project import EXPERIMENTS, FEATURES, STORES, WEIGHTS, Paths
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.file_name_encoding import require_utf8
from tailproof.runtime.records import read_record, record_path
from tailproof.runtime.stages import EXPERT
from tailproof.untrusted_text import is_encodable, printable

LEAST_SPACE = 2**20  # bytes that Snakemake itself may need

InputFunction = Callable[[Any], Any]
"""A function of a rule's wildcards: an input function, a parameter or a resource."""


class Pipeline:
    """The experiments of a project, as the rules see them. Each is read once.

    Methods that take `wildcards` are input functions, parameters or resources of a rule; others
    return such functions.

    Args:
        paths: the folders of the project.
        warn: is called with each sentence about an experiment that looks like a mistake.
    """

    def __init__(self, paths: Paths, warn: Callable[[str], None]) -> None:
        self._paths, self._warn = paths, warn
        self._experiments: dict[str, Experiment] = {}
        self._features: dict[str, dict[str, FrozenBackbone]] = {}
        self._raw: dict[str, RawFiles] = {}
        self._sentences: dict[tuple[Any, ...], str] = {}

    def read(self, name: str) -> Experiment:
        """Return the configuration of an experiment.

        Raises:
            TailproofError: it does not exist or is wrong.
        """
        if name not in self._experiments:
            path = (EXPERIMENTS / f"{name}.yaml").as_posix()
            read = load_experiment(path)
            if read.preflight.ignore:
                from tailproof.preflight.findings import validate_ignore  # slow to import

                validate_ignore(read.preflight.ignore, path)
            for warning in [*warnings(read), *self._weights_of_other_splits(name, read)]:
                self._warn(f"{path}: {warning}")
            self._experiments[name] = read
        return self._experiments[name]

    def _weights_of_other_splits(self, name: str, experiment: Experiment) -> Iterator[str]:
        """Warn about weights of another experiment whose splits differ from those of this one."""
        models = pretrained_models(all_recipes(experiment).values()).values()
        files = [file for model in models if (file := weights_source(model.weights))]
        others = {inside[0] for file in files if (inside := self._paths.inside(file))}
        for other in sorted(others - {name, *STORES}):
            with suppress(TailproofError):  # another experiment's mistake is its own
                data = load_experiment(EXPERIMENTS / f"{other}.yaml").data
                if shard_fields(data) != shard_fields(experiment.data):
                    yield (
                        f"recipe.model.weights are of the experiment '{other}', whose data "
                        "section differs, so they may have been trained on images that are in "
                        "test here: use the same data section in both"
                    )

    def check_folder(self, folder: Path) -> None:
        """Check that Snakemake can work in a folder.

        Raises:
            TailproofError: its path is not UTF-8 or has braces, its disk or that of temporary
                files is full, or Python reads file names in another encoding than UTF-8.
        """
        require_utf8()
        if not is_encodable(str(folder)):
            raise TailproofError(
                f"the path {printable(str(folder))} is not valid UTF-8: rename the folder, or move "
                "the project (convmv converts names from other encodings)"
            )
        if "{" in str(folder) or "}" in str(folder):
            raise TailproofError(
                f"the path {folder} has braces, which Snakemake takes for a pattern: rename the "
                "folder, or move the project"
            )
        temporary = tempfile.gettempdir()
        for place, advice in (folder, ""), (temporary, ", or set TMPDIR to a folder elsewhere"):
            disk = shutil.disk_usage(place)
            if disk.total and disk.free < LEAST_SPACE:
                raise TailproofError(
                    f"the disk of {place} is full ({disk.free:,} bytes are left), and Snakemake "
                    f"writes there before the first job: free some space{advice}"
                )

    def check_requested(self, words: Iterable[str], listed: Iterable[str]) -> None:
        """Read the experiments of the requested files, else those listed in config.yaml.

        Args:
            words: the words of the command line.
            listed: names of experiments.

        Raises:
            TailproofError: an experiment does not exist or is wrong, or has no such expert.
        """
        targets = [parts for word in words if len(parts := self._paths.inside(word) or ()) > 1]
        targets = [parts for parts in targets if parts[0] not in STORES]
        for name, *below in targets or [(name,) for name in listed]:
            experiment = self.read(name)
            if len(below) > 2 and below[0] == "experts":
                possible_recipes(experiment, below[1])

    def experiment(self, wildcards: Any) -> Experiment:
        """Return the configuration of the wildcards' experiment."""
        return self.read(wildcards.experiment)

    def recipe(self, wildcards: Any) -> Recipe:
        """Return the recipe of the wildcards' expert; see `largest_recipe`."""
        return largest_recipe(self.experiment(wildcards), wildcards.expert)

    def of_expert(self, function: Callable[[Experiment, str], Any]) -> InputFunction:
        """Apply a function of an experiment and an expert's name to the wildcards."""
        return lambda wildcards: function(self.experiment(wildcards), wildcards.expert)

    def max_over_recipes(self, amount: Callable[[Recipe], int]) -> InputFunction:
        """Return a resource: the largest amount that any expert or point needs."""
        return lambda wildcards: max_over_recipes(self.experiment(wildcards), amount)

    def measured(self, name: str) -> InputFunction:
        """Return a resource of a training job as the preflight measured it, once it has run."""

        def amount(wildcards: Any) -> int:
            timing = self._paths.experiment(wildcards.experiment) / "preflight_timing.json"
            return measured_resource(self.recipe(wildcards), timing, wildcards.expert, name)

        return amount

    def shards_of(self, *splits: str, file: str = "part-{part}.parquet") -> InputFunction:
        """Return an input function: the shards of some splits, or the facts about them."""

        def paths(wildcards: Any) -> list[str]:
            folder = self._paths.experiment(wildcards.experiment) / "shards"
            parts = part_numbers(self.experiment(wildcards))
            return _expand(f"{folder}/{{split}}/{file}", split=splits, part=parts)

        return paths

    def shards_of_networks(self, *splits: str) -> InputFunction:
        """Return an input function: the shards that an expert reads; none for a head."""
        shards = self.shards_of(*splits)

        def paths(wildcards: Any) -> list[str]:
            head = is_head(self.experiment(wildcards), wildcards.expert)
            return [] if head else shards(wildcards)

        return paths

    def shards_of_unknown(self, file: str = "part-{part}.parquet") -> InputFunction:
        """Return an input function: the shards of unknown pictures, or the facts about them."""
        return lambda wildcards: self.shards_of(
            *self.experiment(wildcards).data.splits_of_unknown, file=file
        )(wildcards)

    def unknown_of_network(self, wildcards: Any) -> list[str]:
        """Return the shards of unknown pictures that an expert reads; none for a head."""
        head = is_head(self.experiment(wildcards), wildcards.expert)
        return [] if head else self.shards_of_unknown()(wildcards)

    def unknown_manifest(self, wildcards: Any) -> list[str]:
        """Return the manifest of the unknown pictures; none if there are no such pictures."""
        path = self._paths.experiment(wildcards.experiment) / "shards" / "unknown.json"
        return [path.as_posix()] if self.experiment(wildcards).data.splits_of_unknown else []

    def unknown_features(self, wildcards: Any) -> list[str]:
        """Return the features of unknown pictures that an expert may need; or none."""
        experiment = self.experiment(wildcards)
        recipes = possible_recipes(experiment, wildcards.expert)
        return _expand(
            "{folder}/shards/unknown_features/{key}/{split}.parquet/part-{part}.parquet",
            folder=[self._paths.experiment(wildcards.experiment)],
            key=backbones_by_key(experiment.data, recipes),
            split=experiment.data.splits_of_unknown,
            part=part_numbers(experiment),
        )

    def unknown_scores(self, wildcards: Any) -> list[str]:
        """Return the scores of every evaluated expert; none if no expert says "unknown"."""
        if self.experiment(wildcards).data.unknown is None:
            return []
        return self.files_of_evaluated("unknown_scores.parquet")(wildcards)

    def known_features(self, wildcards: Any) -> list[str]:
        """Return what the experts of an ensemble keep of features; none if none says "unknown"."""
        none = self.experiment(wildcards).data.unknown is None
        return [] if none else self.files_to_combine("unknown.safetensors")(wildcards)

    def rules_of_unknown(self, wildcards: Any) -> list[str]:
        """Return the rules by which an ensemble says "unknown"; none if it does not."""
        none = self.experiment(wildcards).data.unknown is None
        folder = self._paths.experiment(wildcards.experiment)
        return [] if none else [f"{folder}/evaluation/guarantee_rules.json"]

    def files_of(
        self, experts: Callable[[Any], list[str]], file: str, **values: Iterable[str]
    ) -> InputFunction:
        """Return an input function: a file of every seed of the experts that a function names."""

        def paths(wildcards: Any) -> list[str]:
            folder = self._paths.experiment(wildcards.experiment)
            seeds = self.experiment(wildcards).seeds
            pattern = f"{folder}/{EXPERT}/{file}"
            return _expand(pattern, expert=experts(wildcards), seed=seeds, **values)

        return paths

    def files_of_evaluated(self, file: str, **values: Iterable[str]) -> InputFunction:
        """Return an input function: a file of every evaluated expert and seed."""
        return self.files_of(lambda w: self.experiment(w).evaluated, file, **values)

    def files_to_combine(self, file: str, **values: Iterable[str]) -> InputFunction:
        """Return an input function: a file of every expert of an ensemble, with one seed."""
        return lambda wildcards: _expand(
            f"{self._paths.experiment(wildcards.experiment)}/{EXPERT}/{file}",
            expert=self.experiment(wildcards).combined,
            seed=[wildcards.seed],
            **values,
        )

    def logits_to_calibrate(self, wildcards: Any) -> list[str]:
        """Return the raw logits on which the calibrators of an expert are fitted and chosen."""
        return _expand(
            f"{self._paths.experiment(wildcards.experiment)}/{EXPERT}/raw_logits/{{split}}.parquet",
            expert=[wildcards.expert],
            seed=[wildcards.seed],
            split=self.experiment(wildcards).calibration.splits,
        )

    def folds(self, wildcards: Any) -> list[str]:
        """Return the names of the experiments of all folds; see `read_folds`."""
        return read_folds(wildcards.experiment)

    def files_of_folds(self, file: str) -> InputFunction:
        """Return an input function: a file of the experiment of every fold."""
        return lambda wildcards: [
            f"{self._paths.experiment(name)}/{file}" for name in self.folds(wildcards)
        ]

    def logits_of_folds(self, *splits: str) -> InputFunction:
        """Return an input function: the calibrated logits of every fold, expert and seed."""

        def paths(wildcards: Any) -> list[str]:
            experiment = self.experiment(wildcards)
            return _expand(
                f"{{folder}}/{EXPERT}/logits/{{split}}.parquet",
                folder=map(self._paths.experiment, self.folds(wildcards)),
                expert=experiment.evaluated,
                seed=experiment.seeds,
                split=splits,
            )

        return paths

    def draws(self, wildcards: Any) -> dict[str, int]:
        """Return the seed of the data of each draw, by its experiment; see `read_draws`."""
        return read_draws(wildcards.experiment)

    def metrics_of_draws(self, wildcards: Any) -> list[str]:
        """Return the metrics of the experiment of every draw."""
        return [
            f"{self._paths.experiment(name)}/evaluation/metrics.json"
            for name in self.draws(wildcards)
        ]

    def pooled(self, wildcards: Any) -> list[str]:
        """Return the metrics of all folds and of all draws that exist and are of this experiment.

        The report shows them. They are left out once the experiment has changed, until its folds
        or draws are written again.
        """
        readers = {"cross_fit": read_folds, "draws": read_draws}
        found = []
        for stage, read in readers.items():
            path = self._paths.experiment(wildcards.experiment) / stage / "metrics.json"
            if path.exists():
                try:
                    read(wildcards.experiment)
                    found.append(path.as_posix())
                except TailproofError as error:
                    self._warn(f"the report leaves out {path}: {error}")
        return found

    def rung_standing(self, wildcards: Any, rung: int) -> str | list[str]:
        """Return the file with the points promoted to a rung; none for the first rung."""
        return self._winner(wildcards, f"rung-{rung - 1}.json") if rung > 1 else []

    def selection_of(self, wildcards: Any) -> str | list[str]:
        """Return the file with the selection of the sweep; none without a sweep."""
        swept = self.experiment(wildcards).sweep
        return self._winner(wildcards, "selection.json") if swept else []

    def pairs_to_group(self, wildcards: Any) -> str | list[str]:
        """Return the near duplicates that split keeps together; none if it does not."""
        grouped = self.experiment(wildcards).data.near_duplicates == "group"
        return self._near_duplicates(wildcards, "pairs.parquet") if grouped else []

    def context_of(self, wildcards: Any) -> str | list[str]:
        """Return the columns of context of an experiment; none if it names none."""
        named = self.experiment(wildcards).data.context
        return f"{self._paths.experiment(wildcards.experiment)}/context.parquet" if named else []

    def leakage_of(self, wildcards: Any) -> str | list[str]:
        """Return the counts of near duplicates in different splits; none without a search."""
        off = self.experiment(wildcards).data.near_duplicates == "off"
        return [] if off else self._near_duplicates(wildcards, "leakage.json")

    def records_so_far(self, wildcards: Any) -> list[str]:
        """Return the records of all jobs before the report."""
        return expected_records(wildcards.experiment, self.experiment(wildcards))

    def stopping_sentences(self, name: str, manifest: Path) -> str:
        """Return the preflight's errors that are not ignored; empty if training may start.

        Raises:
            TailproofError: the manifest is damaged.
        """
        key = name, manifest, manifest.stat().st_mtime_ns
        if key not in self._sentences:
            experiment = self.read(name)
            ignored = experiment.preflight.ignore
            self._sentences[key] = blocking_message(manifest, all_recipes(experiment), ignored)
        return self._sentences[key]

    def raw_of(self, name: str) -> RawFiles:
        """Return the raw files of an experiment's source; none if prepare downloads them.

        Raises:
            TailproofError: the source is missing or wrong.
        """
        if name not in self._raw:
            listed = self._paths.experiment(name) / "raw.parquet"
            downloads, data = self._downloads(name), self.read(name).data
            self._raw[name] = RawFiles([], None) if downloads else files_to_read(data, listed)
        return self._raw[name]

    def replaced_raw(self, name: str) -> list[str]:
        """Return the raw files that were replaced since prepare read them, whatever their time.

        Raises:
            TailproofError: the source is missing or wrong.
        """
        if self._downloads(name):
            return []
        try:
            record = read_record(record_path(name, "prepare", "prepare"))
        except TailproofError:
            return []  # prepare runs anyway, or the audit reports the record
        return replaced_raw(
            self.read(name).data,
            self._paths.experiment(name) / "raw.parquet",
            record.started.timestamp(),
            self._paths.raw_status(name),
        )

    def pretrained_of(self, *suffixes: str) -> InputFunction:
        """Return an input function: the weights that an expert may start from, and their facts."""
        return lambda wildcards: self._weights(
            possible_recipes(self.experiment(wildcards), wildcards.expert), suffixes
        )

    def pretrained_of_all(self, *suffixes: str) -> InputFunction:
        """Return an input function: the weights of all experts and points, or their facts."""
        return lambda wildcards: self._weights(
            all_recipes(self.experiment(wildcards)).values(), suffixes
        )

    def _weights(self, recipes: Iterable[Recipe], suffixes: Iterable[str]) -> list[str]:
        return self._files_of_weights(pretrained_models(recipes), suffixes)

    def _files_of_weights(self, keys: Iterable[str], suffixes: Iterable[str]) -> list[str]:
        files = map(self._paths.weights, keys)
        return [file.with_suffix(suffix).as_posix() for file in files for suffix in suffixes]

    def weights_of(self, key: str) -> Model:
        """Return the model whose weights have a key: that of an experiment, or one of timm.

        Raises:
            TailproofError: no experiment has such weights.
        """
        for name in experiment_names():
            with suppress(TailproofError):  # another experiment's mistake is its own
                if model := pretrained_models(all_recipes(self.read(name)).values()).get(key):
                    return model
        if "--" in key:
            raise TailproofError(f"no experiment starts from the weights '{key}'")
        return Model(name=key, weights=HUB)

    def own_weights(self, key: str) -> list[str]:
        """Return the files of an expert in this project that others start from; or none."""
        file = weights_source(self.weights_of(key).weights)
        if file is None or not self._paths.inside(file):
            return []
        return [file.as_posix(), file.with_name("config.json").as_posix()]

    def _foreign_weights(self, key: str) -> Path | None:
        """Return the file that weights come from; None for the hub and experts of this project."""
        file = weights_source(self.weights_of(key).weights)
        return None if file is None or self._paths.inside(file) else file

    def weights_digest(self, key: str) -> str | None:
        """Return the SHA-256 of the file that weights come from, or what its record says.

        Once they have been fetched, the file need not be there. None for weights of the hub, and of
        an expert of this project.
        """
        file = self._foreign_weights(key)
        if file is None:
            return None
        if file.is_file():
            return sha256_file(file)
        with suppress(TailproofError):
            return read_record(record_path(WEIGHTS, "fetch", key)).parameters["sha256"]
        raise TailproofError(
            f"recipe.model.weights: {file} does not exist: correct the path, or copy the file there"
        )

    def weights_config_digest(self, key: str) -> str | None:
        """Return the SHA-256 of config.json next to the file that weights come from, or None.

        If the weights are no longer there, it is what the record says; see `weights_digest`.
        """
        file = self._foreign_weights(key)
        if file is None:
            return None
        if file.is_file():
            config = file.with_name("config.json")
            return sha256_file(config) if config.is_file() else None
        with suppress(TailproofError):
            return read_record(record_path(WEIGHTS, "fetch", key)).parameters.get("config")
        return None

    def features_of(self, *splits: str) -> InputFunction:
        """Return an input function: the features that an expert may be trained on; or none."""

        def paths(wildcards: Any) -> list[str]:
            experiment = self.experiment(wildcards)
            recipes = possible_recipes(experiment, wildcards.expert)
            return _expand(
                "{folder}/{split}.parquet/part-{part}.parquet",
                folder=map(self._paths.features, backbones_by_key(experiment.data, recipes)),
                split=splits,
                part=part_numbers(experiment),
            )

        return paths

    def backbone_of_features(self, key: str) -> FrozenBackbone:
        """Return the backbone that the features with a key are of.

        Raises:
            TailproofError: no experiment needs them.
        """
        return next(iter(self._experiments_with(key).values()))

    def pretrained_of_features(self, *suffixes: str) -> InputFunction:
        """Return an input function: the weights whose features are computed, and their facts."""
        return lambda wildcards: self._files_of_weights(
            filter(None, [self.backbone_of_features(wildcards.key).model.weights_key]), suffixes
        )

    def shards_of_features(self, file: str) -> InputFunction:
        """Return an input function: the shards of a part of all splits, or the facts about them.

        They are those of the first experiment that needs the features. If they have been computed
        from the shards of another one, it is that one, so that a new experiment changes nothing.
        """

        def paths(wildcards: Any) -> list[str]:
            name = self._experiment_of_features(wildcards.key, wildcards.part)
            folder = self._paths.experiment(name) / "shards"
            return _expand(f"{folder}/{{split}}/{file}", split=SPLITS, part=[wildcards.part])

        return paths

    def pixel_sums_of_features(self, wildcards: Any) -> list[str]:
        """Return the facts about all shards of train if images are normalized by them; or none."""
        if self.backbone_of_features(wildcards.key).normalize is not True:
            return []
        name = self._experiment_of_features(wildcards.key, wildcards.part)
        folder, parts = self._paths.experiment(name) / "shards", part_numbers(self.read(name))
        return [f"{folder}/train/part-{part}.json" for part in parts]

    def records_of_features(self, names: Iterable[str]) -> list[str]:
        """Return the records of the features that experiments need."""
        needed = {
            (key, part): None
            for name in names
            for experiment in [self.read(name)]
            for key in backbones_by_key(experiment.data, all_recipes(experiment).values())
            for part in part_numbers(experiment)
        }
        return [record_path(FEATURES, "embed", f"{key}-{part}") for key, part in needed]

    def _experiments_with(self, key: str) -> dict[str, FrozenBackbone]:
        """Return the experiments that need features, with their backbone."""
        if key not in self._features:
            for name in experiment_names():
                with suppress(TailproofError):  # another experiment's mistake is its own
                    experiment = self.read(name)
                    recipes = all_recipes(experiment).values()
                    for needed, backbone in backbones_by_key(experiment.data, recipes).items():
                        self._features.setdefault(needed, {})[name] = backbone
        if key not in self._features:
            problem = f"no valid experiment uses the features '{key}'"
            raise TailproofError(f"{problem}: correct the experiment that does")
        return self._features[key]

    def _experiment_of_features(self, key: str, part: str) -> str:
        """Return the experiment whose shards are embedded; see `shards_of_features`."""
        names = list(self._experiments_with(key))
        with suppress(TailproofError):  # a missing record, or one that the audit reports
            for file in read_record(record_path(FEATURES, "embed", f"{key}-{part}")).inputs:
                name, *_ = self._paths.inside(file.path) or ("",)
                if name in names:
                    return name
        return names[0]

    def _downloads(self, name: str) -> bool:
        return getattr(self.read(name).data.source, "download", False)

    def _near_duplicates(self, wildcards: Any, file: str) -> str:
        return f"{self._paths.experiment(wildcards.experiment)}/near_duplicates/{file}"

    def _winner(self, wildcards: Any, file: str) -> str:
        return f"{self._paths.experiment(wildcards.experiment)}/experts/{WINNER}/{file}"


def experiment_names() -> list[str]:
    """Return the names of all experiments of the project, sorted.

    Raises:
        TailproofError: one has the name of a store.
    """
    names = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    names = [name for name in names if re.fullmatch(NAME, name)]
    if taken := sorted(set(STORES) & set(names)):
        raise TailproofError(
            f"{EXPERIMENTS / taken[0]}.yaml: '{taken[0]}' is the name of a folder that all "
            "experiments share: give the experiment another name"
        )
    return names


def part_numbers(experiment: Experiment) -> list[str]:
    """Return the part numbers of a split, as written in file names."""
    return [f"{part:05d}" for part in range(experiment.data.shards_per_split)]


def expected_records(name: str, experiment: Experiment) -> list[str]:
    """Return the paths of the records of all jobs that run before the report."""
    return [record_path(name, *job.split("/")) for job in expected_jobs(experiment)]


def _expand(pattern: str, **values: Iterable[Any]) -> list[str]:
    """Return a path for each combination of values, the last one changing fastest."""
    return [
        pattern.format(**dict(zip(values, chosen, strict=True)))
        for chosen in product(*values.values())
    ]
