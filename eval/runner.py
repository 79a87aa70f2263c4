"""Records -> predictions: every record is asked as training would ask it, in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence

from data.examples import ReadClip, build_prompt
from data.manifest import Record
from qwen_audio.config import GenerationOptions
from qwen_audio.engine import Engine

GREEDY = GenerationOptions(greedy=True, max_new_tokens=200)


def predict(engine: Engine, records: Sequence[Record], read: ReadClip, *, batch_size: int = 16) -> list[str]:
    """Return the answer to each record, greedily: tagged tasks through Engine.task_batch, conversations as chat."""
    answers: dict[int, str] = {}
    tagged = [(number, record) for number, record in enumerate(records) if record.prefix is not None]
    spoken = [(number, record) for number, record in enumerate(records) if record.prefix is None]
    if tagged:
        clips = [[read(ref) for ref in record.audio] for _, record in tagged]
        prefixes = [record.prefix for _, record in tagged if record.prefix is not None]
        replies = engine.task_batch(clips, prefixes, GREEDY, batch_size=batch_size)
        answers |= {number: reply.text for (number, _), reply in zip(tagged, replies, strict=True)}
    if spoken:
        prompts = [build_prompt(record, engine.tokenizer, read, with_target=False) for _, record in spoken]
        replies = engine.reply_batch(prompts, GREEDY, batch_size=batch_size)
        answers |= {number: reply.text for (number, _), reply in zip(spoken, replies, strict=True)}
    return [answers[number] for number in range(len(records))]
