"""A slow model that is no model, and a program that runs it, to be killed by tests: python eval_driver.py TREE OUT WORKERS DELAY_S."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from data.manifest import AudioRef, Record, Turn, read_manifest, write_manifest
from eval.metrics.sample import Measured, Metric, Sample
from eval.models.asking import in_words, told
from eval.models.base import About, Answered, Asked
from eval.options import RunOptions
from eval.runner import Run, run

RATE = 16_000


class FakeModel:
    """Answers with what it heard and with whom: another batch gives another answer, as on a GPU, only always."""

    def __init__(self, delay_s: float = 0.0, *, together: bool = True, identity: str = "fake 1") -> None:
        self.delay_s = delay_s
        self.calls: list[list[str]] = []
        self.about = About(name="fake", identity=identity, settings={"kind": "fake"}, together=together, batch_size=4)

    def prompt(self, record: Record) -> str:
        return told(in_words(record))

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        self.calls.append([row.id for row in rows])
        time.sleep(self.delay_s * len(rows))
        if any("never" in row.id or ("alone" in row.id and len(rows) > 1) for row in rows):
            raise RuntimeError("out of memory")
        batch = hashlib.sha256(repr(sorted((row.id, len(row.heard)) for row in rows)).encode()).hexdigest()[:8]
        return [Answered(f"{sum(map(_said, row.heard)):.3f} s in {batch}", n_tokens=3) for row in rows]

    def peak_bytes(self) -> int:
        return 0


def _said(clip) -> float:
    return clip.duration_s + float(np.abs(clip.samples).mean())


class Equal:
    """The share of answers that are a reference."""

    name, unit, better, signature = "equal", "%", "higher", "equal|v1"

    def measure(self, samples: Sequence[Sample]) -> Measured:
        right = np.array([[sample.status == "ok" and sample.answer in sample.references, 1.0] for sample in samples], dtype=float)
        return Measured(right, lambda sums: sums[:, 0] / sums[:, 1], np.ones(len(samples), dtype=bool), right[:, 0], (0.0, 1.0))


def metrics_for(family: str, language: str) -> tuple[Metric, ...]:
    return (Equal(),)  # type: ignore[return-value]


def chat(name: str, path: str, question: str = "What is it?", **more) -> Record:
    """Make a record of one clip and one question."""
    ref = AudioRef(path)
    return Record(name, (ref,), "noise", messages=(Turn("user", (ref, question)),), **more)


def write_rows(tree: Path, n: int) -> list[Record]:
    """Write n rows of noise and the rows that fail, each in its own way."""
    draw = np.random.default_rng(7)
    records = []
    for number in range(n):
        wave = 0.1 * draw.standard_normal(int(RATE * draw.uniform(0.05, 0.4)))
        soundfile.write(tree / f"{number}.wav", wave, RATE)
        records.append(chat(f"row {number}", f"{number}.wav", meta={"speaker": f"s{number % 7}"}))
    soundfile.write(tree / "long.wav", np.full(31 * RATE, 0.1), RATE)
    (tree / "broken.wav").write_bytes(b"RIFF, but no wave")
    records += [chat("long", "long.wav"), chat("broken", "broken.wav"), chat("missing", "missing.wav")]
    records += [chat("never", "0.wav"), chat("alone", "1.wav")]
    write_manifest(records, tree / "rows.jsonl")
    return records


def main(tree: str, out: str, workers: str, delay_s: str) -> None:
    """Run the slow model on a tree and score it."""
    logging.disable(logging.WARNING)
    records = list(read_manifest(Path(tree, "rows.jsonl")))
    options = RunOptions(workers=int(workers), quiet=True)
    found = run(partial(FakeModel, float(delay_s)), records, tree, out, options)
    if isinstance(found, Run):  # else a further rank
        from eval.finish import finish  # scipy takes a while: those that are killed do not wait for it

        finish(out, "fake", found.samples, found.about, metrics_for)


if __name__ == "__main__":
    main(*sys.argv[1:])
