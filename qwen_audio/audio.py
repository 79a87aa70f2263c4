"""Audio of any kind -> 16 kHz mono clips: read, bound, cut, and count the positions that a clip takes in a prompt.

soundfile decodes what it knows, PyAV the rest, soxr brings both to 16 kHz. What a file is, its content says: the extension
and a declared type are not looked at. Everything is decoded in blocks, so that the limits hold before memory is taken.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import av
import numpy as np
import soundfile
import soxr

from qwen_audio.config import Family, LongAudio, check_choice, check_positive, option
from qwen_audio.errors import (
    AudioEmptyError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    AudioNotFoundError,
    AudioTooLongError,
)

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000  # Hz, what the encoder hears
HOP = 160  # samples from one mel frame to the next, 10 ms
WINDOW_S = 30.0  # seconds that one span of the encoder can hold
WINDOW_SAMPLES = 480_000
MIN_SAMPLES = 480  # 30 ms: fewer give the encoder no position to pool
RATES = (1_000, 1_536_000)  # Hz: a rate outside is a forged or damaged header
BLOCK_VALUES = 1 << 18  # frames x channels decoded at a time
CUT_OFF_S = 0.25  # a header may promise so much more than there is: encoder padding is not a damage
KNOWN = "wav, flac, mp3, ogg, opus, aiff, au, caf, m4a, mp4, mov, aac, 3gp, webm, mka or ac3"
# FFmpeg also reads playlists, which name other files and addresses: only true containers are let in.
CONTAINERS = "aac,ac3,eac3,aiff,amr,ape,asf,au,avi,caf,dts,flac,flv,matroska,mov,mp3,mpeg,mpegts,mpc,mpc8,ogg,tta,voc,w64,wav,wv,xwma"
FRAGMENT = re.compile(r"^(?P<path>.+)#t=(?:npt:)?(?P<start>[\d:.]*)(?P<comma>,)?(?P<end>[\d:.]*)$", re.DOTALL)


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


@dataclass(frozen=True, slots=True)
class _Part:
    """Name the piece of a file that is wanted, in seconds; end_s is infinite where it goes to the end."""

    start_s: float = 0.0
    end_s: float = math.inf

    @property
    def whole(self) -> bool:
        return self.start_s == 0 and self.end_s == math.inf


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A file that is open: its rate and channels, the frames it promises from here on, and its blocks (n, channels) float32."""

    rate: int
    channels: int
    promised: int | None
    blocks: Iterator[np.ndarray]


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
    return _decode(io.BytesIO(data), len(data), shown, _Part(), limits)


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
    return tuple(clip.cut(first / SAMPLE_RATE, last / SAMPLE_RATE) for first, last in zip(edges, edges[1:], strict=False))


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
    if array.ndim not in (1, 2) or not (np.issubdtype(array.dtype, np.number) and np.isrealobj(array)):
        raise AudioFormatError(f"{name}: {array.dtype} of shape {array.shape}; expected numbers of shape (n,) or (n, channels)")
    frames = array.reshape(len(array), -1) if array.size else np.zeros((0, 1), np.float32)
    if frames.shape[0] < frames.shape[1]:
        frames = frames.T
    step = max(1, BLOCK_VALUES // frames.shape[1])
    blocks = (_as_float(frames[first : first + step]) for first in range(0, len(frames), step))
    return _assemble(_Decoded(int(rate), frames.shape[1], len(frames), blocks), name, _Part(), limits)


def _read_path(path: str, name: str | None, limits: AudioLimits) -> AudioClip:
    """Read a file or a fragment of one, after looking at what lies there."""
    shown, part = name or path, _Part()
    if not os.path.lexists(path):
        path, part = _split_fragment(path)
    if re.match(r"https?://|data:", path):
        raise AudioNotFoundError(f"{shown}: addresses are not fetched; download the file and give its path")
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise AudioFormatError(f"{shown}: is a folder; name the audio files in it")
        if not stat.S_ISREG(found.st_mode):
            raise AudioFormatError(f"{shown}: is a device or pipe, not a file; read it into a file first, or give - for stdin")
        _check_size(found.st_size, shown, limits)
        with open(path, "rb") as stream:
            return _decode(stream, found.st_size, shown, part, limits)
    except (FileNotFoundError, NotADirectoryError):
        raise AudioNotFoundError(f"{shown}: no such file; looked in {os.path.dirname(os.path.abspath(path))}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioNotFoundError(f"{shown}: cannot be opened ({reason})") from error


def _split_fragment(path: str) -> tuple[str, _Part]:
    """Split `file.wav#t=12.5,20` (W3C media fragment) into the file and the piece."""
    match = FRAGMENT.match(path)
    if match is None:
        return path, _Part()
    try:
        start_s = _clock(match["start"]) if match["start"] else 0.0
        end_s = _clock(match["end"]) if match["end"] else math.inf
        if bool(match["end"]) < bool(match["comma"]) or not (match["start"] or match["end"]):
            raise ValueError("a number is missing")
    except ValueError:
        raise AudioFormatError(f"{path}: cannot read the times after #t=; write #t=START,END in seconds, as #t=12.5,20") from None
    if end_s <= start_s:
        raise AudioFormatError(f"{path}: the piece ends at {end_s:g} s, before it begins; write #t=START,END")
    return match["path"], _Part(start_s, end_s)


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


def _decode(stream: BinaryIO, n_bytes: int, name: str, part: _Part, limits: AudioLimits) -> AudioClip:
    """Decode a file by what its content says: soundfile first, PyAV where soundfile cannot."""
    head = stream.read(64)
    stream.seek(0)
    try:
        # The number of an open file, or a file in memory: a name would let its extension speak.
        sound = soundfile.SoundFile(stream.fileno() if not isinstance(stream, io.BytesIO) else stream, closefd=False)
    except soundfile.LibsndfileError:
        stream.seek(0)
        return _decode_pyav(stream, head, name, part, limits)
    with closing(sound):
        decoded = _open_soundfile(sound, name, part)
        if part.whole:
            _check_declared(head, n_bytes, decoded, name)
        return _assemble(decoded, name, part, limits)


def _open_soundfile(sound: soundfile.SoundFile, name: str, part: _Part) -> _Decoded:
    """Seek to the piece and read it in blocks; only these frames are decoded."""
    rate, total = sound.samplerate, sound.frames
    known = 0 <= total < 1 << 48  # libsndfile answers with the largest number where the header does not say
    first = round(part.start_s * rate)
    last = total if part.end_s == math.inf else min(round(part.end_s * rate), total)
    if known and first >= total > 0:
        raise _beyond(name, part, total / rate)
    if known and part.end_s != math.inf and part.end_s > total / rate + 0.01:
        log.warning("%s: ends at %.2f s already", name, total / rate)

    def blocks() -> Iterator[np.ndarray]:
        done, step = first, max(1, BLOCK_VALUES // sound.channels)
        try:
            if first:
                sound.seek(first)
            while done < last:
                block = sound.read(min(step, last - done), dtype="float32", always_2d=True)
                if not len(block):
                    return
                done += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            _raise_cut_off(name, done / rate, total / rate if known else None, error)

    return _Decoded(rate, sound.channels, max(0, last - first) if known else None, blocks())


def _check_declared(head: bytes, n_bytes: int, decoded: _Decoded, name: str) -> None:
    """Refuse a WAV or AIFF whose header declares more bytes than there are: libsndfile quietly plays what is left."""
    order = {b"RIFF": "<I", b"FORM": ">I"}.get(head[:4])
    if order is None or len(head) < 8 or not decoded.promised:
        return
    declared = struct.unpack(order, head[4:8])[0] + 8
    if declared >= 0x7FFF_0000:  # written to a pipe: the length was not known
        return
    found_s = decoded.promised / max(1, decoded.rate)
    promised_s = found_s * declared / n_bytes
    if promised_s - found_s > CUT_OFF_S:
        _raise_cut_off(name, found_s, promised_s, None)


def _decode_pyav(stream: BinaryIO, head: bytes, name: str, part: _Part, limits: AudioLimits) -> AudioClip:
    """Decode what soundfile does not know with FFmpeg's libraries; nothing but the stream itself is ever opened."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}
    try:
        with av.open(_Nameless(stream), options=options, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioFormatError(f"{name}: a {container.format.name} file without sound; give a file with an audio track")
            return _assemble(_open_pyav(container, name, part), name, part, limits)
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioFormatError(f"{name}: {_looks_like(head)}; expected audio such as {KNOWN}") from error


class _Nameless:
    """Hand a stream to PyAV without its name, from whose extension FFmpeg would guess a format."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read, self.seek, self.tell = stream.read, stream.seek, stream.tell


def _open_pyav(container: av.container.InputContainer, name: str, part: _Part) -> _Decoded:
    """Decode the first audio track in blocks, drop what lies before the piece and stop behind it."""
    track = container.streams.audio[0]
    frames = container.decode(track)
    first = next(frames, None)
    if first is None:
        raise AudioEmptyError(f"{name}: holds no sound; record or copy it again")
    rate, channels = first.sample_rate, len(first.layout.channels)
    # Only these containers write down how long a track is; elsewhere FFmpeg guesses from the bit rate.
    trusted = container.format.name.startswith("mov") and track.duration and track.time_base
    promised_s = float(track.duration * track.time_base) if trusted else None
    if promised_s is not None and part.start_s >= promised_s:
        raise _beyond(name, part, promised_s)
    begin = round(part.start_s * rate)
    end = None if part.end_s == math.inf else round(part.end_s * rate)

    def blocks() -> Iterator[np.ndarray]:
        done, frame = 0, first
        try:
            while frame is not None and (end is None or done < end):
                if frame.sample_rate != rate or len(frame.layout.channels) != channels:
                    raise AudioFormatError(f"{name}: changes its rate or channels at {done / rate:.2f} s; convert it to WAV first")
                block = _frame_values(frame, channels)
                kept = block[max(0, begin - done) : None if end is None else end - done]
                done += len(block)
                if len(kept):
                    yield kept
                frame = next(frames, None)
        except av.error.FFmpegError as error:
            _raise_cut_off(name, done / rate, promised_s, error)
        if done <= begin and begin:
            raise _beyond(name, part, done / rate)
        if end is not None and done < end - rate // 100:
            log.warning("%s: ends at %.2f s already", name, done / rate)

    promised = None if promised_s is None else round((min(promised_s, part.end_s) - part.start_s) * rate)
    return _Decoded(rate, channels, promised, blocks())


def _frame_values(frame: av.AudioFrame, channels: int) -> np.ndarray:
    """Turn one decoded frame into (n, channels) float32."""
    values = frame.to_ndarray()
    return _as_float(values.T if frame.format.is_planar else values.reshape(-1, channels))


def _as_float(values: np.ndarray) -> np.ndarray:
    """Scale integers of any width to [-1, 1) and make everything float32."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.kind == "b":
        raise AudioFormatError("an array of true and false is not audio; expected numbers")
    half = 2.0 ** (8 * values.dtype.itemsize - 1)
    middle = half if values.dtype.kind == "u" else 0.0
    return ((values.astype(np.float64) - middle) / half).astype(np.float32)


def _assemble(decoded: _Decoded, name: str, part: _Part, limits: AudioLimits) -> AudioClip:
    """Average the channels, resample block by block, and hold the limits while doing so."""
    rate, channels = decoded.rate, decoded.channels
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioLimitError(f"{name}: says {rate} samples a second, expected {RATES[0]} to {RATES[1]}; convert it to WAV first")
    if decoded.promised is not None:
        _check_limits(decoded.promised, decoded, name, limits)
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    pieces, n_frames = [], 0
    for block in decoded.blocks:
        n_frames += len(block)
        _check_limits(n_frames, decoded, name, limits)
        mono = block[:, 0] if channels == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            at_s = part.start_s + (n_frames - len(block) + int(np.argmin(np.isfinite(mono)))) / rate
            raise AudioEmptyError(f"{name}: holds a value that is not a number (NaN or infinite) at {at_s:.2f} s; export it again")
        pieces.append(mono if rate == SAMPLE_RATE else resampler.resample_chunk(np.ascontiguousarray(mono)))
    if rate != SAMPLE_RATE and n_frames:
        pieces.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    if decoded.promised is not None and decoded.promised - n_frames > CUT_OFF_S * rate:
        _raise_cut_off(name, part.start_s + n_frames / rate, part.start_s + decoded.promised / rate, None)
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not n_frames:
        raise AudioEmptyError(f"{name}: holds no sound (0 samples); record or copy it again")
    if len(samples) < MIN_SAMPLES:
        raise AudioEmptyError(f"{name}: {1000 * n_frames / rate:.1f} ms of sound, expected at least 30 ms; give a longer piece")
    if not samples.any():
        log.warning("%s: %.1f s of digital silence (every sample is zero)", name, len(samples) / SAMPLE_RATE)
    return AudioClip(samples, name, part.start_s, rate, channels)


def _check_limits(n_frames: int, decoded: _Decoded, name: str, limits: AudioLimits) -> None:
    """Refuse more seconds or bytes than allowed; both are asked, as a forged rate makes any file look short."""
    seconds, n_bytes = n_frames / decoded.rate, n_frames * decoded.channels * 4
    if seconds > limits.max_seconds:
        raise AudioLimitError(f"{name}: {seconds:.0f} s or more, at most {limits.max_seconds:.0f} s are read at once; add #t=START,END")
    if n_bytes > limits.max_bytes:
        size = f"{n_bytes / 2**20:.0f} MiB decoded ({decoded.channels} channels)"
        raise AudioLimitError(f"{name}: {size}, at most {limits.max_bytes / 2**20:.0f} MiB are read at once; add #t=START,END")


def _beyond(name: str, part: _Part, total_s: float) -> AudioError:
    """Make the error for a piece that begins behind the end of its file."""
    return AudioEmptyError(f"{name}: the piece begins at {part.start_s:g} s, the file lasts {total_s:.2f} s; give an earlier #t=")


def _raise_cut_off(name: str, found_s: float, promised_s: float | None, cause: Exception | None) -> NoReturn:
    """Refuse a file that ends too early, and say how to hear what is there."""
    promised = f" of {promised_s:.2f} s" if promised_s else ""
    mend = f"copy it again, or add #t=0,{math.floor(found_s * 100) / 100:g} to hear that much" if found_s > 0.03 else "copy it again"
    raise AudioFormatError(f"{name}: cut off or damaged, only {found_s:.2f} s{promised} can be decoded; {mend}") from cause


def _looks_like(head: bytes) -> str:
    """Say what a file that is not audio begins with."""
    text = cast(str, head.decode("utf-8", "ignore"))
    if len(text) >= len(head) - 3 and all(char.isprintable() or char in "\r\n\t" for char in text):
        return f"is text, not audio (it begins with {' '.join(text.split())[:24]!r})"
    return "is not audio in any format known here, or its header is damaged"
