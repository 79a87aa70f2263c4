"""Recipes of meetings and mixtures, on trees in the real layout; windows cut where nobody speaks."""

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from corpus_tree import clip, entries, text, walked

from data.recipes.windows import Utterance, Window, chopped, quiet_windows, speaker_texts, speaker_turns
from qwen_audio.errors import DataError
from tag_schema.answers import read_speakers, read_timed_labels


def spoken(*items: tuple[str, float, float]) -> list[Utterance]:
    return [Utterance(speaker, start, end, f"{speaker}{number}") for number, (speaker, start, end) in enumerate(items)]


def test_a_window_ends_where_nobody_speaks() -> None:
    said = spoken(("a", 1, 10), ("b", 9, 14), ("a", 14, 20), ("b", 21, 33), ("a", 33, 34))
    first, second = quiet_windows(said)
    assert [item.text for item in first.utterances] == ["a0", "b1", "a2"]  # b3 would pass 30 s
    assert (first.start_s, first.end_s) == (0.75, 20.25) and (second.start_s, second.end_s) == (20.75, 34)


def test_a_long_silence_ends_a_window_too() -> None:
    assert [len(window.utterances) for window in quiet_windows(spoken(("a", 0, 2), ("b", 3, 4), ("a", 11, 12)))] == [2, 1]


def test_windows_hold_every_utterance_once_and_do_not_overlap() -> None:
    chance = random.Random(5)
    said, now = [], 0.0
    for number in range(400):
        now = max(0.0, now + chance.uniform(-1.0, 3.0))
        said.append(Utterance(chance.choice("abc"), now, now + chance.uniform(0.1, 6.0), str(number)))
        now = said[-1].end_s
    windows = quiet_windows(said)
    assert sorted(item.text for window in windows for item in window.utterances) == sorted(item.text for item in said)
    for window, after in itertools.pairwise(windows):
        assert window.end_s <= after.start_s
    for window in windows:
        assert all(window.start_s <= item.start_s + 1e-3 and item.end_s - 1e-3 <= window.end_s for item in window.utterances)
        edges = [item for item in said for edge in (window.start_s, window.end_s) if item.start_s + 1e-3 < edge < item.end_s - 1e-3]
        assert not edges
        chain = max(item.end_s for item in window.utterances) - window.utterances[0].start_s
        assert window.duration_s <= 30.0005 or window.duration_s == pytest.approx(chain, abs=2e-3)


def test_what_cannot_be_cut_between_utterances_is_chopped_for_labels() -> None:
    (window,) = quiet_windows(spoken(("a", 0, 25), ("b", 20, 50), ("a", 45, 62)))
    assert window.duration_s == 62
    pieces = chopped(window)
    assert [round(piece.duration_s, 2) for piece in pieces] == [20.67] * 3
    assert [(item.speaker, round(item.start_s, 2), round(item.end_s, 2)) for item in pieces[1].utterances] == [
        ("a", 20.67, 25), ("b", 20.67, 41.33)
    ]  # fmt: skip


def test_speakers_stand_by_who_begins_first() -> None:
    window = Window(100.0, 110.0, tuple(spoken(("x", 101, 103), ("y", 102, 104.5), ("x", 105, 106))))
    assert speaker_texts(window) == "x0 x2<|delim|>y1"
    assert speaker_turns(window) == (
        "speaker 1<|1.00|><|3.00|>speaker 2<|2.00|><|4.50|>speaker 1<|5.00|><|6.00|>"
    )  # fmt: skip


def ami_tree(root: Path, meeting: str, microphone: str = "Mix-Headset") -> None:
    clip(root / "amicorpus" / meeting / "audio" / f"{meeting}.{microphone}.wav", seconds=0.2)
    text(
        root / "corpusResources" / "meetings.xml",
        f'<root><meeting observation="{meeting}"><speaker nxt_agent="A" global_name="MEE006" channel="0"/>'
        '<speaker nxt_agent="B" global_name="FEE005" channel="1"/></meeting></root>',
    )
    text(
        root / "words" / f"{meeting}.A.words.xml",
        '<nite:root xmlns:nite="http://nite.sourceforge.net/"><w starttime="1.0" endtime="1.4">Hi</w>'
        '<w starttime="1.4" endtime="1.4" punc="true">,</w><w starttime="1.5" endtime="2.0">Kate\'s</w>'
        '<vocalsound starttime="2" endtime="3"/>'
        '<w starttime="40.0" endtime="40.5">Bye</w><w>lost</w></nite:root>',
    )
    text(root / "words" / f"{meeting}.B.words.xml", '<root><w starttime="1.8" endtime="2.6">Okay</w></root>')


