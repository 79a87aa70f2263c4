"""Record -> Prompt: read the clips, lay them into the record's form, mark what is to be learned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.manifest import AudioRef, Record
from data.rows.archives import source_of
from qwen_audio.audio import SAMPLE_RATE, AudioClip, read_audio
from qwen_audio.config import MOST_TIMED_TOKENS, MOST_TOKENS
from qwen_audio.decoding import CUT_OFF_S
from qwen_audio.errors import AudioFormatError, DataError, QwenAudioError
from qwen_audio.prompt import Message, Prompt, render_chat, render_task
from qwen_audio.tokenizer import Tokenizer

ReadClip = Callable[[AudioRef], AudioClip]
FOREVER_S = 1e9  # seconds: no file is longer


def clip_reader(data_root: Path | str) -> ReadClip:
    """Return a function that reads what an AudioRef means, relative paths below data_root, of a long file the stretch alone.

    It raises an AudioError where the file cannot be read, or ends a quarter of a second or more before the stretch does.
    """
    root = Path(data_root)

    def read(ref: AudioRef) -> AudioClip:
        path = root / ref.path
        source, name = source_of(path), str(path)
        if not ref.start_s and ref.duration_s is None:
            return read_audio(source, name=name)
        end_s = math.inf if ref.duration_s is None else ref.start_s + ref.duration_s
        if isinstance(source, bytes):
            clip = read_audio(source, name=name)
            clip = clip.cut(ref.start_s, min(end_s, clip.duration_s))
        else:
            clip = read_audio(f"{source}#t={ref.start_s:.6f},{min(end_s, FOREVER_S):.6f}", name=name)
        if ref.duration_s is not None and clip.duration_s < ref.duration_s - CUT_OFF_S:
            raise AudioFormatError(f"{path}: ends at {clip.start_s + clip.duration_s:.2f} s, the row's stretch at {end_s:.2f} s")
        over = ref.duration_s is not None and len(clip.samples) > round(ref.duration_s * SAMPLE_RATE)  # by what resampling rounds up
        return clip.cut(0.0, ref.duration_s) if over and ref.duration_s is not None else clip

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
            Message(turn.role, tuple(part if isinstance(part, str) else read(part) for part in turn.parts), learned=turn.learned)
            for turn in record.messages
        ]
        if with_target:
            messages.append(Message("assistant", (record.target,)))
        return render_chat(messages, tokenizer, learn=with_target)
    except QwenAudioError as error:
        raise DataError(f"record {record.id}: {error}") from error


def most_tokens(record: Record) -> int:
    """Return how many tokens a scored answer to a record may have, where nobody says."""
    return MOST_TIMED_TOKENS if record.prefix is not None and record.prefix.timestamps else MOST_TOKENS


def remembering(read: ReadClip, most_bytes: int = 1 << 30) -> ReadClip:
    """Wrap a reader so that a stretch of audio is decoded once as long as there is room for it.

    Args:
        read: the reader.
        most_bytes: memory for what is kept, as 16-bit integers (115 MB an hour); what came first leaves first.
    """
    kept: dict[AudioRef, tuple[AudioClip, np.ndarray]] = {}
    n_bytes = 0

    def read_once(ref: AudioRef) -> AudioClip:
        nonlocal n_bytes
        if ref not in kept:
            clip = read(ref)
            samples = np.round(np.clip(clip.samples, -1.0, 1.0) * 32767).astype(np.int16)
            kept[ref] = (dataclasses.replace(clip, samples=np.zeros(0, np.float32)), samples)
            n_bytes += samples.nbytes
            while n_bytes > most_bytes and len(kept) > 1:
                n_bytes -= kept.pop(next(iter(kept)))[1].nbytes
        clip, samples = kept[ref]
        return dataclasses.replace(clip, samples=samples.astype(np.float32) / np.float32(32767))

    return read_once
