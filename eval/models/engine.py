"""Our checkpoints: tagged tasks by their tags, conversations as chat, greedily."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from data.manifest import Record
from eval.models.asking import in_words, numbered, told
from eval.models.base import About, Answered, Asked, failed
from eval.models.identity import joined_digest, shown_name, weights_digest
from qwen_audio.config import GenerationOptions, LoadOptions
from qwen_audio.engine import Engine, Reply, load
from qwen_audio.errors import USER_ERRORS
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.placement import find_device
from qwen_audio.prompt import Message, Prompt, render_chat, render_task
from tag_schema.prefix import TagPrefix

PROMPTS = 1  # raise it when the same row is rendered in another way


class EngineModel:
    """A checkpoint of ours. Rows of one call are computed together, those of like form."""

    def __init__(self, engine: Engine, *, identity: str = "", words: bool = False) -> None:
        """Take an engine.

        Args:
            identity: the weights' hash; by default that of the parameters in memory.
            words: ask tagged tasks in words even where the model has tags, as its exported form is asked.
        """
        self.engine = engine
        self.tagged = engine.tokenizer.has_tags and not words
        self.about = About(
            name=shown_name(engine.name),
            identity=identity or _digest(engine),
            settings={
                "kind": "engine", "prompts": PROMPTS, "tags": self.tagged, "sampling": "greedy",
                "dtype": str(engine.dtype).removeprefix("torch."), "device": engine.device.type,
            },
            batch_size=8 if engine.device.type == "cpu" else 16,
        )  # fmt: skip

    def prompt(self, record: Record) -> str:
        """Return the tag sentence, or the conversation."""
        if record.prefix is not None and self.tagged:
            return record.prefix.sentence(self.engine.tokenizer.custom)
        return told(in_words(record))

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        """Answer rows: one that cannot be rendered or leaves no room in the window is told of, the others are computed."""
        answers: dict[int, Answered] = {}
        jobs: dict[tuple[bool, int], list[tuple[int, Prompt]]] = {}
        for number, row in enumerate(rows):
            try:
                prompt = self.render(row)
            except USER_ERRORS as error:
                answers[number] = failed(error)
                continue
            if len(prompt.token_ids) >= self.engine.window:
                found = f"the prompt takes {len(prompt.token_ids)} positions, this model's window has {self.engine.window}"
                answers[number] = Answered(status="too_long", error=found)
                continue
            tagged = row.record.prefix is not None and self.tagged
            jobs.setdefault((tagged, row.max_new_tokens), []).append((number, prompt))
        for (tagged, max_new_tokens), some in jobs.items():
            options = GenerationOptions(greedy=True, max_new_tokens=max_new_tokens)
            numbers = [number for number, _ in some]
            if tagged:
                prefixes = [prefix for number in numbers if (prefix := rows[number].record.prefix) is not None]
                replies = self._tasks([rows[number] for number in numbers], prefixes, options)
            else:
                replies = self.engine.reply_batch([prompt for _, prompt in some], options, batch_size=len(some))
            answers.update(zip(numbers, map(_answered, replies), strict=True))
        return [answers[number] for number in range(len(rows))]

    def peak_bytes(self) -> int:
        """Return CUDA's peak; the host's memory is measured by the run."""
        return torch.cuda.max_memory_allocated(self.engine.device) if self.engine.device.type == "cuda" else 0

    def render(self, row: Asked) -> Prompt:
        """Write the prompt of one row.

        Raises:
            QwenAudioError, TagError: it cannot be written.
        """
        tokenizer = self.engine.tokenizer
        if row.record.prefix is not None and self.tagged:
            return render_task(row.heard, row.record.prefix, tokenizer)
        messages = []
        for turn, (_, parts) in zip(turns := in_words(row.record), numbered(turns), strict=True):
            laid = (part if isinstance(part, str) else row.clips[part.number] for part in parts)
            messages.append(Message(turn.role, tuple(piece for part in laid for piece in ((part,) if isinstance(part, str) else part))))
        return render_chat(messages, tokenizer)

    def _tasks(self, rows: Sequence[Asked], prefixes: Sequence[TagPrefix], options: GenerationOptions) -> list[Reply]:
        """Do tagged tasks, so that times are kept to the clip."""
        return self.engine.task_batch([row.heard for row in rows], prefixes, options, batch_size=len(rows))


def open_engine(name: str, options: LoadOptions | None = None) -> EngineModel:
    """Load a checkpoint of ours, or a released one.

    Raises:
        CheckpointError, ConfigError: as qwen_audio.engine.load.
    """
    options = options or LoadOptions()
    identity = weights_digest(find_checkpoint(name, allow_download=options.allow_download))
    engine = load(name, device=str(own_device(options.device)), dtype=options.dtype, allow_download=options.allow_download)
    return EngineModel(engine, identity=identity)


def own_device(name: str) -> torch.device:
    """Find a device; of several processes on one machine ($LOCAL_RANK) each takes a GPU of its own, unless one is named by its number.

    Raises:
        ConfigError: it is not there.
    """
    device = find_device(name)
    if device.type != "cuda" or ":" in str(device) or "LOCAL_RANK" not in os.environ:
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


def _answered(reply: Reply) -> Answered:
    return Answered(reply.text, n_tokens=len(reply.token_ids), token_ids=tuple(reply.token_ids))


def _digest(engine: Engine) -> str:
    """Hash a model's parameters and its vocabulary as they lie in memory."""
    tensors = sorted(engine.model.state_dict().items())
    names = [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in tensors]
    vocabulary = [f"{engine.tokenizer.n_ranks} {sorted(engine.tokenizer.special.items())}"]
    raw = (tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for _, tensor in tensors)
    return joined_digest([*(line.encode() for line in (*names, *vocabulary)), *raw])