@pytest.mark.parametrize(("name", "microphone"), [("ami", "Mix-Headset"), ("ami_sdm", "Array1-01")])
def test_ami_joins_words_to_windows_of_speakers(tmp_path: Path, name: str, microphone: str) -> None:
    ami_tree(tmp_path, "ES2004a", microphone)
    records = {record.id: record for record in walked(name, tmp_path, "test")}
    assert {key: record.target for key, record in records.items()} == {
        "ES2004a#overlapped_asr": "hi kate's<|delim|>okay",
        "ES2004a#diarization": "speaker 1<|0.25|><|1.25|>speaker 2<|1.05|><|1.85|>",
        "ES2004a#asr.1": "bye",
        "ES2004a#diarization.1": "speaker 1<|0.25|><|0.75|>",
    }
    first = records["ES2004a#overlapped_asr"]
    assert (first.audio[0].start_s, first.audio[0].duration_s) == (0.75, 2.1) and first.prefix is not None
    assert first.prefix.sentence() == "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|speaker_meta|>"
    assert walked(name, tmp_path, "train") == [] and walked(name, tmp_path, "dev") == []


def test_ami_accounts_for_what_is_missing(tmp_path: Path) -> None:
    ami_tree(tmp_path, "ES2002a")
    (tmp_path / "words" / "ES2002a.B.words.xml").unlink()
    (tmp_path / "amicorpus" / "ES2002a" / "audio" / "ES2002a.Mix-Headset.wav").unlink()
    assert [entry.id for entry in entries("ami", tmp_path, "train")] == ["ES2002a.B", "ES2002a"]
    text(tmp_path / "words" / "ES2002a.A.words.xml", "<root>")
    with pytest.raises(DataError, match=r"ES2002a\.A\.words\.xml: not XML"):
        walked("ami", tmp_path, "train")


Tiers = Mapping[str, Sequence[tuple[float, float, str]]]


