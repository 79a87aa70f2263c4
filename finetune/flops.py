"""Count the floating-point operations of a training step, part by part, by what is frozen and what is computed twice.

A matrix product of n rows costs 2 n in out: once forward, once for the gradient of its input where anything below learns, once for
that of its weight where it learns. So a frozen encoder costs 1 forward and a learning one 3; a frozen decoder above a learning
encoder costs 2, one that learns 3; adapters add their own. Softmax, norms and activations are left out, as is usual.
Attention counts all pairs of a sample's positions, causal or not (as torch.utils.flop_counter and arXiv:2204.02311, appendix B, do).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from data.batching import Batch
from finetune.stages import count
from qwen_audio.model.decoder import DecoderBlock
from qwen_audio.model.encoder import EncoderBlock, length_groups
from qwen_audio.model.joint import QwenAudio

PEAKS: Final = (("H200", 989e12), ("H100 PCIe", 756e12), ("H100", 989e12), ("A100", 312e12))
"""Name of an accelerator -> FLOP/s in bfloat16, dense, as its maker publishes; the first that a device's name contains counts."""


FRAMES_A_POSITION: Final = 4


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a step computes.

    Attributes:
        samples: positions of each sample; where rows are padded, of each row the longest's.
        clips: mel frames of each clip, 10 ms; where clips are padded, of each the longest's.
        learned: positions whose label is learned: the head runs on those alone.
    """

    samples: Sequence[int]
    clips: Sequence[int]
    learned: int

    @property
    def positions(self) -> float:
        """Positions of encoder and decoder together, the encoder's of 40 ms too."""
        return sum(self.samples) + sum(self.clips) / FRAMES_A_POSITION


