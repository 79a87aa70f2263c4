"""Walk sets of genres, titles and tags of whole pieces."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.stretches import first_window, stretches
from data.recipes.walking import needed, read_lines, tagged
from qwen_audio.errors import DataError
from tag_schema.answers import Song, write_labels, write_song

FMA_SUBSETS = ("small", "medium", "large")
# Of MTG-Jamendo's 59 moods and themes those that name a mood; advertising, christmas or film do not.
MOODS = frozenset({
    "calm", "cool", "dark", "deep", "dramatic", "emotional", "energetic", "epic", "fun", "funny", "groovy", "happy", "heavy", "hopeful",
    "inspiring", "love", "meditative", "melancholic", "mellow", "motivational", "positive", "powerful", "relaxing", "romantic", "sad",
    "sexy", "soft", "upbeat", "uplifting",
})  # fmt: skip


def walk_gtzan(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk GTZAN by the lists that leave out its faults; the folder is the genre."""
    genres = needed(root / "genres", "folder")
    for where, name in read_lines(root / f"{split.name}_filtered.txt"):
        path = genres / name.strip()
        if path.is_file():
            yield tagged(path.stem, first_window(path), "genre", path.parent.name, where=where)
        else:
            yield Entry(path.stem, "no_file", where, str(path))


def walk_fma(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Free Music Archive's clips of 30 s, of the largest subset that is there: top genre, title and artist."""
    table = needed(root / "fma_metadata" / "tracks.csv", "table")
    size = next((size for size in reversed(FMA_SUBSETS) if (root / f"fma_{size}").is_dir()), None)
    if size is None:
        raise DataError(f"{root}: found no folder fma_small, fma_medium or fma_large; unpack one of them beside fma_metadata")
    kept = FMA_SUBSETS[: FMA_SUBSETS.index(size) + 1]
    for where, row in _fma_tracks(table):
        if row["set", "split"] != split.name or row["set", "subset"] not in kept:
            continue
        number = int(row["track", "id"])
        name, path = f"{number:06d}", root / f"fma_{size}" / f"{number // 1000:03d}" / f"{number:06d}.mp3"
        if not path.is_file():
            yield Entry(name, "no_file", where, str(path))
            continue
        genre, title, artist = row["track", "genre_top"], row["track", "title"].strip(), row["artist", "name"].strip()
        meta = {"speaker": f"fma-{row['artist', 'id']}", "clip_licence": row["track", "license"], "subset": row["set", "subset"]}
        if genre:  # most tracks of fma_large have no top genre
            yield tagged(name, first_window(path), "genre", genre, where=where, meta=meta)
        song = write_song(Song(title, artist or None)) if title else ""
        yield tagged(name, first_window(path), "music_recognition", song, where=where, meta=meta)


def _fma_tracks(table: Path) -> Iterator[tuple[str, dict[tuple[str, str], str]]]:
    """Yield (FILE:LINE, row) of tracks.csv, whose columns have two lines of names and whose index has a third."""
    with table.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        columns = list(zip(next(rows), next(rows), strict=True))
        columns[0] = ("track", "id")
        if not {("set", "split"), ("set", "subset"), ("track", "genre_top"), ("track", "title"), ("artist", "name")} <= set(columns):
            raise DataError(f"{table}: the first two lines do not name the columns of FMA's tracks.csv (set split, track title, ..)")
        next(rows)
        for row in rows:
            yield f"{table}:{rows.line_num}", dict(zip(columns, row, strict=False))


def walk_mtg_jamendo(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MTG-Jamendo's split-0: moods, instruments, and the genre of tracks that have a single one; each track in stretches."""
    for subset, family in (("moodtheme", "music_emotion"), ("instrument", "instrument"), ("genre", "genre")):
        for where, line in read_lines(root / "data" / "splits" / "split-0" / f"autotagging_{subset}-{split.name}.tsv"):
            track, artist, album, path, duration_s, *tags = line.split("\t")
            if track == "TRACK_ID":
                continue
            labels = [tag.partition("---")[2] for tag in tags]
            if family == "music_emotion":
                labels = [label for label in labels if label in MOODS]
            if not labels or (family == "genre" and len(labels) > 1):
                continue  # themes alone, or several genres, are no answer to this task
            parts = stretches(track, root / "songs" / path, where, float(duration_s))
            if isinstance(parts, Entry):
                yield parts
                continue
            meta = {"speaker": artist, "album": album}
            for number, part in enumerate(parts):
                yield tagged(track, part, family, write_labels(labels), where=where, meta=meta, number=number)


LISTS = "jongpillee/music_dataset_split as its users count it: 443, 197 and 290 of 930"
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="gtzan",
        title="GTZAN: 10 genres, 30 s each",
        source="http://opihi.cs.uvic.ca/sound/genres.tar.gz",
        licence="unknown: the corpus states none",
        hours=None,
        languages=(),
        tasks=("genre",),
        splits=(Split("train", "train", 443, LISTS), Split("valid", "dev", 197, LISTS), Split("test", "test", 290, LISTS)),
        layout="genres/{genre}/{genre}.{00000..00099}.wav\n{train,valid,test}_filtered.txt: blues/blues.00029.wav a line",
        verified="source of mirdata's loader (tree, no licence found), torchaudio's loader and users' loaders (the lists and their lines)",
        walk=walk_gtzan,
        notes=(
            "1,000 tracks with repeated, distorted and mislabelled ones among them and artists on both sides of any random split: the "
            "lists train_filtered.txt, valid_filtered.txt and test_filtered.txt (github.com/jongpillee/music_dataset_split) leave the "
            "faults out; put them beside genres/. Files are 13 ms longer than 30 s: the first 30 s are taken. "
            "Some copies carry a broken jazz.00054.wav."
        ),
    ),
    Recipe(
        name="fma",
        title="FMA: genre, title and artist of the Free Music Archive",
        source="https://github.com/mdeff/fma",
        licence="CC BY 4.0 (metadata); each track as its artist chose (meta clip_licence)",
        hours=None,
        languages=(),
        tasks=("genre", "music_recognition"),
        splits=(Split("training", "train"), Split("validation", "dev"), Split("test", "test")),
        layout="fma_metadata/tracks.csv\nfma_{small,medium,large}/{id // 1000:03d}/{id:06d}.mp3",
        verified="README of the corpus (8,000, 25,000 and 106,574 clips of 30 s; licence); its own loader and users' (columns, splits)",
        walk=walk_fma,
        notes=(
            "The largest of fma_small, fma_medium and fma_large that is there is walked. A few files cannot be decoded or are shorter "
            "than said. Titles can only be recognised of tracks that were trained on: the recognition rows of validation and test ask "
            "for what nobody can know. OpenMIC-2018 and FMACaps are cut from the same tracks."
        ),
    ),
    Recipe(
        name="mtg_jamendo",
        title="MTG-Jamendo: moods, instruments and genres of full tracks",
        source="https://github.com/MTG/mtg-jamendo-dataset",
        licence="CC BY-NC-SA 4.0 (metadata); each track as its artist chose, see audio_licenses.txt",
        hours=None,
        languages=(),
        tasks=("music_emotion", "instrument", "genre"),
        splits=(Split("train", "train"), Split("validation", "dev"), Split("test", "test")),
        layout=(
            "data/splits/split-0/autotagging_{moodtheme,instrument,genre}-{train,validation,test}.tsv: "
            "TRACK_ID ARTIST_ID ALBUM_ID PATH DURATION TAGS..\nsongs/{PATH}"
        ),
        verified="README of the corpus, source of mirdata's loader, users' loaders (the folder songs, the genre and instrument tables)",
        walk=walk_mtg_jamendo,
        notes=(
            "Split 0 of five. Full tracks, cut into stretches of at most 30 s that all carry the track's tags. Of the 59 moods and themes "
            "those that name a mood are kept; genre only of tracks with a single one. The Song Describer Dataset and MuChoMusic use "
            "the test part of split 0; MusicQA's evaluation uses folders 00 to 09 of all parts: hold those out when you measure on it."
        ),
    ),
)
