"""What learns in each stage of training, at which share of the rate, and by which optimiser; said and checked before the first step."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from torch import Tensor, nn

from finetune.config import TrainConfig
from qwen_audio.errors import ConfigError
from qwen_audio.model.encoder import Encoder
from qwen_audio.model.joint import QwenAudio

HEARING: Final = re.compile(r"(encoder|audio_bounds|heads)\.")
LEARNS: Final[Mapping[str, Callable[[str], bool]]] = {
    "pretrain": lambda name: HEARING.match(name) is not None,
    "sft": lambda name: HEARING.match(name) is None,
    "joint": lambda name: True,
    # Its losses read the states: what follows them in the model is neither computed nor learned.
    "encoder": lambda name: not re.match(r"(decoder|audio_bounds|encoder\.(norm|projection))\.", name),
}
"""Stage -> whether the parameter of a name learns in it. "heads" are a run's own losses of the encoder."""

BESIDE_ADAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "pretrain": ("encoder.norm.*", "encoder.projection.*", "audio_bounds.*", "heads.*"),
    "sft": (),
    "joint": ("heads.*",),
    "encoder": ("heads.*",),
}
"""Stage -> what learns whole, as patterns of names, where LoRA adapters take the place of everything else."""

ADAPTER: Final = re.compile(r"\.lora_[AB]\.|^decoder\.embedding\.rows$")
PARTS: Final[Mapping[str, re.Pattern[str]]] = {
    "encoder adapters": re.compile(r"encoder\..*\.lora_[AB]\."),
    "decoder adapters": re.compile(r"decoder\..*\.lora_[AB]\."),
    "rows of new tags": re.compile(r"decoder\.embedding\.rows$"),
    "encoder convolutions": re.compile(r"encoder\.conv"),
    "encoder blocks": re.compile(r"encoder\.blocks\."),
    "encoder norm, projection": re.compile(r"encoder\."),
    "audio bounds": re.compile(r"audio_bounds\."),
    "embedding": re.compile(r"decoder\.embedding\."),
    "decoder blocks": re.compile(r"decoder\.blocks\."),
    "decoder norm": re.compile(r"decoder\.norm\."),
    "head": re.compile(r"decoder\.head\."),
    "losses of the encoder": re.compile(r"heads\."),
}
"""Part, as it is printed -> names of its parameters; the first that fits counts."""


def choose(module: nn.Module, config: TrainConfig) -> None:
    """Freeze what the stage leaves as it is, and set the parts' modes.

    Args:
        module: a QwenAudio, or what holds one as `model` with the encoder's own losses as `heads`. Adapters are in it already.
    Raises:
        ConfigError: nothing would learn, or an adapter lies where the stage learns nothing.
    """
    for name, parameter in named(module):
        parameter.requires_grad_(learns(name, config))
    check_learning(module, config)
    train_mode(module)


def hold_in_float32(module: nn.Module) -> None:
    """Hold what learns in float32, whatever the frozen weights are in: small steps would be lost in less."""
    for _, parameter in named(module):
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def odd_numbers(model: QwenAudio) -> list[nn.Parameter]:
    """List what is held in other numbers than the model, adapters apart, which see to their numbers themselves."""
    return [parameter for name, parameter in named(model) if parameter.dtype != model.dtype and not ADAPTER.search(name)]


def learns(name: str, config: TrainConfig) -> bool:
    """Tell whether a parameter learns: by its stage, or with LoRA by being an adapter's or named beside them."""
    if not config.lora_r:
        return LEARNS[config.stage](name)
    return ADAPTER.search(name) is not None or any(fnmatchcase(name, pattern) for pattern in BESIDE_ADAPTERS[config.stage])


def check_learning(module: nn.Module, config: TrainConfig) -> None:
    """Refuse a model in which something else learns than the stage says.

    Raises:
        ConfigError: it names parameters that learn and should not, or should and do not.
    """
    mode = f"stage {config.stage}" + (f" with LoRA of rank {config.lora_r}" if config.lora_r else "")
    found = {name: parameter.requires_grad for name, parameter in named(module)}
    if config.lora_r and not any(map(ADAPTER.search, found)):
        raise ConfigError(f"{mode}: the model has no adapters; inject them first")
    if not any(found.values()):
        raise ConfigError(f"{mode}: nothing learns; choose another stage or give the modules adapters (lora_target)")
    strays = [name for name in found if ADAPTER.search(name) and not name.endswith(".rows") and not LEARNS[config.stage](name)]
    if strays:
        raise ConfigError(
            f"{mode}: adapters lie in what this stage leaves as it is ({_some(strays)}); name other modules with lora_target, or take "
            "stage joint"
        )
    surplus = [name for name, learning in found.items() if learning and not learns(name, config)]
    lacking = [name for name, learning in found.items() if not learning and learns(name, config)]
    if surplus or lacking:
        wrong = [f"{_some(names)} {verb}" for names, verb in ((surplus, "must not learn"), (lacking, "must learn")) if names]
        raise ConfigError(f"{mode}: {'; '.join(wrong)}")


