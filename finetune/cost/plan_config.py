"""PlanOptions: what a plan assumes, apart from the planning so that it becomes flags without any tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from qwen_audio.config import check_choice, check_positive, option
from qwen_audio.errors import ConfigError

Device = Literal["h100", "h200", "a100", "a100-40", "cpu"]
DEVICES: Final[dict[str, tuple[float, float]]] = {
    "h100": (989e12, 80e9),
    "h200": (989e12, 141e9),
    "a100": (312e12, 80e9),
    "a100-40": (312e12, 40e9),
}
"""Device -> FLOP/s in bfloat16, dense, and bytes of memory, as the maker publishes them for the SXM modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a plan assumes."""

    device: Device = option("h100", "h100, h200, a100 (80 GB), a100-40, or cpu: this machine, whose speed is measured")
    ranks: int = option(1, "devices that train together")
    efficiency: float = option(0.4, "share of the device's peak that a step reaches, communication and waiting included")
    clip_s: float | None = option(None, "assume clips of so many seconds; by default the rows tell where they are here, else 10")
    text_tokens: int | None = option(None, "assume so many positions of a sample beside its clip, else 50")
    learned_tokens: int | None = option(None, "assume that so many of them are learned, else 25")

    def __post_init__(self) -> None:
        check_positive(self)
        check_choice("device", self.device, (*DEVICES, "cpu"))
        if self.efficiency > 1 or (self.clip_s or 0.0) > 30:
            raise ConfigError(f"efficiency {self.efficiency}, clip_s {self.clip_s}: expected at most 1 and at most 30")
