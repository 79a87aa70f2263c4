"""One model on one device: Prompt -> Reply, streamed or in batches; a checkpoint is found, checked and loaded here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qwen_audio.audio import AudioClip, fit_window, read_audio
from qwen_audio.config import GenerationOptions, LoadOptions, ModelConfig
from qwen_audio.errors import CheckpointError, ConfigError, PromptError
from qwen_audio.model.checkpoints.export import ChatIds, export_transformers
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.decoder import KVCache
from qwen_audio.model.generate import Answer, Constraint, Row, SrwtConstraint, Stop, generate
from qwen_audio.model.joint import QwenAudio
from qwen_audio.model.memory import Memory
from qwen_audio.model.placement import find_device, find_dtype
from qwen_audio.prompt import Prompt, render_task
from qwen_audio.tokenizer import StreamDecoder, Tokenizer
from tag_schema.prefix import TagPrefix
from tag_schema.tasks import read_task
from tag_schema.vocabulary import SILENCE

Audio = AudioClip | str | Path  # what is heard: a clip, or a file to read
CLIPS_AT_ONCE = 8  # of the encoder, so that a long dialogue resumed does not need more memory than a batch


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered.

    Attributes:
        text: the answer with its content tags such as times.
        token_ids: its ids, the stop id left out.
        stop: "end" where the model stopped itself, "length" at the limit, "cancelled" where it was told to.
        prompt_tokens: positions of the prompt, those that were kept from the turn before counted too.
        heard_s: seconds of each clip of the prompt that the model heard.
        encode_s: time that the encoder took, for the clips that it had not heard before; of the whole batch in a batch.
        answer_s: time from then to the end of the answer, or of the batch.
    """

    text: str
    token_ids: list[int]
    stop: Stop
    prompt_tokens: int
    heard_s: tuple[float, ...]
    encode_s: float = 0.0
    answer_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt, what its answer must keep to, and how many positions the window leaves for it."""

    prompt: Prompt
    constraint: Constraint | None
    room: int


class Engine:
    """A model with its tokenizer. One thread may use it at a time."""

    def __init__(self, *, model: QwenAudio, tokenizer: Tokenizer, generation: GenerationOptions | None = None, name: str = "model") -> None:
        """Put a model and its tokenizer together.

        Args:
            generation: how chat replies are sampled where the caller does not say.
            name: what messages call the model.
        Raises:
            CheckpointError: the two do not belong together.
        """
        check_pair(model.config, tokenizer, name)
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.generation = generation or GenerationOptions()
        self.stop_ids = frozenset((tokenizer.im_end, tokenizer.im_start, tokenizer.end_of_text))
        self._forbidden = _unspeakable(tokenizer, self.stop_ids, model.config.decoder.vocab_size).to(model.device)

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """In which numbers it runs."""
        return self.model.dtype

    @property
    def window(self) -> int:
        """How many positions prompt and answer may take together."""
        return self.config.decoder.window

    # Chat -------------------------------------------------------------------------------------------------------------

    def reply(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        on_text: Callable[[str], object] | None = None,
        cancelled: Callable[[], bool] | None = None,
        memory: Memory | None = None,
    ) -> Reply:
        """Answer one prompt.

        Args:
            options: how to sample; the checkpoint's own where not given.
            on_text: called with each piece of the answer, whole characters.
            cancelled: asked before every token; True ends the answer.
            memory: what a dialogue keeps between its turns.
        Raises:
            PromptError: the prompt leaves no room for an answer.
        """
        return self.stream(prompt, options, cancelled=cancelled, memory=memory).drain(on_text)

    def stream(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
        memory: Memory | None = None,
    ) -> ReplyStream:
        """Answer one prompt piece by piece; as in `reply`."""
        return ReplyStream(self, self._job(prompt), options or self.generation, memory, cancelled)

    def reply_batch(
        self,
        prompts: Sequence[Prompt],
        options: GenerationOptions | None = None,
        *,
        batch_size: int = 8,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Reply]:
        """Answer many prompts; each gets the answer that it would get alone.

        Args:
            batch_size: how many are computed at once, prompts of like length together.
        """
        return self._batches([self._job(prompt) for prompt in prompts], options or self.generation, batch_size, cancelled)

    # Tagged tasks -----------------------------------------------------------------------------------------------------

    def task(
        self,
        audio: Audio | Sequence[Audio],
        task: TagPrefix | str,
        options: GenerationOptions | None = None,
        *,
        on_text: Callable[[str], object] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Reply:
        """Do a tagged task: greedily unless told otherwise, and with word times that fit the clip.

        Args:
            audio: clips or files of at most 30 s; most tasks hear one.
            task: a tag sentence, built or written out, or the name of one of the 31 with its default languages
                (tag_schema.tasks.prefix_for takes others). A model without tags is asked in words.
        Raises:
            TagError: there is no such task or tag; AudioError: a clip cannot be heard; PromptError: too many clips.
        """
        return self.stream_task(audio, task, options, cancelled=cancelled).drain(on_text)

    def stream_task(
        self,
        audio: Audio | Sequence[Audio],
        task: TagPrefix | str,
        options: GenerationOptions | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> ReplyStream:
        """Do a tagged task piece by piece; as in `task`."""
        return ReplyStream(self, self._task_job(audio, task), options or self.task_options, None, cancelled)

    def task_batch(
        self,
        audio: Sequence[Audio | Sequence[Audio]],
        task: TagPrefix | str | Sequence[TagPrefix | str],
        options: GenerationOptions | None = None,
        *,
        batch_size: int = 8,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Reply]:
        """Do a task for each of many clips, or each its own; as in `task`."""
        tasks = [task] * len(audio) if isinstance(task, (TagPrefix, str)) else task
        jobs = [self._task_job(heard, wanted) for heard, wanted in zip(audio, tasks, strict=True)]
        return self._batches(jobs, options or self.task_options, batch_size, cancelled)

    @property
    def task_options(self) -> GenerationOptions:
        """How tagged tasks are answered: greedily, as they are evaluated."""
        return GenerationOptions(greedy=True, max_new_tokens=self.generation.max_new_tokens)

    def _task_job(self, audio: Audio | Sequence[Audio], task: TagPrefix | str) -> Job:
        """Render a tagged task and say what its answer must keep to."""
        prefix = read_task(task, self.tokenizer.custom) if isinstance(task, str) else task
        clips = [hear(part) for part in ([audio] if isinstance(audio, (AudioClip, str, Path)) else audio)]
        if not clips:
            raise PromptError(f"{prefix.task}: no audio; a tagged task hears a clip, give one")
        prompt = render_task(clips, prefix, self.tokenizer)
        if not (prefix.timestamps and prefix.task == "transcribe" and self.tokenizer.has_tags):
            return self._job(prompt)
        constraint = SrwtConstraint(
            vocab_size=self.config.decoder.vocab_size,
            text_ids=range(self.tokenizer.n_ranks),
            silence_id=self.tokenizer.id_of(SILENCE),
            time_ids=self.tokenizer.timestamp_ids,
            duration_s=clips[-1].duration_s,
            stop_ids=self.stop_ids,
        )
        return self._job(prompt, constraint)

    # Embeddings and export --------------------------------------------------------------------------------------------

    def embed(self, audio: Audio) -> np.ndarray:
        """Hear one clip of at most 30 s without any text: (n, D) float32, a vector per 40 ms, in the decoder's space."""
        mels, frames = self.model.log_mel([hear(audio)])
        with torch.inference_mode():
            vectors = self.model.encoder(mels, frames)[0]
        return vectors.float().cpu().numpy()

    def export(self, directory: str | Path) -> None:
        """Write the model as transformers' Qwen2Audio with its tokenizer, for transformers and vLLM to serve."""
        ids = ChatIds(im_end=self.tokenizer.im_end, end_of_text=self.tokenizer.end_of_text)
        export_transformers(self.model, Path(directory), ids, generation=self.generation)
        self.tokenizer.write_transformers(directory)

    # Between prompts and rows -----------------------------------------------------------------------------------------

    def _job(self, prompt: Prompt, constraint: Constraint | None = None) -> Job:
        """Check that the window leaves room for an answer."""
        room = self.window - len(prompt.token_ids)
        if room < 1:
            audio = sum(map(len, prompt.spans))
            raise PromptError(
                f"the prompt takes {len(prompt.token_ids)} positions ({audio} of them audio), this model's window has {self.window}: "
                "shorten the text, or give fewer or shorter clips (a second takes 25)"
            )
        return Job(prompt, constraint, room)

    def _vectors(self, clips: Sequence[AudioClip], keys: Sequence[Hashable], known: dict[Hashable, Tensor]) -> list[Tensor]:
        """Return the vectors of clips; those that known lacks are heard, each once, and known holds no others afterwards."""
        missing = {key: clip for key, clip in zip(keys, clips, strict=True) if key not in known}
        todo = list(missing)
        for first in range(0, len(todo), CLIPS_AT_ONCE):
            some = todo[first : first + CLIPS_AT_ONCE]
            mels, frames = self.model.log_mel([missing[key] for key in some])
            with torch.inference_mode():
                known.update(zip(some, self.model.encode_audio(mels, frames), strict=True))
        for key in set(known) - set(keys):
            del known[key]
        return [known[key] for key in keys]

    def _batches(
        self, jobs: Sequence[Job], options: GenerationOptions, batch_size: int, cancelled: Callable[[], bool] | None
    ) -> list[Reply]:
        """Answer jobs in batches of like length; the replies come in the order of the jobs."""
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}: expected at least 1")
        order = sorted(range(len(jobs)), key=lambda number: -len(jobs[number].prompt.token_ids))
        replies: dict[int, Reply] = {}
        for first in range(0, len(order), batch_size):
            numbers = order[first : first + batch_size]
            replies.update(zip(numbers, self._batch([jobs[number] for number in numbers], options, cancelled), strict=True))
        return [replies[number] for number in range(len(jobs))]

    def _batch(self, jobs: Sequence[Job], options: GenerationOptions, cancelled: Callable[[], bool] | None) -> list[Reply]:
        """Answer one batch."""
        started = time.perf_counter()
        clips = [clip for job in jobs for clip in job.prompt.clips]
        vectors = iter(self._vectors(clips, [clip_key(clip) for clip in clips], {}))
        heard = [[next(vectors) for _ in job.prompt.clips] for job in jobs]
        encoded = time.perf_counter()
        *_, answers = self._generate(jobs, heard, options, None, cancelled)
        times = (encoded - started, time.perf_counter() - encoded)
        return [_reply(job, answer, self.tokenizer.decode(answer.token_ids), times) for job, answer in zip(jobs, answers, strict=True)]

    def _generate(
        self,
        jobs: Sequence[Job],
        heard: Sequence[Sequence[Tensor]],
        options: GenerationOptions,
        cache: KVCache | None,
        cancelled: Callable[[], bool] | None,
    ) -> Iterator[list[Answer]]:
        """Let jobs speak until a stop id, and never in tokens that are not for saying."""
        return generate(
            self.model,
            [Row(job.prompt.token_ids, vectors, job.prompt.spans, job.room) for job, vectors in zip(jobs, heard, strict=True)],
            options,
            stop_ids=self.stop_ids,
            cache=cache,
            constraints=[job.constraint for job in jobs],
            forbidden=self._forbidden,
            cancelled=cancelled,
        )


