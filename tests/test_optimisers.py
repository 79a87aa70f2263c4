"""Muon in wide numbers is torch's Muon but for the rounding to bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import Muon

from finetune.config import TrainConfig
from finetune.optimisers import WideMuon, has_bf16_units, make_optimisers, orthogonal

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (40, 40)])
def test_singular_values_come_near_1_and_the_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    turned = orthogonal(matrix, COEFFICIENTS, 5)
    left, values, right = torch.linalg.svd(turned, full_matrices=False)
    assert float(values.min()) > 0.5 and float(values.max()) < 1.5
    before = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.allclose(before.U.T @ turned @ before.Vh.T, torch.diag((before.U.T @ turned @ before.Vh.T).diagonal()), atol=1e-4)
    assert left.shape[1] == right.shape[0]


@pytest.mark.parametrize("shape", [(48, 32), (32, 48)])
def test_its_steps_are_torchs_but_for_rounding(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    start, grads = torch.randn(*shape), [torch.randn(*shape) for _ in range(6)]
    found = []
    for kind in (Muon, WideMuon):
        weight = nn.Parameter(start.clone())
        optimiser = kind([weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for grad in grads:
            weight.grad = grad.clone()
            optimiser.step()
        found.append((weight.detach(), optimiser.state[weight]["momentum_buffer"]))
    (theirs, their_mean), (ours, our_mean) = found
    assert torch.equal(their_mean, our_mean)
    moved = (theirs - start).norm()
    assert float((ours - theirs).norm() / moved) < 0.01  # bfloat16 keeps eight bits


def test_it_is_taken_where_a_cpu_has_no_units_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(train_file=("rows.jsonl",), optim="muon")
    group = {"params": [nn.Parameter(torch.randn(4, 4))], "weight_decay": 0.0, "share": 1.0, "optim": "muon"}
    cpu = torch.device("cpu")
    for units, kind in (({"avx2": True}, WideMuon), ({"avx512_bf16": True}, Muon)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: units)
        (optimiser,) = make_optimisers(config, [group], cpu)
        assert type(optimiser) is kind
    assert has_bf16_units(torch.device("cuda")) and not has_bf16_units(torch.device("mps"))
