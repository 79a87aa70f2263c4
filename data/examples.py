"""Record -> Prompt: read the clips, lay them into the record's form, mark what is to be learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.manifest import AudioRef, Record
from qwen_audio.audio import AudioClip, read_audio
from qwen_audio.errors import DataError, QwenAudioError
from qwen_audio.prompt import Message, Prompt, render_chat, render_task
from qwen_audio.tokenizer import Tokenizer

ReadClip = Callable[[AudioRef], AudioClip]


def clip_reader(data_root: Path | str) -> ReadClip:
    """Return a function that reads what an AudioRef means, relative paths below data_root."""
    root = Path(data_root)

    def read(ref: AudioRef) -> AudioClip:
        clip = read_audio(root / ref.path)
        if not ref.start_s and ref.duration_s is None:
            return clip
        end_s = clip.duration_s if ref.duration_s is None else min(clip.duration_s, ref.start_s + ref.duration_s)
        return clip.cut(ref.start_s, end_s)

    return read


def build_prompt(record: Record, tokenizer: Tokenizer, read: ReadClip, *, with_target: bool = True) -> Prompt:
    """Render a record with its clips.

    Args:
        record: a tagged task or a conversation.
        read: gives the clip of a reference (augmented or not).
        with_target: False renders what the model is asked, for evaluation; True adds the answer and marks it learned.
    Raises:
        DataError: naming the record, where a clip cannot be read or a tag is not known.
    """
    try:
        if record.prefix is not None:
            clips = tuple(read(ref) for ref in record.audio)
            return render_task(clips, record.prefix, tokenizer, target=record.target if with_target else None)
        messages = [
            Message(turn.role, tuple(part if isinstance(part, str) else read(part) for part in turn.parts)) for turn in record.messages
        ]
        if with_target:
            messages.append(Message("assistant", (record.target,)))
        return render_chat(messages, tokenizer, learn=with_target)
    except QwenAudioError as error:
        raise DataError(f"record {record.id}: {error}") from error


def remembering(read: ReadClip) -> ReadClip:
    """Wrap a reader so that each stretch of audio is decoded once; kept as 16-bit integers (115 MB an hour)."""
    kept: dict[AudioRef, tuple[AudioClip, np.ndarray]] = {}

    def read_once(ref: AudioRef) -> AudioClip:
        if ref not in kept:
            clip = read(ref)
            samples = np.round(np.clip(clip.samples, -1.0, 1.0) * 32767).astype(np.int16)
            kept[ref] = (dataclasses.replace(clip, samples=np.zeros(0, np.float32)), samples)
        clip, samples = kept[ref]
        return dataclasses.replace(clip, samples=samples.astype(np.float32) / np.float32(32767))

    return read_once
