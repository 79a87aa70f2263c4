"""The twelve sets of the Qwen-Audio paper, asked by the released sentences; word times by public stand-ins under their own names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import NOT_VERIFIED
from eval.benchmarks.benchmark import Benchmark
from eval.benchmarks.recipes import both, of_form, of_recipe

PAPER = ("paper",)
RELEASED = ("qwen-audio",)  # the preset of metrics that counts as the released scripts do
ROOM = {256: 448, 30: 128, 10: 48, 4: 48}  # released limit in its tokens -> ours, which byte-like tokenizers can live with
MWAFM = "metadata of GeWu-Lab/MWAFM, counted"

COVOST = {  # pair as names write it -> (tables' name, rows of the test)
    "en-de": ("en_de", 15_531), "de-en": ("de_en", 13_511), "en-zh": ("en_zh-CN", 15_531), "zh-en": ("zh-CN_en", 4_898),
    "es-en": ("es_en", 13_221), "fr-en": ("fr_en", 14_760), "it-en": ("it_en", 8_951),
}  # fmt: skip
TUT_SCENES = (
    "beach", "bus", "cafe or restaurant", "car", "city center", "forest path", "grocery store", "home", "library", "metro station",
    "office", "park", "residential area", "train", "tram",
)  # fmt: skip
COCHL_SCENES = (
    "bus", "cafe", "car", "crowdedindoor", "elevator", "kitchen", "park", "residentialarea", "restaurant", "restroom", "street", "subway",
    "subwaystation",
)  # fmt: skip
COCHL_WORDS = {"crowded indoor": "crowdedindoor", "residential area": "residentialarea", "subway station": "subwaystation"}
EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
VOCAL_SOUNDS = ("Cough", "Laughter", "Sigh", "Sneeze", "Sniff", "Throat clearing")


def limits(released: int) -> dict[str, Any]:
    """Give the released limit of an answer and the room that it gets here."""
    return {"released_tokens": released, "max_new_tokens": ROOM[released]}


def _librispeech(split: str) -> Benchmark:
    return of_recipe(
        f"librispeech_{split}", "librispeech", split, "asr", also="LibriSpeech", groups=PAPER, presets=RELEASED, cluster="speaker",
        prefix={"language": "en", "instruction": "wo_itn"}, **limits(256),
    )  # fmt: skip


def _aishell1(split: str) -> Benchmark:
    return of_recipe(
        f"aishell1_{split}", "aishell1", split, "asr", groups=PAPER, presets=RELEASED, cluster="speaker",
        prefix={"language": "zh", "instruction": "wo_itn"}, **limits(256),
    )  # fmt: skip


def _aishell2(channel: str) -> Benchmark:
    return of_recipe(
        f"aishell2_test_{channel.lower()}", "aishell2", f"test/{channel}", "asr", groups=PAPER, presets=RELEASED, cluster="speaker",
        also="AISHELL-DEV-TEST-SET", prefix={"language": "zh", "instruction": "wo_itn"}, **limits(256),
        notes="Ten speakers: an interval over utterances is far too narrow.",
    )  # fmt: skip


def _covost2(pair: str, table: str, count: int) -> Benchmark:
    spoken, written = pair.split("-")

    def of_pair(row: Record | Entry) -> bool:
        if isinstance(row, Entry):  # a missing clip is named without its pair
            return f"covost_v2.{table}." in row.where or f"/{table}/" in row.where
        return row.prefix is not None and (row.prefix.audio_language, row.prefix.text_language) == (spoken, written)

    return of_recipe(
        f"covost2_{pair}", "covost2", "test", "s2tt", inside=table.split("_")[0], files=f"{table}/test-*.parquet", groups=PAPER,
        presets=RELEASED, cluster="speaker", mine=both(of_form("s2tt", "itn"), of_pair), count=count,
        prefix={"language": spoken, "text_language": written, "instruction": "itn"}, **limits(256),
        title=f"CoVoST 2, {pair}: speech of Common Voice 4 with its translation", counted_at="card of facebook/covost2 on the hub",
        traps="pbcong/covost2 and ngqtrung/covost2_en-zh_test hold 50 rows; a fresh Common Voice has lost clips",
    )  # fmt: skip


def _word_times(name: str, corpus: str, split: str, language: str, **about: Any) -> Benchmark:
    family = "srwt_zh" if language == "zh" else "srwt_en"

    def of_language(row: Record | Entry) -> bool:
        return isinstance(row, Entry) or row.meta.get("language", language) == language

    return of_recipe(
        name, corpus, split, family, groups=("word_times",), presets=RELEASED, cluster="speaker", prefix={"language": language},
        mine=both(of_form(family, None), of_language), **limits(256), **about,
        ceiling="the times are a forced aligner's, not a listener's",
    )  # fmt: skip


def one_a_question(least: int) -> Callable[[list[Record]], list[Record]]:
    """Make the choice of questions on which so many of the three people agree: one record each, with their answer."""

    def choose(records: list[Record]) -> list[Record]:
        found: dict[tuple[str, str], Record] = {}
        for record in records:
            question = record.prefix.question if record.prefix is not None and record.prefix.question else ""
            if int(record.meta["agreement"]) >= least:
                found.setdefault((record.meta["source"], question), record)
        return list(found.values())

    return choose


def yes_or_no(records: list[Record]) -> list[Record]:
    """Take the rows whose answer is yes or no, as the released evaluation's binary score does."""
    return [record for record in records if record.target.lower() in ("yes", "no")]


