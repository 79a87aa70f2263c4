"""Construct the set that the bundled model was trained with: synthesised digits, notes, ticks, beeps and rain; same seed, same bytes.

Its name and its keys stand in the lists of rows that the model saw; sets of all tasks are made in data.recipes.constructed.
Speech needs espeak-ng, which is looked for and not required elsewhere.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from data.recipes.conversations import DIGITS
from qwen_audio.audio import SAMPLE_RATE
from qwen_audio.errors import DataError

SET = "constructed"
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp")
VOICES = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+klatt", "+john", "+linda")
Sound = tuple[np.ndarray, dict[str, Any]]


def construct(output: Path | str, count: int, seed: int = 0) -> int:
    """Write `count` clips of each kind below output/constructed, with a manifest; returns how many rows there are.

    Raises:
        DataError: espeak-ng is not installed, or the folder holds a set already.
    """
    folder = Path(output) / SET
    if (folder / "manifest.jsonl").exists():
        raise DataError(f"{folder}: holds a set already; name another folder or remove it")
    if shutil.which("espeak-ng") is None:
        raise DataError(
            "espeak-ng is not installed: it speaks the digits (Debian, Ubuntu: apt install espeak-ng; macOS: brew install espeak-ng)"
        )
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for name, make in KINDS.items():
        for number in range(count):
            samples, labels = make(np.random.default_rng([seed, *name.encode(), number]))
            file = f"audio/{name}_{number:05d}.flac"
            soundfile.write(folder / file, np.clip(samples, -1, 1), SAMPLE_RATE, subtype="PCM_16")
            rows.append(_row(f"{name}/{seed}/{number}", file, len(samples) / SAMPLE_RATE, labels))
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return len(rows)


def _row(name: str, file: str, duration_s: float, labels: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {"text": None, "language": None, "speaker": None, "split": "train", "licence": "CC0-1.0"}
    return {"id": f"{SET}/{name}", "audio": file, "duration_s": round(duration_s, 4), "source_path": name} | known | labels


def source_keys(count: int, seed: int = 0) -> Iterator[str]:
    """Name the rows that construct writes, as split lists do."""
    for name in KINDS:
        for number in range(count):
            yield f"{SET}\t{name}/{seed}/{number}"


def digit(rng: np.random.Generator) -> Sound:
    """Say a digit in one of the synthesiser's voices, with some silence around it."""
    word = DIGITS[rng.integers(10)]
    voice = str(rng.choice(ACCENTS)) + str(rng.choice(VOICES))
    sound = speak(voice, int(rng.integers(110, 200)), int(rng.integers(25, 75)), word)
    sound = np.pad(sound, tuple(int(x) for x in rng.uniform(0, 0.3, 2) * SAMPLE_RATE))
    labels = {"text": word, "language": "en", "speaker": f"espeak-{voice}", "tasks": ["ASR", "LID"]}
    return sound * rng.uniform(0.3, 1.0), labels


def speak(voice: str, words_per_minute: int, pitch: int, text: str) -> np.ndarray:
    """Let espeak-ng say a text; (n,) at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "-w", str(path), text], check=True)
        sound, rate = soundfile.read(path)
    return np.asarray(soxr.resample(sound, rate, SAMPLE_RATE))


def plucked_note(rng: np.random.Generator) -> Sound:
    """Pluck a string: harmonic partials, the high ones dying first."""
    midi = int(rng.integers(40, 85))
    times = np.arange(int(rng.uniform(0.5, 1.8) * SAMPLE_RATE)) / SAMPLE_RATE
    hertz = 440 * 2 ** ((midi - 69) / 12)
    highest = min(int(rng.integers(6, 14)), int(SAMPLE_RATE / 2 / hertz))
    partials = np.arange(1, highest + 1)[:, None]
    decay = np.exp(-times * (rng.uniform(0.8, 2.5) + rng.uniform(0.4, 1.2) * partials))
    sound = (np.sin(2 * np.pi * hertz * partials * times) * decay / partials ** rng.uniform(0.9, 1.6)).sum(0)
    return _faded(_level(sound, rng)), {"instrument": "guitar", "label": "guitar", "midi": midi, "tasks": ["MNA", "MIC"]}


def ticking_clock(rng: np.random.Generator) -> Sound:
    """Let a clock tick one to four times a second."""
    sound = np.zeros(int(rng.uniform(2, 5) * SAMPLE_RATE))
    times = np.arange(400) / SAMPLE_RATE
    tones, decay = rng.uniform(1500, 4500, 2), rng.uniform(150, 600)
    starts = np.arange(rng.integers(0, 4000), len(sound) - 400, SAMPLE_RATE / rng.uniform(1, 4)).astype(int)
    for number, start in enumerate(starts):
        sound[start : start + 400] += np.sin(2 * np.pi * tones[number % 2] * times) * np.exp(-times * decay)
    return _level(sound, rng), _event("clock tick", "A clock ticks.")


def rain(rng: np.random.Generator) -> Sound:
    """Let it rain: hiss, and drops on it."""
    sound = rng.standard_normal(int(rng.uniform(2, 5) * SAMPLE_RATE))
    sound[1:] -= rng.uniform(0.2, 0.9) * sound[:-1]
    times = np.arange(200) / SAMPLE_RATE
    for start in rng.integers(0, len(sound) - 200, int(len(sound) / SAMPLE_RATE * rng.uniform(50, 250))):
        sound[start : start + 200] += rng.gamma(1.2, 2.0) * np.sin(2 * np.pi * rng.uniform(1500, 6000) * times) * np.exp(-times * 500)
    return _faded(_level(sound, rng), 0.2), _event("rain", "It is raining.")


def alarm_clock(rng: np.random.Generator) -> Sound:
    """Ring an alarm clock: groups of short beeps at one pitch."""
    times = np.arange(int(rng.uniform(0.06, 0.2) * SAMPLE_RATE)) / SAMPLE_RATE
    sine = np.sin(2 * np.pi * rng.uniform(900, 3500) * times)
    beep = _faded(sine + rng.uniform(0, 1) * np.sign(sine), 0.005)
    gap, pause = np.zeros(int(rng.uniform(0.04, 0.12) * SAMPLE_RATE)), np.zeros(int(rng.uniform(0.2, 0.6) * SAMPLE_RATE))
    group = [beep, gap] * int(rng.integers(1, 5)) + [pause]
    return _level(np.concatenate(group * int(rng.integers(2, 5))), rng), _event("alarm clock", "An alarm clock beeps.")


def _event(label: str, caption: str) -> dict[str, Any]:
    return {"label": label, "caption": caption, "caption_by": "template", "tasks": ["SEC", "AAC"]}


def _level(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(sound / np.abs(sound).max() * rng.uniform(0.1, 0.9))


def _faded(sound: np.ndarray, seconds: float = 0.02) -> np.ndarray:
    ramp = np.minimum(1.0, np.arange(len(sound)) / (seconds * SAMPLE_RATE))
    return sound * ramp * ramp[::-1]


KINDS: dict[str, Callable[[np.random.Generator], Sound]] = {
    "digit": digit, "plucked-note": plucked_note, "clock": ticking_clock, "rain": rain, "alarm": alarm_clock,
}  # fmt: skip
