"""Recipes of speech with word times, on trees in the real layouts."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from corpus_tree import clip, entries, text, walked

from data.catalog import CATALOG
from data.manifest import Record
from data.recipes.textgrid import Interval, read_textgrid, spoken
from data.recipes.word_times import windows
from qwen_audio.errors import DataError
from tag_schema.timestamps import Word, srwt_to_words

# The README of the release gives this line; GO is said from 0.49 s to 0.89 s.
ALIGNED = '84-121123-0000 ",GO,,DO,YOU,HEAR," "0.490,0.890,1.270,1.380,1.490,1.890,2.09"\n'
HEARD = "<|0.00|><|sil|><|0.49|>go<|0.89|><|sil|><|1.27|>do<|1.38|>you<|1.49|>hear<|1.89|><|sil|><|2.09|>"


def textgrid(words: list[tuple[float, float, str]], end_s: float, tier: str = "words", short: bool = False) -> str:
    """Write a TextGrid as Praat documents it: a tier of words, and one of a phone before it."""
    phone = f'class = "IntervalTier"\nname = "phones"\nxmin = 0\nxmax = {end_s}\nintervals: size = 1\n'
    phone += f'intervals [1]:\nxmin = 0\nxmax = {end_s}\ntext = "sil"\n'
    rows = "".join(
        f'intervals [{n}]:\nxmin = {start}\nxmax = {end}\ntext = "{word}"\n' for n, (start, end, word) in enumerate(words, 1)
    )  # fmt: skip
    body = f'class = "IntervalTier"\nname = "{tier}"\nxmin = 0\nxmax = {end_s}\nintervals: size = {len(words)}\n{rows}'
    long = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end_s}\ntiers? <exists>\nsize = 2\nitem []:\n'
    long += f"item [1]:\n{phone}item [2]:\n{body}"
    if not short:
        return long
    values = [line.split("=", 1)[-1].strip().removeprefix("tiers? ") for line in long.splitlines()]
    return "\n".join(line for line in values if line and not line.endswith(":"))


def librispeech(root: Path) -> Path:
    chapter = root / "LibriSpeech" / "dev-clean" / "84" / "121123"
    for number in range(3):
        clip(chapter / f"84-121123-000{number}.flac", 2.09)
    text(chapter / "84-121123.trans.txt", "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN\n84-121123-0002 NOT ALIGNED\n")
    text(root / "LibriSpeech" / "SPEAKERS.TXT", ";ID  |SEX| SUBSET |MINUTES| NAME\n84   | F | dev-clean        |  8.02 | Christie Nowak\n")
    return chapter


def walked_with_losses(name: str, root: Path, split: str) -> list[Record]:
    return [row for row in CATALOG[name].walk(root, CATALOG[name].split(split)) if isinstance(row, Record)]


def test_librispeech_text_alignments_become_timed_transcripts(tmp_path: Path) -> None:
    chapter = librispeech(tmp_path)
    text(chapter / "84-121123.alignment.txt", ALIGNED + '84-121123-0001 ",BUT,IN," "0.270,0.420,0.530,0.800"\n')
    rows = list(walked_with_losses("librispeech_alignments", tmp_path, "dev-clean"))
    assert rows[0].target == HEARD
    assert rows[0].meta["speaker"] == "librispeech-84" and rows[0].meta["gender"] == "female"
    assert rows[0].prefix is not None and rows[0].prefix.timestamps
    (lost,) = entries("librispeech_alignments", tmp_path, "dev-clean")
    assert (lost.id, lost.reason) == ("84-121123-0002", "no_answer")


def test_librispeech_textgrids_take_unknown_words_from_the_transcript(tmp_path: Path) -> None:
    chapter = librispeech(tmp_path)
    (chapter / "84-121123-0001.flac").unlink()
    (chapter / "84-121123-0002.flac").unlink()
    text(chapter / "84-121123.trans.txt", "84-121123-0000 GO DO YOU HEAR\n")
    words = [(0, 0.49, ""), (0.49, 0.89, "go"), (0.89, 1.27, ""), (1.27, 1.38, "<unk>"), (1.38, 1.49, "you"), (1.49, 1.89, "hear")]
    text(chapter / "84-121123-0000.TextGrid", textgrid([*words, (1.89, 2.09, "")], 2.09))
    (record,) = walked("librispeech_alignments", tmp_path, "dev-clean")
    assert record.target == HEARD


def test_librispeech_without_the_release_is_refused(tmp_path: Path) -> None:
    librispeech(tmp_path)
    with pytest.raises(DataError, match="merge the release"):
        walked_with_losses("librispeech_alignments", tmp_path, "dev-clean")


@pytest.mark.parametrize("short", [False, True])
def test_both_forms_of_a_textgrid_hold_the_same(tmp_path: Path, short: bool) -> None:
    path = text(tmp_path / "a.TextGrid", textgrid([(0, 0.5, 'say ""5""'), (0.5, 1.25, "")], 1.25, short=short))
    found = read_textgrid(path)
    assert found.end_s == 1.25 and list(found.tiers) == ["phones", "words"]
    assert found.words() == (Interval(0, 0.5, 'say "5"'), Interval(0.5, 1.25, ""))


def test_a_textgrid_in_utf16_is_read_and_other_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_bytes(textgrid([(0, 1, "好")], 1).encode("utf-16"))
    assert read_textgrid(path).words()[0].text == "好"
    with pytest.raises(DataError, match="not a TextGrid"):
        read_textgrid(text(tmp_path / "b.TextGrid", "0 1 word\n"))


def test_an_unknown_word_without_a_transcript_of_that_length_is_refused() -> None:
    with pytest.raises(DataError, match="which is which"):
        spoken([Interval(0, 1, "<unk>")], ["two", "words"])


def test_mfa_folders_say_language_split_and_speaker_and_long_recordings_are_cut_in_pauses(tmp_path: Path) -> None:
    folder = tmp_path / "en" / "train" / "anna"
    clip(folder / "talk.wav", 40.0)
    text(folder / "talk.lab", "one two three")
    text(folder / "talk.TextGrid", textgrid([(1, 9, "one"), (9.5, 21, "two"), (21, 35, ""), (35, 36, "three")], 40.0, "anna - words"))
    clip(tmp_path / "zh" / "train" / "S1" / "a.wav", 1.2)
    text(tmp_path / "zh" / "train" / "S1" / "a.lab", "面 条")
    text(tmp_path / "zh" / "train" / "S1" / "a.TextGrid", textgrid([(0, 0.54, "sil"), (0.54, 0.86, "mian4"), (0.86, 1.17, "tiao2")], 1.2))
    first, second, chinese = walked("mfa_textgrids", tmp_path, "train")
    assert (first.audio[0].start_s, first.audio[0].duration_s) == (0.0, 28.0)  # halfway between two and three
    assert [word.text for word in srwt_to_words(first.target)] == ["one", "two"]
    assert srwt_to_words(second.target, offset_s=28.0) == [Word("three", 35.0, 36.0)]
    assert first.meta["speaker"] == "anna" and first.meta["source"] == second.meta["source"] == "en/anna/talk"
    assert chinese.family == "srwt_zh"  # the form of the released evaluation: 面 from 0.54 s to 0.86 s
    assert chinese.target == "<|0.00|><|sil|><|0.54|>面<|0.86|>条<|1.17|><|sil|><|1.20|>"


def test_windows_never_pass_30_s_and_lose_no_word() -> None:
    words = [Word(f"w{n}", n * 0.7, n * 0.7 + 0.6) for n in range(300)]
    cuts = list(windows(words, 211.0))
    assert [word for _, _, inside in cuts for word in inside] == words
    assert all(stop - start <= 30.0 for start, stop, _ in cuts)
    assert all(start <= word.start_s and word.end_s <= stop for start, stop, inside in cuts for word in inside)


def test_aishell1_is_joined_to_textgrids_by_name(tmp_path: Path) -> None:
    for name in ("BAC009S0002W0122", "BAC009S0002W0123"):
        clip(tmp_path / "data_aishell" / "wav" / "train" / "S0002" / f"{name}.wav", 1.0)
    text(tmp_path / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", "BAC009S0002W0122 而 对 楼市\n")
    grid = textgrid([(0, 0.2, "[SIL]"), (0.2, 0.4, "而"), (0.4, 0.5, "对"), (0.5, 0.9, "楼市"), (0.9, 1.0, "[SIL]")], 1.0)
    text(tmp_path / "textgrids" / "any" / "depth" / "BAC009S0002W0122.TextGrid", grid)
    (record,) = walked_with_losses("aishell1_textgrids", tmp_path, "train")
    assert record.target == "<|0.00|><|sil|><|0.20|>而<|0.40|>对<|0.50|>楼市<|0.90|><|sil|><|1.00|>"
    assert record.prefix is not None and record.prefix.audio_language == "zh"
    (lost,) = entries("aishell1_textgrids", tmp_path, "train")
    assert lost.id == "BAC009S0002W0123"


def parquet(path: Path, rows: list[dict]) -> Path:
    """Write rows with a clip each in a column of audio, as the hub's parquet files hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = clip(path.parent / "one.wav").read_bytes()
    (path.parent / "one.wav").unlink()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**row, "audio": {"bytes": sound, "path": "one.wav"}} for row in rows]), path)
    return path


