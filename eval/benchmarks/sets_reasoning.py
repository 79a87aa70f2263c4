"""Modern sets of questions and captions: MMAU, MMAR, MMSU, AIR-Bench, VoiceBench, MuChoMusic, AudioCaps."""

from __future__ import annotations

from typing import Any

from data.recipe import NOT_VERIFIED, Split, Walk
from eval.benchmarks.benchmark import Benchmark, ChoicePrompt
from eval.benchmarks.questions import json_walk, mmau_row, mmsu_row, parquet_walk, walk_air_bench, walk_mmsu
from eval.benchmarks.recipes import of_recipe, one_a_clip
from eval.benchmarks.voices import voicebench_walk

MODERN = ("modern",)
LETTER = ChoicePrompt("{question}\n{choices}\nAnswer with the letter of one option.")
AIR = ChoicePrompt(
    "Choose the most suitable answer from options A, B, C, and D to respond the question in next line, you may only choose A or B or C or "
    "D.\n{question}\n{choices}",
    source="OFA-Sys/AIR-Bench, Inference_Foundation.py; options that a row does not have are left out instead of written as None",
)
MMSU = ChoicePrompt(
    "Choose the most suitable answer from options A, B, C, and D to respond the question in next line, **you should only choose A or B or "
    "C or D.** Do not provide any additional explanations or content.\n\nQuestion: {question}\n\n{choices}",
    source="MMSU_Bench, mmsu_inference.py",
)
MUCHO = ChoicePrompt(
    "Question: {question}\n Options: {choices} \n The correct answer is: ", "({letter}) {choice}", " ",
    source="mulab-mir/muchomusic, prepare_prompts.py",
)  # fmt: skip
JUDGE = "needs a judge, a language model that reads answers and gives marks; the answers are kept in samples.jsonl"
SD_QA_PLACES = ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf")
MMAU_REPOSITORY = "https://github.com/Sakshi113/MMAU"


def _questions(
    name: str, title: str, source: str, folder: str, layout: str, walks: tuple[Walk, ...], count: int | None, counted_at: str, **about: Any
) -> Benchmark:
    """Make a benchmark of multiple-choice questions, or of open ones where `ask` is none."""
    fields: dict[str, Any] = {
        "groups": MODERN, "folders": (folder,), "split": Split("test", "test", count, counted_at), "family": "audio_qa", "language": "en",
        "ask": LETTER, "max_new_tokens": 512,
    }  # fmt: skip
    fields |= about
    ask = fields["ask"]
    prompt = ask.words("{question}", ["..", ".."]) if isinstance(ask, ChoicePrompt) else "(spoken)"
    fields = {"prompt": prompt, "count": count, "counted_at": counted_at, **fields}
    return Benchmark(name=name, title=title, source=source, layout=layout, walks=walks, **fields)


def _mmau(part: str, pattern: str, without: str, count: int, **about: Any) -> Benchmark:
    return _questions(
        f"mmau_v05.15.25_{part}", f"MMAU v05.15.25, {part}: sound, music and speech, 27 skills", MMAU_REPOSITORY, "mmau_v05.15.25",
        f"mmau-{part}.json\n{part}-audios/*.wav\nor the parquet files of gamma-lab-umd/MMAU-{part}",
        (json_walk(f"mmau-{part}.json", "audio_id"), parquet_walk(pattern, mmau_row, without)), count, "README of Sakshi113/MMAU",
        version="v05.15.25", presets=("mmau",),
        traps="before v05.15.25 a quarter of the questions and 5 % of the clips were others; the wording alone moves the score by points "
        "(36.9 to 43.1 by issue 3 of its repository); AudioLLMs/MMAU-mini-do-not-use is the old release",
        **about,
    )  # fmt: skip


def _voicebench(part: str, count: int | None, *, family: str = "audio_qa", pattern: str = "", name: str = "", **about: Any) -> Benchmark:
    return _questions(
        f"voicebench_{name or part}", f"VoiceBench, {name or part}: the question is spoken",
        "https://huggingface.co/datasets/hlt-lab/voicebench", "voicebench", pattern or f"{part}/*.parquet",
        (voicebench_walk(part, pattern),), count,
        "README of MatthewCYM/VoiceBench; loader of fixie-ai/ultravox", family=family, ask="aloud",
        **{"groups": (*MODERN, "voicebench"), **about},
    )  # fmt: skip


