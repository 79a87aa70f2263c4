"""Ids in, ids out: prefill, decode, sample, constrain, stop; one row or many, a step at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from qwen_audio.config import GenerationOptions
from qwen_audio.model.decoder import KVCache
from qwen_audio.model.joint import QwenAudio

Stop = Literal["end", "length", "cancelled"]
COLDEST = 1e-4  # the likeliest id has all the mass long before; colder, logits would pass what float32 holds


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt as the model takes it: ids, and the vectors that replace the ids of each span.

    spans[i] lies over the ids of clip i, bounds included; audio[i] is what QwenAudio.encode_audio made of that clip. room is
    the most ids that the row may say, where that is less than the options allow.
    """

    token_ids: Sequence[int]
    audio: Sequence[Tensor] = ()
    spans: Sequence[range] = ()
    room: int | None = None

    def limit(self, options: GenerationOptions) -> int:
        """Return how many ids this row may say."""
        return options.max_new_tokens if self.room is None else min(options.max_new_tokens, self.room)


@dataclass(slots=True)
class Answer:
    """What one row has said so far, the stop id left out; stop is None while it still speaks."""

    token_ids: list[int] = field(default_factory=list)
    stop: Stop | None = None

    def hear(self, token: int, stop_ids: Collection[int], limit: int) -> None:
        """Write the next id down; a stop id or the limit ends the answer."""
        if token in stop_ids:
            self.stop = "end"
            return
        self.token_ids.append(token)
        if len(self.token_ids) >= limit:
            self.stop = "length"


class Constraint(Protocol):
    """Decides which ids one row may say next."""

    def allowed(self, said: Sequence[int], left: int) -> Tensor | None:
        """Return a mask (vocabulary,) that is True at the ids allowed, or None for all of them.

        Args:
            said: the ids said so far, prompt excluded.
            left: how many ids may still be said, the next one included.
        """


class SrwtConstraint:
    """Keeps a transcription with word times well-formed: word, time, word, time, and then the end.

    The prompt has given the time zero. A word is one or more text ids, or the single id of silence; a time closes it. Times
    never fall and never pass the clip's end; at the clip's end only the end may follow. The last id that the limit
    allows closes an open word, and no word is opened that could not be closed.
    """

    def __init__(
        self, *, vocab_size: int, text_ids: range, silence_id: int, time_ids: range, duration_s: float, stop_ids: Collection[int]
    ) -> None:
        """Set the grammar up.

        Args:
            vocab_size: length of the masks, the model's rows.
            text_ids: ids of plain text.
            silence_id: id that stands for a stretch without words.
            time_ids: ids of the times 0.00 s, 0.01 s, .. in order.
            duration_s: length of the clip in seconds.
            stop_ids: ids that end the answer.
        """
        self.text_ids, self.silence_id = text_ids, silence_id
        last = min(len(time_ids) - 1, int(duration_s * 100 + 1e-6))
        self.time_ids = time_ids[: last + 1]
        self._word = torch.zeros(vocab_size, dtype=torch.bool)
        self._word[text_ids.start : text_ids.stop] = True
        self._end = torch.zeros(vocab_size, dtype=torch.bool)
        self._end[list(stop_ids)] = True
        self._free = self._word | self._end
        self._free[silence_id] = True

    def allowed(self, said: Sequence[int], left: int) -> Tensor:
        """Return the mask (vocabulary,) of what may follow."""
        time_id = next((token for token in reversed(said) if token in self.time_ids), self.time_ids[0])
        if not said or said[-1] in self.time_ids:  # between words
            return self._end if left < 2 or time_id == self.time_ids[-1] else self._free
        if said[-1] == self.silence_id or left < 2:
            mask = torch.zeros_like(self._word)
        else:
            mask = self._word.clone()
        mask[time_id : self.time_ids.stop] = True
        return mask


