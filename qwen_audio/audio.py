"""Audio of any kind -> 16 kHz mono clips: read, bound, cut, and count the positions that a clip takes in a prompt.

`decoding` gives blocks of samples at the file's own rate; here their channels are averaged and soxr brings them to 16 kHz,
block by block, so that the limits hold before memory is taken.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import stat
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from qwen_audio.config import Family, LongAudio, check_choice, check_positive, option
from qwen_audio.decoding import BLOCK_VALUES, CUT_OFF_S, Decoded, Part, as_float, opened, raise_cut_off
from qwen_audio.errors import AudioEmptyError, AudioFormatError, AudioLimitError, AudioNotFoundError, AudioTooLongError

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000  # Hz, what the encoder hears
HOP = 160  # samples from one mel frame to the next, 10 ms
WINDOW_S = 30.0  # seconds that one span of the encoder can hold
WINDOW_SAMPLES = 480_000
MIN_SAMPLES = 480  # 30 ms: fewer give the encoder no position to pool
RATES = (1_000, 1_536_000)  # Hz: a rate outside is a forged or damaged header
FRAGMENT = re.compile(r"(?P<path>.+)#t=(?:npt:)?(?P<start>[\d:.]*)(?P<comma>,?)(?P<end>[\d:.]*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLimits:
    """What one file may ask of this machine; checked before anything is allocated and again while decoding."""

    max_seconds: float = option(3600.0, "longest clip, in seconds")
    max_bytes: int = option(2 << 30, "most bytes of one clip, as a file and decoded: frames x channels x 4")

    def __post_init__(self) -> None:
        check_positive(self)


DEFAULT_LIMITS = AudioLimits()


@dataclass(frozen=True, slots=True, eq=False)
class AudioClip:
    """Hold one piece of sound; two clips are equal only when they are the same object.

    Attributes:
        samples: (n,) float32, 16 kHz mono, about [-1, 1].
        source: file with its fragment, or a name, for messages to people.
        start_s: where samples[0] lies in the source, seconds.
        native_rate: Hz before resampling.
        native_channels: channels before they were averaged.
    Raises:
        AudioFormatError: samples of another form; AudioEmptyError: some of them are not numbers.
    """

    samples: np.ndarray
    source: str = "<array>"
    start_s: float = 0.0
    native_rate: int = SAMPLE_RATE
    native_channels: int = 1

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            found = f"{self.samples.dtype} of shape {self.samples.shape}"
            raise AudioFormatError(f"{self.source}: a clip holds (n,) float32 at 16 kHz, found {found}; use read_audio((array, rate))")
        if not math.isfinite(self.samples.sum(dtype=np.float64)):
            raise AudioEmptyError(f"{self.source}: a sample is not a finite number, expected about -1 to 1; make the clip again")

    @property
    def duration_s(self) -> float:
        """Tell the seconds that the clip lasts."""
        return len(self.samples) / SAMPLE_RATE

    def cut(self, start_s: float, end_s: float) -> AudioClip:
        """Copy out the piece from start_s to end_s, seconds after the first sample of this clip.

        Raises:
            AudioEmptyError: nothing of the clip lies between the two.
        """
        first, last = (max(0, round(seconds * SAMPLE_RATE)) for seconds in (start_s, end_s))
        samples = self.samples[first:last].copy()
        if not len(samples):
            raise AudioEmptyError(f"{self.source}: nothing between {start_s:.2f} s and {end_s:.2f} s of {self.duration_s:.2f} s")
        return AudioClip(samples, self.source, self.start_s + first / SAMPLE_RATE, self.native_rate, self.native_channels)


def read_audio(
    source: str | Path | bytes | tuple[np.ndarray, int] | BinaryIO,
    *,
    name: str | None = None,
    limits: AudioLimits = DEFAULT_LIMITS,
) -> AudioClip:
    """Read audio of any kind as 16 kHz mono: the mean of its channels, resampled by soxr (HQ).

    Args:
        source: a file (`rain.wav`, or `rain.wav#t=12.5,20` for a piece of it; an existing file of that literal name wins),
            the bytes of a file, an open binary file, or (array, rate): (n,) or (n, channels), integers of any width
            or floats in about [-1, 1].
        name: what messages call it; the path by default.
        limits: what it may ask of this machine.
    Raises:
        AudioNotFoundError, AudioFormatError, AudioEmptyError, AudioLimitError: one line with what, where and the mend.
    A piece equals the same seconds cut from the whole file, but for the resampling filter's few samples at its two ends.
    """
    if isinstance(source, tuple):
        return _read_array(*source, name or "<array>", limits)
    if isinstance(source, (str, os.PathLike)):
        return _read_path(os.fspath(source), name, limits)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, shown = bytes(source), name or "<bytes>"
    elif hasattr(source, "read"):
        found = getattr(source, "name", None)
        shown = name or (found if isinstance(found, str) else "<stream>")
        data = source.read(limits.max_bytes + 1)
        if not isinstance(data, bytes):
            raise AudioFormatError(f"{shown}: gives {type(data).__name__} when read, expected bytes; open it in binary mode")
    else:
        raise AudioFormatError(f"cannot read audio from {type(source).__name__}; give a path, bytes, a binary file or (array, rate)")
    _check_size(len(data), shown, limits)
    with opened(io.BytesIO(data), shown, Part()) as decoded:
        return _assemble(decoded, shown, Part(), limits)


def fit_window(clip: AudioClip, long_audio: LongAudio = "error") -> tuple[AudioClip, ...]:
    """Bring a clip to what the encoder hears at once, 30 s.

    Args:
        clip: of any length; less than one frame (10 ms) over 30 s counts as 30 s, as no frame would hold it.
        long_audio: "error" refuses more; "first" keeps the first 30 s with a warning; "split" gives consecutive windows of the
            same source, together the whole clip, none below 30 ms.
    Raises:
        AudioTooLongError: the clip is longer and long_audio is "error".
    """
    check_choice("long_audio", long_audio, ("error", "first", "split"))
    n_samples = len(clip.samples)
    if n_samples <= WINDOW_SAMPLES:
        return (clip,)
    if n_samples < WINDOW_SAMPLES + HOP:
        return (clip.cut(0.0, WINDOW_S),)
    if long_audio == "error":
        raise AudioTooLongError(
            f"{clip.source}: {clip.duration_s:.1f} s, this model hears {WINDOW_S:.0f} s per clip; "
            f"add #t=0,{WINDOW_S:.0f} or --long-audio split"
        )
    if long_audio == "first":
        log.warning("%s: heard only the first %.0f s of %.1f s", clip.source, WINDOW_S, clip.duration_s)
        return (clip.cut(0.0, WINDOW_S),)
    edges = [*range(0, n_samples, WINDOW_SAMPLES), n_samples]
    if edges[-1] - edges[-2] < MIN_SAMPLES:
        edges[-2] = n_samples - MIN_SAMPLES
    return tuple(clip.cut(first / SAMPLE_RATE, last / SAMPLE_RATE) for first, last in pairwise(edges))


def frame_count(n_samples: int, family: Family = "qwen-audio") -> int:
    """Count the mel frames that the encoder keeps of a clip: twice the 20 ms positions that follow from them.

    Args:
        n_samples: 16 kHz samples of one clip, 30 ms to 30 s.
        family: "qwen-audio" counts floor(n / 160) frames, "qwen2-audio" ceil(n / 160).
    Returns:
        an even number up to 3000; where the count is odd, one more frame is kept.
    Raises:
        AudioEmptyError, AudioTooLongError: outside those lengths.
    """
    if n_samples < MIN_SAMPLES:
        raise AudioEmptyError(f"a clip of {n_samples} samples: expected at least {MIN_SAMPLES} (30 ms at 16 kHz)")
    if n_samples > WINDOW_SAMPLES:
        raise AudioTooLongError(f"a clip of {n_samples} samples: expected at most {WINDOW_SAMPLES} (30 s); use fit_window()")
    frames = -(-n_samples // HOP) if family == "qwen2-audio" else n_samples // HOP
    return 2 * ((frames + 1) // 2)


def audio_token_count(n_samples: int, family: Family = "qwen-audio") -> int:
    """Count the prompt positions of a clip, its two bounds included: one for each 40 ms, and two."""
    return frame_count(n_samples, family) // 4 + 2


def _read_array(array: np.ndarray, rate: int, name: str, limits: AudioLimits) -> AudioClip:
    """Take samples that are decoded already; of two axes the shorter one is the channels."""
    array = np.asarray(array)
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise AudioFormatError(f"{name}: {array.dtype} of shape {array.shape}; expected numbers of shape (n,) or (n, channels)")
    frames = array.reshape(len(array), -1) if array.size else np.zeros((0, 1), np.float32)
    if 0 < frames.shape[0] < frames.shape[1]:
        frames = frames.T
    step = max(1, BLOCK_VALUES // frames.shape[1])
    blocks = (as_float(frames[first : first + step]) for first in range(0, len(frames), step))
    return _assemble(Decoded(int(rate), frames.shape[1], len(frames), blocks), name, Part(), limits)


def _read_path(path: str, name: str | None, limits: AudioLimits) -> AudioClip:
    """Read a file or a fragment of one, after looking at what lies there."""
    shown, part = name or path, Part()
    if not os.path.lexists(path):
        path, part = _split_fragment(path)
    if re.match(r"https?://|data:", path):
        raise AudioNotFoundError(f"{shown}: addresses are not fetched; download the file and give its path")
    with _open_file(path, shown, limits) as stream, opened(stream, shown, part) as decoded:
        return _assemble(decoded, shown, part, limits)


def _open_file(path: str, name: str, limits: AudioLimits) -> BinaryIO:
    """Open a regular file of an allowed size, or say why not."""
    try:
        found = os.stat(path)
        _check_kind(found.st_mode, name)
        _check_size(found.st_size, name, limits)
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise AudioNotFoundError(f"{name}: no such file; looked in {os.path.dirname(os.path.abspath(path))}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioNotFoundError(f"{name}: cannot be opened ({reason})") from error


def _check_kind(mode: int, name: str) -> None:
    """Refuse what is no regular file: reading a pipe or a device could wait forever."""
    if stat.S_ISDIR(mode):
        raise AudioFormatError(f"{name}: is a folder; name the audio files in it")
    if not stat.S_ISREG(mode):
        raise AudioFormatError(f"{name}: is a device or a pipe, not a file; save it to a file first")


def _split_fragment(path: str) -> tuple[str, Part]:
    """Split `file.wav#t=12.5,20` (W3C media fragment) into the file and the piece."""
    match = FRAGMENT.fullmatch(path)
    if match is None:
        return path, Part()
    try:
        start_s = _clock(match["start"]) if match["start"] else 0.0
        end_s = _clock(match["end"]) if match["end"] else math.inf
        if bool(match["end"]) < bool(match["comma"]) or not (match["start"] or match["end"]):
            raise ValueError("a number is missing")
    except ValueError:
        raise AudioFormatError(f"{path}: cannot read the times after #t=; write #t=START,END in seconds, as #t=12.5,20") from None
    if end_s <= start_s:
        raise AudioFormatError(f"{path}: the piece ends at {end_s:g} s, before it begins; write #t=START,END")
    return match["path"], Part(start_s, end_s)


def _clock(text: str) -> float:
    """Read seconds, mm:ss or hh:mm:ss."""
    seconds = 0.0
    for field in text.split(":"):
        seconds = seconds * 60 + float(field)
    return seconds


def _check_size(n_bytes: int, name: str, limits: AudioLimits) -> None:
    """Refuse a file that is empty or larger than the limits."""
    if n_bytes == 0:
        raise AudioEmptyError(f"{name}: is empty (0 bytes); record or copy it again")
    if n_bytes > limits.max_bytes:
        raise AudioLimitError(f"{name}: more than the {limits.max_bytes / 2**20:.0f} MiB allowed; cut it into shorter files")


def _assemble(decoded: Decoded, name: str, part: Part, limits: AudioLimits) -> AudioClip:
    """Average the channels, resample, and see that what comes out is sound."""
    rate = decoded.rate
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioLimitError(f"{name}: says {rate} samples a second, expected {RATES[0]} to {RATES[1]}; convert it to WAV first")
    if decoded.promised is not None:
        _check_limits(decoded.promised, decoded, name, limits)
    n_frames, pieces = 0, []
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in decoded.blocks:
        _check_limits(n_frames + len(block), decoded, name, limits)
        mono = np.ascontiguousarray(block[:, 0] if decoded.channels == 1 else block.mean(axis=1, dtype=np.float32))
        _check_values(mono, part.start_s + n_frames / rate, rate, name)
        n_frames += len(block)
        pieces.append(mono if rate == SAMPLE_RATE else resampler.resample_chunk(mono))
    if rate != SAMPLE_RATE and n_frames:
        pieces.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    if decoded.promised is not None and decoded.promised - n_frames > CUT_OFF_S * rate:
        raise_cut_off(name, part.start_s + n_frames / rate, part.start_s + decoded.promised / rate, None)
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not n_frames:
        raise AudioEmptyError(f"{name}: holds no sound (0 samples); record or copy it again")
    if len(samples) < MIN_SAMPLES:
        raise AudioEmptyError(f"{name}: {1000 * n_frames / rate:.1f} ms of sound, expected at least 30 ms; give a longer piece")
    _warn_of_levels(samples, name)
    return AudioClip(samples, name, part.start_s, rate, decoded.channels)


def _check_values(mono: np.ndarray, start_s: float, rate: int, name: str) -> None:
    """Refuse values that no loudspeaker could play, before the resampler spreads them over their neighbours."""
    bad = ~(np.abs(mono) <= 2.0**31)  # also true of NaN
    if bad.any():
        first = int(np.argmax(bad))
        found = "not a number" if not np.isfinite(mono[first]) else f"{mono[first]:.3g}"
        at_s = start_s + first / rate
        raise AudioEmptyError(f"{name}: a sample at {at_s:.2f} s is {found}, expected about -1 to 1; export the file again")


def _warn_of_levels(samples: np.ndarray, name: str) -> None:
    """Tell of sound that can be heard, but hardly as it was meant."""
    peak = float(np.abs(samples).max())
    if peak == 0:
        log.warning("%s: %.1f s of digital silence (every sample is zero)", name, len(samples) / SAMPLE_RATE)
    elif peak > 16:
        log.warning("%s: samples reach %.0f, expected about 1; divide integers that are held as floats by their full scale", name, peak)


def _check_limits(n_frames: int, decoded: Decoded, name: str, limits: AudioLimits) -> None:
    """Refuse more seconds or bytes than allowed; both are asked, as a forged rate makes any file look short."""
    seconds, n_bytes = n_frames / decoded.rate, n_frames * decoded.channels * 4
    if seconds > limits.max_seconds:
        raise AudioLimitError(f"{name}: {seconds:.0f} s or more, at most {limits.max_seconds:.0f} s are read at once; add #t=START,END")
    if n_bytes > limits.max_bytes:
        size = f"{n_bytes / 2**20:.0f} MiB decoded ({decoded.channels} channels)"
        raise AudioLimitError(f"{name}: {size}, at most {limits.max_bytes / 2**20:.0f} MiB are read at once; add #t=START,END")