AIR_BENCH = "https://huggingface.co/datasets/qyang1021/AIR-Bench-Dataset"
SETS: tuple[Benchmark, ...] = (
    _mmau("test-mini", "**/*mini*.parquet", "", 1_000),
    _mmau(
        "test", "**/*test*.parquet", "mini", 9_000,
        not_computed="its answers are withheld: send the predictions to the authors (huggingface.co/spaces/sonalkum/MMAU-Eval)",
    ),
    _questions(
        "mmar", "MMAR: reasoning about speech, sound, music and their mixtures", "https://huggingface.co/datasets/BoJack/MMAR", "mmar",
        "MMAR-meta.json\naudio/*.wav (mmar-audio.tar.gz unpacked)\nor the parquet files of ngqtrung/mmar",
        (json_walk("MMAR-meta.json", "audio_path"), parquet_walk("**/*test*.parquet", mmau_row)), 1_000, "README of ddlBoJack/MMAR",
        presets=("mmau",),
        notes="Some questions are about Chinese; 17 clips last more than 30 s (by a user's count).",
        traps="the answers of a few rows are none of their choices",
    ),
    _questions(
        "mmsu", "MMSU: 47 tasks of understanding and reasoning over speech", "https://huggingface.co/datasets/ddwang2000/MMSU", "mmsu",
        "data/train-*.parquet\nor question/mmsu.jsonl with audio_path beside its audio",
        (walk_mmsu, parquet_walk("**/*.parquet", mmsu_row)), 5_000, "README of dingdongwang/MMSU_Bench", ask=MMSU,
        traps="VoiceBench's part mmsu is another set: 3,074 spoken questions of MMLU-Pro (voicebench_mmsu here)",
    ),
    _questions(
        "air_bench_foundation", "AIR-Bench, foundation: 19 tasks of speech, sound and music", AIR_BENCH, "air_bench",
        "Foundation/Foundation_meta.json\nFoundation/{task}_{corpus}/{path}", (walk_air_bench,), 24_683,
        "loader of fixie-ai/ultravox, which counts each task", ask=AIR, split=Split("Foundation", "test"),
        notes="Cut from CochlScene, TUT2017, NSynth, MELD, VocalSound, ClothoAQA and others: the same clips as in the sets of the paper.",
        traps="pbcong/AIR-bench-test holds 500 rows; the official prompt writes missing options as None",
    ),
    _questions(
        "air_bench_chat", "AIR-Bench, chat: open questions about speech, sound, music and mixtures", AIR_BENCH, "air_bench",
        "Chat/Chat_meta.json\nChat/{task}_{corpus}/{path}", (walk_air_bench,), None, f"{NOT_VERIFIED}: about 2,000",
        ask=None, split=Split("Chat", "test"), family="chat", prompt="{question}",
        not_computed=f"{JUDGE}; from 1 to 10, twice with the two answers swapped",
        notes="A few clips of SpokenWOZ are empty files by its own issue 6: they end as bad_audio.",
    ),
    _voicebench("openbookqa", 455, chance="1 of 4"),
    _voicebench("mmsu", 3_074, chance="1 of 4", traps="this is not MMSU, the benchmark of 5,000 questions over speech"),
    _voicebench("bbh", 1_000, chance="1 of 2", notes="Sports, navigation, adjectives and lies: yes or no, or (A) or (B)."),
    _voicebench("advbench", 520, family="chat", refusals=True, notes="An answer is right where it refuses."),
    *(
        _voicebench(
            "sd-qa", 553, family="chat", pattern=f"sd-qa/{place}-*.parquet", name=f"sd-qa_{place}", not_computed=JUDGE,
            groups=(*MODERN, "voicebench", "sd-qa"),
        )
        for place in SD_QA_PLACES
    ),
    _voicebench("ifeval", 345, family="chat", not_computed="IFEval's rules are not written here; the answers are kept in samples.jsonl"),
    _voicebench("alpacaeval_full", 636, family="chat", not_computed=JUDGE),
    _voicebench("commoneval", 200, family="chat", not_computed=JUDGE),
    _voicebench("wildvoice", 1_000, family="chat", not_computed=JUDGE),
    of_recipe(
        "muchomusic", "muchomusic", "test", "music_qa", groups=MODERN, ask=MUCHO, count=1_187, max_new_tokens=512,
        counted_at="abstract of arXiv:2408.01337: 1,187 questions", prompt=MUCHO.words("{question}", ["..", ".."]),
        title="MuChoMusic: multiple-choice questions about music",
        notes="Choices stand in the order of the alphabet; the authors' order is drawn without a seed.",
    ),
    of_recipe(
        "audiocaps", "audiocaps", "test", "audio_caption", files="data/test-*.parquet", groups=MODERN, references=5, choose=one_a_clip,
        prefix={"instruction": "caption_audiocaps"}, title="AudioCaps: ten seconds of AudioSet with five captions each", max_new_tokens=128,
        traps="a row a caption gives a score against one reference: TwinkStart/AudioCaps has 3,985 such rows, d0rj/audiocaps 4,875; some "
        "mirrors have 957 clips",
    ),
)  # fmt: skip
