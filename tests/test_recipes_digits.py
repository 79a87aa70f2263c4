"""Recipes of spoken digits, on trees in the real layout."""

from pathlib import Path

from corpus_tree import clip, walked


def test_fsdd_reads_digit_speaker_and_split_from_the_files_name(tmp_path: Path) -> None:
    for name in ("7_jackson_5", "0_theo_49", "3_theo_4"):
        clip(tmp_path / "recordings" / f"{name}.wav", rate=8000)
    train = walked("fsdd", tmp_path, "train")
    assert [(record.target, record.meta["speaker"]) for record in train if record.family == "asr"] == [
        ("zero", "fsdd-theo"),
        ("seven", "fsdd-jackson"),
    ]
    assert {record.meta["source"] for record in walked("fsdd", tmp_path, "test")} == {"3_theo_4"}
