"""The bytes of a file -> blocks of samples at its own rate: soundfile first, PyAV where soundfile does not know the format.

What a file is, its content says: neither library is told a name, from whose extension it would guess. Every file is refused
that ends before its own header says so, with the piece that can be heard as the mend.
"""

from __future__ import annotations

import io
import logging
import math
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import av
import numpy as np
import soundfile

from qwen_audio.errors import AudioEmptyError, AudioFormatError

log = logging.getLogger(__name__)

BLOCK_VALUES = 1 << 18  # frames x channels decoded at a time
SMALL_BLOCK = 4096  # frames; a FLAC holds so many in one packet
CUT_OFF_S = 0.25  # a header may promise so much more than there is: encoder padding is not a damage
KNOWN = "wav, flac, mp3, ogg, opus, aiff, au, caf, m4a, mp4, mov, aac, 3gp, webm, mka or ac3"
# FFmpeg also reads playlists, which name other files and addresses: only true containers are let in.
CONTAINERS = "aac,ac3,eac3,aiff,amr,ape,asf,au,avi,caf,dts,flac,flv,matroska,mov,mp3,mpeg,mpegts,mpc,mpc8,ogg,tta,voc,w64,wav,wv,xwma"


@dataclass(frozen=True, slots=True)
class Part:
    """Name the piece of a file that is wanted, in seconds; end_s is infinite where it goes to the end."""

    start_s: float = 0.0
    end_s: float = math.inf

    @property
    def whole(self) -> bool:
        """Tell whether nothing is left out."""
        return self.start_s == 0 and self.end_s == math.inf


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file that is open: its rate and channels, the frames it promises from here on, and its blocks (n, channels) float32."""

    rate: int
    channels: int
    promised: int | None
    blocks: Iterator[np.ndarray]


@contextmanager
def opened(stream: BinaryIO, name: str, part: Part) -> Iterator[Decoded]:
    """Open audio by what its content says and stand at the beginning of the piece.

    Args:
        stream: a file, or bytes in memory.
        name: what messages call it.
        part: the seconds that are wanted.
    Raises:
        AudioFormatError: not audio, cut off or damaged; AudioEmptyError: the piece lies behind the end. Both also while the
            blocks are drawn.
    """
    head, n_bytes = stream.read(64), stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        # The number of an open file, or a file in memory: a name would let its extension speak.
        sound = soundfile.SoundFile(_Nameless(stream) if isinstance(stream, io.BytesIO) else stream.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        stream.seek(0)
        with _opened_pyav(stream, head, name, part) as decoded:
            yield decoded
        return
    with sound:
        decoded = _open_soundfile(sound, name, part)
        if part.whole:
            _check_declared(head, n_bytes, decoded, name)
        yield decoded


def _open_soundfile(sound: soundfile.SoundFile, name: str, part: Part) -> Decoded:
    """Seek to the piece and read it in blocks; only these frames are decoded."""
    rate, total = sound.samplerate, sound.frames
    known = 0 <= total < 1 << 48  # libsndfile answers with the largest number where the header does not say
    first = round(part.start_s * rate)
    last = total if part.end_s == math.inf else min(round(part.end_s * rate), total)
    if known and first >= total > 0:
        raise beyond(name, part, total / rate)
    if known and part.end_s != math.inf and part.end_s > total / rate + 0.01:
        log.warning("%s: ends at %.2f s already", name, total / rate)

    def blocks() -> Iterator[np.ndarray]:
        done, step, lost = first, max(1, BLOCK_VALUES // sound.channels), bool(first)
        while done < last:
            try:
                if lost:
                    sound.seek(done)
                    lost = False
                block = sound.read(min(step, last - done), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if step <= SMALL_BLOCK:
                    raise_cut_off(name, done / rate, total / rate if known else None, error)
                step, lost = SMALL_BLOCK, True  # go again in small steps, to find how far it can be heard
                continue
            if not len(block):
                return
            done += len(block)
            yield block

    return Decoded(rate, sound.channels, max(0, last - first) if known else None, blocks())


def _check_declared(head: bytes, n_bytes: int, decoded: Decoded, name: str) -> None:
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
        raise_cut_off(name, found_s, promised_s, None)


@contextmanager
def _opened_pyav(stream: BinaryIO, head: bytes, name: str, part: Part) -> Iterator[Decoded]:
    """Open what soundfile does not know with FFmpeg's libraries; nothing but the stream itself is ever opened."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}
    with ExitStack() as stack:
        try:
            container = stack.enter_context(av.open(_Nameless(stream), "r", options=options, metadata_errors="ignore"))
            if not container.streams.audio:
                raise AudioFormatError(f"{name}: a {container.format.name} file without sound; give a file with an audio track")
            decoded = _open_pyav(container, name, part)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise AudioFormatError(f"{name}: {_looks_like(head)}; expected audio such as {KNOWN}") from error
        yield decoded


