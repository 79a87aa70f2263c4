"""Recipes of the sentences and passages that the bundled model learned, on trees as their repositories have them."""

from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked

from data.manifest import Record
from data.recipes.prepared import source_key
from qwen_audio.errors import DataError
from tag_schema.answers import Entity
from tag_schema.tasks import TASKS


def by_family(records: list[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record.family or "", []).append(record.target)
    return found


def test_kerstin_reads_its_table_and_its_checked_recordings(tmp_path: Path) -> None:
    text(
        tmp_path / "metadata.csv",
        "de_rhasspy-0016|Ich danke ihm nochmals für seine Arbeit.\nde_rhasspy-0129|Frau Kommissionspräsidentin!\n",
    )
    clip(tmp_path / "verified/de_rhasspy-0016.flac")
    assert [(row.id, row.reason) for row in entries("de_kerstin", tmp_path, "all")] == [("verified/de_rhasspy-0129.flac", "no_file")]
    clip(tmp_path / "verified/de_rhasspy-0129.flac")
    records = walked("de_kerstin", tmp_path, "all")
    found = by_family(records)
    assert found["asr"] == ["ich danke ihm nochmals für seine arbeit", "frau kommissionspräsidentin"]
    assert (found["language_id"], found["gender"]) == (["German", "German"], ["female", "female"])


def test_a_row_is_found_again_in_the_bundled_models_splits(tmp_path: Path) -> None:
    clip(tmp_path / "data/arctic_a0003_1592748500.wav")
    text(tmp_path / "data/arctic_a0003_1592748500.txt", "For the twentieth time that evening the two men shook hands.\n")
    record = walked("en_kathleen", tmp_path, "all")[0]
    assert record.target == "for the twentieth time that evening the two men shook hands"
    row = {"set": "en_kathleen", "source_path": "data/arctic_a0003_1592748500.wav"}
    assert f"en_kathleen\t{record.meta['source']}" == source_key(row)


def test_a_recording_without_its_text_is_accounted_for(tmp_path: Path) -> None:
    clip(tmp_path / "data/arctic_a0001_1.wav")
    assert [row.reason for row in entries("en_kathleen", tmp_path, "all")] == ["no_answer"]


def test_resemblyzer_takes_genders_from_speakers_txt(tmp_path: Path) -> None:
    folder = tmp_path / "audio_data/librispeech_train-clean-100"
    clip(folder / "1034-121119-0000.flac")
    clip(tmp_path / "audio_data/librispeech_test-other/1688/1688-142285-0002.flac")
    text(
        folder / "SPEAKERS.TXT", ";ID  |SEX| SUBSET\n1034 | M | train-clean-100 | 25.08 | Kevin O'Coin\n1688 | F | test-other | 8 | Anna\n"
    )
    assert by_family(walked("en_librispeech", tmp_path, "train-clean-100")) == {"gender": ["male"], "language_id": ["English"]}
    assert by_family(walked("en_librispeech", tmp_path, "test-other"))["gender"] == ["female"]


def test_barista_asks_for_each_slot(tmp_path: Path) -> None:
    slots = {"roast": "light roast", "coffeeDrink": "iced mocha", "milkAmount": " soy milk"}
    text(tmp_path / "data/label/label.json", {"02b77977.wav": {"intent": "orderDrink", "slots": slots}})
    clip(tmp_path / "data/speech/clean/02b77977.wav")
    records = walked("en_s2i_barista", tmp_path, "all")
    filled = TASKS["slot_filling"].parse(records[0].target)
    assert filled == (Entity("coffeeDrink", "iced mocha"), Entity("milkAmount", "soy milk"), Entity("roast", "light roast"))
    assert {record.prefix.question: record.target for record in records[1:] if record.prefix} == {
        "Which drink does the speaker order?": "iced mocha",
        "What does the speaker say about milk?": "soy milk",
        "Which roast does the speaker ask for?": "light roast",
    }


def test_azures_passages_tell_languages_in_stretches(tmp_path: Path) -> None:
    samples = tmp_path / "sampledata/customspeech"
    text(samples / "README.md", "Sample data")
    with pytest.raises(DataError, match="unpack each"):
        walked("multi_azure", tmp_path, "all")
    clip(samples / "ko-KR/training/audio-and-trans/audio1.wav", seconds=31, rate=4000)
    clip(samples / "en-US/general/training/audio-and-trans/audio2.wav")
    records = walked("multi_azure", tmp_path, "all")
    assert [record.target for record in records] == ["English", "Korean", "Korean"]
    assert records[1].meta["source"] == "sampledata/customspeech/ko-KR/training/audio-and-trans.zip!audio1.wav"


RUSSIAN = """; Core Asterisk Sounds in Russian
beep: [this is a simple beep tone]
conf-errormenu: Неверный выбор
vm-next: Нажмите 6 для прослушивания следующего сообщения.
letters/dot: Точка [.]
letters/n: эм
"""


def test_russian_prompts_are_written_only_where_the_text_is_what_is_said(tmp_path: Path) -> None:
    text(tmp_path / "core-sounds-ru.txt", RUSSIAN)
    text(tmp_path / "core-sounds-en.txt", ";\nconf-errormenu: Invalid Choice\nbeep: [beep]\n")
    for name in ("beep", "conf-errormenu", "vm-next", "letters/dot", "letters/n"):
        clip(tmp_path / f"{name}.wav", rate=8000)
    assert [(row.id, row.reason) for row in entries("ru_prompts", tmp_path, "all")] == [("beep.wav", "empty_text")]
    text(tmp_path / "core-sounds-ru.txt", RUSSIAN.replace("beep: [this is a simple beep tone]\n", ""))
    found = by_family(walked("ru_prompts", tmp_path, "all"))
    assert found == {"asr": ["неверный выбор", "точка"], "language_id": ["Russian"] * 4, "s2tt": ["Invalid Choice"]}
