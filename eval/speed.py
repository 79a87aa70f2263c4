"""Time a dialogue against a peer: the same random weights in this library and, exported, in transformers, turn by turn in one run."""

from __future__ import annotations

import tempfile
import time
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers

from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.chat import ChatSession
from qwen_audio.config import DecoderConfig, EncoderConfig, GenerationOptions, ModelConfig
from qwen_audio.engine import Engine
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer

TURNS = ("What do you hear?", "Is it loud?", "And what is in this one?")
NEW_CLIP = (True, False, True)  # turns that bring a recording


def random_engine(width: int = 512) -> Engine:
    """Build a random model of about Whisper-base's size (encoder 6 x 512, decoder 8 x 512) with a byte vocabulary."""
    tokenizer = Tokenizer({bytes([value]): value for value in range(256)})
    decoder = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=width, layers=8, heads=8, kv_heads=8, head_size=64, mlp_width=1408, window=8192
    )
    config = ModelConfig(
        encoder=EncoderConfig(width=width, heads=8, layers=6, mlp_width=2048),
        decoder=decoder,
        audio_start_id=tokenizer.audio_start,
        audio_pad_id=tokenizer.audio_pad,
        audio_end_id=tokenizer.audio_end,
    )
    torch.manual_seed(0)
    return Engine(model=QwenAudio(config), tokenizer=tokenizer, name="random")


def clips(seconds: float) -> list[AudioClip]:
    """Make one clip of noise for each turn that brings one."""
    rng = np.random.default_rng(0)
    return [AudioClip((0.1 * rng.standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)) for _ in range(sum(NEW_CLIP))]


def our_dialogue(engine: Engine, heard: list[AudioClip], new_tokens: int) -> list[float]:
    """Hold the dialogue here; seconds of each turn."""
    session = ChatSession(engine, options=GenerationOptions(greedy=True, max_new_tokens=new_tokens))
    waiting, seconds = iter(heard), []
    for text, new in zip(TURNS, NEW_CLIP, strict=True):
        begin = time.perf_counter()
        reply = session.ask(text, audio=[next(waiting)] if new else [])
        seconds.append(time.perf_counter() - begin)
        assert len(reply.token_ids) == new_tokens, "an answer ended early: the two would not do the same work"
    return seconds


def their_dialogue(model: Any, processor: Any, heard: list[AudioClip], new_tokens: int) -> list[float]:
    """Hold it in transformers as its documentation does: the whole history is processed again at each turn."""
    conversation: list[dict[str, Any]] = []
    so_far: list[np.ndarray] = []
    waiting, seconds = iter(heard), []
    for text, new in zip(TURNS, NEW_CLIP, strict=True):
        begin = time.perf_counter()
        content: list[dict[str, str]] = [{"type": "text", "text": text}]
        if new:
            so_far.append(next(waiting).samples)
            content.insert(0, {"type": "audio", "audio_url": "clip"})
        conversation.append({"role": "user", "content": content})
        prompt = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        inputs = processor(text=prompt, audio=so_far, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
        answer = processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        conversation.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        seconds.append(time.perf_counter() - begin)
    return seconds


def run(seconds: float, new_tokens: int, rounds: int) -> str:
    """Time both in turn, `rounds` times after one warm-up, and return a table of medians and their ratios."""
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        engine = random_engine()
        engine.export(folder)
        model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        processor = transformers.AutoProcessor.from_pretrained(folder)
        ours, theirs = [], []
        for number in range(rounds + 1):
            mine, other = our_dialogue(engine, clips(seconds), new_tokens), their_dialogue(model, processor, clips(seconds), new_tokens)
            if number:
                ours.append(mine)
                theirs.append(other)
    lines = [
        f"two clips of {seconds:g} s, {new_tokens} tokens a turn, median of {rounds} rounds, {torch.get_num_threads()} threads",
        "| turn | here, s | transformers, s | ratio |",
        "|---|---|---|---|",
    ]
    for number in range(len(TURNS)):
        here, there = median(row[number] for row in ours), median(row[number] for row in theirs)
        ratios = median(b[number] / a[number] for a, b in zip(ours, theirs, strict=True))
        lines.append(f"| {number + 1}{', new clip' if NEW_CLIP[number] else ''} | {here:.2f} | {there:.2f} | {ratios:.1f} |")
    return "\n".join(lines)
