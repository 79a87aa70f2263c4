"""A Qwen2-Audio directory or hub id in transformers, asked through its own processor and chat template, greedily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from data.manifest import Record
from eval.models.asking import Clip, in_words, numbered, told
from eval.models.base import About, Answered, Asked
from eval.models.engine import own_device
from eval.models.identity import shown_name, weights_digest
from qwen_audio.audio import SAMPLE_RATE
from qwen_audio.config import LoadOptions
from qwen_audio.errors import DataError
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.placement import find_dtype

PROMPTS = 1  # raise it when the same row is asked in another way


class TransformersModel:
    """Qwen2AudioForConditionalGeneration with its processor."""

    def __init__(self, model: Any, processor: Any, *, name: str, identity: str) -> None:
        """Take a model and its processor; rows are padded on the left, where generation does not see it."""
        self.model, self.processor = model.eval(), processor
        processor.tokenizer.padding_side = "left"
        kind = model.device.type
        self.about = About(
            name=name,
            identity=identity,
            settings={
                "kind": "transformers", "prompts": PROMPTS, "sampling": "greedy", "device": kind,
                "dtype": str(model.dtype).removeprefix("torch."),
            },
            window_s=processor.feature_extractor.n_samples / SAMPLE_RATE,
            batch_size=4 if kind == "cpu" else 16,
        )  # fmt: skip

    def prompt(self, record: Record) -> str:
        """Return the conversation; a tagged task is asked in words."""
        return told(in_words(record))

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        """Answer rows that may say equally much together."""
        answers: dict[int, Answered] = {}
        for max_new_tokens in dict.fromkeys(row.max_new_tokens for row in rows):
            numbers = [number for number, row in enumerate(rows) if row.max_new_tokens == max_new_tokens]
            answers.update(zip(numbers, self._answer([rows[number] for number in numbers], max_new_tokens), strict=True))
        return [answers[number] for number in range(len(rows))]

    def peak_bytes(self) -> int:
        """Return CUDA's peak; the host's memory is measured by the run."""
        return torch.cuda.max_memory_allocated(self.model.device) if self.model.device.type == "cuda" else 0

    def _answer(self, rows: Sequence[Asked], max_new_tokens: int) -> list[Answered]:
        texts = [self.processor.apply_chat_template(_conversation(row), add_generation_prompt=True, tokenize=False) for row in rows]
        sounds = [clip.samples for row in rows for clip in row.heard]
        audio = {"audio": sounds, "sampling_rate": SAMPLE_RATE} if sounds else {}
        inputs = self.processor(text=texts, return_tensors="pt", padding=True, **audio).to(self.model.device)
        if sounds:
            inputs["input_features"] = inputs["input_features"].to(self.model.dtype)
        with torch.inference_mode():
            out = self.model.generate(**inputs, do_sample=False, temperature=None, top_p=None, top_k=None, max_new_tokens=max_new_tokens)
        return [self._said(ids) for ids in out[:, inputs["input_ids"].shape[1] :].tolist()]

    def _said(self, ids: Sequence[int]) -> Answered:
        """Cut an answer at its end; behind it stands padding."""
        stops = self.model.generation_config.eos_token_id
        ends = set(stops if isinstance(stops, list) else [stops])
        length = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        text = self.processor.tokenizer.decode(ids[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Answered(text, n_tokens=length, token_ids=tuple(ids[:length]))


def open_transformers(name: str, options: LoadOptions | None = None) -> TransformersModel:
    """Load a directory or hub id.

    Raises:
        CheckpointError: there is none, or the download is not allowed; ConfigError: no such device.
        DataError: transformers is not installed, or cannot load it.
    """
    options = options or LoadOptions()
    place = own_device(options.device)
    directory = find_checkpoint(name, allow_download=options.allow_download)
    try:
        import transformers
    except ImportError as error:
        raise DataError("transformers is not installed: pip install -e '.[eval]'") from error
    transformers.utils.logging.disable_progress_bar()
    try:
        processor = transformers.AutoProcessor.from_pretrained(directory)
        kind = transformers.Qwen2AudioForConditionalGeneration
        model, report = kind.from_pretrained(directory, dtype=find_dtype(options.dtype, place), output_loading_info=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: transformers cannot load it as Qwen2Audio ({' '.join(str(error).split())})") from error
    if missing := sorted(report["missing_keys"]):  # transformers would fill them with random numbers, and answer
        raise DataError(f"{name}: {len(missing)} weights of a Qwen2Audio are not there, {missing[0]} among them; copy it whole")
    model = model.to(place)
    return TransformersModel(model, processor, name=f"transformers:{shown_name(name)}", identity=weights_digest(directory))


def _conversation(row: Asked) -> list[dict[str, Any]]:
    """Write a row as the chat template takes it; each window of a long clip is a clip of its own there."""
    turns = []
    for role, parts in numbered(in_words(row.record)):
        content: list[dict[str, str]] = []
        for part in parts:
            if isinstance(part, Clip):
                content += [{"type": "audio", "audio_url": clip.source} for clip in row.clips[part.number]]
            else:
                content.append({"type": "text", "text": part})
        turns.append({"role": role, "content": content})
    return turns
