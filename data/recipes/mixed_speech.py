"""Walk mixtures of LibriSpeech: LibriMix (both begin at once) and LibriSpeechMix (one after another)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import NOT_VERIFIED, Recipe, Role, Split
from data.recipes.prepared import spoken_form
from data.recipes.transcripts import lost_file
from data.recipes.walking import needed, read_json_lines, read_lines, read_table, tagged
from tag_schema.answers import write_speakers

LIBRISPEECH_PARTS = {"train-360": "train-clean-360", "train-100": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
MIXTURES = ("mix_clean", "mix_both")  # speakers alone, and with noise


def librispeech_texts(folder: Path) -> dict[str, str]:
    """Read the transcripts of one part of LibriSpeech: utterance -> its words in lower case."""
    lines = (line for path in sorted(needed(folder, "folder").glob("*/*/*.trans.txt")) for _, line in read_lines(path))
    return {name: spoken_form(text) for name, _, text in (line.partition(" ") for line in lines)}


def walk_librimix(root: Path, split: Split, *, speakers: int) -> Iterator[Record | Entry]:
    """Walk LibriMix at 16 kHz, mode max (in mode min the words are cut off); the mixture's name is that of its utterances.

    Args:
        speakers: 2 or 3.
    """
    folder = root / f"Libri{speakers}Mix" / "wav16k" / "max"
    texts = librispeech_texts(root / "LibriSpeech" / LIBRISPEECH_PARTS[split.name])
    tables = [(kind, folder / "metadata" / f"mixture_{split.name}_{kind}.csv") for kind in MIXTURES]
    for number, (kind, table) in enumerate(tables):
        if kind == "mix_both" and not table.is_file():
            continue  # made without noise, as the corpus' script allows
        for where, row in read_table(table):
            name = row["mixture_ID"]
            audio, utterances = folder / split.name / kind / f"{name}.wav", name.split("_")
            missing = [utterance for utterance in utterances if utterance not in texts]
            if gone := lost_file(name, audio, where):
                yield gone
            elif missing:
                yield Entry(name, "no_answer", where, f"LibriSpeech has no transcript of {', '.join(missing)}")
            else:
                meta = {"speaker": "+".join(f"librispeech-{part.split('-')[0]}" for part in utterances), "mixture": kind, "language": "en"}
                target = write_speakers(texts[utterance] for utterance in utterances)
                yield tagged(name, audio, "overlapped_asr", target, where=where, meta=meta, number=number, language="en")


def walk_librispeechmix(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk LibriSpeechMix: list/SPLIT.jsonl with texts and delays; who begins first stands first."""
    for where, row in read_json_lines(root / "list" / f"{split.name}.jsonl"):
        audio = root / "data" / row["mixed_wav"]
        if gone := lost_file(row["id"], audio, where):
            yield gone
            continue
        order = sorted(range(len(row["texts"])), key=lambda n: row["delays"][n])
        target = write_speakers(spoken_form(row["texts"][n]) for n in order)
        meta = {"speaker": "+".join(f"librispeech-{row['speakers'][n]}" for n in order), "language": "en"}
        family = "overlapped_asr" if len(order) > 1 else "asr"
        yield tagged(row["id"], audio, family, target, where=where, meta=meta, language="en")


_PARTS: tuple[tuple[str, Role, int], ...] = (("dev", "dev", 2_703), ("test", "test", 2_620))
_PAPER = "arXiv:2005.11262 as retold by emergentmind.com/topics/libri2mix-dataset"
_RESULTS = "sentences in ESPnet's table of results (egs2/librimix/sot_asr1/README.md)"
_ARITHMETIC = "README of the corpus: each utterance of LibriSpeech is used N times in the set of N speakers"


def _librimix(speakers: int, train_360: int | None, train_100: int | None, evaluated: int | None) -> Recipe:
    return Recipe(
        name=f"libri{speakers}mix",
        title=f"Libri{speakers}Mix: {speakers} readers at once, with and without noise",
        source="https://github.com/JorisCos/LibriMix",
        licence="CC BY 4.0 (LibriSpeech); the noise of WHAM! is CC BY-NC 4.0",
        hours=None,
        languages=("en",),
        tasks=("overlapped_asr",),
        splits=(
            Split("train-360", "train", train_360, _PAPER if train_360 else NOT_VERIFIED),
            Split("train-100", "train", train_100, _PAPER if train_100 else NOT_VERIFIED),
            Split("dev", "dev", evaluated, _RESULTS if evaluated else NOT_VERIFIED),
            Split("test", "test", evaluated, _RESULTS if evaluated else NOT_VERIFIED),
        ),
        layout=f"Libri{speakers}Mix/wav16k/max/metadata/mixture_{{split}}_{{mix_clean,mix_both}}.csv\n"
        f"Libri{speakers}Mix/wav16k/max/{{split}}/{{mix_clean,mix_both}}/{{mixture}}.wav\nLibriSpeech/{{part}}/**/*.trans.txt",
        verified="the corpus' scripts/create_librimix_from_metadata.py, which writes this tree beside LibriSpeech/",
        walk=partial(walk_librimix, speakers=speakers),
        notes="All begin at the same moment: the order of the answer is that of the mixture's name. dev and test are mixed of LibriSpeech "
        "dev-clean and test-clean, train of train-clean-360 and -100: whoever tests on LibriSpeech must not train on dev or test here.",
    )


RECIPES: tuple[Recipe, ...] = (
    _librimix(2, 50_800, 13_900, 3_000),
    _librimix(3, None, None, None),
    Recipe(
        name="librispeechmix",
        title="LibriSpeechMix: one to three readers who partly overlap, for evaluation",
        source="https://github.com/NaoyukiKanda/LibriSpeechMix",
        licence="CC BY 4.0 (LibriSpeech)",
        hours=None,
        languages=("en",),
        tasks=("overlapped_asr", "asr"),
        splits=tuple(
            Split(f"{part}-clean-{speakers}mix", role, count, _ARITHMETIC) for part, role, count in _PARTS for speakers in (1, 2, 3)
        ),
        layout="list/{split}.jsonl\ndata/{split}/{mixture}.wav",
        verified="README of the corpus",
        walk=walk_librispeechmix,
        notes="Mixed of LibriSpeech dev-clean and test-clean. The 1mix sets are those sets themselves.",
    ),
)