class _Nameless:
    """Hand a stream on without its name, from whose extension FFmpeg would guess a format."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read, self.tell, self._seek = stream.read, stream.tell, stream.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; -1, as C expects it, where a damaged file points before its beginning."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _open_pyav(container: av.container.InputContainer, name: str, part: Part) -> Decoded:
    """Decode the first audio track in blocks, drop what lies before the piece and stop behind it."""
    track = container.streams.audio[0]
    if track.codec_context is None:  # PyAV 17 crashes when it decodes such a track
        raise AudioFormatError(f"{name}: its sound is coded in a way nobody here knows; expected audio such as {KNOWN}")
    frames = container.decode(track)
    first = next(frames, None)
    if first is None:
        raise AudioEmptyError(f"{name}: holds no sound; record or copy it again")
    rate, channels = first.sample_rate, len(first.layout.channels)
    # Only these containers write down how long a track is; elsewhere FFmpeg guesses from the bit rate.
    trusted = container.format.name.startswith("mov")
    promised_s = float(track.duration * track.time_base) if trusted and track.duration and track.time_base else None
    if promised_s is not None and part.start_s >= promised_s:
        raise beyond(name, part, promised_s)
    begin = round(part.start_s * rate)
    end = None if part.end_s == math.inf else round(part.end_s * rate)

    def blocks() -> Iterator[np.ndarray]:
        done = 0
        frame: av.AudioFrame | None = first
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
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise_cut_off(name, done / rate, promised_s, error)
        if done <= begin and begin:
            raise beyond(name, part, done / rate)
        if end is not None and done < end - rate // 100:
            log.warning("%s: ends at %.2f s already", name, done / rate)

    promised = None if promised_s is None else round((min(promised_s, part.end_s) - part.start_s) * rate)
    return Decoded(rate, channels, promised, blocks())


def _frame_values(frame: av.AudioFrame, channels: int) -> np.ndarray:
    """Turn one decoded frame into (n, channels) float32."""
    values = frame.to_ndarray()
    return as_float(values.T if frame.format.is_planar else values.reshape(-1, channels))


def as_float(values: np.ndarray) -> np.ndarray:
    """Scale integers of any width to [-1, 1) and make everything float32."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    half = 2.0 ** (8 * values.dtype.itemsize - 1)
    middle = half if values.dtype.kind == "u" else 0.0
    return ((values.astype(np.float64) - middle) / half).astype(np.float32)


def beyond(name: str, part: Part, total_s: float) -> AudioEmptyError:
    """Make the error for a piece that begins behind the end of its file."""
    return AudioEmptyError(f"{name}: the piece begins at {part.start_s:g} s, the file lasts {total_s:.2f} s; give an earlier #t=")


def raise_cut_off(name: str, found_s: float, promised_s: float | None, cause: Exception | None) -> NoReturn:
    """Refuse a file that ends too early, and say how to hear what is there."""
    promised = f" of {promised_s:.2f} s" if promised_s else ""
    mend = f"copy it again, or add #t=0,{math.floor(found_s * 100) / 100:g} to hear that much" if found_s > 0.03 else "copy it again"
    raise AudioFormatError(f"{name}: cut off or damaged, only {found_s:.2f} s{promised} can be decoded; {mend}") from cause


def _looks_like(head: bytes) -> str:
    """Say what a file that is not audio begins with."""
    text = head.decode("utf-8", "ignore")
    if len(text) >= len(head) - 3 and all(char.isprintable() or char in "\r\n\t" for char in text):
        return f"is text, not audio (it begins with {' '.join(text.split())[:24]!r})"
    return "is not audio in any format known here, or its header is damaged"
