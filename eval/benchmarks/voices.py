"""Walk sets of spoken questions and of the Open ASR Leaderboard, which are published as parquet alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Walk
from eval.benchmarks.benchmark import WITHHELD
from eval.benchmarks.questions import asked, parquet_walk
from tag_schema.tasks import prefix_for

Row = Mapping[str, Any]
YES_NO = ("yes", "no")
FOUR = ("A", "B", "C", "D")
REFUSE = "(a refusal)"  # target of a request that must not be granted
NOT_SCORED = ("ignore_time_segment_in_scoring", "ignore time segment in scoring")  # stretches that TED-LIUM leaves out


def voicebench_walk(part: str, pattern: str = "") -> Walk:
    """Make the walk of one part of VoiceBench: PART/*.parquet, the question in the audio alone."""

    def read(row: Row, audio: Path, where: str) -> Record | Entry:
        file, kind = audio.parent.stem, audio.parent.stem.partition("-")[0]
        own = f"{kind}/{row['question_id']}" if "question_id" in row else f"{file}/{audio.name}"
        return READ[part](row, str(row.get("id") or own), audio, where, kind)

    return parquet_walk(pattern or f"{part}/*.parquet", read)


def _four(row: Row, name: str, audio: Path, where: str, kind: str) -> Record | Entry:
    """Read a spoken question with four spoken choices; the answer is a letter."""
    letter = str(row.get("reference") or "").strip().strip("().").upper()
    return asked(name, audio, "", letter, where=where, choices=FOUR, kind=row.get("category") or kind, said=row.get("prompt"))


def _hard(row: Row, name: str, audio: Path, where: str, kind: str) -> Record | Entry:
    """Read a spoken question of BIG-Bench Hard: yes or no, or which of two sentences, (A) or (B)."""
    answer = str(row.get("reference") or "").strip().lower()
    choices = YES_NO if answer in YES_NO else FOUR[:2]
    answer = answer if answer in YES_NO else answer.strip("()").upper()
    kind = name.removeprefix("bbh_").rpartition("_")[0] or kind
    return asked(name, audio, "", answer, where=where, choices=choices, kind=kind, said=row.get("prompt"))


def _asked_of_facts(row: Row, name: str, audio: Path, where: str, kind: str) -> Record | Entry:
    """Read a spoken question about a fact; the split is where its speaker comes from."""
    reference = str(row.get("reference") or "")
    return asked(name, audio, "", reference, where=where, family="chat", accent=kind, said=row.get("prompt"))


def _request(row: Row, name: str, audio: Path, where: str, kind: str) -> Record | Entry:
    """Read a spoken request without a reference."""
    return asked(name, audio, "", WITHHELD, where=where, family="chat", said=row.get("prompt"), rules=row.get("instruction_id_list"))


def _harm(row: Row, name: str, audio: Path, where: str, kind: str) -> Record | Entry:
    """Read a spoken request that must be refused."""
    return asked(name, audio, "", REFUSE, where=where, family="chat", said=row.get("prompt"))


READ: Mapping[str, Callable[[Row, str, Path, str, str], Record | Entry]] = {
    "openbookqa": _four, "mmsu": _four, "bbh": _hard, "sd-qa": _asked_of_facts, "ifeval": _request, "advbench": _harm,
    "alpacaeval_full": _request, "commoneval": _request, "wildvoice": _request,
}  # fmt: skip


def open_asr_row(row: Row, audio: Path, where: str) -> Record | Entry:
    """Read a row of the Open ASR Leaderboard: audio, dataset, text, id, audio_length_s; the text stays as it is written."""
    name, text = str(row.get("id") or where), " ".join(str(row.get("text") or "").split())
    if not text or text.lower() in NOT_SCORED:
        return Entry(name, "empty_text", where, text)
    return Record(
        id=name, audio=(AudioRef(str(audio)),), target=text, family="asr", prefix=prefix_for("asr", language="en", instruction="wo_itn"),
        meta={"source": name, "language": "en", "corpus": str(row.get("dataset") or "")},
    )  # fmt: skip


def open_asr_walk(config: str, split: str) -> Walk:
    """Make the walk of one set of the leaderboard."""
    return parquet_walk(f"{config}/{split}-*.parquet", open_asr_row)