def shape_of(batch: Batch, *, packed: bool, speaks: bool = True) -> StepShape:
    """Tell what a batch makes a model compute: its real lengths where that is packed, else those with padding.

    Args:
        speaks: whether the decoder runs at all.
    """
    segment, frames = batch.segment, batch.frames.tolist()
    if packed:
        rows = torch.arange(len(segment), device=segment.device)[:, None] * (int(segment.max()) + 1)
        clips, samples = frames, (rows + segment)[segment > 0].unique_consecutive(return_counts=True)[1].tolist()
    else:
        groups = length_groups([-(-n // 2) for n in frames]) if frames else []
        clips = [max(frames[i] for i in group) for group in groups for _ in group]
        samples = [segment.shape[1]] * len(segment)
    return StepShape(samples, clips, batch.learned) if speaks else StepShape((), clips, 0)


class StepFlops(NamedTuple):
    """Floating-point operations of a step; `again` is what blocks are computed a second time for in the backward pass."""

    encoder_forward: float
    encoder_backward: float
    decoder_forward: float
    decoder_backward: float
    again: float

    @property
    def useful(self) -> float:
        """All but what is computed again: what MFU counts."""
        return self.total - self.again

    @property
    def total(self) -> float:
        """All that is computed."""
        return float(sum(self))


class Cost(NamedTuple):
    """Operations of one row (position) of a part: forward, backward, and computed again; and the same for each pair of positions."""

    forward: float = 0.0
    backward: float = 0.0
    again: float = 0.0
    pair_forward: float = 0.0
    pair_backward: float = 0.0
    pair_again: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Add two parts up."""
        return Cost(*(one + two for one, two in zip(self, other, strict=True)))

    def of(self, lengths: Sequence[int]) -> tuple[float, float, float]:
        """Return forward, backward and computed again of samples of these lengths."""
        rows, pairs = float(sum(lengths)), float(sum(length * length for length in lengths))
        return (
            self.forward * rows + self.pair_forward * pairs,
            self.backward * rows + self.pair_backward * pairs,
            self.again * rows + self.pair_again * pairs,
        )


class CostModel:
    """The costs of a model as it stands: what learns (requires_grad), its adapters, and which blocks are computed again.

    The model may be on the meta device. Make it once, after stages.choose; a step is then some sums.
    """

    def __init__(self, model: QwenAudio) -> None:
        encoder, decoder = model.encoder, model.decoder
        learns = _learns([encoder.conv1])
        self.conv1 = _convolution(encoder.conv1, passes=False)
        self.conv2 = _convolution(encoder.conv2, passes=learns)
        learns = learns or _learns([encoder.conv2])
        self.encoder, learns = _stack(encoder.blocks, encoder.checkpointing and encoder.training, learns)
        learns = learns or _learns([encoder.norm])
        self.projection, learns = _linear(encoder.projection, learns)
        learns = learns or _learns([decoder.embedding, *([model.audio_bounds] if model.audio_bounds is not None else [])])
        self.decoder, learns = _stack(decoder.blocks, decoder.checkpointing and decoder.training, learns)
        learns = learns or _learns([decoder.norm])
        table = decoder.embedding if decoder.head is None else decoder.head
        config = decoder.config
        product = 2.0 * config.width * config.vocab_size
        self.head = Cost(product, product * (learns + _learns([table])))

    def step(self, shape: StepShape) -> StepFlops:
        """Count a step."""
        states = [-(-frames // 2) for frames in shape.clips]
        parts = [
            self.conv1.of(shape.clips), self.conv2.of(states), self.encoder.of(states), self.projection.of([n // 2 for n in states]),
        ]  # fmt: skip
        heard = [sum(part[i] for part in parts) for i in range(3)]
        blocks, words = self.decoder.of(shape.samples), self.head.of([shape.learned])
        return StepFlops(heard[0], heard[1], blocks[0] + words[0], blocks[1] + words[1], heard[2] + blocks[2])


def mfu(flops: float, seconds: float, peak: float | None) -> float | None:
    """Return the share of a device's peak that useful operations take; None where the peak is not known."""
    return None if peak is None else flops / (seconds * peak)


def peak_here(device: torch.device, *, bf16: bool) -> float | None:
    """Return the FLOP/s that a device reaches at best in the numbers that are multiplied; None for an accelerator that is not known.

    A CPU's is measured: what a large matrix product reaches.
    """
    if device.type == "cpu":
        return product_speed(torch.bfloat16 if bf16 else torch.float32)
    peak = peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return peak if peak is None or bf16 else peak / 2  # products of float32 numbers run as tf32 at best


def product_speed(dtype: torch.dtype, size: int = 1024, rounds: int = 5) -> float:
    """Measure the FLOP/s of a matrix product on this CPU; the time of all its threads counts, so that busy neighbours do not."""
    own = torch.Generator().manual_seed(0)  # a run that goes on draws what it would have drawn
    left, right = (torch.randn(size, size, dtype=dtype, generator=own) for _ in range(2))
    times = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        left @ right
        times.append((time.process_time() - begin) / torch.get_num_threads())
    return 2 * size**3 / min(times[1:])


def peak_of(name: str) -> float | None:
    """Return an accelerator's FLOP/s in bfloat16 by its name as torch gives it; None for a CPU or one that is not in the table."""
    return next((peak for part, peak in PEAKS if part.lower() in name.lower()), None)


def _learns(modules: Iterable[nn.Module]) -> bool:
    return any(parameter.requires_grad for module in modules for parameter in module.parameters())


def _convolution(layer: nn.Conv1d, *, passes: bool) -> Cost:
    """Count one frame of a convolution's output; passes: whether anything below it learns."""
    assert isinstance(layer.weight, nn.Parameter)
    forward = 2.0 * count(layer.weight)
    return Cost(forward, forward * (passes + layer.weight.requires_grad))


def _linear(layer: nn.Module, passes: bool) -> tuple[Cost, bool]:
    """Count one row of a linear layer with its adapter, and tell whether anything at its output or below learns."""
    base: Any = getattr(layer, "base_layer", layer)
    forward = 2.0 * count(base.weight)
    backward = forward * (passes + base.weight.requires_grad)
    downs: Any = getattr(layer, "lora_A", {})
    ups: Any = getattr(layer, "lora_B", {})
    for name, down in downs.items():
        up = ups[name]
        first, second = 2.0 * count(down.weight), 2.0 * count(up.weight)
        forward += first + second
        backward += first * (passes + down.weight.requires_grad) + second * (1 + up.weight.requires_grad)
    return Cost(forward, backward), passes or _learns([layer])


def _stack(blocks: nn.ModuleList, twice: bool, passes: bool) -> tuple[Cost, bool]:
    """Count one row and one pair of all blocks, and tell whether anything at their output or below learns."""
    cost = Cost()
    for block in blocks:
        found, passes = _block(block, passes)
        if twice and passes:  # all but the last product, whose result nobody asks for
            found = found._replace(again=found.forward - _last_product(block), pair_again=found.pair_forward)
        cost = cost.plus(found)
    return cost, passes


def _block(block: nn.Module, passes: bool) -> tuple[Cost, bool]:
    """Count one row and one pair of a block, layer after layer."""
    norms: tuple[nn.Module, nn.Module]
    if isinstance(block, EncoderBlock):
        attention: Any = block.attention
        inputs, outputs, up, down = [attention.query, attention.key, attention.value], attention.out, [block.mlp_up], block.mlp_down
        wide = _width(attention.query)
        norms = (block.attention_norm, block.mlp_norm)
    else:
        assert isinstance(block, DecoderBlock)
        inputs, outputs, up, down = [block.attention.qkv], block.attention.out, [block.mlp.up, block.mlp.gate], block.mlp.down
        wide = block.attention.heads * block.attention.head_size
        norms = (block.attention_norm, block.mlp_norm)
    cost, below = Cost(), passes or _learns([norms[0]])
    learning = below
    for layer in inputs:
        found, after = _linear(layer, below)
        cost, learning = cost.plus(found), learning or after
    pairs = 4.0 * wide  # scores and their sums of values; backward twice that, where the queries, keys or values learn
    cost = cost.plus(Cost(pair_forward=pairs, pair_backward=2 * pairs * learning))
    found, learning = _linear(outputs, learning)
    cost = cost.plus(found)
    below = learning or passes or _learns([norms[1]])
    learning = below
    for layer in up:
        found, after = _linear(layer, below)
        cost, learning = cost.plus(found), learning or after
    found, learning = _linear(down, learning)
    return cost.plus(found), learning or below


def _last_product(block: nn.Module) -> float:
    """Return the operations of a block's last matrix product for one row."""
    whole: Any = block
    last = whole.mlp_down if isinstance(block, EncoderBlock) else whole.mlp.down
    ups: Any = getattr(last, "lora_B", {})
    adapters = list(ups.values())
    return 2.0 * count((adapters[-1] if adapters else last).weight)


def _width(layer: nn.Module) -> int:
    base: Any = getattr(layer, "base_layer", layer)
    return int(base.out_features)
