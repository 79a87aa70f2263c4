"""Recipes of dialects, accents and languages, on trees in the real layout."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from corpus_tree import clip, entries, text, walked

from data.manifest import Record
from data.recipes.dialects import EDACC_ACCENT
from data.recipes.languages import name_of
from qwen_audio.errors import DataError

VOXLINGUA = """
ab af am ar as az ba be bg bn bo br bs ca ceb cs cy da de el en eo es et eu fa fi fo fr gl gn gu gv ha haw hi hr ht hu hy ia id is
it iw ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sco sd si sk sl sn so
sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi war yi yo zh
"""


def by_family(records: list[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record.family or "", []).append(record.target)
    return found


def test_kespeech_tells_dialects_from_the_standard_language(tmp_path: Path) -> None:
    folder = tmp_path / "Tasks" / "ASR" / "test"
    for name in ("u1", "u2"):
        clip(tmp_path / "Audio" / "s1" / "phase1" / f"{name}.wav")
    text(folder / "wav.scp", "u1 Audio/s1/phase1/u1.wav\nu2 Audio/s1/phase1/u2.wav\n")
    text(folder / "text", "u1 俺 晓得<SPOKEN_NOISE>\nu2 你好\n")
    text(folder / "utt2spk", "u1 s1\nu2 s1\n")
    text(folder / "utt2subdialect", "u1 Ji-Lu\nu2 Mandarin\n")
    text(tmp_path / "Metadata" / "spk2gender", "s1 Female\n")
    text(tmp_path / "Metadata" / "spk2age", "s1 32\n")
    records = walked("kespeech", tmp_path, "test")
    assert by_family(records) == {
        "dialect_asr": ["俺晓得"], "dialect_id": ["Ji-Lu", "Mandarin"], "gender": ["female"] * 2, "age": ["30s"] * 2, "asr": ["你好"]
    }  # fmt: skip
    assert records[0].prefix is not None
    assert records[0].prefix.sentence() == "<|startoftranscript|><|unknown|><|transcribe|><|zh|><|notimestamps|><|wo_itn|>"
    text(folder / "wav.scp", "u3 Audio/s1/phase1/u1.wav\n")
    assert [(entry.id, entry.reason) for entry in entries("kespeech", tmp_path, "test")] == [("u3", "empty_text")]


def test_mdcc_is_a_dialect_in_traditional_characters(tmp_path: Path) -> None:
    for name in ("447_1_00001", "447_1_00002"):
        clip(tmp_path / "audio" / f"{name}.wav")
        text(tmp_path / "transcription" / f"{name}.txt", "係 呀，無錯\n")
    rows = "".join(f"./audio/447_1_0000{n}.wav,./transcription/447_1_0000{n}.txt,{sex},1.5\n" for n, sex in ((1, "male"), (2, "female")))
    table = text(tmp_path / "cnt_asr_valid_metadata.csv", "audio_path,text_path,gender,duration\n" + rows)
    records = walked("mdcc", tmp_path, "valid")
    assert by_family(records) == {"dialect_asr": ["係呀無錯"] * 2, "language_id": ["Cantonese"] * 2, "gender": ["male", "female"]}
    assert records[0].prefix is not None and records[0].prefix.text_language == "zh_tr"
    text(table, "audio_path,text_path,gender,duration\n./audio/447_1_00001.wav,./transcription/none.txt,male,1\n")
    assert [entry.reason for entry in entries("mdcc", tmp_path, "valid")] == ["no_answer"]


def test_edacc_asks_for_the_accent_in_the_speakers_own_words(tmp_path: Path) -> None:
    root = tmp_path / "edacc_v1.0"
    clip(root / "data" / "EDACC-C30.wav", seconds=9)
    text(root / "linguistic_background.csv", f'PARTICIPANT_ID,What is your gender?,"{EDACC_ACCENT}"\nEDACC-C30-A,Female,Glaswegian \n')
    text(root / "dev" / "segments", "EDACC-C30-000001 EDACC-C30 0.50 2.00\nEDACC-C30-000002 EDACC-C30 2.00 2.90\n")
    text(root / "dev" / "text", "EDACC-C30-000001 AYE <laugh> IT'S FINE\nEDACC-C30-000002 <laugh>\n")
    text(root / "dev" / "utt2spk", "EDACC-C30-000001 EDACC-C30-A\nEDACC-C30-000002 EDACC-C30-A\n")
    assert [(entry.id, entry.reason) for entry in entries("edacc", tmp_path, "dev")] == [("EDACC-C30-000002", "empty_text")]
    text(root / "dev" / "text", "EDACC-C30-000001 AYE <laugh> IT'S FINE\nEDACC-C30-000002 OKAY\n")
    records = walked("edacc", tmp_path, "dev")
    assert by_family(records) == {"asr": ["aye it's fine", "okay"], "dialect_id": ["Glaswegian"] * 2, "gender": ["female"] * 2}
    assert records[1].prefix is not None and records[1].prefix.audio_language == "en"
    assert (records[3].audio[0].start_s, records[3].audio[0].duration_s) == (2.0, 0.9)


def test_edacc_is_read_from_the_hubs_parquet(tmp_path: Path) -> None:
    data = io.BytesIO()
    soundfile.write(data, [0.1] * 800, 16_000, format="WAV")
    row = {"speaker": "A", "text": "HELLO", "accent": "Irish English", "raw_accent": "Irish", "gender": "male", "l1": "English"}
    (tmp_path / "data").mkdir()
    rows = [{**row, "audio": {"bytes": data.getvalue(), "path": "x.wav"}}] * 2
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "validation-00000-of-00001.parquet")
    records = walked("edacc", tmp_path, "dev", parquet=True)
    assert by_family(records) == {"asr": ["hello"] * 2, "dialect_id": ["Irish English"] * 2, "gender": ["male"] * 2}
    assert {record.meta["source"] for record in records} == {"validation-00000-of-00001-0", "validation-00000-of-00001-1"}


@pytest.mark.parametrize("top", ["", "train"])
def test_voxlingua107_names_the_language_of_the_folder(tmp_path: Path, top: str) -> None:
    for name in ("iw/vid1__U__S1---0001.000-0010.000", "de/vid2__U__S2---0001.000-0010.000"):
        clip(tmp_path / top / f"{name}.wav")
    clip(tmp_path / "dev" / "de" / "vid9__U__S2---0001.000-0010.000.wav")
    records = walked("voxlingua107", tmp_path, "train")
    assert by_family(records) == {"language_id": ["German", "Hebrew"]} and records[0].meta["recording"] == "vid2"
    assert records[0].prefix is not None
    assert records[0].prefix.sentence() == "<|startofanalysis|><|unknown|><|question|>Which language is spoken?<|answer|>"
    assert by_family(walked("voxlingua107", tmp_path, "dev")) == {"language_id": ["German"]}
    clip(tmp_path / top / "de" / "vid9__U__S2---0001.000-0010.000.wav")
    clip(tmp_path / top / "qq" / "vid3__U__S2---0001.000-0010.000.wav")
    assert [entry.reason for entry in entries("voxlingua107", tmp_path, "train")] == ["evaluation_split", "no_answer"]


def test_every_language_of_voxlingua107_has_a_name() -> None:
    names = [name_of(code) for code in VOXLINGUA.split()]
    assert len(names) == len(set(names)) == 107 and None not in names


def test_an_empty_folder_has_no_languages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders of languages"):
        walked("voxlingua107", tmp_path, "train")
