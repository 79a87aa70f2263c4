"""Where a model runs and in which numbers."""

from __future__ import annotations

import torch

from qwen_audio.errors import ConfigError


def find_device(name: str) -> torch.device:
    """Return the device that a name means; ConfigError where it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}: expected auto, cpu, cuda, cuda:N or mps") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not there[device.type] or (device.index or 0) >= count:
        found = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise ConfigError(f"device is {name!r}: this torch ({torch.__version__}) finds {found}{f' ({count} GPUs)' if count > 1 else ''}")
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the numbers that a name means on a device."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
