"""Recipes of keywords, intents, slots and entities, on trees in the real layouts."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from corpus_tree import clip, entries, text, walked

from data.manifest import Record
from data.recipes.understanding import chunks
from qwen_audio.errors import DataError
from tag_schema.answers import Entity, Intent, read_entities, read_intent


def by_family(records: list[Record], family: str) -> list[Record]:
    return [record for record in records if record.family == family]


def speech_commands(root: Path) -> None:
    for name in ("yes/0a7c2a8d_nohash_0", "no/0a9f9af7_nohash_1", "up/0ab3b47d_nohash_0"):
        clip(root / f"{name}.wav", 1.0)
    text(root / "validation_list.txt", "no/0a9f9af7_nohash_1.wav\n")
    text(root / "testing_list.txt", "up/0ab3b47d_nohash_0.wav\n")
    clip(root / "_background_noise_" / "white_noise.wav", 2.5)
    clip(root / "_background_noise_" / "running_tap.wav", 1.0)


def test_speech_commands_lists_say_the_split_and_noises_are_silence_second_by_second(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    train = walked("speech_commands", tmp_path, "train")
    assert [(record.target, record.audio[0].start_s, record.audio[0].duration_s) for record in train] == [
        ("yes", 0.0, None),
        ("silence", 0.0, 1.0),
        ("silence", 1.0, 1.0),
    ]
    assert train[0].meta["speaker"] == "speech_commands-0a7c2a8d"
    assert {record.meta["source"] for record in train} == {"yes/0a7c2a8d_nohash_0.wav", "_background_noise_/white_noise.wav"}
    assert [record.target for record in walked("speech_commands", tmp_path, "validation")] == ["no", "silence"]
    assert [record.target for record in walked("speech_commands", tmp_path, "testing")] == ["up"]


def test_speech_commands_name_a_listed_clip_that_is_missing(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    (tmp_path / "up" / "0ab3b47d_nohash_0.wav").unlink()
    (lost,) = entries("speech_commands", tmp_path, "testing")
    assert (lost.id, lost.reason) == ("up/0ab3b47d_nohash_0.wav", "no_file")


def test_mobvoi_hotwords_say_which_word_or_none(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        clip(tmp_path / "mobvoi_hotword_dataset" / f"{name}.wav")
    tables = tmp_path / "mobvoi_hotword_dataset_resources"
    text(
        tables / "p_dev.json", [{"utt_id": "a", "speaker_id": "s1", "keyword_id": 0}, {"utt_id": "b", "speaker_id": "s1", "keyword_id": 1}]
    )
    text(tables / "n_dev.json", [{"utt_id": "c", "speaker_id": None, "keyword_id": -1}])
    records = walked("mobvoi_hotwords", tmp_path, "dev")
    assert [(record.target, record.meta["speaker"]) for record in records] == [
        ("嗨小问", "mobvoi-s1"), ("你好问问", "mobvoi-s1"), ("none", "mobvoi-c")
    ]  # fmt: skip
    assert records[0].prefix is not None and records[0].prefix.audio_language == "zh"


# The first line of devel.jsonl, without the lemmas.
SLURP = {
    "slurp_id": 13804,
    "sentence": "siri what is one american dollar in japanese yen",
    "action": "currency",
    "scenario": "qa",
    "tokens": [
        {"surface": word, "id": n} for n, word in enumerate(["siri", "what", "is", "one", "american", "dollar", "in", "japanese", "yen"])
    ],
    "recordings": [{"file": "audio-1434542201-headset.flac", "wer": 0.0}, {"file": "audio-1434542201.flac", "wer": 0.0}],
    "entities": [{"span": [4, 5], "type": "currency_name"}, {"span": [7, 8], "type": "currency_name"}],
}


def test_slurp_gives_intent_and_slots_of_each_microphone(tmp_path: Path) -> None:
    none: dict[str, Any] = {
        **SLURP,
        "slurp_id": 1,
        "entities": [],
        "recordings": [{"file": "audio-2.flac"}, {"file": "audio-1434542201.flac"}],
    }
    text(tmp_path / "dataset" / "slurp" / "devel.jsonl", f"{json.dumps(SLURP)}\n{json.dumps(none)}\n")
    people = {"13804": {"recordings": {"audio-1434542201-headset.flac": {"usrid": "FO-488"}, "audio-1434542201.flac": {"usrid": "FO-488"}}}}
    text(tmp_path / "dataset" / "slurp" / "metadata.json", people)
    for name in ("audio-1434542201-headset", "audio-1434542201", "audio-2"):
        clip(tmp_path / "audio" / "slurp_real" / f"{name}.flac")
    (lost,) = entries("slurp", tmp_path, "devel")
    assert (lost.id, lost.reason) == ("audio-1434542201", "duplicate_id")
    none["recordings"] = none["recordings"][:1]
    text(tmp_path / "dataset" / "slurp" / "devel.jsonl", f"{json.dumps(SLURP)}\n{json.dumps(none)}\n")
    records = walked("slurp", tmp_path, "devel")
    assert read_intent(by_family(records, "intent")[0].target) == Intent("currency", "qa")
    slots = by_family(records, "slot_filling")
    assert read_entities(slots[0].target) == (Entity("currency_name", "american dollar"), Entity("currency_name", "japanese yen"))
    assert slots[-1].target == ""  # a request that fills no slot is an answer too
    assert [record.meta["microphone"] for record in slots] == ["headset", "distant", "distant"]
    assert (slots[0].meta["speaker"], slots[0].meta["gender"]) == ("slurp-FO-488", "female")


def test_fluent_speech_commands_intents_are_action_object_and_place(tmp_path: Path) -> None:
    base = tmp_path / "fluent_speech_commands_dataset"
    table = ",path,speakerId,transcription,action,object,location\n"
    table += "0,wavs/speakers/2BqVo8kVB2Skwgyb/a.wav,2BqVo8kVB2Skwgyb,Change language,change language,none,none\n"
    table += "1,wavs/speakers/2BqVo8kVB2Skwgyb/b.wav,2BqVo8kVB2Skwgyb,Turn on the lights,activate,lights,none\n"
    table += "2,wavs/speakers/2BqVo8kVB2Skwgyb/c.wav,2BqVo8kVB2Skwgyb,Heat up,increase,heat,kitchen\n"
    text(base / "data" / "valid_data.csv", table)
    for name in "abc":
        clip(base / "wavs" / "speakers" / "2BqVo8kVB2Skwgyb" / f"{name}.wav")
    records = walked("fluent_speech_commands", tmp_path, "valid")
    assert [read_intent(record.target).action for record in records] == ["change language", "activate lights", "increase heat kitchen"]
    (base / "wavs" / "speakers" / "2BqVo8kVB2Skwgyb" / "b.wav").unlink()
    assert [entry.reason for entry in entries("fluent_speech_commands", tmp_path, "valid")] == ["no_file"]


def test_minds14_splits_its_one_part_alike_in_both_forms(tmp_path: Path) -> None:
    paths = [f"{code}~{intent}/response_{n}.wav" for code in ("en-US", "ko-KR") for intent in ("APP_ERROR", "ADDRESS") for n in range(5)]
    for code in ("en-US", "ko-KR"):
        rows = "".join(f"{path},words,words,{path.split('~')[1].split('/')[0]}\n" for path in paths if path.startswith(code))
        text(tmp_path / "text" / f"{code}.csv", f"filepath,text_asr,text_translated,intent\n{rows}")
    for path in paths:
        clip(tmp_path / "audio" / path)
    train, test = (walked("minds14", tmp_path, name) for name in ("train", "test"))
    assert len(train) + len(test) == 20 and not {record.id for record in train} & {record.id for record in test}
    record = next(record for record in train + test if record.meta["source"] == "ko-KR~ADDRESS/response_3")
    assert read_intent(record.target).action == "address"
    assert record.prefix is not None and record.prefix.audio_language == "ko"
    sound = clip(tmp_path / "one.wav").read_bytes()
    (tmp_path / "en-US").mkdir()
    table = [{"path": path, "audio": {"bytes": sound, "path": path}, "transcription": "words", "intent_class": 2} for path in paths[:10]]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "en-US" / "train-00000-of-00001.parquet")
    for name, records in (("train", train), ("test", test)):
        copied = {(record.meta["source"], record.target) for record in walked("minds14", tmp_path, name, parquet=True)}
        assert copied == {(record.meta["source"], record.target) for record in records if record.meta["accent"] == "en-US"}


def test_snips_smart_lights_join_sentences_to_their_recordings(tmp_path: Path) -> None:
    said = [
        [{"text": "set the "}, {"text": "kitchen", "entity": "house_room", "slot_name": "room"}, {"text": " lights"}],
        [{"text": "lights"}],
    ]
    said += [[{"text": "nobody said this"}]]
    text(tmp_path / "dataset.json", {"language": "en", "intents": {"SwitchLightOn": {"utterances": [{"data": data} for data in said]}}})
    workers = {
        f"{n}": {"filename": f"{n}.wav", "text": words, "worker": {"id": f"w{n}"}}
        for n, words in enumerate(["set the kitchen lights\n", "lights"])
    }
    text(tmp_path / "speech_corpus" / "metadata.json", workers)
    for number in range(2):
        clip(tmp_path / "speech_corpus" / "audio" / f"{number}.wav")
    for name in ("train", "test"):
        assert [entry.id for entry in entries("snips_smart_lights", tmp_path, name)] == ["nobody said this"]
    said.pop()
    text(tmp_path / "dataset.json", {"language": "en", "intents": {"SwitchLightOn": {"utterances": [{"data": data} for data in said]}}})
    records = [record for name in ("train", "test") for record in walked("snips_smart_lights", tmp_path, name)]
    assert {record.target for record in by_family(records, "intent")} == {"<|action|>SwitchLightOn"}
    slots = {record.meta["source"]: read_entities(record.target) for record in by_family(records, "slot_filling")}
    assert slots == {"0": (Entity("room", "kitchen"),), "1": ()}


def test_audio_snips_reads_marks_and_the_intent_behind_them(tmp_path: Path) -> None:
    lines = "Ivy-snips-train-0 BOS add jazz to my list EOS\tO O B-music_item O B-playlist_owner I-playlist_owner AddToPlaylist\n"
    lines += "Ivy-snips-valid-0 BOS hello EOS\tO O GetWeather\nIvy-snips-train-1 BOS broken line EOS\tO GetWeather\n"
    text(tmp_path / "SNIPS" / "all.iob.snips.txt", lines)
    text(tmp_path / "SNIPS" / "train" / "Ivy-snips-train-0.mp3", "not opened here")
    (lost,) = entries("audio_snips", tmp_path, "train")
    assert (lost.id, lost.reason) == ("Ivy-snips-train-1", "bad_row")
    text(tmp_path / "SNIPS" / "all.iob.snips.txt", lines.rsplit("\n", 2)[0] + "\n")
    intent, slots = walked("audio_snips", tmp_path, "train")
    assert read_intent(intent.target).action == "AddToPlaylist"
    assert read_entities(slots.target) == (Entity("music_item", "jazz"), Entity("playlist_owner", "my list"))


def test_chunks_that_touch_stay_two() -> None:
    assert chunks(["a", "b", "c", "d"], ["B-x", "B-x", "I-y", "O"]) == [Entity("x", "a"), Entity("x", "b"), Entity("y", "c")]


SLUE = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\traw_ner\tnormalized_ner\n"


def test_slue_voxpopuli_cuts_entities_by_characters_and_joins_types(tmp_path: Path) -> None:
    words = "on 3 May the european union met in strasbourg."
    marks = [["GPE", words.index("strasbourg"), 10], ["DATE", 3, 5], ["FAC", 0, 2], ["ORG", words.index("european"), 14]]
    text(
        tmp_path / "slue-voxpopuli_dev.tsv",
        f"{SLUE}2009a\tx\t{words}\t1234\tdev\tNone\t{marks}\n2009b\tx\tno names\tNone\tdev\tNone\tNone\n",
    )
    for name in ("2009a", "2009b"):
        clip(tmp_path / "dev" / f"{name}.ogg")
    first, second = walked("slue_voxpopuli", tmp_path, "dev")
    assert read_entities(first.target) == (Entity("WHEN", "3 May"), Entity("ORG", "european union"), Entity("PLACE", "strasbourg"))
    assert second.target == "" and first.meta["speaker"] == "voxpopuli-1234"
    text(tmp_path / "slue-voxpopuli_dev.tsv", f"{SLUE}2009a\tx\t{words}\t1234\tdev\tNone\t[['SHIP', 0, 2]]\n")
    assert [entry.reason for entry in entries("slue_voxpopuli", tmp_path, "dev")] == ["bad_row"]


def test_slue_without_its_answers_says_so(tmp_path: Path) -> None:
    text(tmp_path / "slue-voxpopuli_test_blind.tsv", "id\tspeaker_id\n2009a\t1\n")
    (tmp_path / "test").mkdir()
    assert [entry.reason for entry in entries("slue_voxpopuli", tmp_path, "test")] == ["no_answer"]
    (tmp_path / "dev").mkdir()
    with pytest.raises(DataError, match=r"slue-voxpopuli_dev\.tsv"):
        walked("slue_voxpopuli", tmp_path, "dev")


@pytest.mark.parametrize("rows_of_lists", [False, True])
def test_slues_parquet_copy_is_read_in_either_form_of_its_entities(tmp_path: Path, rows_of_lists: bool) -> None:
    marks = {"type": ["GPE"], "start": [3], "length": [7]} if rows_of_lists else [{"type": "GPE", "start": 3, "length": 7}]
    row = {"id": "2009a", "normalized_text": "in finland", "speaker_id": "1", "normalized_ner": marks}
    row["audio"] = {"bytes": clip(tmp_path / "a.wav").read_bytes(), "path": "a.wav"}
    (tmp_path / "voxpopuli").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "voxpopuli" / "train-00000-of-00001.parquet")
    (record,) = walked("slue_voxpopuli", tmp_path, "fine-tune", parquet=True)
    assert read_entities(record.target) == (Entity("PLACE", "finland"),)


def test_aishell_ner_reads_its_three_marks(tmp_path: Path) -> None:
    lines = "BAC009S0763W0442 (深圳)市民小[叶]在家\nBAC009S0763W0461 <新安晚报><安徽网>讯\nBAC009S0763W0448 没有\nBAC009S0763W0449 [没有\n"
    text(tmp_path / "data" / "aishell_ner_transcript.dev.txt", lines)
    for number in ("0442", "0461", "0448"):
        clip(tmp_path / "data_aishell" / "wav" / "dev" / "S0763" / f"BAC009S0763W{number}.wav")
    (lost,) = entries("aishell_ner", tmp_path, "dev")
    assert (lost.id, lost.reason) == ("BAC009S0763W0449", "bad_row")
    text(tmp_path / "data" / "aishell_ner_transcript.dev.txt", lines.rsplit("\n", 2)[0] + "\n")
    first, second, third = walked("aishell_ner", tmp_path, "dev")
    assert read_entities(first.target) == (Entity("LOC", "深圳"), Entity("PER", "叶"))
    assert read_entities(second.target) == (Entity("ORG", "新安晚报"), Entity("ORG", "安徽网"))
    assert third.target == "" and third.meta["speaker"] == "aishell1-S0763"
