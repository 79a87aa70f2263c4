"""Parity: a model that answers otherwise in a batch, or otherwise than its export, is flagged; ours is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from eval_driver import FakeModel, chat, metrics_for, write_rows  # type: ignore[import-not-found]

from data.manifest import AudioRef, Record
from eval.models.base import Answered, Asked
from eval.options import ParityOptions
from eval.parity import Pair, Parity, compare_ways, parity, parity_table
from qwen_audio.errors import ConfigError, DataError
from tag_schema.tasks import prefix_for

if TYPE_CHECKING:
    from qwen_audio.audio import AudioClip
    from qwen_audio.engine import Engine

QUESTIONS = ("What?", "What do you hear in this recording, and is it loud?", "Who is it?", "Is there a bell, a horn or a drum?")


def questions(clip: Callable[..., AudioClip]) -> tuple[list[Asked], dict[str, Record]]:
    clips = [clip(seconds, seed=number) for number, seconds in enumerate((0.4, 1.6, 0.8, 2.4))]
    records = [chat(f"r{number}", "x.wav", text) for number, text in enumerate(QUESTIONS)]
    rows = [Asked(record, ((sound,),), 8) for record, sound in zip(records, clips, strict=True)]
    return rows, {record.id: record for record in records}


def test_a_difference_is_found_at_its_token() -> None:
    def pair(one: Answered, two: Answered) -> int | None:
        return Pair("a", one, two).place

    assert pair(Answered("a b", token_ids=(1, 2)), Answered("a b", token_ids=(1, 2))) is None
    assert pair(Answered("a b", token_ids=(1, 2, 3)), Answered("a c", token_ids=(1, 2, 4))) == 2
    assert pair(Answered("a b", token_ids=(1, 2)), Answered("a b c", token_ids=(1, 2, 3))) == 2
    assert pair(Answered("a b"), Answered("a c", token_ids=(1, 3))) == 2  # characters: one of them tells no tokens
    assert pair(Answered("a"), Answered(status="infer_fail", error="busy")) == 0
    assert pair(Answered(status="infer_fail"), Answered(status="infer_fail")) is None


def test_a_model_that_heeds_its_neighbours_is_flagged(tmp_path: Path, clip: Callable[..., AudioClip]) -> None:
    rows, records = questions(clip)
    model = FakeModel()
    found = compare_ways(("alone", model, 1), ("together", model, 4), rows, records, metrics_for)
    assert found.identical == 0.0 and len(found.different) == 4
    assert found.values == (("equal", "%", 0.0, 0.0),)
    table = parity_table([found])
    assert "| alone and together | 4 | 0.0% | at 11, median 11 | equal | 0.00% | 0.00% | 0.00% |" in table
    assert "alone and together: r0, from 11 on: '" in table
    assert Parity("none", (), ()).identical == 1.0


def test_the_engine_answers_alone_as_in_a_batch(tiny_engine: Engine, clip: Callable[..., AudioClip]) -> None:
    from eval.models.engine import EngineModel

    rows, records = questions(clip)
    model = EngineModel(tiny_engine)
    assert compare_ways(("alone", model, 1), ("together", model, 4), rows, records).identical == 1.0


def test_the_export_answers_as_the_engine_and_a_planted_padding_bug_is_flagged(
    tiny_engine: Engine, clip: Callable[..., AudioClip], tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    from eval.models.engine import EngineModel
    from eval.models.qwen2_audio import open_transformers
    from qwen_audio.config import LoadOptions

    tiny_engine.export(tmp_path)
    theirs = open_transformers(str(tmp_path), LoadOptions(device="cpu"))
    rows, records = questions(clip)
    beside = compare_ways(("ours", EngineModel(tiny_engine, words=True), 1), ("theirs", theirs, 1), rows, records)
    said = [pair.second.token_ids[pair.place] for pair in beside.different if pair.place is not None]
    vocabulary = tiny_engine.tokenizer  # a random model would say control tokens; theirs does, ours may not
    assert all(vocabulary.bytes_of(token) is None and not vocabulary.is_content(token) for token in said)
    assert len(said) < len(rows)
    assert compare_ways(("alone", theirs, 1), ("together", theirs, 4), rows, records).identical == 1.0
    theirs.processor.tokenizer.padding_side = "right"
    broken = compare_ways(("alone", theirs, 1), ("together", theirs, 4), rows, records)
    assert broken.identical < 1.0 and all(pair.place is not None for pair in broken.different)


def test_mini_agrees_with_its_export_on_real_recordings() -> None:
    pytest.importorskip("transformers")
    examples = Path(__file__).resolve().parents[1] / "examples"
    wanted = [("seven.wav", "asr"), ("guitar_a4.wav", "note_analysis"), ("rain.ogg", "sound_event"), ("clock.ogg", "audio_caption")]
    rows = [Record(name, (AudioRef(name),), "seven", family, prefix_for(family)) for name, family in wanted]
    rows.append(chat("chat", "seven.wav", "What digit is said?"))
    rows.append(chat("lost", "lost.wav"))
    found = parity("mini", rows, examples, options=ParityOptions(batch_size=3), metrics_for=metrics_for)
    assert [one.name for one in found] == ["batch 1 and batch 3", "mini and its export in transformers"]
    assert [len(one.pairs) for one in found] == [5, 5]  # the lost one nobody hears
    assert [one.identical for one in found] == [1.0, 1.0]
    assert ("asr en equal", "%", 1.0, 1.0) in found[0].values
    assert "| batch 1 and batch 3 | 5 | 100.0% |" in parity_table(found)


def test_other_models_can_be_compared(tmp_path: Path) -> None:
    records = write_rows(tmp_path, 3)[:3]
    for name, answer in (("a", "x"), ("b", "y")):
        lines = [f'{{"id": "{record.id}", "answer": "{answer if record.id == "row 1" else "same"}"}}' for record in records]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    alone, beside = parity(str(tmp_path / "a.jsonl"), records, tmp_path, options=ParityOptions(against=str(tmp_path / "b.jsonl")))
    assert (alone.identical, beside.name, [pair.id for pair in beside.different]) == (1.0, "a.jsonl and b.jsonl", ["row 1"])
    (only,) = parity(str(tmp_path / "a.jsonl"), records, tmp_path, options=ParityOptions(against="none"))
    assert only.name == "batch 1 and batch 8"
    with pytest.raises(ConfigError, match="has no export"):
        parity(str(tmp_path / "a.jsonl"), records, tmp_path)
    with pytest.raises(DataError, match=r"none of 1 rows can be heard; the first: lost\.wav: no such file"):
        parity(str(tmp_path / "a.jsonl"), [chat("lost", "lost.wav")], tmp_path)
    with pytest.raises(ConfigError, match="batch_size is 1"):
        ParityOptions(batch_size=1)
    soundfile.write(tmp_path / "l.wav", np.full(31 * 16_000, 0.1), 16_000)
    with pytest.raises(DataError, match=r"31\.0 s"):
        parity(str(tmp_path / "a.jsonl"), [chat("l", "l.wav")], tmp_path)
