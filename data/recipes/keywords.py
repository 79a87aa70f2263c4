"""Walk sets of keyword spotting: Speech Commands and MobvoiHotwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Recipe, Split
from data.recipes.transcripts import lost_file
from data.recipes.walking import needed, read_json, read_lines, tagged
from data.rows.archives import probe
from qwen_audio.errors import AudioError

NOISES = "_background_noise_"
VALIDATION_NOISE = "running_tap"  # the one noise that loaders keep for validation
SILENCE = "silence"
HOTWORDS = {0: "嗨小问", 1: "你好问问"}
NO_HOTWORD = "none"


def walk_speech_commands(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Speech Commands: two lists name validation and test, the rest of the words is for training; noises in stretches of 1 s."""
    lists = {name: {line.strip() for _, line in read_lines(root / f"{name}_list.txt")} for name in ("validation", "testing")}
    listed = lists["validation"] | lists["testing"]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    below = [f"{folder.name}/{path.name}" for folder in folders for path in sorted(folder.glob("*.wav"))]
    chosen = sorted(lists[split.name]) if split.name in lists else [name for name in below if name not in listed]
    for name in chosen:
        word, _, file = name.partition("/")
        if gone := lost_file(name, root / name, f"{root / split.name}_list.txt"):
            yield gone
            continue
        meta = {"speaker": f"speech_commands-{file.split('_')[0]}", "language": "en"}
        yield tagged(name, root / name, "keyword_spotting", word, where=str(root / name), meta=meta, language="en")
    if split.name != "testing":
        for path in sorted((root / NOISES).glob("*.wav")):
            if (path.stem == VALIDATION_NOISE) == (split.name == "validation"):
                yield from _silence(path)


def _silence(path: Path) -> Iterator[Record | Entry]:
    """Yield each second of a recording in which nobody speaks."""
    source = f"{NOISES}/{path.name}"
    try:
        seconds = int(probe(path).duration_s)
    except AudioError as error:
        yield Entry(source, "corrupt", str(path), str(error))
        return
    for start in range(seconds):
        ref = AudioRef(str(path), float(start), 1.0)
        yield tagged(source, ref, "keyword_spotting", SILENCE, where=str(path), number=start, meta={"language": "en"}, language="en")


def walk_mobvoi_hotwords(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MobvoiHotwords: utterances with one of two wake-up words, and utterances with neither."""
    base = root / "MobvoiHotwords" if (root / "MobvoiHotwords").is_dir() else root
    folder = needed(base / "mobvoi_hotword_dataset", "folder")
    for kind in ("p", "n"):
        table = base / "mobvoi_hotword_dataset_resources" / f"{kind}_{split.name}.json"
        for number, row in enumerate(read_json(table)):
            name, where = str(row["utt_id"]), f"{table}:[{number}]"
            audio = folder / f"{name}.wav"
            if gone := lost_file(name, audio, where):
                yield gone
                continue
            meta = {"speaker": f"mobvoi-{row.get('speaker_id') or name}", "language": "zh"}
            answer = HOTWORDS.get(row["keyword_id"], NO_HOTWORD)
            yield tagged(name, audio, "keyword_spotting", answer, where=where, meta=meta, language="zh")


_CARD = "card of barto17/speech_commands on the hub: 84,848 and 9,982, the 5 and 1 noises with them"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="speech_commands",
        title="Speech Commands v0.02: 35 words",
        source="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        licence="CC BY 4.0",
        hours=None,
        languages=("en",),
        tasks=("keyword_spotting",),
        splits=(
            Split("train", "train", 84_848, _CARD),
            Split("validation", "dev", 9_982, _CARD),
            Split("testing", "test", 11_005, "105,829 words (card of google/speech_commands) less those of the other two"),
        ),
        layout="{word}/{speaker}_nohash_{number}.wav\nvalidation_list.txt\ntesting_list.txt\n_background_noise_/*.wav",
        verified="lhotse 1.33, recipes/speechcommands.py; card of google/speech_commands on the hub",
        walk=walk_speech_commands,
        notes=(
            f"All 35 words are answers; nobody speaking is {SILENCE!r}. testing is the list in the archive; the separate "
            "archive of the 12-class task (4,890 clips) is another test."
        ),
    ),
    Recipe(
        name="mobvoi_hotwords",
        title="MobvoiHotwords: two wake-up words, near and far",
        source="https://www.openslr.org/87",
        licence="that of its page at OpenSLR (not verified)",
        hours=144.0,
        languages=("zh",),
        tasks=("keyword_spotting",),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="mobvoi_hotword_dataset_resources/{p,n}_{train,dev,test}.json\nmobvoi_hotword_dataset/{utt_id}.wav",
        verified="lhotse 1.33, recipes/mobvoihotwords.py (layout, about 144 hours)",
        walk=walk_mobvoi_hotwords,
        notes=(
            f"Utterances with neither word (p_ holds those with one, n_ the others, which are far more) are answered {NO_HOTWORD!r}. Many "
            "utterances of n_ name no speaker; each then stands for one."
        ),
    ),
)
