"""What is loaded from the folder of an expert: networks, probabilities, rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tailproof.digests import sha256_file
from tailproof.evaluation.deployment import Deployment
from tailproof.features import backbone_with_head  # noqa: F401 - it registers a network
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.models.expert_weights import load_model
from tailproof.models.weights_header import read_header
from tailproof.predict.bundle_networks import load_networks
from tailproof.predict.expert_folder import (
    WEIGHTS,
    BundleFolder,
    ExpertFolder,
    check_weights,
    full_scale,
    is_bundle,
)
from tailproof.predict.network import Network
from tailproof.predict.posterior import Outputs, Posterior
from tailproof.predict.preparation import Preparation
from tailproof.predict.promises import read_guarantees


@dataclass(frozen=True)
class LoadedExpert:
    """A loaded expert.

    Its parts can be used one by one: `raw_logits` turns prepared images into raw logits,
    `posterior` those into calibrated log-probabilities, and `tailproof.predict.answers.answer`
    those into answers.

    Attributes:
        folder: its folder.
        networks: what computes raw logits.
        posterior: what makes probabilities of them.
        deployment: the content of deployment.json.
    """

    folder: Path
    networks: tuple[Network, ...]
    posterior: Posterior
    deployment: Deployment

    @property
    def target(self) -> str:
        """The taxonomic rank that decisions refer to."""
        return self.posterior.target

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Class names of each rank that is answered, the target's first."""
        return self.posterior.classes

    @property
    def device(self) -> str:
        """The kind of device that computes."""
        return self.networks[0].device.type

    @cached_property
    def preparations(self) -> list[Preparation]:
        """What the networks take of an image, each once."""
        every = (one for network in self.networks for one in network.preparations)
        return list(dict.fromkeys(every))

    def raw_logits(self, images: Sequence[tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
        """Return the raw logits of each expert, float32 [N, outputs], by its name.

        Args:
            images: N images, each as `tailproof.predict.image_files.prepare_image` makes it for
                `preparations`.

        Raises:
            TailproofError: a network does not accept the images, or a logit is not finite.
        """
        stacked = [np.stack(column) for column in zip(*images, strict=True)]
        logits: dict[str, np.ndarray] = {}
        for network in self.networks:
            places = map(self.preparations.index, network.preparations)
            logits |= network.raw_logits(*(stacked[place] for place in places))
        return logits

    def with_features(self) -> "LoadedExpert":
        """Return an expert whose raw logits come with features; see `Network.raw_logits`."""
        networks = tuple(replace(network, with_features=True) for network in self.networks)
        return replace(self, networks=networks)

    def guarantees(self) -> ExpertGuarantees:
        """Return the content of guarantees.json.

        Raises:
            TailproofError: the file is missing, damaged, or does not belong to the expert.
        """
        return read_guarantees(self.folder, self.deployment, self.posterior)


def load_expert(folder: str | Path) -> LoadedExpert:
    """Load an expert or an ensemble from its folder or a copy of it.

    Raises:
        TailproofError: it is not such a folder, or its files are damaged, of another version, or do
            not belong together.
    """
    return _load_ensemble(folder) if is_bundle(folder) else _load_single(folder)


def _load_single(folder: str | Path) -> LoadedExpert:
    files = ExpertFolder.read(folder)
    weights = files.path / WEIGHTS
    read_header(weights)
    check_weights(files, sha256_file(weights))
    config, name = files.config, files.deployment.expert
    model = load_model(weights, config)
    target = config.tailproof.target
    outputs = Outputs(config.classes, files.calibration.calibrators(target))
    scale = full_scale(files.deployment)
    return LoadedExpert(
        files.path,
        (Network.of({name: config.num_classes}, model, config, scale),),
        Posterior(target, {name: outputs}),
        files.deployment,
    )


def _load_ensemble(folder: str | Path) -> LoadedExpert:
    files = BundleFolder.read(folder)
    bundle, weights = files.bundle, files.path / WEIGHTS
    read_header(weights)
    check_weights(files, sha256_file(weights))
    outputs = {
        name: Outputs(expert.config.classes, expert.calibration.calibrators(bundle.target))
        for name, expert in bundle.experts.items()
    }
    return LoadedExpert(
        files.path,
        load_networks(weights, bundle, full_scale(files.deployment)),
        Posterior(
            bundle.target,
            outputs,
            bundle.method,
            tuple(expert.weight for expert in bundle.experts.values()),
        ),
        files.deployment,
    )
