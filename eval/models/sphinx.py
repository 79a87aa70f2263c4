"""PocketSphinx as a neighbour: a small recogniser of English whose package carries its model."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from data.manifest import Record
from eval.models.base import About, Answered, Asked
from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.errors import DataError


class SphinxModel:
    """Transcribes English speech; rows of other tasks and languages are infer_fail."""

    def __init__(self) -> None:
        """Load the model of the package.

        Raises:
            DataError: the package is not installed.
        """
        self._decoder = _decoder()
        self._start = self._decoder.get_cmn(False)  # what it expects of a voice before it has heard one
        self.about = About(
            name="pocketsphinx", identity=f"pocketsphinx {version('pocketsphinx')} en-us", window_s=None, together=False, batch_size=4
        )

    def prompt(self, record: Record) -> str:
        """Return nothing: it is told nothing."""
        return ""

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        """Transcribe rows one by one, each as if it were the first."""
        return [self._answer(row) for row in rows]

    def peak_bytes(self) -> int:
        """Return 0."""
        return 0

    def _answer(self, row: Asked) -> Answered:
        family = row.record.family or "chat"
        language = row.record.prefix.audio_language if row.record.prefix is not None else None
        if family != "asr" or (language or "").split("_")[0] != "en":
            found = f"found {family}" + (f" in {language}" if language else "")
            return Answered(status="infer_fail", error=f"pocketsphinx transcribes English speech and nothing else, {found}")
        return Answered(" ".join(words for clip in row.heard if (words := self._hear(clip))))

    def _hear(self, clip: AudioClip) -> str:
        self._decoder.set_cmn(self._start)
        self._decoder.start_utt()
        samples = np.round(np.clip(clip.samples, -1.0, 1.0) * 32767).astype("<i2")
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found is not None else ""


def _decoder() -> Any:
    try:
        import pocketsphinx
    except ImportError as error:
        raise DataError("the peer pocketsphinx is not installed: pip install -e '.[peers]'") from error
    return pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
