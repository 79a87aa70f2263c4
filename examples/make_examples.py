"""Make the recordings of this folder: tones and noise by numpy, speech by espeak-ng where that is installed.

    python examples/make_examples.py [FOLDER]

The same sounds come out on every run, up to the versions of the encoders and of espeak-ng.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr

RATE = 16_000  # Hz
SPEECH = {  # file -> voice, words a minute, text
    "seven.wav": ("en-us", 150, "seven"),
    "three.flac": ("en-gb", 140, "three"),
    "sentence.ogg": ("en-us", 150, "The old clock in the kitchen stopped at half past nine."),
    "question.webm": ("en-us", 150, "What do you hear?"),
}


def faded(sound: np.ndarray, seconds: float = 0.02) -> np.ndarray:
    """Fade a sound in and out, so that it does not click."""
    length = min(round(seconds * RATE), len(sound) // 2)
    ramp = np.ones(len(sound))
    ramp[:length] = np.linspace(0, 1, length)
    ramp[len(sound) - length :] = np.linspace(1, 0, length)
    return sound * ramp


def note(hertz: float, seconds: float) -> np.ndarray:
    """Play one plucked note: ten partials, the high ones dying first."""
    times = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros(len(times))
    for k in range(1, min(10, int(RATE / 2 / hertz)) + 1):
        sound += 0.35 * np.sin(2 * np.pi * hertz * k * times) * np.exp(-times * (1.5 + 0.8 * k)) / k**1.2
    return faded(sound)


def tune() -> np.ndarray:
    """Play four notes: C, E, G, C."""
    return np.concatenate([note(440 * 2 ** ((midi - 69) / 12), 0.5) for midi in (60, 64, 67, 72)])


def rain(seconds: float = 5.0) -> np.ndarray:
    """Let it rain: hiss, and on it some hundred drops a second."""
    draw = np.random.default_rng(20231114)
    n_samples = round(seconds * RATE)
    hiss = draw.standard_normal(n_samples)
    hiss = hiss - 0.6 * np.concatenate([[0.0], hiss[:-1]])
    sound = 0.05 * hiss
    times = np.arange(200) / RATE
    for start in draw.integers(0, n_samples - 200, round(seconds * 180)):
        drop = np.sin(2 * np.pi * draw.uniform(1500, 6000) * times) * np.exp(-times * 500)
        sound[start : start + 200] += draw.gamma(1.2, 0.06) * drop
    return faded(np.clip(sound, -0.95, 0.95), 0.2)


def alarm(beeps: int = 6) -> np.ndarray:
    """Ring an alarm clock: pairs of short beeps at 2 kHz."""
    times = np.arange(round(0.12 * RATE)) / RATE
    sine = np.sin(2 * np.pi * 2000 * times)
    beep = faded(0.2 * np.sign(sine) + 0.2 * sine, 0.005)
    pair = [beep, np.zeros(RATE // 12), beep, np.zeros(RATE // 2)]
    return np.concatenate(pair * (beeps // 2))


def ticking(seconds: float = 4.0) -> np.ndarray:
    """Let a clock tick twice a second."""
    sound = np.zeros(round(seconds * RATE))
    times = np.arange(400) / RATE
    for number, start in enumerate(range(RATE // 8, len(sound) - 400, RATE // 2)):
        sound[start : start + 400] += 0.6 * np.sin(2 * np.pi * (2600 if number % 2 else 3100) * times) * np.exp(-times * 350)
    return sound


def speak(voice: str, words_per_minute: int, text: str) -> np.ndarray:
    """Let espeak-ng say a text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-w", str(path), text], check=True)
        sound, rate = soundfile.read(path)
    return np.concatenate([np.zeros(RATE // 5), soxr.resample(sound, rate, RATE), np.zeros(RATE // 5)])


def encode(path: Path, sound: np.ndarray, container: str, codec: str, rate: int) -> None:
    """Write what soundfile cannot: a browser's webm, a telephone's m4a."""
    values = soxr.resample(sound, RATE, rate).astype(np.float32)
    with av.open(str(path), "w", format=container, options={"fflags": "+bitexact"}) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 32_000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        frame = av.AudioFrame.from_ndarray(values[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        for piece in resampler.resample(frame):
            fifo.write(piece)
        while (chunk := fifo.read(stream.codec_context.frame_size, partial=True)) is not None:
            out.mux(stream.encode(chunk))
        out.mux(stream.encode(None))


def write(path: Path, sound: np.ndarray) -> None:
    """Write a sound in the format of its file's name."""
    if path.suffix == ".webm":
        encode(path, sound, "webm", "libopus", 48_000)
    elif path.suffix == ".m4a":
        encode(path, sound, "ipod", "aac", RATE)
    else:
        options = {"subtype": "VORBIS", "format": "OGG"} if path.suffix == ".ogg" else {"subtype": "PCM_16"}
        soundfile.write(path, sound, RATE, **options)


def main(arguments: Sequence[str]) -> int:
    """Make the recordings, in this folder or in the one named."""
    folder = Path(arguments[0] if arguments else __file__).resolve()
    folder = folder if arguments else folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    sounds = {"tune.flac": tune(), "guitar_a4.wav": note(440.0, 1.5), "rain.ogg": rain(), "clock.ogg": ticking(), "alarm.m4a": alarm()}
    if shutil.which("espeak-ng") is None:
        sys.stderr.write("espeak-ng is not installed: the spoken examples are left as they are\n")
    else:
        sounds |= {name: speak(*spoken) for name, spoken in SPEECH.items()}
    for name, sound in sounds.items():
        write(folder / name, sound)
        sys.stderr.write(f"{folder / name}: {len(sound) / RATE:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