_CLOTHO_AQA = of_recipe(
    "clotho_aqa", "clotho_aqa", "test", "audio_qa", groups=PAPER, presets=RELEASED, prefix={"language": "en"}, **limits(4),
    title="ClothoAQA: all answers of all three people", count=8_514, counted_at=f"{MWAFM}: 2,838 questions, three answers each",
    ceiling="a single answer to a question reaches 77.8 % of all rows, 86.2 % of yes/no, 61.1 % of single words (from the same metadata)",
)  # fmt: skip

SETS: tuple[Benchmark, ...] = (
    *map(_librispeech, ("dev-clean", "dev-other", "test-clean", "test-other")),
    *map(_aishell1, ("dev", "test")),
    *map(_aishell2, ("Mic", "iOS", "Android")),
    *(_covost2(pair, *rest) for pair, rest in COVOST.items()),
    of_recipe(
        "clotho", "clotho", "evaluation", "audio_caption", groups=PAPER, presets=RELEASED, references=5, **limits(30),
        title="Clotho 2.1: sounds of 15 to 30 s with five captions each",
        traps="scores against fewer than five captions, or over a part of the clips, are not comparable: CIDEr counts all of them",
    ),
    *(_word_times(f"librispeech_alignments_{split}", "librispeech_alignments", split, "en") for split in ("test-clean", "test-other")),
    *(_word_times(f"librispeech_words_{split}", "librispeech_words", split, "en") for split in ("test-clean", "test-other")),
    _word_times("aishell1_textgrids_test", "aishell1_textgrids", "test", "zh"),
    *(_word_times(f"mfa_textgrids_{language}", "mfa_textgrids", "test", language) for language in ("en", "zh")),
    of_recipe(
        "cochlscene", "cochlscene", "test", "scene", also="CochlScene", groups=PAPER, presets=RELEASED, labels=COCHL_SCENES,
        aliases=COCHL_WORDS, cluster="recordist", chance="1 of 13", **limits(10),
    ),
    of_recipe(
        "tut2017", "tut2017", "evaluation", "scene", groups=PAPER, presets=RELEASED, labels=TUT_SCENES, cluster="recording",
        aliases={**{label.replace(" ", "_"): label for label in TUT_SCENES if " " in label}, "cafe/restaurant": "cafe or restaurant"},
        chance="1 of 15", **limits(10),
    ),
    of_recipe(
        "meld", "meld", "test", "emotion", also="MELD.Raw", groups=PAPER, presets=RELEASED, labels=EMOTIONS, cluster="dialogue",
        chance="always neutral: 48 % (1,256 of 2,610)", **limits(4),
    ),
    _CLOTHO_AQA,
    replace(
        _CLOTHO_AQA, name="clotho_aqa_binary", title="ClothoAQA: the answers yes and no", choose=yes_or_no, count=None,
        notes="1,892 questions are of yes and no.",
        groups=("clotho_aqa_filters",), labels=("yes", "no"), ceiling="86.2 % for a single answer to a question",
    ),
    replace(
        _CLOTHO_AQA, name="clotho_aqa_majority", title="ClothoAQA: questions on which two of three agree", choose=one_a_question(2),
        groups=("clotho_aqa_filters",), count=None, ceiling="", notes="MWAFM's clean list has 2,476 questions by its own rule.",
    ),
    replace(
        _CLOTHO_AQA, name="clotho_aqa_unanimous", title="ClothoAQA: questions on which all three agree", choose=one_a_question(3),
        groups=("clotho_aqa_filters",), count=1_312, counted_at=f"{MWAFM}: 1,109 of yes and no, 203 of single words",
        ceiling="", notes="Yes is right for 61.7 % of those of yes and no.",
    ),
    of_recipe(
        "vocalsound", "vocalsound", "te", "vocal_sound", groups=PAPER, presets=RELEASED, labels=VOCAL_SOUNDS, cluster="speaker",
        chance="1 of 6", traps="pbcong/vocalsound holds 100 rows", count=3_594, counted_at=NOT_VERIFIED, **limits(4),
    ),
    of_recipe(
        "nsynth", "nsynth", "test", "note_analysis", groups=PAPER, presets=RELEASED, cluster="instrument_id", **limits(30),
        chance="naming no quality at all scores their prevalence (printed beside)",
        notes="4 s a note. The test has none of the family synth_lead (not verified).",
    ),
)  # fmt: skip
