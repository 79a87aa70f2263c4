"""Save and resume a run: weights, optimiser, auxiliary heads and place in the data; whole or not at all, safetensors only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from finetune.auxiliary import Auxiliary
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer

STATE_FILE = "run.json"
OPTIMISER_FILE = "optimiser.safetensors"
HEADS_FILE = "auxiliary.safetensors"


def step_folder(output_dir: Path | str, step: int) -> Path:
    """Name the folder of a step's checkpoint."""
    return Path(output_dir) / f"step-{step:07d}"


def latest(output_dir: Path | str) -> Path | None:
    """Return the newest whole checkpoint of a run, None where there is none."""
    found = sorted(path for path in Path(output_dir).glob("step-*") if (path / STATE_FILE).is_file())
    return found[-1] if found else None


def write(
    output_dir: Path | str,
    model: QwenAudio,
    heads: nn.Module,
    optimisers: Sequence[Optimizer],
    state: Mapping[str, Any],
    *,
    tokenizer: Tokenizer,
    keep: int,
) -> Path:
    """Write the checkpoint of one step beside the others and delete the oldest past `keep`.

    Args:
        state: plain values: "step", "data" (the place in the data) and what else a resume needs.
    """
    folder = step_folder(output_dir, state["step"])
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save(model, draft, custom_tags=tokenizer.custom.to_mapping(), ranks_sha256=tokenizer.ranks_sha256)
    tokenizer.write_tiktoken(draft / "ranks.tiktoken")
    save_file({name: value.contiguous() for name, value in heads.state_dict().items()}, draft / HEADS_FILE)
    save_file(_optimiser_tensors(optimisers), draft / OPTIMISER_FILE)
    (draft / STATE_FILE).write_text(json.dumps(dict(state), indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(draft, folder)
    for old in sorted(Path(output_dir).glob("step-???????"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def read(folder: Path, model: QwenAudio, heads: nn.Module, optimisers: Sequence[Optimizer]) -> dict[str, Any]:
    """Fill model, heads and optimiser from a checkpoint and return its state.

    Raises:
        CheckpointError: it belongs to another model or other classes.
    """
    model.load_state_dict(load_checkpoint(folder, dtype=torch.float32).model.state_dict())
    try:
        heads.load_state_dict(load_file(folder / HEADS_FILE))
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the auxiliary heads do not fit; were the data or the hold-outs changed? ({error})") from error
    _fill_optimisers(optimisers, load_file(folder / OPTIMISER_FILE))
    state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    return state


def inherit(folder: Path, heads: Auxiliary) -> None:
    """Let the auxiliary heads begin where those of another run's checkpoint ended, if that folder has any."""
    if not (folder / HEADS_FILE).is_file():
        return
    classes = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["classes"]
    heads.inherit(load_file(folder / HEADS_FILE), classes)


def _optimiser_tensors(optimisers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Lay the optimisers' states out flat: NUMBER.NAME, parameters counted optimiser after optimiser, group after group."""
    return {
        f"{number}.{name}": torch.as_tensor(value).contiguous()
        for number, (optimiser, parameter) in enumerate(_parameters(optimisers))
        for name, value in optimiser.state.get(parameter, {}).items()
    }


def _fill_optimisers(optimisers: Sequence[Optimizer], tensors: Mapping[str, Tensor]) -> None:
    parameters = _parameters(optimisers)
    for name, value in tensors.items():
        number, _, field = name.partition(".")
        optimiser, parameter = parameters[int(number)]
        optimiser.state[parameter][field] = value


def _parameters(optimisers: Sequence[Optimizer]) -> list[tuple[Optimizer, Tensor]]:
    return [(optimiser, p) for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]