def textgrid(tiers: Tiers) -> str:
    """Write a TextGrid in Praat's long form."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 60", "tiers? <exists>", "size = 2"]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", "        xmax = 60", f"        intervals: size = {len(intervals)}"]
        for count, (start, end, words) in enumerate(intervals, 1):
            lines += [f"        intervals [{count}]:", f"            xmin = {start}", f"            xmax = {end}"]
            lines += [f'            text = "{words}"']
    return "\n".join(lines) + "\n"


def test_aishell4_reads_tiers_as_speakers(tmp_path: Path) -> None:
    clip(tmp_path / "test" / "wav" / "20200706_L_R001S01C01.flac", channels=8)
    tiers: Tiers = {"001-M": [(0, 2.0, ""), (2.0, 5.0, "你好，<sil>大家")], "002-F": [(4.0, 6.0, "<%>"), (4.5, 7.0, "好 的")]}
    path = text(tmp_path / "test" / "TextGrid" / "20200706_L_R001S01C01.TextGrid", textgrid(tiers))
    overlapped, turns = walked("aishell4", tmp_path, "test")
    assert read_speakers(overlapped.target) == ("你好大家", "好的")
    assert [(turn.label, turn.start_s, turn.end_s) for turn in read_timed_labels(turns.target)] == [
        ("speaker 1", 0.25, 3.25), ("speaker 2", 2.75, 5.25)
    ]  # fmt: skip
    text(path, textgrid({"001-M": [(5.0, 4.0, "反")]}))
    assert [entry.reason for entry in entries("aishell4", tmp_path, "test")] == ["empty_audio"]
    text(path, "ooTextFile")
    with pytest.raises(DataError, match="no tier"):
        walked("aishell4", tmp_path, "test")


@pytest.mark.parametrize("below", ["Eval_Ali/Eval_Ali_far", "Eval_Ali_far"])
def test_alimeeting_finds_the_array_of_a_meeting(tmp_path: Path, below: str) -> None:
    clip(tmp_path / below / "audio_dir" / "R8001_M8004_MS801.wav", channels=8)
    tiers: Tiers = {"R8001_M8004_F_SPK8013": [(1, 2, "一")], "R8001_M8004_M_SPK8014": [(1.5, 3, "二")]}
    text(tmp_path / below / "textgrid_dir" / "R8001_M8004.TextGrid", textgrid(tiers))
    records = walked("alimeeting", tmp_path, "Eval")
    assert [record.target for record in records] == ["一<|delim|>二", "speaker 1<|0.25|><|1.25|>speaker 2<|0.75|><|2.25|>"]
    assert {record.meta["source"] for record in records} == {"R8001_M8004"}


def test_speech_without_a_pause_is_lost_to_recognition_but_not_to_diarisation(tmp_path: Path) -> None:
    clip(tmp_path / "train_S" / "wav" / "m.flac", channels=8)
    tiers = {"1": [(0, 20, "甲")], "2": [(19, 45, "乙")]}
    text(tmp_path / "train_S" / "TextGrid" / "m.TextGrid", textgrid(tiers))
    (lost,) = entries("aishell4", tmp_path, "train_S")
    assert (lost.id, lost.reason) == ("m#overlapped_asr.0", "too_long")
    text(tmp_path / "train_S" / "TextGrid" / "m.TextGrid", textgrid({"1": [(0, 20, "甲")], "2": [(20, 45, "乙")]}))
    assert [record.family for record in walked("aishell4", tmp_path, "train_S")] == ["asr", "diarization"] * 2


@pytest.mark.parametrize("place", ["voxconverse_test_wav", "test"])
def test_voxconverse_cuts_long_turns_at_the_ends_of_windows(tmp_path: Path, place: str) -> None:
    clip(tmp_path / place / "abcde.wav")
    text(
        tmp_path / "test" / "abcde.rttm",
        "SPEAKER abcde 1 0.00 40.00 <NA> <NA> spk01 <NA> <NA>\nSPEAKER abcde 1 39.00 3.00 <NA> <NA> spk00 <NA> <NA>\n",
    )
    first, second = walked("voxconverse", tmp_path, "test")
    assert first.target == "speaker 1<|0.00|><|21.00|>"
    assert second.target == "speaker 1<|0.00|><|19.00|>speaker 2<|18.00|><|21.00|>"
    assert (second.audio[0].start_s, second.audio[0].duration_s) == (21.0, 21.0)


@pytest.mark.parametrize("speakers", [2, 3])
def test_librimix_takes_its_words_from_librispeech(tmp_path: Path, speakers: int) -> None:
    names = ["1272-1-0000", "174-2-0001", "84-3-0002"][:speakers]
    for name in names:
        speaker, chapter, _ = name.split("-")
        text(tmp_path / "LibriSpeech" / "dev-clean" / speaker / chapter / f"{speaker}-{chapter}.trans.txt", f"{name} WORDS OF {speaker}\n")
    mixture, folder = "_".join(names), tmp_path / f"Libri{speakers}Mix" / "wav16k" / "max"
    table = f"mixture_ID,mixture_path,length\n{mixture},/elsewhere/{mixture}.wav,16000\n"
    for kind in ("mix_clean", "mix_both"):
        clip(folder / "dev" / kind / f"{mixture}.wav")
        text(folder / "metadata" / f"mixture_dev_{kind}.csv", table)
    clean, noisy = walked(f"libri{speakers}mix", tmp_path, "dev")
    assert clean.target == noisy.target == "<|delim|>".join(f"words of {name.split('-')[0]}" for name in names)
    assert (clean.meta["mixture"], noisy.meta["mixture"], clean.meta["source"]) == ("mix_clean", "mix_both", mixture)
    (folder / "metadata" / "mixture_dev_mix_both.csv").unlink()
    text(folder / "metadata" / "mixture_dev_mix_clean.csv", table + "1-1-1_2-2-2,x,1\n")
    assert [entry.reason for entry in entries(f"libri{speakers}mix", tmp_path, "dev")] == ["no_file"]


def test_librispeechmix_orders_texts_by_their_delays(tmp_path: Path) -> None:
    for name in ("0000", "0001"):
        clip(tmp_path / "data" / "dev-clean-2mix" / f"dev-clean-2mix-{name}.wav")
    row = {"texts": ["ONE", "TWO"], "speakers": ["1272", "6295"], "genders": ["m", "f"]}
    names = [f"dev-clean-2mix/dev-clean-2mix-000{n}" for n in range(2)]
    delays = [[0.0, 4.4], [3.0, 0.0]]
    rows = [{**row, "id": name, "mixed_wav": f"{name}.wav", "delays": late} for name, late in zip(names, delays, strict=True)]
    text(tmp_path / "list" / "dev-clean-2mix.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [record.target for record in walked("librispeechmix", tmp_path, "dev-clean-2mix")] == ["one<|delim|>two", "two<|delim|>one"]
