"""Walk sets of captions of music and of questions about it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.clip_folders import clips_below, first_found, first_of, youtube_clip
from data.recipes.stretches import stretches
from data.recipes.walking import needed, read_json, read_json_lines, read_table, tagged

OPTIONS = ("correct_answer", "distractor_1_answer", "distractor_2_answer", "distractor_3_answer")


def walk_musiccaps(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MusicCaps: a caption of 10 s of a video; what AudioSet evaluates with is the test."""
    clips = clips_below(root / "audio")
    for where, row in read_table(root / "musiccaps-public.csv"):
        if (row["is_audioset_eval"].strip().lower() == "true") != (split.name == "eval"):
            continue
        name, path = row["ytid"], _musiccaps_clip(clips, row)
        if path is None:
            yield Entry(name, "no_file", where, "the clip was not fetched")
        else:
            yield tagged(name, path, "music_caption", row["caption"], where=where)


def _musiccaps_clip(clips: Mapping[str, Path], row: Mapping[str, str]) -> Path | None:
    """Find the clip of a row under the names in use: [ytid]-[30-40], ytid_30, ytid, .."""
    start_s, end_s = float(row["start_s"]), float(row["end_s"])
    named = first_found(clips, (f"[{row['ytid']}]-[{int(start_s)}-{int(end_s)}]",))
    return named or youtube_clip(clips, row["ytid"], start_s, end_s)