class ReplyStream(Iterator[str]):
    """The pieces of one answer as they come, each of whole characters; `reply` is the whole of it, at any time."""

    def __init__(
        self, engine: Engine, job: Job, options: GenerationOptions, memory: Memory | None, cancelled: Callable[[], bool] | None
    ) -> None:
        self._job, self._answer, self._text, self._times = job, Answer(), "", (0.0, 0.0)
        self._pieces = self._run(engine, options, Memory() if memory is None else memory, cancelled)

    def __next__(self) -> str:
        return next(self._pieces)

    @property
    def reply(self) -> Reply:
        """What has been said so far; its stop is "cancelled" until the model has ended."""
        return _reply(self._job, self._answer, self._text, self._times)

    def drain(self, on_text: Callable[[str], object] | None = None) -> Reply:
        """Take the pieces that are left, hand each to on_text, and return the reply."""
        for piece in self:
            if on_text is not None:
                on_text(piece)
        return self.reply

    def close(self) -> None:
        """Stop the model; what was said so far stays the reply."""
        self._pieces.close()

    def _run(
        self, engine: Engine, options: GenerationOptions, memory: Memory, cancelled: Callable[[], bool] | None
    ) -> Generator[str, None, None]:
        """Hear the new clips, feed what the memory does not hold, speak; the memory is true however this ends."""
        started = time.perf_counter()
        prompt = self._job.prompt
        keys = [clip_key(clip) for clip in prompt.clips]
        heard = engine._vectors(prompt.clips, keys, memory.vectors)
        encoded = time.perf_counter()
        marks: list[Hashable] = list(prompt.token_ids)
        for key, span in zip(keys, prompt.spans, strict=True):
            marks[span.start : span.stop] = [(key, place) for place in range(len(span))]
        cache = memory.open(engine.model, marks, prompt.spans, min(self._job.room, options.max_new_tokens))
        characters, said = StreamDecoder(engine.tokenizer), 0
        try:
            for answers in engine._generate([self._job], [heard], options, cache, cancelled):
                self._answer = answers[0]
                piece = "".join([characters.push(token) for token in self._answer.token_ids[said:]])
                said = len(self._answer.token_ids)
                if piece:
                    self._text += piece
                    yield piece
        finally:
            tail = characters.finish()
            self._text += tail
            self._times = (encoded - started, time.perf_counter() - encoded)
            memory.close([*marks, *self._answer.token_ids])
        if tail:
            yield tail


