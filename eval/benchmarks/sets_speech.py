"""Modern sets of speech recognition: FLEURS, Common Voice 15, GigaSpeech, the sets of the Open ASR Leaderboard."""

from __future__ import annotations

from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import NOT_VERIFIED, Split
from data.recipes.languages import language_of, text_language_of
from eval.benchmarks.benchmark import Benchmark
from eval.benchmarks.recipes import both, of_form, of_recipe
from eval.benchmarks.voices import open_asr_walk
from tag_schema.tasks import prefix_for

MODERN = ("modern",)
FLEURS_CARD = "viewer of lmms-lab/fleurs on the hub"
FLEURS = {  # folder of the language -> rows of the test
    "en_us": 647, "cmn_hans_cn": 945, "yue_hant_hk": 819, "de_de": None, "es_419": None, "fr_fr": None, "it_it": None, "ja_jp": None,
    "ko_kr": None,
}  # fmt: skip
CV15_STATISTICS = "common-voice/cv-dataset, datasets/scripted-speech/cv-corpus-15.0-2023-09-08.json"
CV15 = {
    "en": 16_386, "zh-CN": None, "zh-HK": 5_593, "de": 16_167, "es": 15_796, "fr": 16_132, "it": 15_127, "ja": None, "ko": None
}  # fmt: skip
ESB = "hf-audio/esb-datasets-test-only-sorted"
ESB_CARD = f"card and viewer of {ESB} on the hub"
LEADERBOARD = "hf-audio/open-asr-leaderboard"
OPEN_ASR = {  # name -> (config, split, rows, where they are counted)
    "ami": ("ami", "test", 12_643, ESB_CARD),
    "common_voice": ("common_voice", "test", 16_334, ESB_CARD),
    "earnings22": ("earnings22", "test", 2_741, ESB_CARD),
    "gigaspeech": ("gigaspeech", "test", 19_931, ESB_CARD),
    "librispeech_clean": ("librispeech", "test.clean", 2_620, "card of openslr/librispeech_asr on the hub"),
    "librispeech_other": ("librispeech", "test.other", 2_939, "card of openslr/librispeech_asr on the hub"),
    "spgispeech": ("spgispeech", "test", None, f"{ESB_CARD}: 39.3k"),
    "tedlium": ("tedlium", "test", None, f"{ESB_CARD}: 1.16k"),
    "voxpopuli": ("voxpopuli", "test", None, f"{ESB_CARD}: 1.84k"),
}
CLEANED = {"ami": "ami_cleaned", "gigaspeech": "gigaspeech_cleaned", "voxpopuli": "voxpopuli_cleaned_aa"}


def _spoken(code: str) -> tuple[str, dict[str, Any]]:
    """Return the family of a language's transcripts and what its tag sentence needs; Cantonese has no tag and counts as a dialect."""
    if language_of(code) == "yue":
        return "dialect_asr", {"text_language": text_language_of(code)}
    return "asr", {"language": language_of(code), "text_language": text_language_of(code)}


def _fleurs(code: str, count: int | None) -> Benchmark:
    family, prefix = _spoken(code)

    def of_language(row: Record | Entry) -> bool:
        return row.id.startswith(f"{code}/")

    return of_recipe(
        f"fleurs_{code}", "fleurs", "test", family, files=f"{code}/*test*.parquet", groups=(*MODERN, "fleurs"), count=count,
        counted_at=FLEURS_CARD if count else NOT_VERIFIED, mine=both(of_form(family, "wo_itn"), of_language),
        prefix={**prefix, "instruction": "wo_itn"}, title=f"FLEURS, {code}: sentences of Wikipedia read aloud", cluster="sentence",
        version="transcription", traps="others score raw_transcription, which has punctuation and capitals: other numbers",
    )  # fmt: skip


def _common_voice(code: str, count: int | None) -> Benchmark:
    family, prefix = _spoken(code)

    def of_language(row: Record | Entry) -> bool:
        return isinstance(row, Entry) or row.meta.get("language") == language_of(code)

    return of_recipe(
        f"common_voice_15_{code}", "common_voice", "test", family, inside=code, groups=(*MODERN, "common_voice"), count=count,
        counted_at=CV15_STATISTICS if count else NOT_VERIFIED, mine=both(of_form(family, "itn"), of_language), cluster="speaker",
        prefix={**prefix, "instruction": "itn"}, title=f"Common Voice 15.0, {code}: sentences read by volunteers", version="15.0",
        folders=("common_voice_15", "cv-corpus-15.0-2023-09-08"), layout=f"{code}/test.tsv\n{code}/clips/*.mp3",
        traps="every release has another test: the name says 15",
    )  # fmt: skip


def _gigaspeech(split: str) -> Benchmark:
    return of_recipe(
        f"gigaspeech_{split.lower()}", "gigaspeech", split, "asr", groups=MODERN, cluster="recording",
        prefix={"language": "en", "instruction": "wo_itn"},
        notes="Segments marked as silence, noise, music or other are in the account as empty_text, as the official scoring drops them.",
        traps="the official normaliser is part of the benchmark: fillers and spelled punctuation do not count",
    )  # fmt: skip


def _open_asr(name: str, config: str, split: str, count: int | None, counted_at: str, hub: str = ESB) -> Benchmark:
    cleaned = hub == LEADERBOARD
    folder = "open_asr_cleaned" if cleaned else "open_asr"
    prefix = prefix_for("asr", language="en", instruction="wo_itn")
    return Benchmark(
        name=f"openasr_{name}", title=f"Open ASR Leaderboard, {config} {split}", source=f"https://huggingface.co/datasets/{hub}",
        groups=(*MODERN, "openasr"), folders=(folder,), layout=f"{config}/{split}-*.parquet", walks=(open_asr_walk(config, split),),
        split=Split(split, "test", count, counted_at), family="asr", language="en", prompt=prefix.sentence(),
        count=count, counted_at=counted_at, version="cleaned" if cleaned else "ESB",
        traps="the leaderboard's cleaned revisions have other references than the ESB originals",
        notes="The rows do not name their speakers: an interval is over utterances, and says nothing of new ones. The leaderboard joins "
        "compounds before it counts; whisper's English rules alone give about 0.35 points more.",
    )  # fmt: skip


SETS: tuple[Benchmark, ...] = (
    *(_fleurs(*item) for item in FLEURS.items()),
    *(_common_voice(*item) for item in CV15.items()),
    _gigaspeech("DEV"),
    _gigaspeech("TEST"),
    *(_open_asr(name, *rest) for name, rest in OPEN_ASR.items()),
    *(_open_asr(f"{name}_cleaned", config, "test", None, NOT_VERIFIED, LEADERBOARD) for name, config in CLEANED.items()),
)
