"""What training changes in a network, and what stays unchanged: the frozen rest."""

from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from tailproof.digests import sha256_bytes

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def freeze(network: nn.Module, parameters: set[str]) -> None:
    """Freeze parameters by name."""
    for name in parameters:
        network.get_parameter(name).requires_grad_(False)


def freeze_statistics(network: nn.Module, frozen: set[str]) -> None:
    """Mark the batch norms whose statistics are frozen: those with a weight that is not trained.

    A batch norm without weights has frozen statistics if all weights of the module that it belongs
    to are frozen.

    Args:
        network: the network, with its adapters.
        frozen: names of the parameters that were frozen, without adapters.
    """
    for name, module in network.named_modules():
        if getattr(module, "running_mean", None) is None:
            continue
        own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
        parent = name.rpartition(".")[0]
        around = [own for own in frozen if own.startswith(f"{parent}.")] if not own else []
        module.has_frozen_statistics = not all(own) if own else bool(around)


def hold_statistics(network: nn.Module) -> None:
    """Keep batch norms with frozen statistics in evaluation mode; to be called after `train`."""
    for module in network.modules():
        if getattr(module, "has_frozen_statistics", False):
            module.eval()


def trained_names(network: nn.Module) -> list[str]:
    """Return the names, in the state of a network, of the tensors that training changes."""
    state = network.state_dict()
    frozen = {name for name, own in network.named_parameters() if not own.requires_grad}
    if not frozen:
        return list(state)
    changing = {
        f"{name}.{statistic}"
        for name, module in network.named_modules()
        if getattr(module, "running_mean", None) is not None
        and not getattr(module, "has_frozen_statistics", False)
        for statistic in STATISTICS
    }
    constant = {name for name, _ in network.named_buffers()} - changing
    return [name for name in state if name not in frozen | constant]


class TrainedWeights:
    """The tensors that training changes: of a network, or of a copy of it such as its average.

    Args:
        network: the network as it is trained.

    Attributes:
        names: their names in the state of the network.
        frozen: SHA-256 of all other tensors; empty if there are none.
    """

    def __init__(self, network: nn.Module) -> None:
        state = network.state_dict()
        self.names = trained_names(network)
        rest = {name: state[name] for name in sorted(state.keys() - set(self.names))}
        self.frozen = sha256_bytes(save(_plain(rest))) if rest else ""

    def of(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the tensors of a network by name."""
        state = network.state_dict()
        return {name: state[name] for name in self.names}

    def load(self, network: nn.Module, tensors: dict[str, Any]) -> None:
        """Copy tensors into a network.

        Raises:
            RuntimeError: the tensors are not those of this network.
        """
        if tensors.keys() != set(self.names):
            raise RuntimeError(
                "the state is of a run that trains weights other than those of this recipe"
            )
        network.load_state_dict(tensors, strict=False)


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: own.detach().cpu().contiguous().clone() for name, own in tensors.items()}
