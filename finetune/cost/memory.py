"""Predict a rank's memory in a training step: weights, gradients, optimiser, what the backward pass keeps, and the head's logits.

Counted from this project's own blocks, tensor by tensor: what autograd keeps depends on what learns. A frozen layer keeps its weight
alone, one that learns its input too; a block that is computed again keeps its input only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from finetune.config import TrainConfig
from finetune.flops import StepShape
from finetune.stages import count, decays, named
from qwen_audio.model.decoder import DecoderBlock
from qwen_audio.model.encoder import EncoderBlock
from qwen_audio.model.joint import QwenAudio

FP32, BF16 = 4, 2
BUCKET = 500_000_000  # numbers in each of DeepSpeed's two buckets, by default
LIVE = 1_000_000_000  # weights that ZeRO-3 holds together at a time at most, by default


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a number, by where it is kept.

    Attributes:
        weights: the model's.
        stream: what runs from block to block.
        product: what linear layers read and give.
        attention: what attention reads and gives; a CPU computes it in float32.
    """

    weights: int
    stream: int
    product: int
    attention: int


def sizes_of(config: TrainConfig, *, on_cpu: bool) -> Sizes:
    """Tell in which numbers a run computes: DeepSpeed, and adapters on any backend, hold bfloat16 weights; else it is multiplied in."""
    if not config.bf16:
        return Sizes(FP32, FP32, FP32, FP32)
    held = BF16 if config.deepspeed or config.lora_r else FP32
    return Sizes(held, held, BF16, FP32 if on_cpu else BF16)


def memory(model: QwenAudio, config: TrainConfig, shape: StepShape, ranks: int, *, on_cpu: bool = False) -> tuple[dict[str, float], float]:
    """Predict bytes per rank by purpose, and bytes of the host per rank where the run offloads.

    Args:
        model: as the run trains it (adapters in it, stages.choose done); it may be on the meta device.
        shape: one micro-batch of a rank.
    """
    sizes = sizes_of(config, on_cpu=on_cpu)
    total = sum(count(p) for _, p in named(model))
    learned = sum(count(p) for _, p in named(model) if p.requires_grad)
    level = int(config.deepspeed[-1]) if config.deepspeed else 0
    shares = {stage: ranks if level >= stage else 1 for stage in (1, 2, 3)}
    learning = sizes.weights if level else FP32  # bytes of a number that learns
    found = {
        "weights": ((total - learned) * sizes.weights + learned * learning) / shares[3],
        "gradients": learned * learning / shares[2],
        "optimiser": _optimiser(model, config, sizes) / shares[1],
        "activations": activations(model, shape, sizes),
        "logits": float(shape.learned * model.config.decoder.vocab_size * (sizes.product + 2 * FP32)),
    }
    if config.bf16 and not level:
        found["bfloat16 copies"] = _copies(model, sizes)
    if level:
        found["buckets"] = 2.0 * min(BUCKET, learned) * sizes.weights
    if level == 3:
        found["gathered"] = float(min(LIVE, total) * sizes.weights)
        if config.validated_by:  # every rank puts a whole copy together, while nothing of a step is kept
            beside = ("activations", "logits", "gathered", "buckets")
            found["measuring, beyond a step"] = max(0.0, total * sizes.weights - sum(found[name] for name in beside))
    host = 0.0
    if config.offload:
        moved = ("optimiser", "weights") if level == 3 else ("optimiser",)
        host = sum(found[name] for name in moved)
        found |= dict.fromkeys(moved, 0.0)
    return found, host