class Sampler:
    """Chooses the next id of each row; a row's choice depends on nothing but the row.

    Every row draws from a generator of its own, started from options.seed, so that neither its neighbours nor its place in
    the batch matter: equal rows get equal answers. Without a seed every row gets a fresh one.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        options: GenerationOptions,
        constraints: Sequence[Constraint | None] | None = None,
        forbidden: Tensor | None = None,
    ) -> None:
        """Prepare for the rows of one run; forbidden (vocabulary,) is True at ids that nobody may say."""
        self.options, self.forbidden = options, forbidden
        self.constraints = constraints or [None] * len(rows)
        self.generators = [_generator(options.seed) for _ in rows]
        self._rows, self._seen = rows, torch.empty(0)

    @torch.inference_mode()
    def choose(self, logits: Tensor, numbers: Sequence[int], answers: Sequence[Answer]) -> list[int]:
        """Pick one id for each of the rows with these numbers.

        Args:
            logits: (len(numbers), vocabulary), in any float type.
            numbers: which rows the logits belong to.
            answers: what all rows have said so far.
        """
        scores = logits.float()
        if self.options.repetition_penalty != 1.0:
            scores = self._penalise(scores, numbers, answers)
        if self.forbidden is not None:
            scores = scores.masked_fill(self.forbidden.to(scores.device), -torch.inf)
        scores = self._constrain(scores, numbers, answers)
        if self.options.deterministic:
            return [int(token) for token in scores.argmax(dim=-1).tolist()]
        drawn = torch.tensor([float(torch.rand((), generator=self.generators[number])) for number in numbers])
        return [int(token) for token in sample(scores, self.options, drawn.to(scores.device)).tolist()]

    def _penalise(self, scores: Tensor, numbers: Sequence[int], answers: Sequence[Answer]) -> Tensor:
        """Make the ids of the prompt and of the answer so far less likely, as transformers does."""
        if not len(self._seen):
            self._seen = torch.zeros(len(self._rows), scores.shape[1], dtype=torch.bool, device=scores.device)
            for number, row in enumerate(self._rows):
                self._seen[number, list(row.token_ids)] = True
        for number in numbers:
            if answers[number].token_ids:
                self._seen[number, answers[number].token_ids[-1]] = True
        penalty = self.options.repetition_penalty
        return torch.where(self._seen[list(numbers)], torch.where(scores < 0, scores * penalty, scores / penalty), scores)

    def _constrain(self, scores: Tensor, numbers: Sequence[int], answers: Sequence[Answer]) -> Tensor:
        """Rule out what the rows' constraints do not allow."""
        for place, number in enumerate(numbers):
            constraint, said = self.constraints[number], answers[number].token_ids
            mask = None if constraint is None else constraint.allowed(said, self._rows[number].limit(self.options) - len(said))
            if mask is not None:
                scores[place] = scores[place].masked_fill(~mask.to(scores.device), -torch.inf)
        return scores


def sample(scores: Tensor, options: GenerationOptions, drawn: Tensor) -> Tensor:
    """Draw one id a row: temperature, then the k likeliest, then the nucleus of what is left.

    Args:
        scores: (B, V) float32 logits, -inf where an id is ruled out.
        drawn: (B,) uniform numbers in [0, 1), one a row.
    Returns:
        (B,) int64: the id at which the likeliest-first sum of probabilities passes drawn.
    """
    scores = scores / max(options.temperature, COLDEST)
    if 0 < options.top_k < scores.shape[1]:
        ranked, order = scores.topk(options.top_k, dim=-1)
    else:
        ranked, order = scores.sort(dim=-1, descending=True, stable=True)
    mass = ranked.softmax(dim=-1)
    if options.top_p < 1:
        likelier = mass.cumsum(dim=-1) - mass  # 0 for the likeliest, which is thus always kept
        mass = mass.masked_fill(likelier >= options.top_p, 0.0)
    total = mass.cumsum(dim=-1)
    place = torch.searchsorted(total, drawn[:, None].to(total.dtype) * total[:, -1:], right=True)
    kept = (mass > 0).sum(dim=-1, keepdim=True)
    return order.gather(1, torch.minimum(place, kept - 1)).squeeze(1)


