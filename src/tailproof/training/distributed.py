"""Communication between the processes that train one expert together."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tailproof.runtime.errors import TailproofError

PATIENCE = timedelta(minutes=10)  # how long a collective waits for the slowest rank


class ProcessGroup:
    """One of the processes that train an expert; with one process, every method is the identity.

    Args:
        world: number of processes, all started by torchrun.

    Attributes:
        rank: rank of this process, from 0.
        world: number of processes.

    Raises:
        TailproofError: torchrun started a different number of processes.
    """

    def __init__(self, world: int) -> None:
        self.rank, self.world = 0, world
        if world == 1:
            return
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started != world:
            raise TailproofError(
                f"expected {world} processes (recipe.devices × recipe.nodes), but torchrun "
                f"started {started}: start the run with snakemake, which starts as many"
            )
        self.rank = int(os.environ["RANK"])
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        # Decisions are exchanged between CPUs, without waiting for a GPU.
        self._control = dist.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def main(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all ranks."""
        if self.world == 1:
            return values
        values = values.clone()
        dist.all_reduce(values, group=None if values.is_cuda else self._control)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set on any rank."""
        if self.world == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self._control)
        return raised.bool().tolist()

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with gradients averaged over the ranks."""
        if self.world == 1:
            return model
        # Without the search for unused parameters, the first update of a process sums gradients in
        # a different order than later ones, and a resumed run would not be bit-identical.
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=True,
        )

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Copy the buffers of rank 0 to all ranks; batch-norm statistics differ between ranks."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def shutdown(self) -> None:
        """Wait for all ranks and leave the process group."""
        if self.world > 1:
            dist.barrier(group=self._control)
            dist.destroy_process_group()