def train_mode(module: nn.Module) -> None:
    """Put everything into train mode but for a model's encoder where it is frozen: that behaves as it does in use.

    A frozen decoder stays in train mode: it scales positions as in training and keeps or recomputes what the backward pass needs.
    """
    module.train()
    for encoder in (part for part in module.modules() if isinstance(part, Encoder)):
        encoder.train(any(parameter.requires_grad for parameter in encoder.parameters()))


def parameter_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Sort what learns into groups for the optimisers.

    Weight decay lies on matrices alone, never on embeddings, norms and biases.

    Returns:
        mappings as torch's optimisers take them, with "share" (of the learning rate) and "optim" (adamw or muon) beside.
    """
    groups: defaultdict[tuple[str, float, float], list[nn.Parameter]] = defaultdict(list)
    layers = encoder_layers(module)
    for name, parameter in named(module):
        if parameter.requires_grad:
            optim = "muon" if config.optim == "muon" and parameter.ndim == 2 and ".blocks." in name else "adamw"
            decay = config.weight_decay if optim == "muon" or decays(name, parameter) else 0.0
            groups[optim, decay, share_of_rate(name, layers, config)].append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "share": share, "optim": optim}
        for (optim, decay, share), parameters in groups.items()
    ]


def decays(name: str, parameter: Tensor) -> bool:
    """Tell whether weight decay lies on a parameter."""
    shape = getattr(parameter, "ds_shape", parameter.shape)  # the whole one, where a rank holds but a part
    return len(shape) >= 2 and "embedding" not in name and "audio_bounds" not in name


def share_of_rate(name: str, layers: int, config: TrainConfig) -> float:
    """Return the share of the rate: in pretrain 1 above the encoder's last block, encoder_lr_decay less for each block below.

    Args:
        layers: the encoder's blocks; its convolutions lie one below the first.
    """
    if config.stage != "pretrain" or not name.startswith("encoder."):
        return 1.0
    if name.startswith("encoder.conv"):
        return config.encoder_lr_decay ** (layers + 1)
    block = re.match(r"encoder\.blocks\.(\d+)\.", name)
    return config.encoder_lr_decay ** (layers - int(block[1])) if block else 1.0


def describe(module: nn.Module, config: TrainConfig) -> str:
    """Tell in a table what learns: part, parameters, how many of them learn, and at which peak rates."""
    rows: dict[str, list[float]] = {}  # parameters, of them learning, lowest and highest rate
    layers = encoder_layers(module)
    for name, parameter in named(module):
        part = next((part for part, pattern in PARTS.items() if pattern.match(name)), "other")
        row = rows.setdefault(part, [0, 0, float("inf"), 0.0])
        row[0] += count(parameter)
        if parameter.requires_grad:
            rate = config.learning_rate * share_of_rate(name, layers, config)
            row[1], row[2], row[3] = row[1] + count(parameter), min(row[2], rate), max(row[3], rate)
    total, learning = (sum(row[i] for row in rows.values()) for i in (0, 1))
    lines = [f"{'part':<25}{'parameters':>15}{'learning':>15}  peak learning rate"]
    for part, (size, learned, low, high) in rows.items():
        rates = "-" if not learned else f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        lines.append(f"{part:<25}{int(size):>15,}{int(learned):>15,}  {rates}")
    lines.append(f"{'all':<25}{int(total):>15,}{int(learning):>15,}  {100 * learning / max(total, 1):.2f} % learn")
    return "\n".join(lines)


def named(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield parameters by their names in a QwenAudio, whatever holds it."""
    for name, parameter in module.named_parameters():
        yield name.removeprefix("module.").removeprefix("model."), parameter


def count(parameter: Tensor) -> int:
    """Count a parameter's numbers, also where a rank holds but a part of them."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def encoder_layers(module: nn.Module) -> int:
    """Count the blocks of the encoder in a module."""
    return next((len(part.blocks) for part in module.modules() if isinstance(part, Encoder)), 0)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
