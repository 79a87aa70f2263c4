"""Time stage-1 training steps in one run: packed, padded, and transformers' Qwen2-Audio, which pads every clip to 30 s."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.batching import Batch, collate
from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.engine import Engine
from qwen_audio.errors import ConfigError
from qwen_audio.model.joint import NOT_LEARNED, QwenAudio
from qwen_audio.prompt import Prompt, render_task
from qwen_audio.tokenizer import Tokenizer
from tag_schema.tasks import prefix_for

SENTENCE = "the quick brown fox jumps over the lazy dog and runs"
ROUNDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What every contestant trains on: clips of noise with a sentence to learn; and the size of the random model."""

    clips: int = 16
    shortest_s: float = 2.0
    longest_s: float = 10.0
    encoder_layers: int = 6
    decoder_layers: int = 8
    width: int = 512
    seed: int = 0


def measure(workload: Workload | None = None, rounds: int = ROUNDS) -> str:
    """Take steps in turn, `rounds` times after a warm-up, and return a table of audio-seconds per second with ratios.

    A step is forward, backward and AdamW over the encoder and its projection, the language model frozen; features are made beforehand
    for all. The three share their weights: transformers gets those that are exported.
    """
    if rounds < 1:
        raise ConfigError(f"rounds is {rounds}: expected at least 1")
    work = workload or Workload()
    tokenizer = Tokenizer({bytes([value]): value for value in range(256)})
    model = random_model(work, tokenizer)
    prompts = [render_task([clip], prefix_for("asr", language="en"), tokenizer, target=SENTENCE) for clip in clips(work)]
    batch = collate(prompts, model.config, tokenizer.end_of_text)
    seconds = float(batch.frames.sum()) / 100
    with tempfile.TemporaryDirectory() as folder:
        peer, inputs = exported(model, tokenizer, prompts, batch, folder)
        steps: dict[str, Callable[[], float]] = {
            "packed": our_step(model, batch, packed=True),
            "padded": our_step(model, batch, packed=False),
            "transformers": their_step(peer, inputs),
        }
        taken = _taken(steps, rounds)
    losses = {name: loss for name, (_, loss) in taken.items()}
    rates = {name: seconds / median(times) for name, (times, _) in taken.items()}
    lines = [
        f"{work.clips} clips of {work.shortest_s:g} to {work.longest_s:g} s, {seconds:.0f} s in all; random model: encoder "
        f"{work.encoder_layers} x {work.width}, decoder {work.decoder_layers} x {work.width} (frozen); median of {rounds} steps after a "
        f"warm-up, in turn; {torch.get_num_threads()} threads; torch {torch.__version__}, transformers {version('transformers')}",
        "| step | audio-seconds per second | packed is faster by | slowest and fastest step, s | first loss |",
        "|---|---|---|---|---|",
    ]
    for name, rate in rates.items():
        times = taken[name][0]
        spread = f"{max(times):.2f} to {min(times):.2f}"
        lines.append(f"| {name} | {rate:.1f} | {rates['packed'] / rate:.2f} | {spread} | {losses[name]:.4f} |")
    return "\n".join(lines)


def _taken(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, tuple[list[float], float]]:
    """Take each step in turn; seconds of every step but the first, and the first loss."""
    first = {name: step() for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begin)
    return {name: (times[name], first[name]) for name in steps}


def random_model(work: Workload, tokenizer: Tokenizer) -> QwenAudio:
    """Build the model with random weights, its decoder frozen."""
    heads = work.width // 64
    decoder = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=work.width, layers=work.decoder_layers, heads=heads, kv_heads=heads, head_size=64,
        mlp_width=work.width * 11 // 4,
    )  # fmt: skip
    config = ModelConfig(
        encoder=EncoderConfig(width=work.width, heads=heads, layers=work.encoder_layers, mlp_width=4 * work.width),
        decoder=decoder, audio_start_id=tokenizer.audio_start, audio_pad_id=tokenizer.audio_pad, audio_end_id=tokenizer.audio_end,
    )  # fmt: skip
    torch.manual_seed(work.seed)
    model = QwenAudio(config).train()
    model.decoder.requires_grad_(False)
    assert model.audio_bounds is not None
    model.audio_bounds.requires_grad_(False)
    return model


def clips(work: Workload) -> list[AudioClip]:
    """Make clips of noise whose lengths lie evenly between the shortest and the longest; whole frames, as both count them alike then."""
    rng = np.random.default_rng(work.seed)
    lengths = rng.permutation(np.linspace(work.shortest_s, work.longest_s, work.clips))
    return [AudioClip((0.1 * rng.standard_normal(int(s * 25) * SAMPLE_RATE // 25)).astype(np.float32)) for s in lengths]


def our_step(model: QwenAudio, batch: Batch, *, packed: bool) -> Callable[[], float]:
    """Return a training step here; the weights it moves are a copy of its own."""
    mine = QwenAudio(model.config).train()
    mine.load_state_dict(model.state_dict())
    for (_, ours), (_, theirs) in zip(mine.named_parameters(), model.named_parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    mine.pack(packed)
    optimiser = _optimiser(mine)

    def step() -> float:
        output = mine(
            batch.token_ids, mels=batch.mels, frames=batch.frames, places=batch.places, segment=batch.segment,
            positions=batch.positions, labels=batch.labels,
        )  # fmt: skip
        assert output.loss is not None
        return _learn(output.loss, optimiser)

    return step


def exported(model: QwenAudio, tokenizer: Tokenizer, prompts: list[Prompt], batch: Batch, folder: str) -> tuple[Any, dict[str, Tensor]]:
    """Load the same weights into transformers and lay the same rows out as its collator does: mels of 30 s, a mask of real frames.

    Raises:
        ConfigError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("the comparison needs transformers: pip install -e '.[train]'") from error
    transformers.utils.logging.disable_progress_bar()
    Engine(model=model, tokenizer=tokenizer, name="random").export(folder)
    peer = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.train()
    audio_id = peer.config.audio_token_id
    peer.requires_grad_(False)
    for name, parameter in peer.named_parameters():
        parameter.requires_grad_("audio_tower" in name or "multi_modal_projector" in name)
    features = torch.zeros(len(batch.frames), model.config.encoder.n_mels, 3000)
    mask = torch.zeros(len(batch.frames), 3000, dtype=torch.int64)
    for row, mel in enumerate(batch.mels.split(batch.frames.tolist())):
        features[row, :, : len(mel)] = mel.T
        mask[row, : len(mel)] = 1
    ids = batch.token_ids.clone()
    for row, first, count in batch.places.tolist():
        ids[row, first + 1 : first + count - 1] = audio_id
    inputs = {
        "input_ids": ids, "attention_mask": (batch.segment > 0).long(), "input_features": features, "feature_attention_mask": mask,
        "labels": batch.labels.masked_fill(batch.labels == NOT_LEARNED, -100),
    }  # fmt: skip
    return peer.train(), inputs


def their_step(peer: Any, inputs: dict[str, Tensor]) -> Callable[[], float]:
    """Return a training step of transformers' model."""
    optimiser = _optimiser(peer)

    def step() -> float:
        return _learn(peer(**inputs).loss, optimiser)

    return step


def _optimiser(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)


def _learn(loss: Tensor, optimiser: torch.optim.Optimizer) -> float:
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(loss.detach())
