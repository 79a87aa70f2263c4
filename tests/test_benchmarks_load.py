"""Every built-in benchmark is loaded from two rows in its real layout; names, prompts, counts, subsets, variants."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark_tree import BUILDERS, build, clotho_aqa, different, librispeech, mmar, parquet, rows_file, voicebench
from corpus_tree import text

from data.manifest import Record
from eval.benchmarks.benchmark import LETTERS, TOLD, right_answers
from eval.benchmarks.load import Loaded, load, load_all
from eval.benchmarks.measures import metrics_of
from eval.benchmarks.rows import plain_id
from eval.benchmarks.table import BENCHMARKS, expand, find, groups
from eval.metrics.sample import Sample, Status
from eval.models.asking import told
from qwen_audio.errors import ConfigError, DataError

ROWS = {"clotho_aqa": 12, "clotho_aqa_binary": 6, "clotho_aqa_majority": 4}  # of the fixture; two everywhere else
# The sentences of the released evaluation scripts (QwenLM/Qwen-Audio, eval_audio/), typed in here from the scripts.
ASR = "<|startoftranscript|><|{0}|><|transcribe|><|{0}|><|notimestamps|><|wo_itn|>"
TRANSLATION = "<|startoftranscript|><|{}|><|translate|><|{}|><|notimestamps|><|itn|>"
RELEASED = {
    **{f"librispeech_{split}": (ASR.format("en"), 256) for split in ("dev-clean", "dev-other", "test-clean", "test-other")},
    **{
        name: (ASR.format("zh"), 256)
        for name in ("aishell1_dev", "aishell1_test", "aishell2_test_mic", "aishell2_test_ios", "aishell2_test_android")
    },
    **{
        f"covost2_{pair}": (TRANSLATION.format(*pair.split("-")), 256)
        for pair in ("en-de", "de-en", "en-zh", "zh-en", "es-en", "fr-en", "it-en")
    },
    "clotho": ("<|startofanalysis|><|unknown|><|caption|><|en|><|notimestamps|><|caption_clotho|>", 30),
    "cochlscene": ("<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|scene|>", 10),
    "tut2017": ("<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|scene|>", 10),
    "meld": ("<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|emotion_recognition|>", 4),
    "clotho_aqa": ("<|startofanalysis|><|en|><|question|>{question}<|answer|>", 4),
    "vocalsound": ("<|startofanalysis|><|en|><|keyword|><|en|><|notimestamps|><|vocal_classification|>", 4),
    "nsynth": ("<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|note_analysis|>", 30),
}
WORD_TIMES = "<|startoftranscript|><|{0}|><|transcribe|><|{0}|><|timestamps|><|0.00|>"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("data_root"))


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, logger="eval.benchmarks.load"):
        yield


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_loaded_from_its_real_layout(root: Path, name: str) -> None:
    loaded = load(name, root)
    assert len(loaded.records) == ROWS.get(name, 2)
    assert not loaded.account.lost and not loaded.account.unreadable
    for record in loaded.records:
        assert record.duration_s and record.meta["source"] and record.meta["role"] in ("dev", "test")
        assert (record.family or "chat") == loaded.benchmark.family
        assert not any(Path(ref.path).is_absolute() for ref in record.audio)  # results do not depend on where the root is
        assert len(right_answers(record)) >= loaded.benchmark.references
    (known,) = {record.prefix.text_language if record.prefix else record.meta["language"] for record in loaded.records}
    assert known == loaded.benchmark.language


@pytest.mark.parametrize("name", RELEASED)
def test_the_sets_of_the_paper_are_asked_by_the_released_sentences(root: Path, name: str) -> None:
    sentence, limit = RELEASED[name]
    loaded = load(name, root, lengths=False)
    for record in loaded.records:
        assert record.prefix is not None
        assert record.prefix.sentence() == sentence.replace("{question}", record.prefix.question or "")
    assert loaded.benchmark.prompt == sentence
    assert loaded.benchmark.released_tokens == limit <= loaded.benchmark.max_new_tokens
    assert set(groups()["paper"]) == set(RELEASED)


@pytest.mark.parametrize("name", groups()["word_times"])
def test_word_times_are_asked_as_the_closed_set_is_and_never_called_by_its_name(root: Path, name: str) -> None:
    (record, _) = load(name, root, lengths=False).records
    language = "zh" if record.family == "srwt_zh" else "en"
    assert record.prefix is not None and record.prefix.sentence() == WORD_TIMES.format(language)
    assert "srwt" not in name.lower() and "paper" not in BENCHMARKS[name].groups


def test_expected_counts_are_those_that_were_counted() -> None:
    counts = {
        "librispeech_dev-clean": 2_703, "librispeech_dev-other": 2_864, "librispeech_test-clean": 2_620, "librispeech_test-other": 2_939,
        "aishell1_dev": 14_326, "aishell1_test": 7_176, "aishell2_test_ios": 5_000, "covost2_en-zh": 15_531, "covost2_zh-en": 4_898,
        "clotho": 1_045, "tut2017": 1_620, "meld": 2_610, "clotho_aqa": 8_514, "nsynth": 4_096, "audiocaps": 975, "mmar": 1_000,
        "mmsu": 5_000, "voicebench_mmsu": 3_074, "fleurs_en_us": 647, "openasr_ami": 12_643, "openasr_librispeech_other": 2_939,
    }  # fmt: skip
    assert {name: BENCHMARKS[name].count for name in counts} == counts


def test_a_choice_is_written_as_the_benchmark_has_it_and_told_once(root: Path) -> None:
    (first, second) = load("air_bench_foundation", root, lengths=False).records
    (asked,) = [part for part in first.messages[0].parts if isinstance(part, str)]
    assert asked.endswith("you may only choose A or B or C or D.\nWhere?\nA. street\nB. park")  # C and D do not exist
    assert first.meta[TOLD] == "in the text" and second.audio[0].path.endswith("Audio_Grounding_AG/b.flac")
    (spoken, _) = load("voicebench_openbookqa", root, lengths=False).records
    assert spoken.choices == ("A", "B", "C", "D") and spoken.meta[TOLD] == "in the audio" and spoken.messages[0].parts == spoken.audio
    (music, _) = load("muchomusic", root, lengths=False).records
    assert told(music.messages).endswith("Question: Which style?\n Options: (A) Pop (B) Reggae (C) Rock (D) Ska \n The correct answer is: ")
    assert len(LETTERS) == 26


def test_mmau_takes_letters_off_its_choices_and_asks_what_it_cannot_score(root: Path) -> None:
    (record, _) = load("mmau_v05.15.25_test-mini", root, lengths=False).records
    assert (record.choices, record.target, record.meta["category"], record.meta["kind"]) == (
        ("Man", "Woman"),
        "Woman",
        "Reasoning",
        "speech",
    )
    hidden = load("mmau_v05.15.25_test", root, lengths=False)
    assert "withheld" in hidden.benchmark.not_computed and hidden.records[0].choices == ("Man", "Woman")


def test_mmau_is_read_from_the_hubs_parquet_whose_audio_is_called_context(tmp_path: Path) -> None:
    about = '{"id": "x%d", "task": "music", "category": ["Perception"], "difficulty": "hard", "split": "test-mini"}'
    rows = [
        {"instruction": "Which?", "choices": ["(A) Jazz", "(B) Rock"], "answer": "(A) Jazz", "other_attributes": about % n}
        for n in range(2)
    ]
    parquet(tmp_path / "mmau_v05.15.25" / "test_mini.parquet", rows, column="context")
    records = load("mmau_v05.15.25_test-mini", tmp_path).records
    assert [(record.id, record.target, record.meta["kind"]) for record in records] == [("x0", "Jazz", "music"), ("x1", "Jazz", "music")]
    with pytest.raises(DataError, match="fetch it from"):  # the mini's file is not the test's
        load("mmau_v05.15.25_test", tmp_path)


def test_an_answer_that_no_choice_equals_stays_and_is_told(tmp_path: Path) -> None:
    mmar(tmp_path)
    table = (tmp_path / "mmar" / "MMAR-meta.json").read_text(encoding="utf-8")
    text(tmp_path / "mmar" / "MMAR-meta.json", table.replace('" american "', '"Scottish"'))
    loaded = load("mmar", tmp_path)
    assert [(record.target, record.choices) for record in loaded.records] == [("British", ("British", "American")), ("Scottish", ())]
    assert "A. British\nB. American" in told(loaded.records[1].messages)  # no letter is right; its words would be
    assert any("none of their choices" in warning for warning in loaded.account.warnings)


def test_big_bench_hard_is_yes_or_no_or_one_of_two_sentences(tmp_path: Path) -> None:
    voicebench(tmp_path)
    records = load("voicebench_bbh", tmp_path).records
    assert {record.meta["kind"]: (record.target, record.choices) for record in records} == {
        "navigate": ("yes", ("yes", "no")), "hyperbaton": ("B", ("A", "B"))
    }  # fmt: skip


def test_clotho_aqa_is_filtered_by_how_many_agree(tmp_path: Path) -> None:
    clotho_aqa(tmp_path)
    asked = {name: load(name, tmp_path).records for name in ("clotho_aqa_majority", "clotho_aqa_unanimous", "clotho_aqa_binary")}
    assert [record.target for record in asked["clotho_aqa_majority"]] == ["no", "dog", "yes", "rain"]
    assert [record.target for record in asked["clotho_aqa_unanimous"]] == ["dog", "yes"]
    assert sorted(record.target for record in asked["clotho_aqa_binary"]) == ["no", "no", "yes", "yes", "yes", "yes"]


def test_rows_of_one_person_are_one_cluster(root: Path) -> None:
    assert load("cochlscene", root).records[0].meta["source"] == "cochlscene-user0138"  # what an interval resamples


def test_librispeech_and_fleurs_are_read_from_the_hubs_parquet(tmp_path: Path) -> None:
    spoken = [{"file": f"{n}.flac", "text": "HE SAID", "speaker_id": 61, "chapter_id": 7, "id": f"61-7-000{n}"} for n in range(2)]
    parquet(tmp_path / "librispeech" / "all" / "test.clean-00000-of-00001.parquet", spoken)
    records = load("librispeech_test-clean", tmp_path).records
    assert [(record.id, record.target, record.duration_s) for record in records] == [
        ("61-7-0000", "he said", 0.5),
        ("61-7-0001", "he said", 0.5),
    ]
    read = {"transcription": "guten tag", "raw_transcription": "Guten Tag!", "gender": 1, "lang_id": 3}
    for code in ("de_de", "fr_fr"):
        parquet(tmp_path / "fleurs" / code / "fleurs-test-00000-of-00001.parquet", [{"id": 7, "path": "/x/1.wav", **read}])
    (german,) = load("fleurs_de_de", tmp_path).records
    assert (german.id, german.target, german.meta["gender"]) == ("de_de/1", "guten tag", "female")


def test_captions_of_one_clip_are_its_references_in_parquet_too(tmp_path: Path) -> None:
    rows = [
        {"audiocap_id": 10 * clip + n, "youtube_id": f"v{clip}", "start_time": 30, "caption": f"Caption {n}"}
        for clip in (1, 2)
        for n in range(5)
    ]
    parquet(tmp_path / "audiocaps" / "data" / "test-00000-of-00001.parquet", rows)
    loaded = load("audiocaps", tmp_path)
    assert [len(record.references) for record in loaded.records] == [5, 5]
    assert "fewer than 5" not in " ".join(loaded.account.warnings)


def test_a_single_caption_a_clip_is_told(tmp_path: Path) -> None:
    rows = [{"audiocap_id": clip, "youtube_id": f"v{clip}", "start_time": 30, "caption": "A caption"} for clip in range(4)]
    parquet(tmp_path / "audiocaps" / "data" / "test-00000-of-00001.parquet", rows)
    warnings = " ".join(load("audiocaps", tmp_path).account.warnings)
    assert "4 of 4 rows have fewer than 5 references" in warnings and "TwinkStart/AudioCaps" in warnings


def test_a_cut_mirror_is_told(tmp_path: Path) -> None:
    librispeech(tmp_path)
    loaded = load("librispeech_test-clean", tmp_path)
    (warning,) = loaded.account.warnings
    assert warning.startswith("2 rows, expected 2,620 (card of openslr/librispeech_asr on the hub, num_examples)") and "cut copy" in warning
    assert loaded.account.to_json() == {
        "rows": 2, "expected": 2_620, "counted_at": "card of openslr/librispeech_asr on the hub, num_examples", "lost": {},
        "unreadable": {}, "warnings": [warning], "subset": "",
    }  # fmt: skip


def test_a_missing_folder_is_one_line_with_the_address_and_the_layout(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no folder .*nsynth; fetch it from https://magenta\S+ so that nsynth/ below the data root holds"
    ) as told_of:
        load("nsynth", tmp_path)
    assert "\n" not in str(told_of.value)
    (tmp_path / "nsynth").mkdir()
    with pytest.raises(DataError, match="nsynth-test: no such folder"):
        load("nsynth", tmp_path)
    with pytest.raises(ConfigError, match="--data-root"):
        load("nsynth")


def test_a_misspelt_name_is_answered_with_those_that_are_alike() -> None:
    with pytest.raises(ConfigError, match="did you mean librispeech_test-clean"):
        find("librispeech_test_clean")
    assert (
        expand(["openasr", "mmar", "mmar"])[-1] == "mmar"
        and expand(["sd-qa+silence"])[0] == "voicebench_sd-qa_aus+silence"
        and len(expand(["openasr"])) == 12
    )
    assert len(groups()["modern"]) >= 12 and not set(groups()) & set(BENCHMARKS)


def test_lost_and_unreadable_rows_are_accounted_for(tmp_path: Path) -> None:
    librispeech(tmp_path)
    folder = tmp_path / "LibriSpeech" / "test-clean"
    (folder / "84" / "1" / "84-1-0000.flac").write_bytes(b"fLaC not at all")
    text(folder / "85" / "1" / "85-1.trans.txt", "85-1-0000 HE SAID SO\n85-1-0001 GONE\n")
    loaded = load("librispeech_test-clean", tmp_path)
    assert [record.id for record in loaded.records] == ["84-1-0000", "85-1-0000"]  # asked all the same: it will end as bad_audio
    assert loaded.account.to_json()["unreadable"] == {"corrupt": 1} and loaded.account.to_json()["lost"] == {"no_file": 1}
    assert "no_file" in "\n".join(loaded.account.lines())


def test_a_limit_takes_the_same_spread_rows_every_time_and_says_so(tmp_path: Path) -> None:
    chapter = tmp_path / "librispeech" / "test-clean" / "84" / "1"
    lines = "".join(f"84-1-{n:04} WORD\n" for n in range(40))
    for number in range(40):
        different(chapter / f"84-1-{number:04}.flac", number, 0.1)
    text(chapter / "84-1.trans.txt", lines)
    ten, five = (load("librispeech_test-clean", tmp_path, limit=limit) for limit in (10, 5))
    assert {record.id for record in five.records} < {record.id for record in ten.records}
    assert [record.id for record in ten.records] != [f"84-1-{n:04}" for n in range(10)]
    assert ten.account.subset == "10 of 40 rows, the first by the hash of their ids" == ten.account.to_json()["subset"]
    assert load("librispeech_test-clean", tmp_path, limit=99).account.subset == ""


def test_prepared_rows_serve_where_there_is_no_official_layout(tmp_path: Path) -> None:
    clip = different(tmp_path / "clips" / "a.wav", 1)
    prefix = {"task": "transcribe", "audio_language": "en", "text_language": "en", "instruction": "wo_itn"}
    row = {"id": "librispeech/61-7-0001#asr", "audio": [{"path": str(clip)}], "target": "he said", "family": "asr", "prefix": prefix}
    rows_file(tmp_path / "librispeech" / "test-clean.jsonl", [{**row, "dataset": "librispeech", "meta": {"source": "61-7-0001"}}])
    (record,) = load("librispeech_test-clean", tmp_path).records
    assert (record.id, record.audio[0].path, record.duration_s) == ("61-7-0001", "clips/a.wav", 0.5)
    assert plain_id("a#b#asr.2") == "a#b.2" and plain_id("a#2") == "a#2"


def test_several_sets_are_loaded_by_the_name_of_their_group(root: Path) -> None:
    found: list[Loaded] = load_all(["clotho_aqa", "clotho_aqa_filters", "clotho_aqa"], root)
    assert [loaded.benchmark.name for loaded in found] == ["clotho_aqa", "clotho_aqa_binary", "clotho_aqa_majority", "clotho_aqa_unanimous"]


def test_variants_ask_the_same_without_hearing(root: Path) -> None:
    name = "mmau_v05.15.25_test-mini"
    plain, blind, silent, swapped, turned = (
        load(name + variant, root).records for variant in ("", "+text-only", "+silence", "+shuffled-audio", "+rotated-1")
    )
    assert [told(record.messages) for record in blind] == [told(record.messages).replace("[audio]", "") for record in plain]
    assert [record.duration_s for record in silent] == [record.duration_s for record in plain]
    assert [record.audio for record in swapped] == [record.audio for record in plain][::-1]
    assert turned[0].choices == ("Woman", "Man") and "A. Woman\nB. Man" in told(turned[0].messages) and turned[0].target == "Woman"
    assert load(f"{name}+silence", root).benchmark.name == f"{name}+silence"
    assert isinstance(load("librispeech_test-clean+text-only", root).records[0], Record)
    with pytest.raises(ConfigError, match=r"no variant .*text-only"):
        load(f"{name}+blind", root)
    with pytest.raises(DataError, match="spoken"):
        load("voicebench_openbookqa+text-only", root)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if not BENCHMARKS[name].not_computed])
def test_the_right_answers_get_the_best_score_and_none_the_worst(root: Path, name: str) -> None:
    loaded = load(name, root, lengths=False)
    choose = metrics_of(loaded.benchmark)
    for right in (True, False):
        samples = [sample_of(record, right) for record in loaded.records]
        metric = choose(samples[0].family, samples[0].language)[0]
        value = metric.measure(samples).value
        if metric.name == "refused":
            assert value == 0.0  # "(a refusal)" refuses nothing
        elif metric.name == "aas":
            assert value == 0.0 if right else math.isnan(value) or value > 0
        elif metric.better == "lower":
            assert value == (0.0 if right else pytest.approx(1.0))
        else:
            assert value > 0.5 if right else value == 0.0


def sample_of(record: Record, right: bool) -> Sample:
    """Make what a run makes of a record that is answered rightly, or not at all."""
    language = record.prefix.text_language if record.prefix is not None else record.meta.get("language", "")
    status: Status = "ok" if right else "infer_fail"
    answer = record.target if right else ""
    return Sample(record.id, status, answer, right_answers(record), record.family or "chat", language, record.choices, record.meta)


def test_the_fixture_has_a_builder_for_every_folder(root: Path) -> None:
    assert len(BUILDERS) == 22
    assert all(any((root / folder).is_dir() for folder in benchmark.folders) for benchmark in BENCHMARKS.values())
