"""Measure the bundled model on the prepared sets: the rows its training never saw, and speakers and folds left out in turn."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from data.examples import ReadClip, clip_reader, remembering
from data.groups import held_out, prepared_records, split_rows
from data.manifest import Record
from data.recipes.prepared import spoken_form, tagged_records
from eval.baseline import predict as regress
from eval.models.base import Asked
from eval.models.engine import EngineModel
from eval.report.tables import beside_baseline
from eval.runner import answer_all
from eval.score import Score
from eval.statistics import interval, ratio
from qwen_audio.engine import Engine, load
from qwen_audio.errors import DataError
from tag_schema.answers import read_note
from tag_schema.timestamps import Word, srwt_to_words
from tag_schema.vocabulary import TagError

Pair = tuple[float, float]
UNSPACED = ("zh", "ja")
DEV_PAIRS = 200
MAX_NEW_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Metric:
    """How one answer is scored: the pair (what it adds above, what it adds below) of a ratio, and the recipe in a line."""

    name: str
    add: Callable[[Record, str], Pair]
    signature: str
    unit: str = "%"
    better: str = "higher"


def _errors(record: Record, answer: str) -> Pair:
    reference, hypothesis = spoken_form(record.target), spoken_form(answer)
    language = record.prefix.text_language if record.prefix else ""
    if language in UNSPACED:
        reference, hypothesis = reference.replace(" ", ""), hypothesis.replace(" ", "")
        counts: Any = jiwer.process_characters(reference, hypothesis)
    else:
        counts = jiwer.process_words(reference, hypothesis)
    wrong = counts.substitutions + counts.deletions + counts.insertions
    return float(wrong), float(counts.hits + counts.substitutions + counts.deletions)


def _equal(record: Record, answer: str) -> Pair:
    right = record.references or (record.target,)
    return float(answer.strip().casefold() in {text.casefold() for text in right}), 1.0


def _pitch(record: Record, answer: str, within: int) -> Pair:
    try:
        found = read_note(answer).pitch
    except TagError:
        return 0.0, 1.0
    return float(found is not None and abs(found - int(record.meta["midi"])) <= within), 1.0


def _boundaries(record: Record, answer: str) -> Pair:
    """Add up the errors of start and end of the words that were heard rightly, in milliseconds."""
    spoken, heard = _timed(record.target), _timed(answer)
    if not heard:
        return 0.0, 0.0
    aligned = jiwer.process_words(" ".join(word.text for word in spoken), " ".join(word.text for word in heard)).alignments[0]
    total, count = 0.0, 0
    for chunk in aligned:
        if chunk.type != "equal":
            continue
        for offset in range(chunk.ref_end_idx - chunk.ref_start_idx):
            one, two = spoken[chunk.ref_start_idx + offset], heard[chunk.hyp_start_idx + offset]
            total += 1000 * (abs(one.start_s - two.start_s) + abs(one.end_s - two.end_s)) / 2
            count += 1
    return total, float(count)


def _timed(text: str) -> list[Word]:
    try:
        words = srwt_to_words(text)
    except TagError:
        return []
    return [Word(spoken_form(word.text).replace(" ", ""), word.start_s, word.end_s) for word in words if spoken_form(word.text)]


def _timed_errors(record: Record, answer: str) -> Pair:
    counts = jiwer.process_words(" ".join(word.text for word in _timed(record.target)), " ".join(word.text for word in _timed(answer)))
    return float(counts.substitutions + counts.deletions + counts.insertions), float(len(_timed(record.target)))


WORDS = Metric("WER", _errors, "jiwer words, lower case without punctuation", better="lower")
CHARACTERS = Metric("CER", _errors, "jiwer characters, without punctuation and spaces", better="lower")
EXACT = Metric("exact", _equal, "whole answer, case-insensitive")
PITCH = Metric("pitch exact", lambda record, answer: _pitch(record, answer, 0), "MIDI number equal; unreadable counts as wrong")
NEAR = Metric("pitch within a semitone", lambda record, answer: _pitch(record, answer, 1), "MIDI number at most 1 off")
TIMES = Metric("boundary error", _boundaries, "ms, mean of start and end over words heard rightly", "ms", "lower")
TIMED_WORDS = Metric("WER", _timed_errors, "jiwer words, times removed", better="lower")


def metrics_of(record: Record) -> tuple[Metric, ...]:
    """Choose the metrics of a record by its family."""
    if record.family == "asr":
        return (CHARACTERS,) if record.prefix and record.prefix.text_language in UNSPACED else (WORDS,)
    if record.family == "note_analysis":
        return PITCH, NEAR
    if (record.family or "").startswith("srwt"):
        return TIMED_WORDS, TIMES
    return (EXACT,)


def score(benchmark: str, metric: Metric, records: Sequence[Record], answers: Sequence[str]) -> Score:
    """Score answers as one ratio over all records, with an interval over speakers where they are named, else over records."""
    sums = np.array([metric.add(record, answer) for record, answer in zip(records, answers, strict=True)])
    clusters, kind = [record.meta.get("speaker") or record.id for record in records], "speaker or sample"
    if len(set(clusters)) < 5:  # too few voices to resample: the interval is over recordings, and says nothing of new voices
        clusters, kind = [record.id for record in records], "sample"
    value = float(ratio(sums.sum(0, keepdims=True))[0])
    bounds = interval(sums, ratio, clusters, limits=(0.0, np.inf))
    return Score(
        benchmark, metric.name, value, value, metric.unit, metric.better, len(records), {"ok": len(records)}, bounds.low, bounds.high,
        bounds.n_clusters, kind, metric.signature,
    )  # fmt: skip


def measure(
    engine: Engine, data_root: Path | str, splits: Path | str, folds: Sequence[Path], fold_of: Callable[[Path], Engine]
) -> dict[str, Any]:
    """Measure everything and return scores, baselines on the same rows, and the answers they were made from.

    Args:
        folds: run folders of models that were trained with hold-outs (config.json says which).
        fold_of: loads the model of such a run.
    """
    read = remembering(clip_reader(data_root))
    train_rows, dev_rows = split_rows(data_root, splits, "train"), split_rows(data_root, splits, "dev")
    scores, answers = measure_dev(engine, train_rows, dev_rows, read)
    baselines = dev_baselines(train_rows, dev_rows, read)
    if folds:
        more, beside, said = measure_folds(folds, fold_of, train_rows, dev_rows, read)
        scores, baselines, answers = more + scores, beside | baselines, said + answers
    return {
        "model": engine.name,
        "scores": [one.to_json() for one in scores],
        "baselines": [one.to_json() for one in baselines.values()],
        "table": beside_baseline(scores, baselines),
        "answers": answers,
    }


def measure_dev(
    engine: Engine, train_rows: Sequence[dict[str, Any]], dev_rows: Sequence[dict[str, Any]], read: ReadClip
) -> tuple[list[Score], list[dict[str, str]]]:
    """Score every task of every set on its dev rows; transcripts that training also holds and new ones apart."""
    known = {spoken_form(row["text"]) for row in train_rows if row.get("text")}
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in merge_captions(prepared_records(dev_rows, DEV_PAIRS, seed=1)):
        if record.dataset == "text":
            continue
        name = f"{record.dataset} {record.family}"
        if record.family == "asr":
            name += ", text seen" if record.target in known else ", text not seen"
        groups[name].append(record)
    scores, said = [], []
    for name, records in sorted(groups.items()):
        replies = predict(engine, records, read)
        scores += [score(name, metric, records, replies) for metric in metrics_of(records[0])]
        said += _said(name, records, replies)
    return scores, said


def merge_captions(records: Iterable[Record]) -> list[Record]:
    """Make one record of a clip's captions, with all of them as references."""
    merged: dict[str, Record] = {}
    for record in records:
        key = record.id.rsplit(".", 1)[0] if record.family == "audio_caption" else record.id
        if key in merged:
            before = merged[key]
            record = Record(**{**_fields(before), "references": (*(before.references or (before.target,)), record.target)})
        merged[key] = record
    return list(merged.values())


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def predict(engine: Engine, records: Sequence[Record], read: ReadClip, *, batch_size: int = 16) -> list[str]:
    """Return the answer to each record, greedily; "" where there is none."""
    rows = [Asked(record, tuple((read(ref),) for ref in record.audio), MAX_NEW_TOKENS) for record in records]
    return [answer.text for answer in answer_all(EngineModel(engine, identity=engine.name), rows, batch_size)]


