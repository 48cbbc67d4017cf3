"""Process ranks: how the processes that train one expert together agree with one another."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tailproof.runtime.errors import TailproofError

PATIENCE = timedelta(minutes=10)  # for the slowest rank, in a collective


class ProcessGroup:
    """One process among those that train one expert; alone, every method is the identity.

    Args:
        world: number of processes, each started by torchrun.

    Attributes:
        rank: of this process, from 0.
        world: number of processes.

    Raises:
        TailproofError: torchrun started another number of processes.
    """

    def __init__(self, world: int) -> None:
        self.rank, self.world = 0, world
        if world == 1:
            return
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started != world:
            raise TailproofError(
                f"the recipe asks for {world} processes (devices × nodes), {started} were started"
            )
        self.rank = int(os.environ["RANK"])
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        # Decisions are taken on processors: no wait for a GPU.
        self._control = dist.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all ranks."""
        if self.world == 1:
            return values
        values = values.clone()
        dist.all_reduce(values, group=None if values.is_cuda else self._control)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether any rank raised it."""
        if self.world == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self._control)
        return raised.bool().tolist()

    def broadcast(self, value: Any) -> Any:
        """Return what rank 0 says."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with gradients averaged over the ranks."""
        if self.world == 1:
            return model
        # Without the search for unused parameters the first update of a process adds gradients in
        # another order than the later ones, and a resumed run would end in other bits.
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=True,
        )

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Give every rank the buffers of rank 0: each has its own statistics of norms."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def shutdown(self) -> None:
        """Wait for the others and part."""
        if self.world > 1:
            dist.barrier(group=self._control)
            dist.destroy_process_group()
