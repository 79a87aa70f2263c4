"""Where a step is computed: by one process on one device, or by several that hold the same weights (DDP)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from finetune.config import TrainConfig
from finetune.flops import CostModel
from finetune.learner import Learner, Micro, moved
from finetune.optimisers import OPTIMISER_FILE, fill_optimisers, has_bf16_units, make_optimisers, optimiser_tensors
from finetune.stages import odd_numbers, train_mode
from qwen_audio.model.joint import QwenAudio

T = TypeVar("T")
NO_BUFFERS = next(name for name in ("forward_sync_buffers", "broadcast_buffers") if name in signature(DistributedDataParallel).parameters)


class Single:
    """One process on one device; what ranks do together is trivial here.

    Attributes:
        rank, ranks: this process's number and how many there are.
        kind: names how the optimiser's state is stored: "whole", or by shares.
        cost: the operations of what is learned; from `take` on.
    """

    kind = "whole"
    rank, ranks = 0, 1
    left_out = True  # whether a step is left out where the gradient is not finite
    scale = 1.0  # what a loss is multiplied by so that gradients, as the ranks combine them, are its own

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device

    @property
    def weights_dtype(self) -> torch.dtype:
        """In which numbers a model is loaded; what learns is held in float32 whatever they are, but for DeepSpeed's.

        Under adapters the frozen weights need no more than the numbers that are multiplied.
        """
        return torch.bfloat16 if self.config.bf16 and self.config.lora_r else torch.float32

    @property
    def autocast(self) -> torch.dtype | None:
        """The numbers to multiply in, None for the weights' own."""
        return torch.bfloat16 if self.config.bf16 else None

    def take(self, learner: Learner, groups: Sequence[dict[str, Any]]) -> None:
        """Take what is to learn, and build the optimisers of its groups; see stages.parameter_groups."""
        self.learner, self.cost = learner.to(self.device), CostModel(learner.model)
        self.groups = list(groups)
        self.shares = [float(group["share"]) for group in groups]
        self.optimisers = make_optimisers(self.config, groups, self.device)

    def backward(self, micro: Micro, scales: Sequence[float], *, last: bool) -> tuple[Tensor, Tensor]:
        """Add the gradients of a micro-batch and return the sums of its losses, (3,), and the loss of each learned position, (n,).

        Args:
            scales: see Learner.forward.
            last: whether this is the step's last micro-batch.
        """
        with self._gathering(last):
            loss, sums, each = self._forward(micro._replace(batch=moved(micro.batch, self.device)), scales)
            loss.backward()
        return sums, each

    def _gathering(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def _forward(self, micro: Micro, scales: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        loss, sums, each = self.learner(micro, scales)
        return loss, sums, each

    def update(self, rate: float) -> float:
        """Take an optimiser step at a learning rate and return the gradient's norm; without a step where that is not finite."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
        parameters = [p for group in self.groups for p in group["params"] if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm or math.inf))
        if math.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
        self.forget()
        return norm

    def forget(self) -> None:
        """Drop the gradients."""
        for group in self.groups:
            for parameter in group["params"]:
                parameter.grad = None

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add numbers up over the ranks."""
        return list(values)

    def gather(self, value: T) -> list[T]:
        """Collect a value of every rank, at every rank."""
        return [value]

    def barrier(self) -> None:
        """Wait for the other ranks."""

    @contextmanager
    def speaker(self) -> Iterator[QwenAudio]:
        """Give the model, whole at every rank and in one kind of numbers, to answer with; in the end it is as before, ready to learn."""
        model = self.learner.model
        wide = {parameter: parameter.data for parameter in odd_numbers(model)}
        for parameter in wide:
            parameter.data = parameter.data.to(model.dtype)
        try:
            yield model
        finally:
            for parameter, data in wide.items():
                parameter.data = data
            train_mode(self.learner)

    def weights(self, *, learning: bool = False) -> dict[str, Tensor]:
        """Return the learner's tensors by name, whole, or only those that learn, as the first rank needs them; none at the others."""
        if learning:
            return {name: parameter.detach() for name, parameter in self.learner.named_parameters() if parameter.requires_grad}
        return self.learner.state_dict()

    def write_optimiser(self, folder: Path) -> None:
        """Write the optimisers' states into a checkpoint that is being made."""
        save_file(optimiser_tensors(self.optimisers), folder / OPTIMISER_FILE)

    def read_optimiser(self, folder: Path, ranks: int) -> None:
        """Fill the optimisers from a checkpoint that so many ranks wrote.

        Raises:
            CheckpointError: it holds other parameters.
        """
        fill_optimisers(self.optimisers, load_file(folder / OPTIMISER_FILE), folder)

    def close(self) -> None:
        """Leave the other ranks."""


class Parallel(Single):
    """One of several processes that hold the same weights and average their gradients (torch's DDP)."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.scale = float(self.ranks)  # gradients are averaged; ours are shares of one sum

    def take(self, learner: Learner, groups: Sequence[dict[str, Any]]) -> None:
        """See Single.take."""
        super().take(learner, groups)
        ids: Any = [self.device.index] if self.device.type == "cuda" else None
        still: Any = {NO_BUFFERS: False}  # they are positions alone, which never change
        self.wrapped = DistributedDataParallel(self.learner, device_ids=ids, **still)

    def _gathering(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last else self.wrapped.no_sync()

    def _forward(self, micro: Micro, scales: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        loss, sums, each = self.wrapped(micro, scales)
        return loss, sums, each

    def sum(self, values: Sequence[float]) -> list[float]:
        """See Single.sum; in float64, in the order of the ranks."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def gather(self, value: T) -> list[T]:
        """See Single.gather."""
        found: list[Any] = [None] * self.ranks
        dist.all_gather_object(found, value)
        return found

    def barrier(self) -> None:
        """See Single.barrier."""
        dist.barrier()

    def weights(self, *, learning: bool = False) -> dict[str, Tensor]:
        """See Single.weights."""
        return super().weights(learning=learning) if self.rank == 0 else {}

    def write_optimiser(self, folder: Path) -> None:
        """See Single.write_optimiser: every rank has the same."""
        if self.rank == 0:
            super().write_optimiser(folder)

    def close(self) -> None:
        """See Single.close."""
        dist.destroy_process_group()


def settled(config: TrainConfig, device: torch.device) -> TrainConfig:
    """Settle what the settings leave to the device: bfloat16 on accelerators and on CPUs that have units for it."""
    return config if config.bf16 is not None else replace(config, bf16=has_bf16_units(device))
