"""Write a run's weights as a checkpoint that can be shipped."""

from __future__ import annotations

from pathlib import Path

import torch

from finetune.checkpoint import BEST, latest
from qwen_audio.config import GenerationOptions
from qwen_audio.errors import ConfigError
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.tokenizer import Tokenizer


def release(output_dir: Path | str, output: Path | str, *, best: bool = False) -> str:
    """Write a run's newest weights, or its best ones, in bfloat16 with what a reader of them needs; returns a line that says so.

    Raises:
        ConfigError: the run has no checkpoint.
    """
    folder = Path(output_dir) / BEST if best else latest(output_dir)
    if folder is None or not folder.is_dir():
        raise ConfigError(f"{output_dir}: no checkpoint of a run here{' that was measured (--best)' if best else ''} (--output-dir)")
    loaded = load_checkpoint(folder, dtype=torch.float32)
    tokenizer = Tokenizer.from_directory(folder)
    Path(output).mkdir(parents=True, exist_ok=True)
    save(
        loaded.model,
        output,
        generation=GenerationOptions(greedy=True, max_new_tokens=256),
        custom_tags=tokenizer.custom.to_mapping(),
        ranks_sha256=tokenizer.ranks_sha256,
        dtype=torch.bfloat16,
    )
    tokenizer.write_tiktoken(Path(output) / "ranks.tiktoken")
    numbers = sum(p.numel() for p in loaded.model.parameters())
    return f"{output}: {numbers / 1e6:.2f} M parameters in bfloat16 from {folder}"
