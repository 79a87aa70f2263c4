"""Settings of small runs on a tree of prepared sets, for tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.augment_config import AugmentConfig
from data.mixture.config import mixture_config
from finetune.config import TrainConfig
from qwen_audio.config import DecoderConfig, EncoderConfig


def run_config(tree: Path, **changes: Any) -> TrainConfig:
    """Describe a run on the tree; "mixture" changes settings of that section."""
    section: dict[str, Any] = {"data_root": str(tree), "sources": [{"prepared": True, "splits": str(tree / "splits"), "pairs": 10}]}
    settings: dict[str, Any] = {
        "ranks": str(tree / "ranks.tiktoken"), "output_dir": str(tree / "run"),
        "encoder": EncoderConfig(width=32, heads=2, layers=1, mlp_width=64),
        "decoder": DecoderConfig(width=32, layers=1, heads=2, kv_heads=2, head_size=16, mlp_width=64, seq_length=512),
        "max_steps": 6, "warmup_steps": 2, "save_steps": 3, "logging_steps": 2, "batch_tokens": 300, "learning_rate": 1e-3,
        "mixture": mixture_config(section | {"temperature": float("inf")} | changes.pop("mixture", {})), "bf16": False,
        "augment": AugmentConfig(), "use_cpu": True,
    }  # fmt: skip
    return TrainConfig(**(settings | changes))
