"""The input of a network's classifier: the features of images, next to their logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailproof.models.timm_network import as_timm
from tailproof.runtime.errors import TailproofError


def with_features(model: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits [N, outputs] and the features [N, D] of normalized images.

    Features are averaged over the positions of a map or sequence, and over the views of an image.

    Raises:
        TailproofError: the network has no classifier that gets features.
    """
    with _classifier_inputs(model) as seen:
        logits = model(*inputs)
    if not seen:
        raise TailproofError(
            "the network has no classifier that takes its features as input: remove "
            "data.unknown, or choose another model"
        )
    return logits, torch.stack([_pooled(values) for values in seen]).mean(0)


@contextmanager
def _classifier_inputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list to which each call of the classifier adds its input."""
    classifier: Any = as_timm(model).get_classifier()
    seen: list[Tensor] = []
    if isinstance(classifier, tuple | list):  # one for each token that distils
        classifier = classifier[0]
    hook = classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


def _pooled(values: Tensor) -> Tensor:
    if values.ndim == 4:  # a classifier of 1 × 1 convolutions gets a map
        return values.mean((2, 3))
    return values.mean(1) if values.ndim == 3 else values
