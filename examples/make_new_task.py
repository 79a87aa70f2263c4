"""Make a task that no model here knows: does a tone rise, fall or stay? 200 rows to train on and 60 to measure by.

    python examples/make_new_task.py [FOLDER]

writes FOLDER/train.jsonl, FOLDER/dev.jsonl and their clips (by default into runs/contour). The rows ask by a tag of their own,
<|contour|>; finetune/configs/mini_new_tag.yaml gives it a slot. The same sounds come out on every run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000  # Hz
SENTENCE = "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|contour|>"
ANSWERS = {"rising": 1.0, "falling": -1.0, "level": 0.0}  # answer -> direction


def glide(rng: np.random.Generator, direction: float) -> np.ndarray:
    """Play a tone of 0.6 to 1.6 s that moves by 4 to 12 semitones, or stays; three partials, some noise under it."""
    times = np.arange(round(rng.uniform(0.6, 1.6) * RATE)) / RATE
    octaves = direction * rng.uniform(4, 12) / 12 * times / times[-1]
    phase = 2 * np.pi * np.cumsum(rng.uniform(200, 600) * 2**octaves) / RATE
    sound = sum(np.sin(k * phase) * rng.uniform(0.2, 1.0) / k for k in (1, 2, 3))
    edge = np.minimum(1.0, np.minimum(times, times[::-1]) / 0.03)
    return 0.2 * edge * sound + 0.003 * rng.standard_normal(len(times))


def write(folder: Path, split: str, count: int, seed: int) -> Path:
    """Write a file of rows and the clips that they name."""
    rng = np.random.default_rng(seed)
    (folder / split).mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        answer = list(ANSWERS)[number % len(ANSWERS)]
        clip = f"{split}/{number:03d}.wav"
        soundfile.write(folder / clip, glide(rng, ANSWERS[answer]), RATE)
        rows.append({"id": f"{split}-{number:03d}", "audio": clip, "prompt": SENTENCE, "text": answer})
    path = folder / f"{split}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/contour")
    for split, rows, draw in (("train", 200, 1), ("dev", 60, 2)):
        sys.stdout.write(f"{write(target, split, rows, draw)}\n")
