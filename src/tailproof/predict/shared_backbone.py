"""Several heads on the features of one backbone, which is computed once for all of them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tailproof.features.backbone_with_head import NetworkWithHead
from tailproof.features.head_layers import build_head
from tailproof.models.backbone_layers import layers_of
from tailproof.models.build import count_parameters
from tailproof.models.timm_network import as_timm
from tailproof.predict.bundle_file import BackboneAndHead


class SharedBackbone(nn.Module):
    """Computes the logits of all heads, one after the other.

    Args:
        network: one of `tailproof.features.backbone_with_head`, or any other model of timm, whose
            classifier is a head. Its own head is not used.
        heads: the heads.
    """

    def __init__(self, network: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.network, self.heads = network, nn.ModuleList(heads)
        self._own = isinstance(network, NetworkWithHead)
        if self._own:
            network.head = nn.Identity()

    @property
    def unused_parameters(self) -> int:
        """The parameters of a classifier that no answer uses."""
        return 0 if self._own else count_parameters(as_timm(self.network).get_classifier())

    def get_classifier(self) -> nn.Module:
        """Return a head; all heads get the same features."""
        return self.heads[0]

    def forward(self, *images: Tensor) -> Tensor:
        """Return logits [N, outputs of all heads] of images [N, C, H, W] of each input."""
        if self._own:
            features = self.network(*images)
        else:
            features = layers_of(self.network, images[0], ["penultimate"])["penultimate"]
        return torch.cat([head(features) for head in self.heads], 1)


def head_of(parts: BackboneAndHead, outputs: int, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a head with its weights, in evaluation mode.

    Args:
        parts: the parts of its network.
        outputs: number of outputs.
        tensors: the tensors of the head, by their names in its network.

    Raises:
        LookupError, RuntimeError, TypeError, ValueError: they do not fit together.
    """
    state = {name.removeprefix(parts.head_prefix): tensor for name, tensor in tensors.items()}
    width = state["mean"].shape[0] if "mean" in state else state["weight"].shape[1]
    with torch.device("meta"):
        head = build_head(parts.head, width, outputs, parts.head_options)
    head.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    return head.eval()