def generate(
    model: QwenAudio,
    rows: Sequence[Row],
    options: GenerationOptions,
    *,
    stop_ids: Collection[int],
    cache: KVCache | None = None,
    constraints: Sequence[Constraint | None] | None = None,
    forbidden: Tensor | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[list[Answer]]:
    """Let the rows speak; yields after every step the answers so far, always the same list.

    A stop id ends its row at once and is never fed; a row that has ended costs nothing once half of the batch has. The last
    id said is not in the cache.

    Args:
        model: in eval mode.
        rows: B prompts.
        stop_ids: ids that end a row; they are not part of the answer.
        cache: of one row and enough capacity; it may hold the first part of the row's positions already, which are
            then not computed again. None makes a fresh one for the batch.
        constraints: one a row, or None.
        forbidden: (vocabulary,) True at ids that nobody may say.
        cancelled: asked before every step; True ends the rows that still speak with the stop "cancelled".
    """
    answers = [Answer() for _ in rows]
    speaking = list(range(len(rows)))
    if not rows or _cancel(cancelled, answers):
        yield answers
        return
    sampler = Sampler(rows, options, constraints, forbidden)
    owned = cache is None
    held = cache if cache is not None else empty_cache(model, rows, options)
    logits, lanes = prefill(model, rows, held), speaking  # lanes: the row number of each line of the cache
    while speaking:
        places = [lanes.index(number) for number in speaking]
        for number, token in zip(speaking, sampler.choose(logits[places], speaking, answers), strict=True):
            answers[number].hear(token, stop_ids, rows[number].limit(options))
        yield answers
        speaking = [number for number in speaking if answers[number].stop is None]
        if not speaking or _cancel(cancelled, answers):
            return
        if owned and len(speaking) * 2 <= len(lanes):
            held, lanes = resized(held, held.capacity, [lanes.index(number) for number in speaking]), speaking
        logits = decode(model, [(answers[number].token_ids or [0])[-1] for number in lanes], held)


def empty_cache(model: QwenAudio, rows: Sequence[Row], options: GenerationOptions) -> KVCache:
    """Make a cache that holds the longest of the rows and the longest answer."""
    capacity = max(len(row.token_ids) for row in rows) + max(row.limit(options) for row in rows)
    return KVCache(model.config.decoder, len(rows), capacity, model.device, model.dtype)


@torch.inference_mode()
def prefill(model: QwenAudio, rows: Sequence[Row], cache: KVCache) -> Tensor:
    """Feed the prompts; the head is computed at the last position alone.

    Args:
        rows: B prompts; shorter ones are padded on the left. With one row, positions that the cache holds are left out.
    Returns:
        logits (B, vocabulary) of the position after each prompt.
    """
    kept = cache.length
    assert kept == 0 or len(rows) == 1, "only a single row can go on from a cache"
    longest = max(len(row.token_ids) for row in rows)
    pads = [longest - len(row.token_ids) for row in rows]
    token_ids = torch.tensor([[0] * (longest - len(row.token_ids)) + list(row.token_ids) for row in rows], device=model.device)
    audio, places = [], []
    for number, row in enumerate(rows):
        for vectors, span in zip(row.audio, row.spans, strict=True):
            if span.start >= kept:
                audio.append(vectors)
                places.append((number, pads[number] + span.start - kept, len(span)))
            else:
                assert span.stop <= kept, "a cache may not end inside a clip"
    hidden = model.embed(token_ids[:, kept:], audio, torch.tensor(places, dtype=torch.int64, device=model.device).view(-1, 3))
    starts = None if kept else torch.tensor(pads, device=model.device)
    return model.decoder.logits(model.decoder(hidden, cache=cache, starts=starts)[:, -1])


@torch.inference_mode()
def decode(model: QwenAudio, token_ids: Sequence[int], cache: KVCache) -> Tensor:
    """Feed one id a row and return the logits (B, vocabulary) after it."""
    ids = torch.tensor(token_ids, device=model.device)[:, None]
    hidden = model.embed(ids, (), torch.zeros(0, 3, dtype=torch.int64, device=model.device))
    return model.decoder.logits(model.decoder(hidden, cache=cache)[:, -1])


@torch.inference_mode()
def resized(cache: KVCache, capacity: int, places: Sequence[int]) -> KVCache:
    """Copy the lines of a cache at these places into a new one that holds `capacity` columns."""
    lines = torch.tensor(places, device=cache.k.device)
    other = KVCache(cache.config, len(places), capacity, cache.k.device, cache.k.dtype)
    if cache.length:
        other.begin(cache.start[lines], cache.alpha[lines.cpu()].tolist())
        other.k[..., : cache.length, :] = cache.k[:, lines, :, : cache.length]
        other.v[..., : cache.length, :] = cache.v[:, lines, :, : cache.length]
        other.length = cache.length
    return other


def _generator(seed: int | None) -> torch.Generator:
    """Start a stream of random numbers, the same one wherever the model runs."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _cancel(cancelled: Callable[[], bool] | None, answers: Sequence[Answer]) -> bool:
    """Mark the rows that still speak where the caller wants to stop."""
    if cancelled is None or not cancelled():
        return False
    for answer in answers:
        answer.stop = answer.stop or "cancelled"
    return True
