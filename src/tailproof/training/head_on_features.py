"""A head that learns from stored features of a frozen backbone."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailproof.config.head import Linear
from tailproof.config.optimizer import Cosine
from tailproof.config.recipe import Recipe, WholePhase
from tailproof.digests import known_sha256
from tailproof.features.concatenation import open_features
from tailproof.features.heads import Targets, make_head
from tailproof.features.loader import FeatureLoader
from tailproof.features.merging import check_weights, own_classifier, save_merged
from tailproof.features.store import FeatureSplit
from tailproof.runtime.signals import REQUEST
from tailproof.training.checkpoint_store import lock_run, state_key
from tailproof.training.distributed import ProcessGroup
from tailproof.training.multi_head import Heads
from tailproof.training.run import TrainingRun
from tailproof.training.train import train

IN_ONE_PASS: dict[str, Any] = {
    "epochs": 1,
    "validate_every": 1,
    "early_stopping": None,
    "schedule": Cosine(),
    "phases": [],
}
"""What replaces the fields of a recipe whose head is fitted without a loss."""


class HeadOnFeatures:
    """A head that is trained on features; see `tailproof.training.learner`.

    Args:
        train, val: the features.
        recipe: the recipe.
    """

    def __init__(self, train: FeatureSplit, val: FeatureSplit, recipe: Recipe) -> None:
        self.configured = recipe
        self.recipe = recipe.model_copy(update=IN_ONE_PASS) if recipe.is_fitted else recipe
        self._config = recipe.head or Linear()
        self.train, self.val, self.manifest = train, val, train.manifest
        self._heads = Heads(self.manifest, recipe)
        labels = self._heads.labels(train.labels).numpy()
        self._targets = Targets(labels, list(self._heads.sizes.values()))

    @classmethod
    def open(
        cls, manifest: str | Path, folders: Sequence[str | Path], recipe: Recipe
    ) -> "HeadOnFeatures":
        """Open the features in the folder of each backbone.

        Raises:
            TailproofError: a file is missing or damaged, or has features of other shards or weights
                than those of the manifest and the recipe.
        """
        train, val = (open_features(folders, manifest, name) for name in ("train", "val"))
        check_weights(recipe.models, train)
        return cls(train, val, recipe)

    def loaders(
        self, seed: int, device: torch.device, ranks: ProcessGroup
    ) -> tuple[list[FeatureLoader], FeatureLoader]:
        """Return the training loader of each phase, and that of validation."""
        recipe = self.recipe

        def loader(split: FeatureSplit, phase: WholePhase) -> FeatureLoader:
            return FeatureLoader(
                split,
                batch_size=phase.batch_size,
                training=split is self.train,
                sampler=phase.sampler,
                seed=seed,
                drop_last=recipe.drop_last,
                memory_budget=recipe.cache_gb * 2**30,
                device=device,
            )

        phases = recipe.timeline
        return [loader(self.train, phase) for phase in phases], loader(self.val, phases[0])

    def model(self, outputs: int, device: torch.device) -> nn.Module:
        """Return the head on the device: fitted, or with its initial weights."""
        own = partial(own_classifier, self.recipe.model, self._heads.names, self.train)
        return make_head(self._config, self.train, self._targets, own).to(device)

    def initialize(self, *_: Any) -> bool:
        """Return False: no weights depend on the data, except those a fitted head has already."""
        return False

    def precision(self, device: torch.device) -> str:
        """Return fp32."""
        return "fp32"

    def forward(
        self, model: nn.Module, device: torch.device, precision: str
    ) -> Callable[[Tensor], Tensor]:
        """Return the head itself."""
        return model

    def export(
        self, folder: Path, model: nn.Module, class_names: list[str], facts: dict[str, Any]
    ) -> None:
        """Write model.safetensors and config.json of the backbones with the head."""
        save_merged(
            folder,
            model,
            config=self._config,
            models=self.recipe.models,
            split=self.train,
            targets=self._targets,
            class_names=class_names,
            facts=facts,
        )


def launch_head(
    manifest: str | Path,
    features: Sequence[str | Path],
    recipe: Recipe,
    seed: int,
    folder: str | Path,
    states: str | Path,
    code: str,
    until: int,
    digests: dict[str, str],
    teacher: str | Path | None = None,
) -> None:
    """Train a head; see `tailproof.training.launcher.launch`.

    Args:
        manifest: shards/manifest.json.
        features: the folder of the features of each backbone.
        recipe: the recipe.
        seed: seed of the initial weights, sample order and views.
        folder: folder for the files that `train` writes.
        states: folder of the states of all runs.
        code: digest of the training code.
        until: last epoch of this round of a sweep; 0 trains to the end.
        digests: SHA-256 of inputs that were already hashed, by path.
        teacher: what the stage teach wrote, for a student.

    Raises:
        Interrupted: a signal asked the run to stop; its state is saved.
        TailproofError: features, weights, data and recipe do not fit together.
    """
    learner = HeadOnFeatures.open(manifest, features, recipe)
    files = [*learner.train.paths, *learner.val.paths, *([teacher] if teacher else [])]
    start = [known_sha256(path, digests) for path in files]
    key = state_key(learner.manifest, recipe, seed, code, start)
    with lock_run(Path(states) / key), REQUEST.save_first():
        run = TrainingRun(learner, seed, ProcessGroup(1), until, teacher)
        train(run, folder, states, key, REQUEST)
