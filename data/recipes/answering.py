"""Walk sets of questions about sounds."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.clip_folders import clips_below, first_of
from data.recipes.walking import needed, read_table, tagged
from qwen_audio.errors import DataError

FAMILY = "audio_qa"
YES_NO = ("yes", "no")
CHUNK = 1 << 20  # characters read at a time
_BETWEEN = re.compile(r"[\s,]*")
CLOSED = "Closed-ended question: "  # stands before half of OpenAQA's closed questions, at random


def asked(source: str, path: Path | None, question: str, answer: str, where: str, meta: dict[str, Any], number: int) -> Record | Entry:
    """Make the record of a question; a file that is missing and a question that is empty are accounted for."""
    name = f"{source}#{FAMILY}.{number}"
    if path is None or not path.is_file():
        return Entry(name, "no_file", where, str(path or ""))
    if not question.strip():
        return Entry(name, "empty_text", where, "the question is empty")
    return tagged(source, path, FAMILY, answer, where=where, meta=meta, number=number, question=" ".join(question.split()))


def walk_clotho_aqa(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk ClothoAQA: every answer of the three people who were asked is a row, as the released evaluation counts them.

    meta tells them apart: `agreement` is how many of the three gave this answer, `confidence` what the person said of it, `kind` whether
    the question is one of yes and no.
    """
    rows = list(read_table(root / f"clotho_aqa_{split.name}.csv"))
    same = Counter((row["file_name"], row["QuestionText"], _plain(row["answer"])) for _, row in rows)
    answers: dict[tuple[str, str], set[str]] = {}
    for _, row in rows:
        answers.setdefault((row["file_name"], row["QuestionText"]), set()).add(_plain(row["answer"]))
    numbers: Counter[str] = Counter()
    for where, row in rows:
        name, question, answer = row["file_name"], row["QuestionText"], row["answer"]
        meta = {
            "agreement": same[name, question, _plain(answer)],
            "confidence": row.get("confidence"),
            "kind": "yes/no" if answers[name, question] <= set(YES_NO) else "word",
        }
        yield asked(name, root / "audio_files" / name, question, answer, where, meta, numbers[name])
        numbers[name] += 1


def _plain(answer: str) -> str:
    return answer.strip().lower()


def walk_openaqa(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk OpenAQA: its paths are those of its authors, so clips are found by their names below audio/.

    What stands before half of the closed questions to say that they are closed is taken off.
    """
    path = first_of(root, "openaqa_5.6M.json", "openaqa.json", what="table")
    clips = clips_below(root / "audio")
    numbers: Counter[str] = Counter()
    for index, row in enumerate(json_array(path)):
        where = f"{path}:[{index}]"
        missing = [key for key in ("audio_id", "instruction", "output") if not isinstance(row.get(key), str)]
        if missing:
            yield Entry(f"openaqa.{index}", "bad_row", where, f"no text in {', '.join(missing)}")
            continue
        source, dataset = Path(row["audio_id"]).stem, row.get("dataset") or ""
        if dataset.rsplit("_", 1)[-1] in ("test", "eval", "val", "validation"):
            yield Entry(f"{source}#{FAMILY}.{index}", "evaluation_split", where, f"from {dataset}")
            continue
        question = row["instruction"].removeprefix(CLOSED)
        meta = {"corpus": dataset, "kind": row.get("task")}
        yield asked(source, clips.get(source), question, row["output"], where, meta, numbers[source])
        numbers[source] += 1


def json_array(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the members of a JSON array without holding all of it.

    Raises:
        DataError: the file is not an array, or ends before the array does.
    """
    decoder = json.JSONDecoder()
    with needed(path).open(encoding="utf-8") as file:
        text, at = file.read(CHUNK), 0
        if not text.lstrip().startswith("["):
            raise DataError(f"{path}: expected a JSON array")
        at = text.index("[") + 1
        while True:
            between = _BETWEEN.match(text, at)
            at = between.end() if between else at
            if text.startswith("]", at):
                return
            try:
                member, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:  # the member goes on in what is not read yet, or is broken
                more = file.read(CHUNK)
                if not more:
                    raise DataError(f"{path}: the array is not closed, or broken near {text[at : at + 60]!r} ({error})") from error
                text, at = text[at:] + more, 0
                continue
            if not isinstance(member, dict):
                raise DataError(f"{path}: expected an array of objects, found {type(member).__name__}")
            yield member


RECIPES = (
    Recipe(
        name="clotho_aqa",
        title="ClothoAQA, six questions a clip and three answers a question",
        source="https://zenodo.org/record/6473207",
        licence="LICENSE.txt of the corpus; clips Creative Commons, each its own",
        hours=12.5,
        languages=(),
        tasks=(FAMILY,),
        splits=(
            Split("train", "train", 1_174, "metadata of GeWu-Lab/MWAFM, counted: 21,132 rows"),
            Split("val", "dev", 344, "metadata of GeWu-Lab/MWAFM, counted: 6,192 rows"),
            Split("test", "test", 473, "metadata of GeWu-Lab/MWAFM, counted: 8,514 rows"),
        ),
        layout="clotho_aqa_{train,val,test}.csv\naudio_files/*.wav",
        verified="loader of audidata (ClothoAQA): tables, columns, folder, hours",
        walk=walk_clotho_aqa,
        notes="The three answers to a question often differ: the released evaluation counts all rows, and its binary score those whose "
        "answer is yes or no; a single answer a question reaches at most 77.8 % of them. Others keep majority or unanimous answers (meta "
        "`agreement`). Clips are Clotho's by another division: do not train on Clotho to test on it.",
    ),
    Recipe(
        name="openaqa",
        title="OpenAQA, questions about clips of seven corpora with answers by labels or by a language model",
        source="https://github.com/YuanGongND/ltu",
        licence="answers by a language model, under its terms; clips under those of their corpora",
        hours=None,
        languages=(),
        tasks=(FAMILY,),
        splits=(Split("train", "train", 1_089_204, "openaqa/utils of the corpus' repository: 1,089,204 clips, 5,681,708 questions"),),
        layout="openaqa_5.6M.json\naudio/**/{name as in audio_id}.flac or .wav",
        verified="README of the corpus' repository, section Dataset",
        walk=walk_openaqa,
        notes="All of it is training data, drawn from AudioSet, VGGSound, FSD50K, AudioCaps, Clotho, Freesound and SoundBible (meta "
        "`corpus`): hold out the clips of what you evaluate on. Rows of a corpus' evaluation split, if there are any, are kept out.",
    ),
)