def walk_song_describer(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Song Describer Dataset: all captions of a track are its references; two minutes are heard as clips of 30 s."""
    tracks: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for where, row in read_table(root / "song_describer.csv"):
        tracks.setdefault(row["track_id"], []).append((where, row))
    for track, rows in tracks.items():
        where, first = rows[0]
        audio = stretches(track, root / "audio" / first["path"].replace(".mp3", ".2min.mp3"), where)
        if isinstance(audio, Entry):
            yield audio
            continue
        captions = [row["caption"].strip() for _, row in rows if row["caption"].strip()]
        meta = {"speaker": first["artist_id"], "valid_subset": str(any(row["is_valid_subset"] == "True" for _, row in rows))}
        yield tagged(track, audio, "music_caption", captions[0] if captions else "", where=where, meta=meta, references=captions)


def walk_musicbench(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MusicBench: captions of MusicCaps' clips and of changed copies; copies of its evaluation clips are no training."""
    table = "MusicBench_train.json" if split.name.startswith("train") else f"MusicBench_{split.name}.json"
    audio, seen = first_of(root, "datashare", "data", "."), Counter[str]()
    for where, row in read_json_lines(root / table):
        if split.name.startswith("train") and bool(row["is_audioset_eval_mcaps"]) != (split.name == "train_of_eval"):
            continue
        name, path = Path(row["location"]).stem, audio / row["location"]
        if not path.is_file():
            yield Entry(name, "no_file", where, str(path))
            continue
        for caption in dict.fromkeys((row["main_caption"], row.get("alt_caption") or row["main_caption"])):
            yield tagged(name, path, "music_caption", caption, where=where, number=seen[name])
            seen[name] += 1


def walk_music_avqa(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MUSIC-AVQA's questions that ears alone can answer; a video of a minute is heard as two clips."""
    table = first_of(root, f"data/json/avqa-{split.name}.json", f"json/avqa-{split.name}.json", what="table")
    audio = clips_below(first_of(root, "audio", "data/audio", "video", "data/video"))
    for row in read_json(table):
        video, where = row["video_id"], f"{table}:{row['question_id']}"
        if json.loads(row["type"])[0] != "Audio":
            continue
        if row.get("question_deleted"):
            yield Entry(video, "no_answer", where, "the authors took the question back")
            continue
        clips = stretches(video, audio.get(video, root / f"{video}.mp4"), where)
        if isinstance(clips, Entry):
            yield clips
            continue
        question = _filled(row["question_content"], json.loads(row["templ_values"]))
        yield tagged(video, clips, "music_qa", str(row["anser"]), where=where, number=int(row["question_id"]), question=question)


def _filled(template: str, values: list[str]) -> str:
    """Put values into the places <Object> of a question, in order."""
    rest = iter(values)
    return re.sub(r"<[^>]*>", lambda place: next(rest, place.group()), template).replace("\uff1f", "?").strip()


def walk_musicqa(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MusicQA: a question and its answer a row, written by a language model from tags and captions."""
    table = needed(root / f"{split.name}.json")
    seen = Counter[str]()
    for row in read_json(table):
        name = row["audio_name"]
        seen[name] += 1
        where = f"{table}:{name}:{seen[name]}"
        clips = stretches(name, root / "audios" / name, where)
        if isinstance(clips, Entry):
            yield clips
            continue
        asked, answered = (str(turn["value"]).strip() for turn in row["conversation"][:2])
        if asked:
            yield tagged(name, clips, "music_qa", answered, where=where, number=seen[name], question=asked)
        else:
            yield Entry(f"{name}#{seen[name]}", "empty_text", where, "there is no question")


def walk_muchomusic(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MuChoMusic: a question with four answers about a clip of MusicCaps or a track of the Song Describer Dataset."""
    songs = {row["track_id"]: row["path"] for _, row in read_table(root / "sdd" / "song_describer.csv")}
    captioned = {row["ytid"]: row for _, row in read_table(root / "musiccaps" / "musiccaps-public.csv")}
    clips = clips_below(root / "musiccaps" / "audio")
    for number, (where, row) in enumerate(read_table(root / "muchomusic.csv")):
        name = row["dataset_identifier"].removesuffix(".json")
        if row["dataset"] == "sdd":
            path: Path | None = root / "sdd" / "audio" / songs.get(name, f"{name}.mp3").replace(".mp3", ".2min.mp3")
        else:
            path = _musiccaps_clip(clips, captioned[name.rpartition("_")[0]]) if name.rpartition("_")[0] in captioned else None
        audio = Entry(name, "no_file", where, "the clip was not fetched") if path is None else stretches(name, path, where)
        if isinstance(audio, Entry):
            yield audio
            continue
        choices = sorted({row[option].strip() for option in OPTIONS if row[option].strip()})  # by the alphabet: no place is special
        meta = {"genre": row.get("genre", ""), "origin": row["dataset"]}
        yield tagged(
            name, audio, "music_qa", row["correct_answer"], where=where, meta=meta, number=number, choices=choices,
            question=row["question"].strip(),
        )  # fmt: skip


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="musiccaps",
        title="MusicCaps: captions by musicians of 10 s of AudioSet",
        source="https://huggingface.co/datasets/google/MusicCaps",
        licence="CC BY-SA 4.0 (captions); recordings are on YouTube",
        hours=None,
        languages=(),
        tasks=("music_caption",),
        splits=(Split("train", "train"), Split("eval", "test")),
        layout="musiccaps-public.csv: ytid,start_s,end_s,..,caption,..,is_audioset_eval\naudio/[{ytid}]-[{start}-{end}].wav, or {ytid}.wav",
        verified="card of google/MusicCaps (columns, licence, 5,521 clips in all); code of MuChoMusic and of downloaders (names of clips)",
        walk=walk_musiccaps,
        notes=(
            "Sound is fetched from YouTube and cut to the 10 s by the user; clips are found under the names in use. The evaluation part of "
            "AudioSet is the test. MusicBench, MusicQA and MuChoMusic are made of the same clips."
        ),
    ),
    Recipe(
        name="song_describer",
        title="Song Describer Dataset: captions of two-minute tracks",
        source="https://zenodo.org/record/10072001",
        licence="CC BY-SA 4.0 (captions); each track as its artist chose, see audio_licenses.txt",
        hours=None,
        languages=(),
        tasks=("music_caption",),
        splits=(Split("test", "test", 706, "README and data card of the corpus: 706 tracks, 1,106 captions"),),
        layout="song_describer.csv: caption_id,track_id,caption,is_valid_subset,..,path,..\naudio/{00..99}/{track_id}.2min.mp3",
        verified="README and data card of the corpus; code of MuChoMusic (names of files)",
        walk=walk_song_describer,
        notes="For evaluation alone, by its authors. Tracks are of the test part of MTG-Jamendo's split 0.",
    ),
    Recipe(
        name="musicbench",
        title="MusicBench: MusicCaps with changed copies and captions that say tempo, key, chords",
        source="https://huggingface.co/datasets/amaai-lab/MusicBench",
        licence="CC BY-SA 3.0",
        hours=None,
        languages=(),
        tasks=("music_caption",),
        splits=(Split("train", "train"), Split("train_of_eval", "test"), Split("test_A", "test"), Split("test_B", "test")),
        layout="MusicBench_{train,test_A,test_B}.json: one object a line\ndatashare/{location} (MusicBench.tar.gz unpacked)",
        verified="card of amaai-lab/MusicBench (columns; 52,768 training rows, 400 test rows), users' loaders (lines, folder datashare)",
        walk=walk_musicbench,
        notes=(
            "The training table holds changed copies of MusicCaps' evaluation clips (is_audioset_eval_mcaps): they are the split "
            "train_of_eval here, never trained on. Captions are in part rewritten by a language model; beats, chords and keys are detected."
        ),
    ),
    Recipe(
        name="music_avqa",
        title="MUSIC-AVQA: questions about musical performances, those for the ear",
        source="https://github.com/GeWu-Lab/MUSIC-AVQA",
        licence="not stated for the videos; the repository says GPL-3.0",
        hours=None,
        languages=(),
        tasks=("music_qa",),
        splits=(Split("train", "train"), Split("val", "dev"), Split("test", "test")),
        layout="data/json/avqa-{train,val,test}.json\naudio/{video_id}.wav, or video/{video_id}.mp4",
        verified="README of the corpus (45,867 questions about 9,288 videos), Audio Flamingo's and users' loaders (keys, types)",
        walk=walk_music_avqa,
        notes="Questions for the eye or for both are left out. A video lasts a minute: both halves stand in one row.",
    ),
    Recipe(
        name="musicqa",
        title="MusicQA: questions and answers about MagnaTagATune, MusicCaps and MTG-Jamendo",
        source="https://huggingface.co/datasets/mu-llama/MusicQA",
        licence="not verified",
        hours=None,
        languages=(),
        tasks=("music_qa",),
        splits=(Split("FinetuneMusicQA", "train"), Split("EvalMusicQA", "test"), Split("PretrainMusicQA", "test")),
        layout="{Pretrain,Finetune,Eval}MusicQA.json: audio_name, conversation [human, gpt]\naudios/{000000}.wav",
        verified="generate_dataset.py and README of MU-LLaMA; Audio Flamingo's preparation",
        walk=walk_musicqa,
        notes=(
            "Answers are a language model's, from tags and captions. PretrainMusicQA is made of all of MusicCaps, its evaluation clips "
            "among them and not marked: it is not trained on here. EvalMusicQA is of MTG-Jamendo's folders 00 to 09, of any of its splits."
        ),
    ),
    Recipe(
        name="muchomusic",
        title="MuChoMusic: multiple-choice questions about music",
        source="https://zenodo.org/record/12709974",
        licence="CC BY-SA 4.0 (questions)",
        hours=None,
        languages=(),
        tasks=("music_qa",),
        splits=(Split("test", "test"),),
        layout=(
            "muchomusic.csv: question,correct_answer,distractor_{1,2,3}_answer,dataset,dataset_identifier,..\n"
            "sdd/song_describer.csv\nsdd/audio/{00..99}/{track_id}.2min.mp3\nmusiccaps/musiccaps-public.csv\nmusiccaps/audio/[{ytid}]-[{start}-{end}].wav"
        ),
        verified="README and muchomusic_eval/utils.py of the corpus",
        walk=walk_muchomusic,
        notes="For evaluation alone. Answers stand in the order of the alphabet, so that no place says which is right.",
    ),
)
