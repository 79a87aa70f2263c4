"""Optimisers: AdamW, Muon for matrices, and how their states are laid out in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from finetune.config import TrainConfig
from qwen_audio.errors import CheckpointError

OPTIMISER_FILE: Final = "optimiser.safetensors"
BF16_UNITS: Final = ("amx_bf16", "avx512_bf16", "bf16")
MATCHED_RMS: Final = 0.2  # of a step, as AdamW's is


def has_bf16_units(device: torch.device) -> bool:
    """Tell whether a device is fast at bfloat16; a CPU without units for it is tens of times slower than in float32."""
    if device.type != "cpu":
        return device.type == "cuda"
    units = torch.cpu.get_capabilities()
    return any(units.get(name, False) for name in BF16_UNITS)


class WideMuon(Muon):
    """torch's Muon, which turns matrices in bfloat16, with that done in their own numbers: for CPUs without units for bfloat16.

    Its state is Muon's, so that a run may go on from either.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step; see torch.optim.Muon."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state, grad, momentum = self.state[parameter], parameter.grad, group["momentum"]
                mean = state.setdefault("momentum_buffer", torch.zeros_like(grad))
                mean.lerp_(grad, 1 - momentum)
                turned = orthogonal(grad.lerp(mean, momentum) if group["nesterov"] else mean, group["ns_coefficients"], group["ns_steps"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(turned, alpha=-group["lr"] * MATCHED_RMS * math.sqrt(max(parameter.shape)))


def orthogonal(matrix: Tensor, coefficients: Sequence[float], steps: int) -> Tensor:
    """Bring the singular values of a matrix near 1 by Newton and Schulz's iteration, as torch.optim.Muon does.

    Source: arXiv:2502.16982, section 2.1.
    """
    a, b, c = coefficients
    turned = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    turned = turned / turned.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = turned @ turned.T
        turned = torch.addmm(turned, torch.addmm(gram, gram, gram, beta=b, alpha=c), turned, beta=a)
    return turned.T if matrix.shape[0] > matrix.shape[1] else turned


def make_optimisers(config: TrainConfig, groups: Sequence[dict[str, Any]], device: torch.device) -> list[Optimizer]:
    """Build the optimisers: Muon for the groups that ask for it, AdamW for the rest.

    Source of Muon with AdamW's step size: arXiv:2502.16982.
    """
    rate = config.learning_rate
    plain = [group for group in groups if group["optim"] == "adamw"]
    turned = [group for group in groups if group["optim"] == "muon"]
    optimisers: list[Optimizer] = []
    if plain:
        betas = (config.adam_beta1, config.adam_beta2)
        optimisers.append(AdamW([dict(group) for group in plain], betas=betas, eps=config.adam_epsilon, fused=True, lr=rate))
    if turned:
        kind = Muon if has_bf16_units(device) else WideMuon
        optimisers.append(kind([dict(group) for group in turned], adjust_lr_fn="match_rms_adamw", lr=rate))
    return optimisers


def optimiser_tensors(optimisers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Lay the optimisers' states out flat: NUMBER.NAME, parameters counted optimiser after optimiser, group after group."""
    return {
        f"{number}.{name}": torch.as_tensor(value).contiguous()
        for number, (optimiser, parameter) in enumerate(_parameters(optimisers))
        for name, value in optimiser.state.get(parameter, {}).items()
    }


def fill_optimisers(optimisers: Sequence[Optimizer], tensors: Mapping[str, Tensor], where: Path) -> None:
    """Take over what optimiser_tensors laid out.

    Raises:
        CheckpointError: other parameters learned there.
    """
    parameters = _parameters(optimisers)
    for name, value in tensors.items():
        number, _, field = name.partition(".")
        if int(number) >= len(parameters) or (value.ndim and value.shape != parameters[int(number)][1].shape):
            raise CheckpointError(
                f"{where}: the optimiser's state is of other parameters; take the former stage, optim and weight_decay, or --fresh"
            )
        optimiser, parameter = parameters[int(number)]
        # The count of steps stays where torch keeps it; moments lie beside their weights.
        optimiser.state[parameter][field] = value.to(parameter.device) if value.ndim or optimiser.defaults.get("fused") else value


def _parameters(optimisers: Sequence[Optimizer]) -> list[tuple[Optimizer, Tensor]]:
    return [(optimiser, p) for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]
