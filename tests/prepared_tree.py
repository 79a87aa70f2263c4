"""A tiny tree of prepared sets, for tests that read or train on one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

DIGIT: dict[str, Any] = {
    "id": "digits/7_george_0", "set": "digits", "audio": "digits/audio/7.wav", "duration_s": 0.5, "text": "seven", "language": "en",
    "speaker": "george", "split": "train", "tasks": ["ASR", "LID"], "source_path": "rec/7_george_0.wav",
}  # fmt: skip
NOTE: dict[str, Any] = {
    "id": "notes/c4", "set": "notes", "audio": "notes/audio/c4.wav", "duration_s": 0.8, "text": None, "language": None, "speaker": None,
    "instrument": "cello", "label": "cello", "midi": 60, "split": "train", "tasks": ["MNA", "MIC"], "source_path": "c4.mp3",
}  # fmt: skip
SOUND: dict[str, Any] = {
    "id": "sounds/dog", "set": "sounds", "audio": "sounds/audio/dog.wav", "duration_s": 1.6, "text": None, "language": None,
    "speaker": None, "label": "dog bark", "caption": "A dog barks.", "captions": ["A dog barks.", "A dog."], "fold": 1, "split": "train",
    "tasks": ["SEC", "AAC"], "source_path": "1/dog.ogg",
}  # fmt: skip
SENTENCE: dict[str, Any] = {
    "id": "speech/s1", "set": "speech", "audio": "speech/audio/s1.wav", "duration_s": 1.0, "text": "It's late.", "language": "en",
    "speaker": "ann", "gender": "female", "emotion": "neutral", "translation_en": None, "split": "train",
    "words": [{"word": "It's", "start_s": 0.1, "end_s": 0.4}, {"word": "late.", "start_s": 0.5, "end_s": 0.9}],
    "tasks": ["ASR", "SRWT", "gender", "emotion", "LID"], "source_path": "s1.flac",
}  # fmt: skip


def write_tree(root: Path) -> None:
    """Write the four rows as sets below root, with recordings and split lists."""
    listed = []
    for number, row in enumerate((DIGIT, NOTE, SOUND, SENTENCE)):
        folder = root / row["set"]
        (folder / "audio").mkdir(parents=True)
        times = np.arange(int(row["duration_s"] * 16_000)) / 16_000
        soundfile.write(root / row["audio"], 0.3 * np.sin(2 * np.pi * 220 * (number + 1) * times), 16_000)
        stored = {**row, "audio": row["audio"].removeprefix(f"{row['set']}/")}
        (folder / "manifest.jsonl").write_text(json.dumps(stored) + "\n", encoding="utf-8")
        listed.append(f"{row['set']}\t{row['source_path']}")
    (root / "splits").mkdir()
    for split in ("train", "dev"):
        (root / "splits" / f"{split}.tsv").write_text("\n".join(listed) + "\n", encoding="utf-8")