def test_librispeech_words_reads_the_hubs_columns(tmp_path: Path) -> None:
    times = [("", 0.0, 0.49), ("go", 0.49, 0.89), ("", 0.89, 1.27), ("<unk>", 1.27, 1.38), ("you", 1.38, 1.49), ("hear", 1.49, 1.89)]
    words = [{"word": word, "start": start, "end": end} for word, start, end in [*times, ("", 1.89, 2.09)]]
    row = {"sex": "F", "subset": "dev_clean", "id": "84-121123-0000", "transcript": "GO DO YOU HEAR", "words": words, "phonemes": []}
    parquet(tmp_path / "data" / "dev_clean-00000-of-00001.parquet", [row])
    (record,) = walked("librispeech_words", tmp_path, "dev-clean", parquet=True)
    assert record.target == HEARD and record.meta["gender"] == "female"
    assert record == walked("librispeech_words", tmp_path, "dev-clean")[0]  # its walk is that of the parquet files


def test_common_voice_words_drop_case_and_punctuation(tmp_path: Path) -> None:
    times = [{"start": 0.1, "end": 0.4, "text": "Hello,"}, {"start": 0.5, "end": 0.9, "text": "World."}]
    row = {"client_id": "c1", "path": "common_voice_en_1.mp3", "sentence": "Hello, World.", "gender": "male_masculine", "timestamps": times}
    parquet(tmp_path / "en" / "train" / "chunk-range-000000000-000110117" / "train-00000-of-00010.parquet", [row])
    (record,) = walked("common_voice_words", tmp_path, "train", parquet=True)
    assert record.target == "<|0.00|><|sil|><|0.10|>hello<|0.40|><|sil|><|0.50|>world<|0.90|>"
    assert (record.meta["source"], record.meta["gender"]) == ("common_voice_en_1", "male")
