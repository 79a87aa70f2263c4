"""What one dialogue keeps between its turns: keys and values, what they stand for, and the vectors of its clips."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

from qwen_audio.model.decoder import KVCache, ntk_alpha
from qwen_audio.model.generate import resized
from qwen_audio.model.joint import QwenAudio

STEP = 256  # columns: a cache grows by whole steps, and by half of itself at least


class Memory:
    """The cache of one dialogue, cut back to what the next prompt shares with it.

    Every column stands for a mark: an id, or the place within a clip that a key names. A prompt whose first marks are the
    held ones goes on behind them; what differs, as after an undo, is cut off and computed again, so that an answer is
    always that of a fresh run. len() is the number of columns held.
    """

    def __init__(self) -> None:
        self.vectors: dict[Hashable, Tensor] = {}  # of the clips of the last prompt, by key
        self._cache: KVCache | None = None
        self._held: list[Hashable] = []

    def __len__(self) -> int:
        return len(self._held)

    def open(self, model: QwenAudio, marks: Sequence[Hashable], spans: Sequence[range], room: int) -> KVCache:
        """Return the cache with as many columns as this prompt can go on from, one mark short of the whole at most.

        Args:
            model: whose keys the cache holds, always the same one.
            marks: T marks of the prompt.
            spans: where its clips lie; a clip is kept whole or not at all.
            room: how many ids the answer may have.

        Where the decoder's NTK step of T positions is not the one that the held keys were made with, none can stay.
        """
        cache, needed = self._cache, len(marks) + room
        kept = 0 if cache is None or self._step_changes(model, cache, len(marks)) else self._shared(marks, spans)
        if cache is None:
            cache = KVCache(model.config.decoder, 1, _whole_steps(needed), model.device, model.dtype)
        cache.truncate(kept)
        if cache.capacity < needed:
            cache = resized(cache, _whole_steps(max(needed, cache.capacity * 3 // 2)), [0])
        self._cache, self._held = cache, list(marks[:kept])
        return cache

    def close(self, marks: Sequence[Hashable]) -> None:
        """Note what the columns stand for after a run that was fed these marks, or the first of them where it was stopped."""
        self._held = [] if self._cache is None else list(marks[: self._cache.length])

    def forget(self) -> None:
        """Drop everything."""
        self.vectors.clear()
        self._cache, self._held = None, []

    def _step_changes(self, model: QwenAudio, cache: KVCache, length: int) -> bool:
        """Tell whether a fresh run of this length would turn its keys by other angles."""
        config = model.config.decoder
        return config.dynamic_ntk and cache.length > 0 and float(cache.alpha[0]) != ntk_alpha(length, config.seq_length)

    def _shared(self, marks: Sequence[Hashable], spans: Sequence[range]) -> int:
        """Count the first marks that are held already."""
        shared = 0
        for held, mark in zip(self._held, marks[:-1], strict=False):  # the last position is always fed: its logits are needed
            if held != mark:
                break
            shared += 1
        return next((span.start for span in spans if span.start < shared < span.stop), shared)


def _whole_steps(columns: int) -> int:
    """Round up to whole steps."""
    return -(-columns // STEP) * STEP
