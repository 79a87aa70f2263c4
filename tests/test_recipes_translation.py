"""Recipes of speech with its translation, on trees in the real layout."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from corpus_tree import clip, entries, text, walked

from data.recipes.translation import in_covost_split
from qwen_audio.errors import DataError


def test_covost2_joins_translations_to_release_4_of_common_voice(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        clip(tmp_path / "de" / "clips" / f"{name}.mp3")
    text(tmp_path / "de" / "validated.tsv", "client_id\tpath\tsentence\ns1\ta.mp3\tHallo.\ns2\tb.mp3\tJa.\ns3\tc.mp3\tNein.\n")
    table = "path\ttranslation\tsplit\na.mp3\tHello.\ttrain\nb.mp3\tYes.\ttrain_covost\nc.mp3\tNo.\ttest\n"
    text(tmp_path / "de" / "covost_v2.de_en.tsv", table)
    text(tmp_path / "de" / "covost_v2.de_en.train.tsv", "not a table of all splits")
    train = walked("covost2", tmp_path, "train")
    assert [(record.target, record.meta["speaker"]) for record in train] == [("Hello.", "cv-s1"), ("Yes.", "cv-s2")]
    (test,) = walked("covost2", tmp_path, "test")
    assert test.prefix is not None
    assert test.prefix.sentence() == "<|startoftranscript|><|de|><|translate|><|en|><|notimestamps|><|itn|>"
    text(tmp_path / "de" / "covost_v2.de_en.tsv", table + "d.mp3\tGone.\ttest\n")
    assert [(entry.id, entry.reason) for entry in entries("covost2", tmp_path, "test")] == [("d.mp3>en", "no_file")]


def test_covost2_extends_train_alone() -> None:
    marks = ("train", "train_covost", "dev", "dev_covost", "test")
    assert [mark for mark in marks if in_covost_split(mark, "train")] == ["train", "train_covost"]
    assert [mark for mark in marks if in_covost_split(mark, "dev")] == ["dev"]


def test_covost2_is_read_from_the_hubs_parquet(tmp_path: Path) -> None:
    data = io.BytesIO()
    soundfile.write(data, [0.1] * 800, 16_000, format="WAV")
    row = {"client_id": "s", "sentence": "Hi.", "audio": {"bytes": data.getvalue(), "path": "x.wav"}}
    rows = [{**row, "file": f"/x/en_{n}.mp3", "id": f"en_{n}", "translation": said} for n, said in enumerate(("你好 。", "嗨。"))]
    (tmp_path / "en_zh-CN").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "en_zh-CN" / "test-00000-of-00001.parquet")
    records = walked("covost2", tmp_path, "test", parquet=True)
    assert [record.target for record in records] == ["你好。", "嗨。"]
    assert records[0].prefix is not None and (records[0].prefix.audio_language, records[0].prefix.text_language) == ("en", "zh")
    assert records[0].meta["source"] == "en_0>zh-CN"


def ted(root: Path, pair: str, split: str, ending: str, lines: dict[str, str]) -> Path:
    """Build SOURCE-TARGET/data/SPLIT with one talk of two segments."""
    folder = root / pair / "data" / split
    clip(folder / "wav" / f"ted_767{ending}", seconds=20)
    text(
        folder / "txt" / f"{split}.yaml",
        "- {duration: 3.500000, offset: 1.080000, rW: 9, uW: 0, speaker_id: spk.767, wav: ted_767.wav}\n"
        "- {duration: 2.250000, offset: 16.080000, rW: 3, uW: 0, speaker_id: spk.767, wav: ted_767.wav}\n",
    )
    for code, content in lines.items():
        text(folder / "txt" / f"{split}.{code}", content)
    return folder


def test_must_c_reads_stretches_of_talks_line_by_line(tmp_path: Path) -> None:
    folder = ted(tmp_path, "en-ru", "tst-COMMON", ".wav", {"en": "One.\nTwo.\n", "ru": "Раз.\nДва.\n"})
    records = walked("must_c", tmp_path, "tst-COMMON")
    assert [record.target for record in records] == ["Раз.", "Два."]
    assert [(record.audio[0].start_s, record.audio[0].duration_s) for record in records] == [(1.08, 3.5), (16.08, 2.25)]
    assert records[0].meta["speaker"] == "ted-spk.767"
    assert records[0].prefix is not None and records[0].prefix.text_language == "ru"  # a custom language
    text(folder / "txt" / "tst-COMMON.ru", "Раз.\n")
    with pytest.raises(DataError, match=r"tst-COMMON\.ru has 1 lines, tst-COMMON\.yaml has 2"):
        walked("must_c", tmp_path, "tst-COMMON")


def test_must_c_accounts_for_an_empty_translation_and_a_foreign_yaml(tmp_path: Path) -> None:
    folder = ted(tmp_path, "en-de", "dev", ".wav", {"en": "One.\nTwo.\n", "de": "Eins.\n\n"})
    assert [(entry.id, entry.reason) for entry in entries("must_c", tmp_path, "dev")] == [("ted_767_1>de#s2tt", "no_answer")]
    text(folder / "txt" / "dev.yaml", "segments:\n  - a\n")
    with pytest.raises(DataError, match=r"dev\.yaml:1: 'segments:' has not the form"):
        walked("must_c", tmp_path, "dev")


def test_mtedx_gives_transcripts_and_translations(tmp_path: Path) -> None:
    ted(tmp_path, "es-es", "valid", ".flac", {"es": "Uno.\nDos.\n"})
    ted(tmp_path, "es-en", "valid", ".flac", {"es": "Uno.\nDos.\n", "en": "One.\nTwo.\n"})
    records = walked("mtedx", tmp_path, "valid")
    assert [(record.family, record.target) for record in records] == [("s2tt", "One."), ("s2tt", "Two."), ("asr", "Uno."), ("asr", "Dos.")]
    assert records[2].prefix is not None and records[2].prefix.instruction == "itn"


def test_fleurs_pairs_the_same_sentence_across_languages(tmp_path: Path) -> None:
    for code, name, sentence in (("en_us", "1", "Good day."), ("de_de", "2", "Guten Tag."), ("ru_ru", "3", "Добрый день.")):
        clip(tmp_path / code / "audio" / "test" / f"{name}.wav")
        text(tmp_path / code / "test.tsv", f"1509\t{name}.wav\t{sentence}\t{sentence.lower()}\tx |\t16000\tMALE\n")
    records = walked("fleurs_s2tt", tmp_path, "test")
    pairs = {(r.prefix.audio_language, r.prefix.text_language): r.target for r in records if r.prefix is not None}
    assert pairs == {("de", "en"): "Good day.", ("en", "de"): "Guten Tag.", ("ru", "en"): "Good day."}
    text(tmp_path / "de_de" / "test.tsv", "77\t2.wav\tNoch einer.\tnoch einer\tx |\t16000\tMALE\n")
    assert {entry.id for entry in entries("fleurs_s2tt", tmp_path, "test")} == {"de_de/2>en_us", "en_us/1>de_de"}
