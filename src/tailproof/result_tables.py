"""The results of an experiment as pandas tables: `tailproof.results` returns them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailproof.config.splits import CALIBRATED, SPLITS
from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.history import History
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError, suggestion, unknown_name
from tailproof.text import listed
from tailproof.untrusted_text import printable

if TYPE_CHECKING:
    import pandas as pd

KINDS = {"experts": "expert", "ensembles": "ensemble"}
SEED = re.compile(r"seed-(\d+)")


@dataclass(frozen=True)
class Results:
    """The results of an experiment, finished or not; each table is read when it is asked for.

    Attributes:
        name: name of the experiment.
        folder: the folder of its results.
    """

    name: str
    folder: Path

    @cached_property
    def seeds(self) -> dict[str, list[int]]:
        """The seeds of each expert that has a folder."""
        found: dict[str, list[int]] = {}
        for path in sorted(self.folder.glob("experts/*/seed-*")):
            if match := SEED.fullmatch(path.name):
                found.setdefault(path.parent.name, []).append(int(match[1]))
        return {expert: sorted(seeds) for expert, seeds in found.items()}

    def expert(self, expert: str, seed: int | None = None) -> Path:
        """Return the folder of an expert, which `tailproof.open` takes.

        Args:
            expert: name of the expert.
            seed: its seed. Default: the first one.

        Raises:
            TailproofError: there is no such expert or seed.
        """
        if expert not in self.seeds:
            raise unknown_name("expert", printable(expert), self.seeds)
        seeds = self.seeds[expert]
        chosen = seeds[0] if seed is None else seed
        if chosen not in seeds:
            raise TailproofError(
                f"'{expert}' of '{self.name}' has no seed {chosen}, expected one of "
                f"{listed(list(map(str, seeds)))}"
            )
        return self.folder / "experts" / expert / f"seed-{chosen}"

    @property
    def metrics(self) -> "pd.DataFrame":
        """The metrics of every method over all seeds: a row per split, method and metric.

        Raises:
            TailproofError: the experiment is not evaluated yet.
        """
        return _table(
            {"split": split, "method": method, "kind": kind, "metric": metric, **fields}
            for method, kind, values in self._methods()
            for split, metrics in values["over_seeds"].items()
            for metric, fields in metrics.items()
        )

    @property
    def metrics_by_seed(self) -> "pd.DataFrame":
        """The metrics of every method and seed: a row per split, method, seed and metric.

        Raises:
            TailproofError: the experiment is not evaluated yet.
        """
        return _table(
            {"split": split, "method": method, "kind": kind, "seed": int(seed), "metric": metric}
            | fields
            for method, kind, values in self._methods()
            for seed, splits in values["seeds"].items()
            for split, metrics in splits.items()
            for metric, fields in metrics.items()
        )

    @property
    def histories(self) -> "pd.DataFrame":
        """The learning curves: a row per expert, seed and epoch.

        Raises:
            TailproofError: a history is damaged, or there is none yet.
        """
        rows = [
            {"expert": expert, "seed": seed, **row}
            for expert, seeds in self.seeds.items()
            for seed in seeds
            if (path := self.expert(expert, seed) / "history.csv").exists()
            for row in History.read(path).rows
        ]
        if not rows:
            raise TailproofError(
                f"'{self.name}' has no history yet: train it with snakemake, or see its state with "
                f"`tailproof status {self.name}`"
            )
        return _table(rows).astype({"epoch": int})

    def logits(
        self, expert: str, split: str = "test", seed: int | None = None, *, calibrated: bool = True
    ) -> "pd.DataFrame":
        """Return the logits of one expert on one split.

        Args:
            expert: name of the expert.
            split: val, calib, tune, dev or test; or train, of which there are no calibrated ones.
            seed: its seed. Default: the first one.
            calibrated: whether they are calibrated.

        Returns:
            A row per sample, with its id as the index: the class of each rank, its weight, and
            the logits in columns ``RANK=CLASS``. Their softmax is the probabilities.

        Raises:
            TailproofError: there is no such expert, seed or split, or no file yet.
        """
        import pandas as pd

        there = CALIBRATED if calibrated else SPLITS
        if split not in there:
            raise unknown_name("split", printable(split), there)
        folder = self.expert(expert, seed)
        read = Logits.read(
            self._need(folder / ("logits" if calibrated else "raw_logits") / f"{split}.parquet")
        )
        classes = read_json(self._need(self.folder / "shards" / "manifest.json"))["classes"]
        table = pd.DataFrame(index=pd.Index(read.sample_ids, name="sample_id"))
        for rank, labels in read.labels.items():
            names = np.array([*classes[rank], None], dtype=object)  # -1 is no label
            table[rank] = names[labels]
        table["weight"] = read.weight
        parts = [
            pd.DataFrame(values, index=table.index, columns=[f"{rank}={n}" for n in classes[rank]])
            for rank, values in read.heads.items()
        ]
        return pd.concat([table, *parts], axis=1)

    def _methods(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        metrics = read_json(self._need(self.folder / "evaluation" / "metrics.json"))
        for field, kind in KINDS.items():
            for method, values in metrics[field].items():
                yield method, kind, values

    def _need(self, path: Path) -> Path:
        if not path.exists():
            raise TailproofError(
                f"{path} does not exist: build it with snakemake, or get it with `dvc pull`"
            )
        return path


def read_results(name: str, project: str | PathLike[str] = ".") -> Results:
    """Return the results of an experiment.

    Args:
        name: NAME of results/NAME.
        project: the folder of the project.

    Raises:
        TailproofError: the project has no results of this name.
    """
    root = Path(project, project_paths(Path(project)).results)
    folders = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    if name not in folders:
        there = f", which has {listed(sorted(folders))}" if folders else ""
        raise TailproofError(
            f"{root} has no results of '{printable(name)}'{suggestion(name, folders)}{there}: name "
            "an experiment that has been run, and the folder of its project"
        )
    return Results(name, root / name)


def _table(rows: Any) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows))
