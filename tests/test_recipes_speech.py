"""Recipes of speech with transcripts, on trees in the real layout."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from corpus_tree import clip, entries, text, walked

from data.manifest import Record
from data.recipes.languages import language_of, name_of, text_language_of
from data.recipes.large_json import listed_under
from data.recipes.transcripts import chinese_form, decade, unspaced
from qwen_audio.errors import DataError


def targets(records: list[Record], family: str = "asr") -> list[str]:
    return [record.target for record in records if record.family == family]


def sound_bytes() -> bytes:
    data = io.BytesIO()
    soundfile.write(data, [0.1] * 800, 16_000, format="WAV")
    return data.getvalue()


def parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as the hub does: the audio as {bytes, path}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{**row, "audio": {"bytes": sound_bytes(), "path": "a.wav"}} for row in rows]), path)


def test_librispeech_is_lower_case_and_knows_its_readers(tmp_path: Path) -> None:
    chapter = tmp_path / "dev-clean" / "1272" / "128104"
    for name in ("1272-128104-0000", "1272-128104-0001"):
        clip(chapter / f"{name}.flac")
    text(chapter / "1272-128104.trans.txt", "1272-128104-0000 MISTER QUILTER'S IDEA\n1272-128104-0001 NOR IS HE\n1272-128104-0002 LOST\n")
    text(tmp_path / "SPEAKERS.TXT", ";ID |SEX| SUBSET |MINUTES| NAME\n1272 | M | dev-clean | 8.0 | A. Reader\n")
    (lost,) = entries("librispeech", tmp_path, "dev-clean")
    assert (lost.id, lost.reason) == ("1272-128104-0002", "no_file")
    text(chapter / "1272-128104.trans.txt", "1272-128104-0000 MISTER QUILTER'S IDEA\n1272-128104-0001 NOR IS HE\n")
    records = walked("librispeech", tmp_path, "dev-clean")
    assert targets(records) == ["mister quilter's idea", "nor is he"] and targets(records, "gender") == ["male", "male"]
    assert records[0].prefix is not None
    assert records[0].prefix.sentence() == "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>"
    assert records[0].meta["speaker"] == "librispeech-1272"


def test_librispeech_is_read_from_the_hubs_parquet(tmp_path: Path) -> None:
    rows = [{"file": f"{n}.flac", "text": "HE SAID", "speaker_id": 61, "chapter_id": 7, "id": f"61-7-000{n}"} for n in range(2)]
    parquet(tmp_path / "all" / "test.clean-00000-of-00001.parquet", rows)
    records = walked("librispeech", tmp_path, "test-clean", parquet=True)
    assert targets(records) == ["he said", "he said"]
    assert [record.meta["source"] for record in records] == ["61-7-0000", "61-7-0001"]
    assert records[1].audio[0].path.endswith("test.clean-00000-of-00001.parquet/1")


def test_mls_reads_every_language_that_is_there(tmp_path: Path) -> None:
    for language, name in (("german", "10_20_000000"), ("polish_opus", "30_40_000001")):
        folder = tmp_path / f"mls_{language}"
        speaker, book, _ = name.split("_")
        clip(folder / "test" / "audio" / speaker / book / f"{name}.flac")
        text(folder / "test" / "transcripts.txt", f"{name}\tguten tag\n")
        text(folder / "metainfo.txt", f"SPEAKER | GENDER | PARTITION\n {speaker} | F | test\n")
    records = walked("mls", tmp_path, "test")
    assert [record.meta["source"] for record in records if record.family == "asr"] == ["de/10_20_000000", "pl/30_40_000001"]
    assert targets(records, "gender") == ["female", "female"]
    polish = records[-2].prefix
    assert polish is not None and (polish.audio_language, polish.text_language) == ("pl", "pl")  # a custom language


def test_voxpopuli_is_given_as_said_and_as_written(tmp_path: Path) -> None:
    folder = tmp_path / "transcribed_data" / "en"
    for name in ("20090203-0900-PLENARY-1", "20100203-0900-PLENARY-2"):
        clip(folder / name[:4] / f"{name}.ogg")
    text(
        folder / "asr_dev.tsv",
        "id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender\n"
        '20090203-0900-PLENARY-1\tThank you, "Mr" 5.\tthank you mr five\t12\tdev\tfemale\n'
        "20100203-0900-PLENARY-2\t\tnot written\tNone\tdev\tNone\n",
    )
    records = walked("voxpopuli", tmp_path, "dev")
    assert targets(records) == ["thank you mr five", 'Thank you, "Mr" 5.', "not written"]
    assert [record.prefix.instruction for record in records if record.family == "asr" and record.prefix] == ["wo_itn", "itn", "wo_itn"]
    assert targets(records, "gender") == ["female"] and targets(records, "language_id") == ["English", "English"]


def test_tedlium3_reads_stm_stretches(tmp_path: Path) -> None:
    folder = tmp_path / "legacy" / "test"
    clip(folder / "sph" / "AlGore_2009.wav", seconds=30).rename(folder / "sph" / "AlGore_2009.sph")
    stm = (
        "AlGore_2009 1 AlGore_2009 17.82 28.81 <o,f0,male> they 're <unk> here {NOISE}\n"
        "AlGore_2009 1 AlGore_2009 28.81 29.50 <o,f0,male> ignore_time_segment_in_scoring\n"
    )
    text(folder / "stm" / "AlGore_2009.stm", stm)
    (marked,) = entries("tedlium3", tmp_path, "test")
    assert marked.reason == "empty_text"
    text(folder / "stm" / "AlGore_2009.stm", stm.splitlines()[0] + "\n")
    spoken, gender = walked("tedlium3", tmp_path, "test")
    assert (spoken.target, gender.target) == ("they're here", "male")
    assert (spoken.audio[0].start_s, spoken.audio[0].duration_s) == (17.82, 10.99)


def giga_talk(aid: str, segments: list[dict[str, object]]) -> dict[str, object]:
    return {"aid": aid, "path": f"audio/podcast/P0000/{aid}.opus", "subsets": ["{L}", "{XL}"], "segments": segments}


def test_gigaspeech_drops_spelled_punctuation_and_accounts_for_garbage(tmp_path: Path) -> None:
    clip(tmp_path / "audio" / "podcast" / "P0000" / "POD1.ogg", seconds=9).rename(tmp_path / "audio" / "podcast" / "P0000" / "POD1.opus")
    said = {"sid": "POD1_S1", "begin_time": 1.5, "end_time": 4.0, "text_tn": "WELL <COMMA> IT'S ME <PERIOD>", "subsets": ["{XL}"]}
    music = {"sid": "POD1_S2", "begin_time": 4.0, "end_time": 6.0, "text_tn": "<MUSIC>", "subsets": ["{XL}", "{L}"]}
    text(tmp_path / "GigaSpeech.json", {"dataset": "GigaSpeech", "audios": [giga_talk("POD1", [said, music])]})
    (garbage,) = entries("gigaspeech", tmp_path, "XL")
    assert (garbage.id, garbage.reason) == ("POD1_S2", "empty_text")
    text(tmp_path / "GigaSpeech.json", {"dataset": "GigaSpeech", "audios": [giga_talk("POD1", [said]), giga_talk("POD2", [])]})
    (record,) = walked("gigaspeech", tmp_path, "XL")
    assert record.target == "well it's me" and record.audio[0].start_s == 1.5 and record.audio[0].duration_s == 2.5
    assert walked("gigaspeech", tmp_path, "L") == []


def test_aishell1_joins_words_and_accounts_for_clips_without_a_transcript(tmp_path: Path) -> None:
    for name in ("BAC009S0764W0121", "BAC009S0764W0122"):
        clip(tmp_path / "data_aishell" / "wav" / "test" / "S0764" / f"{name}.wav")
    transcript = tmp_path / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"
    text(transcript, "BAC009S0764W0121 甚至 出现 Ｔ 台\n")
    text(tmp_path / "resource_aishell" / "speaker.info", "0764 F\n")
    (lost,) = entries("aishell1", tmp_path, "test")
    assert (lost.id, lost.reason) == ("BAC009S0764W0122", "empty_text")
    text(transcript, "BAC009S0764W0121 甚至 出现 Ｔ 台\nBAC009S0764W0122 一 二\n")
    records = walked("aishell1", tmp_path, "test")
    assert targets(records) == ["甚至出现t台", "一二"] and targets(records, "gender") == ["female", "female"]


@pytest.mark.parametrize("top", ["AISHELL-DEV-TEST-SET", ""])
def test_aishell2_reads_each_channel_of_the_evaluation_sets(tmp_path: Path, top: str) -> None:
    folder = tmp_path / top / "Mic" / "test"
    for name in ("MT0011W0001", "MT0011W0002"):
        clip(folder / "wav" / "T0011" / f"{name}.wav")
    text(folder / "trans.txt", "MT0011W0001\t换一首歌\nMT0011W0002\t听 Beat it\n")
    if top:
        text(folder / "wav.scp", "MT0011W0001\twav/T0011/MT0011W0001.wav\nMT0011W0002\twav/T0011/MT0011W0002.wav\n")
    records = walked("aishell2", tmp_path, "test/Mic")
    assert targets(records) == ["换一首歌", "听beat it"]
    assert (records[0].meta["speaker"], records[0].meta["channel"]) == ("aishell2-T0011", "Mic")
    with pytest.raises(DataError, match=r"no trans\.txt of dev/iOS"):
        walked("aishell2", tmp_path, "dev/iOS")


def test_wenetspeech_takes_the_segments_of_one_subset(tmp_path: Path) -> None:
    path = "audio/train/youtube/B00000/Y1.opus"
    clip((tmp_path / path).with_suffix(".ogg"), seconds=9).rename(tmp_path / path)
    segments = [
        {"sid": "Y1_S0", "begin_time": 0.5, "end_time": 3.0, "subsets": ["M", "L"], "text": "你好"},
        {"sid": "Y1_S1", "begin_time": 3.0, "end_time": 5.0, "subsets": ["L"], "text": "再见"},
    ]
    gone = {"aid": "Y2", "path": "audio/Y2.opus", "segments": [{**segments[1], "sid": "Y2_S0"}]}
    text(tmp_path / "WenetSpeech.json", {"audios": [{"aid": "Y1", "path": path, "segments": segments}]})
    assert targets(walked("wenetspeech", tmp_path, "M")) == ["你好"]
    assert targets(walked("wenetspeech", tmp_path, "L")) == ["你好", "再见"]
    text(tmp_path / "WenetSpeech.json", {"audios": [gone]})
    assert [(entry.id, entry.reason) for entry in entries("wenetspeech", tmp_path, "L")] == [("Y2_S0", "no_file")]


@pytest.mark.parametrize("below", ["", "de"])
def test_common_voice_asks_for_all_that_a_speaker_tells(tmp_path: Path, below: str) -> None:
    folder = tmp_path / below
    for name in ("a", "b"):
        clip(folder / "clips" / f"common_voice_de_{name}.mp3")
    text(
        folder / "train.tsv",
        "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"
        'abc\tcommon_voice_de_a.mp3\t"Er sagte ""Ja""."\t2\t0\tfourties\tmale_masculine\tBayerisch\tde\t\n'
        "def\tcommon_voice_de_b.mp3\tWas?\t2\t0\t\t\tTirol|Wien\tde\t\n",
    )
    records = walked("common_voice", tmp_path, "train")
    assert targets(records) == ['Er sagte "Ja".', "Was?"] and targets(records, "language_id") == ["German", "German"]
    assert (targets(records, "age"), targets(records, "gender"), targets(records, "dialect_id")) == (["40s"], ["male"], ["Bayerisch"])
    assert records[0].prefix is not None and records[0].prefix.instruction == "itn"


def test_common_voice_writes_chinese_as_its_places_do(tmp_path: Path) -> None:
    for code in ("zh-TW", "yue"):
        clip(tmp_path / code / "clips" / f"common_voice_{code}_1.mp3")
        text(tmp_path / code / "test.tsv", f"client_id\tpath\tsentence\tlocale\nabc\tcommon_voice_{code}_1.mp3\t你好\t{code}\n")
    records = walked("common_voice", tmp_path, "test")
    found = {r.family: r.prefix.sentence() for r in records if r.prefix is not None and r.family != "language_id"}
    assert found["asr"] == "<|startoftranscript|><|zh|><|transcribe|><|zh_tr|><|notimestamps|><|itn|>"
    assert found["dialect_asr"] == "<|startoftranscript|><|unknown|><|transcribe|><|zh_tr|><|notimestamps|><|itn|>"
    assert targets(records, "language_id") == ["Cantonese", "Mandarin Chinese"]


FLEURS = "1509\t1.wav\tEr kam um 5.\ter kam um fünf\te r |\t16000\tMALE\n1510\t2.wav\tJa!\tja\tj a |\t16000\tFEMALE\n"


@pytest.mark.parametrize(("table", "clips"), [("de_de/dev.tsv", "de_de/audio/dev"), ("metadata/de_de/dev.tsv", "de_de/dev")])
def test_fleurs_gives_both_forms_of_a_sentence(tmp_path: Path, table: str, clips: str) -> None:
    text(tmp_path / table, FLEURS)
    for name in ("1", "2"):
        clip(tmp_path / clips / f"{name}.wav")
    records = walked("fleurs", tmp_path, "dev")
    assert targets(records) == ["er kam um fünf", "Er kam um 5.", "ja", "Ja!"]
    assert targets(records, "gender") == ["male", "female"] and targets(records, "language_id") == ["German", "German"]
    assert records[0].meta["source"] == "de_de/1" and records[0].meta["sentence"] == "1509"


def test_fleurs_is_read_from_the_hubs_parquet(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "path": "/x/11.wav", "transcription": "新 年", "raw_transcription": "新年。", "gender": n, "lang_id": 3} for n in (0, 2)
    ]
    rows[1]["path"] = "/x/12.wav"
    parquet(tmp_path / "cmn_hans_cn" / "fleurs-train-00000-of-00001.parquet", rows)
    records = walked("fleurs", tmp_path, "train", parquet=True)
    assert targets(records) == ["新年", "新年。"] * 2 and targets(records, "gender") == ["male"]
    assert records[0].meta["language"] == "zh" and records[0].meta["source"] == "cmn_hans_cn/11"


def test_a_folder_that_is_not_the_corpus_is_named(tmp_path: Path) -> None:
    for name, split in (("librispeech", "dev-clean"), ("mls", "dev"), ("fleurs", "dev"), ("common_voice", "dev"), ("gigaspeech", "DEV")):
        with pytest.raises(DataError, match=str(tmp_path)):
            walked(name, tmp_path, split)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_a_large_list_is_read_element_by_element(tmp_path: Path, chunk: int) -> None:
    path, rows = tmp_path / "big.json", [{"a": [1, {"b": ']}"'}]}, {}, {"ü": "x" * 50}]
    path.write_text(json.dumps({"other": [1, 2], "audios": rows, "behind": 1}, indent=1, ensure_ascii=False), encoding="utf-8")
    assert [element for _, element in listed_under(path, "audios", chunk)] == rows
    path.write_text('{"audios": [{"a": 1}, {"a"', encoding="utf-8")
    with pytest.raises(DataError, match=r"big\.json:\[1\]: the list 'audios' is broken"):
        list(listed_under(path, "audios", chunk))
    with pytest.raises(DataError, match="no list under the key 'segments'"):
        list(listed_under(path, "segments", chunk))


def test_codes_of_corpora_become_tags() -> None:
    codes = ("zh-CN", "cmn_hans_cn", "zh-TW", "zh-HK", "yue_hant_hk", "sv-SE", "pt_br", "es_419", "iw", "ckb_iq", "nb_no")
    assert [language_of(code) for code in codes] == ["zh", "zh", "zh", "yue", "yue", "sv", "pt", "es", "he", "ckb", "no"]
    assert [text_language_of(code) for code in codes[:5]] == ["zh", "zh", "zh_tr", "zh_tr", "zh_tr"]
    assert (name_of("iw"), name_of("ceb"), name_of("qqq")) == ("Hebrew", "Cebuano", None)


def test_chinese_text_has_no_spaces_but_latin_words_keep_theirs() -> None:
    assert unspaced("听 beat it 吧 。") == "听beat it吧。"
    assert chinese_form("ＡＢ 听，Yesterday Once More！") == "ab听yesterday once more"


def test_ages_become_decades() -> None:
    assert [decade(age) for age in ("32", 61, "8", "", None, "unknown", "27.0")] == ["30s", "60s", None, None, None, None, "20s"]