def _said(name: str, records: Sequence[Record], replies: Sequence[str]) -> list[dict[str, str]]:
    pairs = zip(records, replies, strict=True)
    return [{"benchmark": name, "id": record.id, "target": record.target, "answer": reply} for record, reply in pairs]


def measure_folds(
    folds: Sequence[Path],
    fold_of: Callable[[Path], Engine],
    train_rows: Sequence[dict[str, Any]],
    dev_rows: Sequence[dict[str, Any]],
    read: ReadClip,
) -> tuple[list[Score], dict[tuple[str, str], Score], list[dict[str, str]]]:
    """Score what each run left out: digits of a speaker, sounds of a fold, all runs together."""
    wanted = {"en_fsdd": ("asr", "digits, speaker left out", WORDS), "env_esc10": ("sound_event", "ESC-10, folds 1 to 4 in turn", EXACT)}
    learned, records = ([r for row in rows if row["set"] in wanted for r in tagged_records(row)] for rows in (train_rows, dev_rows))
    learned, records = ([r for r in part if r.family == wanted[r.dataset][0]] for part in (learned, learned + records))
    parts: defaultdict[str, tuple[list[Record], list[str], list[str]]] = defaultdict(lambda: ([], [], []))
    for folder in folds:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        entries = settings.get("mixture", settings)["hold_out"]  # older runs wrote it among their own settings
        engine = fold_of(folder)
        for dataset in wanted:
            mine = [record for record in records if record.dataset == dataset]
            test = [record for record in mine if held_out(record, entries)]
            if not test:
                continue
            part = parts[dataset]
            part[0].extend(test)
            part[1].extend(predict(engine, test, read))
            part[2].extend(_regress([r for r in learned if r.dataset == dataset and not held_out(r, entries)], test, read))
    scores, beside, said = [], {}, []
    for dataset, (test, replies, guesses) in parts.items():
        _, name, metric = wanted[dataset]
        scores.append(score(name, metric, test, replies))
        beside[name, metric.name] = score(name, metric, test, guesses)
        said += _said(name, test, replies)
    return scores, beside, said