def activations(model: QwenAudio, shape: StepShape, sizes: Sizes) -> float:
    """Count what the backward pass of a micro-batch keeps, logits apart."""
    encoder, decoder = model.encoder, model.decoder
    states, positions = float(sum(-(-frames // 2) for frames in shape.clips)), float(sum(shape.samples))
    width, out = encoder.config.width, decoder.config.width
    kept, learns = 0.0, _learns(encoder.conv1) or _learns(encoder.conv2)
    if learns:  # mels, both sides of the first activation, the input of the second
        kept += states * sizes.product * (2 * encoder.config.n_mels + 4 * width + width)
    heard, most, learns = _stack(encoder.blocks, encoder.checkpointing and encoder.training, sizes, learns)
    if learns or _learns(encoder.norm) or _learns(encoder.projection):
        kept += states / 2 * width * (sizes.stream + sizes.product)
        learns = True
    learns = learns or _learns(decoder.embedding) or (model.audio_bounds is not None and _learns(model.audio_bounds))
    read, largest, learns = _stack(decoder.blocks, decoder.checkpointing and decoder.training, sizes, learns)
    kept += states * heard + positions * read + max(states * most, positions * largest)
    if learns:  # the last norm, and the table's input
        kept += positions * out * (FP32 + sizes.stream * _learns(decoder.norm)) + shape.learned * out * sizes.product
    return kept


def _stack(blocks: nn.ModuleList, again: bool, sizes: Sizes, learns: bool) -> tuple[float, float, bool]:
    """Count bytes of one row in all blocks, and in the one that is being computed again: then all keep their input alone."""
    kept, most = 0.0, 0.0
    for block in blocks:
        learns = learns or _learns(block)
        if not learns:
            continue
        found = _encoder_block(block, sizes) if isinstance(block, EncoderBlock) else _decoder_block(block, sizes)
        kept += _width(block) * sizes.stream if again else found
        most = max(most, found)
    return kept, most if again else 0.0, learns


def _encoder_block(block: EncoderBlock, sizes: Sizes) -> float:
    """Count bytes that one state leaves in a block: inputs of both norms, queries, keys, values, what was heard, both sides of GELU."""
    width, wide, heads = _width(block), block.mlp_up.out_features, block.attention.heads
    attention = block.attention
    kept = 2 * width * sizes.stream + 4 * width * sizes.attention + heads * FP32 + wide * sizes.product
    kept += width * sizes.product * (any(map(_reads, (attention.query, attention.key, attention.value))) + _reads(block.mlp_up))
    kept += wide * sizes.product * _reads(block.mlp_down)
    return kept + _copied(attention.out, width, sizes) + _ranks(block, sizes)


def _decoder_block(block: nn.Module, sizes: Sizes) -> float:
    """Count bytes that one position leaves in a block: norms in float32, turned queries and keys, values, the gate's three products."""
    assert isinstance(block, DecoderBlock)
    attention, mlp = block.attention, block.mlp
    width, wide, size = _width(block), mlp.gate.out_features, attention.head_size
    turned, mixed = (attention.heads + attention.kv_heads) * size, (attention.heads + 2 * attention.kv_heads) * size
    inner = attention.heads * size
    kept = 2 * width * FP32 + width * sizes.stream * sum(map(_learns, (block.attention_norm, block.mlp_norm)))
    kept += (turned + mixed) * sizes.product + inner * sizes.attention + attention.heads * FP32 + 3 * wide * sizes.product
    if sizes.attention > sizes.product:  # float32 copies of queries, keys and values
        kept += mixed * sizes.attention - (turned + mixed) * sizes.product
    kept += width * sizes.product * (_reads(attention.qkv) + (_reads(mlp.up) or _reads(mlp.gate)))
    kept += wide * sizes.product * _reads(mlp.down)
    return kept + _copied(attention.out, inner, sizes) + _ranks(block, sizes)


def _copied(out: nn.Module, width: int, sizes: Sizes) -> float:
    """Count the copy of what was heard that a learning output layer keeps: clips and samples are laid end to end after attention."""
    return width * sizes.product * _reads(out)


def _ranks(block: nn.Module, sizes: Sizes) -> float:
    """Count what adapters keep between their two matrices."""
    return float(sum(parameter.shape[0] for name, parameter in block.named_parameters() if ".lora_A." in name)) * sizes.product


def _reads(layer: Any) -> bool:
    """Tell whether a linear layer keeps its input: its weight or its adapter learns."""
    base = getattr(layer, "base_layer", layer)
    return bool(base.weight.requires_grad) or any(p.requires_grad for name, p in layer.named_parameters() if "lora_A" in name)


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _width(block: Any) -> int:
    return int(block.attention_norm.weight.shape[0])


def _optimiser(model: QwenAudio, config: TrainConfig, sizes: Sizes) -> float:
    """Count AdamW's two means in float32, Muon's one, and DeepSpeed's float32 copy of bfloat16 weights and of their gradients."""
    copies = 2 * FP32 if config.deepspeed and sizes.weights == BF16 else 0
    turned = sum(count(p) for name, p in named(model) if p.requires_grad and _turned(name, p, config))
    learned = sum(count(p) for _, p in named(model) if p.requires_grad)
    return float((learned - turned) * (2 * FP32 + copies) + turned * (FP32 + copies))


def _turned(name: str, parameter: nn.Parameter, config: TrainConfig) -> bool:
    return config.optim == "muon" and parameter.ndim == 2 and ".blocks." in name and decays(name, parameter)


def _copies(model: QwenAudio, sizes: Sizes) -> float:
    """Count the bfloat16 copies of float32 weights that a step keeps until it has gone back through them."""
    again = {"encoder": model.encoder.checkpointing, "decoder": model.decoder.checkpointing}
    kept = 0.0
    for name, parameter in named(model):
        frozen_again = not parameter.requires_grad and again.get(name.split(".")[0], False)
        float32 = parameter.requires_grad or sizes.weights == FP32
        if float32 and parameter.ndim >= 2 and "embedding" not in name and not frozen_again:
            kept += BF16 * count(parameter)
    return kept


def in_gib(found: Mapping[str, float]) -> dict[str, float]:
    """Turn bytes into GiB."""
    return {name: value / 2**30 for name, value in found.items()}
