"""Cut recordings that last longer than the encoder hears into stretches, and account for those that cannot be opened."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

from data.ledger import Entry
from data.manifest import AudioRef
from data.rows.archives import probe
from qwen_audio.audio import WINDOW_S
from qwen_audio.errors import AudioEmptyError, AudioError, AudioNotFoundError


def stretches(source: str, path: Path, where: str, duration_s: float | None = None) -> list[AudioRef] | Entry:
    """Cut a recording into equal consecutive stretches of at most 30 s; what fits is left whole.

    Args:
        source: the corpus' name of the recording, for the line of account.
        duration_s: as the corpus' table says it; None reads the file's header.
    """
    if duration_s is None:
        try:
            duration_s = _duration_s(path)
        except AudioNotFoundError:
            return Entry(source, "no_file", where, str(path))
        except AudioError as error:
            return Entry(source, "empty_audio" if isinstance(error, AudioEmptyError) else "corrupt", where, str(error))
    elif not path.is_file():
        return Entry(source, "no_file", where, str(path))
    if duration_s <= WINDOW_S:
        return [AudioRef(str(path))]
    count = math.ceil(duration_s / WINDOW_S)
    length_s = duration_s / count
    return [AudioRef(str(path), round(number * length_s, 3), round(length_s, 3)) for number in range(count)]


def first_window(path: Path) -> AudioRef:
    """Mean the first 30 s of a clip that is 30 s long by its corpus' word and a few milliseconds more by its header."""
    return AudioRef(str(path), 0.0, WINDOW_S)


@lru_cache(maxsize=4096)  # question sets name one recording many times
def _duration_s(path: Path) -> float:
    return probe(path).duration_s