def _regress(train: Sequence[Record], test: Sequence[Record], read: ReadClip, label: str = "") -> list[str]:
    def truth(record: Record) -> str:
        return record.meta[label] if label else record.target

    clips = [[read(record.audio[0]).samples for record in records] for records in (train, test)]
    return regress(clips[0], [truth(record) for record in train], clips[1])


def dev_baselines(train_rows: Sequence[dict[str, Any]], dev_rows: Sequence[dict[str, Any]], read: ReadClip) -> dict[tuple[str, str], Score]:
    """Fit the regression to the training rows and score it on the dev rows of digits, sounds, instruments and pitches."""
    found = {}
    for dataset, task in (
        ("en_fsdd", "asr"),
        ("env_esc10", "sound_event"),
        ("music_philharmonia", "instrument"),
        ("music_philharmonia", "note_analysis"),
    ):
        train, test = (
            [record for row in rows if row["set"] == dataset for record in tagged_records(row) if record.family == task]
            for rows in (train_rows, dev_rows)
        )
        if not train or not test:
            continue
        pitched = task == "note_analysis"
        guesses = _regress(train, test, read, "midi" if pitched else "")
        if pitched:
            guesses = [f"<|pitch|><|midi_pitch_{guess}|>" for guess in guesses]
        name = f"{dataset} {task}" + (", text seen" if task == "asr" else "")
        for metric in metrics_of(test[0]):
            found[name, metric.name] = score(name, metric, test, guesses)
    return found


def run(model: str, data_root: str, splits: str, folds: Sequence[str], output: str | None) -> str:
    """Measure, write the report where output says, and return the table."""
    for folder in folds:
        if not (Path(folder) / "config.json").is_file():
            raise DataError(f"{folder}: no config.json of a training run here (--fold)")
    report = measure(load(model), data_root, splits, [Path(folder) for folder in folds], lambda folder: load(str(folder / "release")))
    if output:
        Path(output).write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    return str(report["table"])
