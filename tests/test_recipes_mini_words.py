"""Recipes of the single words that the bundled model learned, on trees as their repositories have them."""

from pathlib import Path

from corpus_tree import clip, entries, text, walked


def targets(name: str, root: Path, split: str, family: str) -> list[str]:
    return [record.target for record in walked(name, root, split) if record.family == family]


def test_fsdd_reads_digit_speaker_and_split_from_the_files_name(tmp_path: Path) -> None:
    for name in ("7_jackson_5", "0_theo_49", "3_theo_4"):
        clip(tmp_path / "recordings" / f"{name}.wav", rate=8000)
    train = walked("en_fsdd", tmp_path, "train")
    assert [(record.target, record.meta["speaker"]) for record in train if record.family == "asr"] == [
        ("zero", "fsdd-theo"),
        ("seven", "fsdd-jackson"),
    ]
    assert {record.family for record in train} == {"asr", "keyword_spotting", "language_id"}
    assert {record.meta["source"] for record in walked("en_fsdd", tmp_path, "test")} == {"recordings/3_theo_4.wav"}


def test_arabic_commands_are_written_in_arabic_and_told_in_english(tmp_path: Path) -> None:
    text(tmp_path / "val.csv", "file,class\ndataset/zoom in/00000022_NO_03.wav,zoom in\ndataset/sideways/00000022_NO_01.wav,sideways\n")
    clip(tmp_path / "dataset/zoom in/00000022_NO_03.wav")
    clip(tmp_path / "dataset/sideways/00000022_NO_01.wav")
    assert {row.reason for row in entries("ar_commands", tmp_path, "val")} == {"no_answer"}  # a word that nobody wrote down
    text(tmp_path / "val.csv", "file,class\ndataset/zoom in/00000022_NO_03.wav,zoom in\n")
    records = walked("ar_commands", tmp_path, "val")
    assert {record.family: record.target for record in records} == {
        "asr": "تكبير",
        "keyword_spotting": "تكبير",
        "language_id": "Arabic",
        "s2tt": "zoom in",
    }
    assert {record.meta["speaker"] for record in records} == {"ar00000022"}


def test_wake_words_are_their_folders(tmp_path: Path) -> None:
    clip(tmp_path / "audio/alexa/0.flac")
    clip(tmp_path / "audio/smart mirror/1f.wav")
    assert targets("en_keywords", tmp_path, "all", "keyword_spotting") == ["alexa", "smart mirror"]


WAIVER = "I, {}, immediately place any and all contributions by me into the public domain.\n\nFiles released into public domain:\n"


def precise(root: Path) -> None:
    """Build Precise-Community-Data with two waivers, a licence that is none, and a clip that no waiver names."""
    english = WAIVER.format("a") + "heychatterbox/en-us/heychatterbox-1.wav\nnot-wake-words/en/notwakeword-2.wav\n"
    spanish = WAIVER.format("b") + "heycomputer/es/wakeword-3.wav\nnot-wake-words/es/not-wakeword-4.wav\nandroid/en/android.tar.gz\n"
    text(root / "licenses/license-20190801-el-tocino.txt", english)
    text(root / "licenses/license-20190815-adocampo.txt", spanish)
    text(root / "licenses/license-20200101-someone.txt", "CC BY-NC-SA\nheysavant/en/heysavant-5.wav\n")
    text(root / "not-wake-words/en/metadata.csv", "notwakeword-2.wav,a cheddar Block,en,heychatterbox\n")
    text(root / "not-wake-words/es/metadata.csv", "not-wakeword-4.wav,el televisor,es\n")
    for name in ("heychatterbox/en-us/heychatterbox-1", "not-wake-words/en/notwakeword-2", "heycomputer/es/wakeword-3"):
        clip(root / f"{name}.wav")
    for name in ("not-wake-words/es/not-wakeword-4", "heysavant/en/heysavant-5", "athena/en/athena-6"):
        clip(root / f"{name}.wav")


def test_only_clips_that_a_waiver_names_are_taken(tmp_path: Path) -> None:
    precise(tmp_path)
    records = walked("en_keywords_pd", tmp_path, "all")
    assert [record.target for record in records if record.family == "asr"] == ["hey chatterbox", "a cheddar block"]
    assert {record.meta["contributor"] for record in records} == {"el-tocino"}


def test_english_words_in_a_spanish_mouth_tell_no_language(tmp_path: Path) -> None:
    precise(tmp_path)
    records = walked("es_words", tmp_path, "all")
    assert [(record.family, record.target) for record in records] == [
        ("asr", "hey computer"),
        ("asr", "el televisor"),
        ("language_id", "Spanish"),
    ]


def test_japanese_file_names_hold_word_and_reading(tmp_path: Path) -> None:
    for name in ("バス停【ばすてい】", "〜回【かい】"):
        clip(tmp_path / "lib/mp3" / f"{name}.wav").rename(tmp_path / "lib/mp3" / f"{name}.mp3")
    records = [record for record in walked("ja_words", tmp_path, "all") if record.family == "asr"]
    assert [(record.target, record.meta["reading"]) for record in records] == [("回", "かい"), ("バス停", "ばすてい")]


def test_mandarin_words_are_written_and_syllables_are_not(tmp_path: Path) -> None:
    for name in ("hsk/cmn-培训", "hsk/cmn-一_也_", "syllabs/cmn-zhun3"):
        clip(tmp_path / "64k" / f"{name}.wav").rename(tmp_path / "64k" / f"{name}.mp3")
    assert [(row.id, row.reason) for row in entries("zh_hsk", tmp_path, "all")] == [("64k/hsk/cmn-一_也_.mp3", "no_answer")]
    (tmp_path / "64k/hsk/cmn-一_也_.mp3").unlink()
    records = walked("zh_hsk", tmp_path, "all")
    assert [(record.family, record.meta["speaker"]) for record in records] == [
        ("asr", "zh-yuetan"),
        ("language_id", "zh-yuetan"),
        ("language_id", "zh-chenwang"),
    ]


def test_hebrew_yes_and_no_are_told_by_the_files_digits(tmp_path: Path) -> None:
    for name in ("0_1_0_0_0_0_0_1", "1_0_0_0_0_0_0_0"):
        clip(tmp_path / "waves_yesno" / f"{name}.wav", rate=8000)
    assert targets("he_yesno", tmp_path, "train", "asr") == ["לא כן לא לא לא לא לא כן"]
    assert targets("he_yesno", tmp_path, "test", "s2tt") == ["yes no no no no no no no"]
