"""Data-parallel training: the processes that torchrun started, or this one alone (torch.distributed)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)

PATIENCE = timedelta(days=1)  # while the first process prepares a cohort for all


@dataclass(frozen=True)
class ProcessGroup:
    """Which of `size` processes this is; the first, 0, is the one that reads scans and writes files.

    Alone, every method gives back what it got.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def part(self, indices: Tensor) -> Tensor:
        """Return this process's part of the indices of a batch, (B,) or more dimensions; it may be empty."""
        return indices[self.rank :: self.size]

    def shared(self, arrays: Sequence[NDArray[np.float32]] | None, count: int) -> list[NDArray[np.float32]]:
        """Return `count` arrays (N, H, W) of the first process; the others give None."""
        if arrays is not None and self.size == 1:
            return list(arrays)
        return [_shared(None if arrays is None else arrays[index]) for index in range(count)]

    def summed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of `values` (N,) over all processes, float64."""
        if self.size == 1:
            return values
        total = torch.from_numpy(values.copy())
        torch.distributed.all_reduce(total)
        return total.numpy()

    def joined(self, module: ModuleT) -> ModuleT:
        """Return a module whose gradients are means over all processes, and whose weights are those of the first."""
        if self.size == 1:
            return module
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)  # type: ignore[return-value]


@contextlib.contextmanager
def joined_processes(device: str) -> Iterator[ProcessGroup]:
    """Meet the processes of torchrun, gloo on CPUs and NCCL on GPUs, one GPU each; without it be alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ProcessGroup(device=device)
        return
    local = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device
    backend = "cpu:gloo,cuda:nccl" if local.startswith("cuda") else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield ProcessGroup(torch.distributed.get_rank(), torch.distributed.get_world_size(), local)
    finally:
        torch.distributed.destroy_process_group()


def leave(group: ProcessGroup) -> None:
    """End a process of torchrun at once; alone, do nothing.

    At the interpreter's end threads of gloo abort such a process now and then ("terminate called without an active
    exception"), and torchrun reports a training as failed whose model is written.
    """
    if group.size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _shared(array: NDArray[np.float32] | None) -> NDArray[np.float32]:
    shape = torch.tensor((0, 0, 0) if array is None else array.shape)
    torch.distributed.broadcast(shape, 0)
    content = torch.empty(*shape.tolist()) if array is None else torch.from_numpy(array)
    torch.distributed.broadcast(content, 0)
    received: NDArray[np.float32] = content.numpy()
    return received
