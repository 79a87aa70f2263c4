"""Let espeak-ng speak, through its library: samples, and when each word and sound begins.

The library keeps the phase of its voice's flutter and of its noise from one text to the next, so it is loaded anew for each
text (about 4 ms): what is said depends on the request alone.
"""

from __future__ import annotations

import _ctypes
import ctypes
import ctypes.util
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from qwen_audio.errors import DataError

log = logging.getLogger(__name__)
_SYNCHRONOUS, _PHONEME_EVENTS_AND_NO_EXIT, _UTF8 = 2, 0x8001, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_WORD, _PHONEME = 1, 7
_MEND = "python -m pip install espeakng-loader (or the system's: apt install libespeak-ng1; brew install espeak-ng)"
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Request:
    """What to say and how: a voice `language+variant`, words a minute (80 to 450), pitch and range 0 to 99."""

    voice: str
    text: str
    words_per_minute: int = 160
    pitch: int = 50
    pitch_range: int = 50


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something begins: a word of the text by its first character, or a phoneme by its name."""

    sample: int
    character: int | None = None
    phoneme: str | None = None

    @property
    def is_pause(self) -> bool:
        """Say whether nothing is spoken from here on."""
        return self.phoneme is not None and self.phoneme.rstrip(":") == "_"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What espeak-ng said: (n,) float32 at its own rate, and its marks in order."""

    samples: npt.NDArray[np.float32]
    rate: int
    marks: tuple[Mark, ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user_data", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def utter(request: Request) -> Utterance:
    """Say a text; the same request gives the same samples, whatever was said before.

    Raises:
        DataError: no espeak-ng is installed, it has no such voice, or it said nothing.
    """
    where, data = located()
    _warn_where_it_remembers()
    with _ONE_AT_A_TIME:
        return _utter(request, where, data)


@cache
def located() -> tuple[str, str | None]:
    """Find the library and its data: the wheel espeakng-loader, else the system's.

    Raises:
        DataError: there is neither.
    """
    try:
        import espeakng_loader
    except ImportError:
        for name in (ctypes.util.find_library("espeak-ng"), "libespeak-ng.so.1", "libespeak-ng.dylib"):
            if name and _loads(name):
                return name, None
        raise DataError(f"espeak-ng is not installed: it speaks the constructed speech; {_MEND}") from None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


@cache
def version() -> str:
    """Name the version of the library, for what was made with it."""
    where, _ = located()
    library = ctypes.CDLL(where)
    library.espeak_Info.restype = ctypes.c_char_p
    found = library.espeak_Info(None).decode("utf-8")
    _unload(library)
    return str(found)


def _loads(name: str) -> bool:
    try:
        _unload(ctypes.CDLL(name))
    except OSError:
        return False
    return True


def _utter(request: Request, where: str, data: str | None) -> Utterance:
    library = ctypes.CDLL(where)
    chunks: list[bytes] = []
    marks: list[Mark] = []
    callback = _collector(chunks, marks)
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode() if data else None, _PHONEME_EVENTS_AND_NO_EXIT)
        if rate <= 0:
            raise DataError(f"{where}: espeak-ng does not start (its data: {data or 'the default place'}); {_MEND}")
        _same_noise_again(library)
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(request.voice.encode()) != 0:
            raise DataError(f"{where}: espeak-ng has no voice {request.voice!r}; expected a language and a variant such as en-us+f2")
        values = {_RATE: request.words_per_minute, _VOLUME: 90, _PITCH: request.pitch, _RANGE: request.pitch_range}
        for parameter, value in values.items():
            library.espeak_SetParameter(parameter, value, 0)
        text = request.text.encode("utf-8")
        library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, _UTF8, None, None)
    finally:
        library.espeak_Terminate()
        _unload(library)
    samples = (np.frombuffer(b"".join(chunks), np.int16) / np.float32(32768)).astype(np.float32)
    if not samples.any():
        raise DataError(f"espeak-ng says nothing to {request.text!r} in the voice {request.voice}; give words of its language")
    return Utterance(samples, rate, tuple(marks))


def _collector(chunks: list[bytes], marks: list[Mark]) -> Callable[..., int]:
    """Make what the library calls with each piece of sound and its events."""

    def collect(wave: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, 2 * count))
        number = 0
        while events[number].type:
            event = events[number]
            if event.type == _WORD:
                marks.append(Mark(event.sample, character=event.text_position - 1))
            elif event.type == _PHONEME:
                marks.append(Mark(event.sample, phoneme=event.id.string.decode("utf-8", "replace")))
            number += 1
        return 0

    return _CALLBACK(collect)


def _same_noise_again(library: ctypes.CDLL) -> None:
    """Seed the noise of breath and hiss: older libraries take it from the C library."""
    if hasattr(library, "espeak_ng_SetRandSeed"):
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    elif not hasattr(ctypes, "windll"):
        ctypes.CDLL(None).srand(1)


def _unload(library: ctypes.CDLL) -> None:
    """Let the library go, and with it what it remembers."""
    close = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary")  # noqa: B009 - it has one of the two
    close(library._handle)


@cache
def _warn_where_it_remembers() -> None:
    """Say once where a system does not unload libraries: the same seed then gives other bytes in another order."""
    where, data = located()
    request = Request("en-us+f2", "one two")
    with _ONE_AT_A_TIME:
        said = [_utter(request, where, data).samples.tobytes() for _ in range(2)]
    if said[0] != said[1]:
        log.warning("%s: stays loaded between texts on this system; the bytes of constructed speech depend on their order", where)


def is_installed() -> bool:
    """Say whether there is an espeak-ng to speak with."""
    try:
        located()
    except DataError:
        return False
    return True
