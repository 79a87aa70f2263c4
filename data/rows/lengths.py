"""How many positions a row takes where no tokenizer is at hand: an estimate, always called one where it is shown."""

from __future__ import annotations

from typing import Final

from data.manifest import Record
from qwen_audio.audio import MIN_SAMPLES, SAMPLE_RATE, WINDOW_SAMPLES, audio_token_count

BYTES_A_TOKEN: Final = 3.5  # of UTF-8, in byte-pair vocabularies of this size: English is above, Chinese below
TASK_TOKENS: Final = 6  # a tag sentence and the end of text
CHAT_TOKENS: Final = 26  # the system's turn and the bounds of the first two
TURN_TOKENS: Final = 5
AUDIO_TOKENS: Final = 6  # "Audio 1:", a newline


def estimate_positions(record: Record) -> int:
    """Estimate the positions of a rendered row: exact for clips whose length is known, by the bytes of its text else."""
    texts = [part for turn in record.messages for part in turn.parts if isinstance(part, str)]
    if record.prefix is not None and record.prefix.question:
        texts.append(record.prefix.question)
    n_bytes = sum(len(text.encode()) for text in [*texts, record.target])
    return estimate([ref.duration_s or 0.0 for ref in record.audio], n_bytes, len(record.messages))


def estimate(durations_s: list[float], n_bytes: int, turns: int) -> int:
    """Estimate positions from the seconds of each clip, the bytes of all text, and the turns before the answer (0: a tagged task)."""
    spans = sum(audio_token_count(min(WINDOW_SAMPLES, max(MIN_SAMPLES, round(seconds * SAMPLE_RATE)))) for seconds in durations_s)
    frame = CHAT_TOKENS + turns * TURN_TOKENS + len(durations_s) * AUDIO_TOKENS if turns else TASK_TOKENS
    return spans + frame + round(n_bytes / BYTES_A_TOKEN)