def load(name: str | Path = "mini", *, device: str = "auto", dtype: str = "auto", allow_download: bool = False) -> Engine:
    """Load a model with its tokenizer.

    Args:
        name: "mini" (bundled), a directory in our layout or a released one, or a hub id.
        device: auto takes the first of cuda, mps and cpu that is there.
        dtype: auto is bfloat16 on a GPU that computes in it, float16 on an older one, float32 elsewhere.
        allow_download: let a hub id be fetched; otherwise only what is on this machine.
    Raises:
        CheckpointError: nothing of that name, weights at fault, or a tokenizer of another model.
        ConfigError: a device that is not there.
    """
    options = LoadOptions(device=device, dtype=dtype, allow_download=allow_download)
    place = find_device(options.device)
    directory = find_checkpoint(name, allow_download=options.allow_download)
    tokenizer = Tokenizer.from_directory(directory)
    loaded = load_checkpoint(directory, device=place, dtype=find_dtype(options.dtype, place))
    return Engine(model=loaded.model, tokenizer=tokenizer, generation=loaded.generation, name=str(name))


def check_pair(config: ModelConfig, tokenizer: Tokenizer, name: str) -> None:
    """Raise CheckpointError unless a model and a tokenizer agree on the audio tokens and the vocabulary fits."""
    for field in ("audio_start", "audio_pad", "audio_end"):
        ours, theirs = getattr(config, f"{field}_id"), getattr(tokenizer, field)
        if ours != theirs:
            raise CheckpointError(
                f"{name}: the weights expect {field} at id {ours}, the tokenizer has it at {theirs}: "
                "they do not belong together, take both from one checkpoint (or mend the id in config.json)"
            )
    if tokenizer.vocab_size > config.decoder.vocab_size:
        raise CheckpointError(
            f"{name}: the tokenizer has {tokenizer.vocab_size} ids, the weights {config.decoder.vocab_size} rows: "
            "they do not belong together, take both from one checkpoint"
        )


def hear(audio: Audio) -> AudioClip:
    """Read a clip that fits the encoder's window; a longer one is refused."""
    return fit_window(audio if isinstance(audio, AudioClip) else read_audio(audio))[0]


def clip_key(clip: AudioClip) -> bytes:
    """Name a clip by its samples, so that it is heard once however often it is asked about."""
    return hashlib.blake2b(np.ascontiguousarray(clip.samples).data, digest_size=16).digest()


def _unspeakable(tokenizer: Tokenizer, stop_ids: Collection[int], vocab_size: int) -> Tensor:
    """Mark the ids (vocab_size,) that are neither text, nor part of an answer, nor its end: control tokens and unused rows."""
    return torch.tensor(
        [tokenizer.bytes_of(token) is None and not tokenizer.is_content(token) and token not in stop_ids for token in range(vocab_size)]
    )


def _reply(job: Job, answer: Answer, text: str, times: tuple[float, float]) -> Reply:
    """Put a reply together; an answer without an end has been cancelled."""
    heard_s = tuple(clip.duration_s for clip in job.prompt.clips)
    return Reply(text, list(answer.token_ids), answer.stop or "cancelled", len(job.prompt.token_ids), heard_s, *times)
