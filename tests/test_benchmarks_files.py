"""Files of rows as benchmarks: every shape of the data house, prepared sets, the released evaluation's own files."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark_tree import different, rows_file
from corpus_tree import clip, text
from prepared_tree import DIGIT, NOTE, SENTENCE, SOUND, write_tree  # type: ignore[import-not-found]

from eval.benchmarks.benchmark import TOLD
from eval.benchmarks.load import load, load_all
from eval.benchmarks.open_file import tags_named
from eval.models.opening import own_tags
from qwen_audio.errors import ConfigError, DataError
from tag_schema.custom import CustomTags

SPOKEN = "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, logger="eval.benchmarks.load"):
        yield


def test_rows_of_any_shape_are_asked_and_those_without_an_answer_are_accounted_for(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    rows: list[dict[str, Any]] = [
        {"id": "task", "audio": "a.wav", "task": "asr", "language": "en", "text": "yes"},
        {"id": "prompt", "audio": "a.wav", "prompt": SPOKEN, "gt": "yes"},
        {"id": "prefix", "audio": [{"path": "a.wav"}], "target": "bus", "family": "scene",
         "prefix": {"task": "keyword", "text_language": "en", "instruction": "scene"}},
        {"id": "chat", "messages": [{"role": "user", "content": "<audio>What?"}, {"role": "assistant", "content": "A bell."}],
         "audios": ["a.wav"]},
        {"id": "choice", "audio": "a.wav", "question": "Which?", "answer": "rain", "choices": ["rain", "wind"], "family": "audio_qa"},
        {"id": "silent", "audio": "a.wav", "task": "asr", "language": "en"},
        {"id": "gone", "audio": "gone.wav", "task": "asr", "language": "en", "text": "yes"},
        {"id": "task", "audio": "a.wav", "task": "asr", "language": "en", "text": "twice"},
    ]  # fmt: skip
    loaded = load(rows_file(tmp_path / "mine.jsonl", rows))
    assert (loaded.benchmark.name, loaded.root) == ("mine", tmp_path)
    asked = {record.id: record for record in loaded.records}
    assert set(asked) == {"task", "prompt", "prefix", "chat", "choice", "gone"}
    assert asked["task"].prefix is not None and asked["task"].prefix.sentence() == SPOKEN
    assert asked["prompt"].prefix == asked["task"].prefix and asked["prompt"].family == "asr"
    assert asked["choice"].choices == ("rain", "wind") and TOLD not in asked["choice"].meta  # the model is told them when it is asked
    assert {entry.id: entry.reason for entry in loaded.account.lost} == {"silent": "no_answer", "task": "duplicate_id"}
    assert loaded.account.to_json()["unreadable"] == {"no_file": 1}
    assert asked["task"].duration_s == 0.5 and asked["task"].audio[0].path == "a.wav"


def test_tags_of_ones_own_are_the_models_or_where_none_is_known_the_files(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    sentence = "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|bird_species|>"
    path = rows_file(tmp_path / "birds.jsonl", [{"audio": "a.wav", "prompt": sentence, "text": "wren, <|no tag|> and <|strange|>"}])
    assert tags_named(path).instructions == ("bird_species", "strange")
    (record,) = load(path).records
    assert (record.family, record.prefix and record.prefix.instruction) == ("bird_species", "bird_species")
    assert len(load_all([str(path)], custom=CustomTags.from_names(["bird_species"]))[0].records) == 1
    with pytest.raises(DataError, match="unknown_tag"):
        load(path, custom=CustomTags())
    assert own_tags("openai:x") is own_tags("answers.jsonl") is own_tags("transformers:x") is own_tags("pocketsphinx") is None
    mini = own_tags("mini")
    assert mini is not None and mini.languages == ("ar", "he", "pt", "ru")


def test_paths_begin_beside_the_file_and_else_at_the_data_root(tmp_path: Path) -> None:
    clip(tmp_path / "beside" / "a.wav")
    clip(tmp_path / "corpora" / "b.wav")
    rows = [{"audio": name, "task": "asr", "language": "en", "text": "yes"} for name in ("a.wav", "b.wav")]
    loaded = load(str(rows_file(tmp_path / "beside" / "dev.jsonl", rows)), tmp_path / "corpora")
    assert [record.audio[0].path for record in loaded.records] == [str(tmp_path / "beside" / "a.wav"), "b.wav"]
    assert [record.id for record in loaded.records] == ["dev.jsonl:1", "dev.jsonl:2"]  # no place on a disk
    assert loaded.benchmark.name == "beside_dev" and not loaded.account.unreadable


def test_a_file_has_variants_too(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    rows = [{"audio": "a.wav", "task": "scene", "text": "bus"}]
    loaded = load(f"{rows_file(tmp_path / 'mine.jsonl', rows)}+text-only")
    assert (loaded.benchmark.name, loaded.benchmark.recipe) == ("mine+text-only", "mine+text-only rows")
    assert loaded.records[0].audio == () and loaded.records[0].target == "bus"


def test_captions_in_rows_of_their_own_become_the_references_of_a_clip(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    different(tmp_path / "b.wav", 3)
    rows = [
        {"id": f"{name}{n}", "audio": f"{name}.wav", "task": "audio_caption", "text": f"Caption {n}."} for name in "ab" for n in range(3)
    ]
    loaded = load(rows_file(tmp_path / "captions.jsonl", rows))
    assert [(record.id, len(record.references)) for record in loaded.records] == [("a0", 3), ("b0", 3)]
    assert "6 captions are the references of 2 clips" in loaded.account.warnings[0]


def test_a_file_that_is_no_rows_is_accounted_for_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = text(tmp_path / "x.jsonl", '{"id": 1,\n[]\n{"audio": "a.wav", "task": "asr", "language": "en", "text": "yes"}\n')
    clip(tmp_path / "a.wav")
    assert [entry.reason for entry in load(path).account.lost] == ["not_json", "bad_row"]
    with pytest.raises(DataError, match=r"no row can be asked; of 1 lost, the first: .*x\.jsonl:1"):
        load(text(tmp_path / "x.jsonl", '{"id": 1,\n'))
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file of rows"):
        load(tmp_path / "nowhere.jsonl")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        clip(tmp_path / folder / "a.wav")
        rows_file(tmp_path / folder / "mine.jsonl", [{"audio": "a.wav", "task": "asr", "language": "en", "text": "yes"}])
    with pytest.raises(ConfigError, match="two tasks are called 'mine'"):
        load_all([str(tmp_path / folder / "mine.jsonl") for folder in ("one", "two")])


def test_the_dev_rows_of_a_prepared_set_are_asked_for_every_task(tmp_path: Path) -> None:
    write_tree(tmp_path)
    rows = [{**row, "split": "dev", "audio": row["audio"].removeprefix(f"{row['set']}/")} for row in (DIGIT, NOTE, SOUND, SENTENCE)]
    for row in rows:
        rows_file(tmp_path / row["set"] / "manifest.jsonl", [row, {**row, "id": f"{row['id']}_t", "split": "train"}])
    digits, notes, sounds, speech = (load(tmp_path / name / "manifest.jsonl") for name in ("digits", "notes", "sounds", "speech"))
    assert {record.id for record in digits.records} == {"digits/7_george_0#asr", "digits/7_george_0#language_id"}
    assert digits.records[0].duration_s == 0.5 and digits.benchmark.name == "digits"
    assert "dev and test splits" in digits.account.warnings[0]
    rows_file(tmp_path / "notes" / "manifest.jsonl", [{**rows[1], "split": "train"}])
    with pytest.raises(DataError, match="there is none; rows of a prepared set: those of its dev and test splits"):
        load(tmp_path / "notes" / "manifest.jsonl")
    assert {record.family for record in notes.records} == {"instrument", "note_analysis"}
    assert [record.references for record in sounds.records if record.family == "audio_caption"] == [("A dog barks.", "A dog.")]
    assert {record.family for record in speech.records} == {"asr", "srwt_en", "gender", "emotion", "language_id"}


def test_a_training_split_among_the_rows_is_told(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    rows = [{"audio": "a.wav", "task": "asr", "language": "en", "text": "yes", "meta": {"split": "train"}}]
    assert load(rows_file(tmp_path / "mine.jsonl", rows)).account.warnings == ("1 rows are of a training split",)


@pytest.mark.parametrize(
    ("name", "row", "sentence", "right"),
    [
        ("librispeech", {"gt": "he said", "source": "librispeech_test_clean"}, SPOKEN, ("he said",)),
        ("covost2", {"gt": "Hallo.", "source": "covost_en_de_test"},
         "<|startoftranscript|><|en|><|translate|><|de|><|notimestamps|><|itn|>", ("Hallo.",)),
        ("clotho", {"gt": ["One.", "Two."], "source": "clotho"},
         "<|startofanalysis|><|unknown|><|caption|><|en|><|notimestamps|><|caption_clotho|>", ("One.", "Two.")),
        ("clothoaqa", {"gt": "yes", "source": "clothoaqa_test", "question": "Is it?"},
         "<|startofanalysis|><|en|><|question|>Is it?<|answer|>", ("yes",)),
    ],
)  # fmt: skip
def test_the_released_evaluations_files_are_asked_by_its_sentences(
    tmp_path: Path, name: str, row: dict[str, Any], sentence: str, right: tuple[str, ...]
) -> None:
    clip(tmp_path / "a.wav")
    loaded = load(rows_file(tmp_path / f"{name}_eval.jsonl", [{"audio": "a.wav", **row}, {"audio": "a.wav", **row, "gt": ""}]))
    (record,) = loaded.records
    assert record.prefix is not None and record.prefix.sentence() == sentence
    assert (record.references or (record.target,)) == right
    assert [entry.reason for entry in loaded.account.lost] == ["no_answer"]


def test_rows_of_the_released_form_whose_file_says_no_task_are_lost(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The file's name begins with none of librispeech"):
        load(rows_file(tmp_path / "own.jsonl", [{"audio": "a.wav", "gt": "x", "source": "own"}]))
