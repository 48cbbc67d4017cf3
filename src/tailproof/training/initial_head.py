"""The mean features of each class, which a cosine head starts from."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.loading import Loader
from tailproof.models.network_parts import head_modules
from tailproof.training.builders import Forward


@torch.no_grad()
def class_means(
    forward: Forward,
    loader: Loader,
    one_hot: Callable[[np.ndarray], Tensor],
    total: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the normalized mean of the features of each class, as weights of the head [C, D].

    A class without images keeps its weights. The features of an image are the mean of those of its
    views.

    Args:
        forward: forward pass of the model.
        loader: delivers the training images without augmentation.
        one_hot: returns the classes of rows of the split, float32 [B, C].
        total: sums a tensor over the process ranks.
    """
    model = forward.model.eval()
    name = head_modules(model)[0]
    head, weight = model.get_submodule(name), model.get_parameter(f"{name}.weight")
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _head, inputs: seen.append(inputs[0].double()))
    sums = torch.zeros_like(weight, dtype=torch.float64)
    counts = sums[:, 0].clone()
    for batch in loader.epoch(1):
        seen.clear()
        forward(batch.inputs)
        features = torch.stack(seen).mean(0)[: batch.real]
        classes = one_hot(batch.rows[: batch.real]).double()
        sums += classes.T @ features
        counts += classes.sum(0)
    hook.remove()
    means = F.normalize(total(sums), dim=1).to(weight.dtype)
    return torch.where(total(counts)[:, None] > 0, means, weight)
