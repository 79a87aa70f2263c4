"""Walk sets of singers, and of the emotions of songs and pieces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.clip_folders import clips_below, first_of
from data.recipes.prepared import spoken_form
from data.recipes.stretches import stretches
from data.recipes.walking import needed, read_json, read_lines, read_table, tagged
from tag_schema.answers import Song, write_song

# The four quadrants of valence and arousal by their usual names: high and high, low and high, low and low, high and low.
QUADRANTS = {"Q1": "happy", "Q2": "angry", "Q3": "sad", "Q4": "calm"}
DEAM_MIDDLE = 5.0  # of the scale from 1 to 9 on which valence and arousal were rated
DEAM_FULL_SONGS = 2000  # numbers above it are whole songs, those of the last campaign's evaluation
EVERY_TENTH = 10


def walk_vocalset(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk VocalSet: the folder is the singer; songs (excerpts) are the test, scales, arpeggios and long tones the training."""
    for path in sorted(needed(root / "FULL", "folder").glob("*/*/*/*.wav")):
        singer, context, technique = path.relative_to(root / "FULL").parts[:3]
        if (context == "excerpts") != (split.name == "test"):
            continue
        name = f"{singer}/{context}/{technique}/{path.stem}"
        parts = stretches(name, path, str(path))
        if isinstance(parts, Entry):
            yield parts
            continue
        gender = "female" if singer.startswith("female") else "male"
        meta = {"speaker": f"vocalset-{singer}", "gender": gender, "technique": technique, "context": context}
        for number, part in enumerate(parts):
            yield tagged(name, part, "singer_id", singer, where=str(path), meta=meta, number=number)


def walk_m4singer(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk M4Singer: meta.json says the words of each phrase; every tenth song of a singer is the test."""
    table = needed(root / "meta.json")
    rows = sorted(read_json(table), key=lambda row: str(row["item_name"]))
    songs: dict[str, dict[str, None]] = {}
    for row in rows:
        singer, song, _ = row["item_name"].split("#")
        songs.setdefault(singer, {}).setdefault(song)
    held = {(singer, song) for singer, named in songs.items() for song in list(named)[EVERY_TENTH - 1 :: EVERY_TENTH]}
    for row in rows:
        singer, song, number = row["item_name"].split("#")
        if ((singer, song) in held) != (split.name == "test"):
            continue
        name, path = row["item_name"], root / f"{singer}#{song}" / f"{number}.wav"
        where, meta = f"{table}:{name}", {"speaker": f"m4singer-{singer}", "song": song, "language": "zh"}
        if not path.is_file():
            yield Entry(name, "no_file", where, str(path))
            continue
        yield tagged(name, path, "singer_id", singer, where=where, meta=meta)
        yield tagged(name, path, "asr", spoken_form(row["txt"]), where=where, meta=meta, language="zh")


def walk_opencpop(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Opencpop's phrases: a line is id, words, phonemes, notes and their lengths, | between; one singer, so no singer to name."""
    for where, line in read_lines(root / "segments" / f"{split.name}.txt"):
        name, words, *_ = line.split("|")
        path = root / "segments" / "wavs" / f"{name}.wav"
        meta = {"speaker": "opencpop", "gender": "female", "language": "zh", "song": name[:4]}
        if path.is_file():
            yield tagged(name, path, "asr", spoken_form(words), where=where, meta=meta, language="zh")
        else:
            yield Entry(name, "no_file", where, str(path))


def walk_artist20(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk artist20 by its lists, albums apart: artist/album/NN-Title is one track, cut into stretches."""
    for where, line in read_lines(root / "lists" / f"a20-{split.name}-tracks.list"):
        name = line.strip().removesuffix(".mp3")
        artist, album, title = name.split("/")
        parts = stretches(name, root / "mp3s-32k" / f"{name}.mp3", where)
        if isinstance(parts, Entry):
            yield parts
            continue
        who, meta = artist.replace("_", " "), {"speaker": artist, "album": album}
        song = write_song(Song(title.partition("-")[2].replace("_", " ") or title, who))
        for number, part in enumerate(parts):
            yield tagged(name, part, "singer_id", who, where=where, meta=meta, number=number)
            yield tagged(name, part, "music_recognition", song, where=where, meta=meta, number=number)


def walk_emopia(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk EMOPIA's clips, which are fetched from their videos: Q1_VIDEO_0 is the first clip of a video, in quadrant 1."""
    clips = clips_below(first_of(root, "audio", "audios"))
    for where, row in read_table(root / "split" / f"{split.name}_clip.csv"):
        name = row["clip_name"].removesuffix(".mid").removesuffix(".mp3")
        if name not in clips:
            yield Entry(name, "no_file", where, "the clip was not fetched")
            continue
        parts = stretches(name, clips[name], where)
        if isinstance(parts, Entry):
            yield parts
            continue
        meta = {"speaker": name[3:].rpartition("_")[0], "quadrant": name[:2]}
        for number, part in enumerate(parts):
            yield tagged(name, part, "music_emotion", QUADRANTS[name[:2]], where=where, meta=meta, number=number)


def walk_deam(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk DEAM: mean valence and arousal of each song, from 1 to 9, put into one of four quadrants."""
    tables = needed(root / "annotations" / "annotations averaged per song" / "song_level", "folder")
    audio = first_of(root, "MEMD_audio", "audio")
    for table in ("static_annotations_averaged_songs_1_2000.csv", "static_annotations_averaged_songs_2000_2058.csv"):
        for where, spaced in read_table(tables / table):
            row = {name.strip(): value.strip() for name, value in spaced.items()}
            name = row["song_id"]
            if (int(name) > DEAM_FULL_SONGS) != (split.name == "test"):
                continue
            parts = stretches(name, audio / f"{name}.mp3", where)
            if isinstance(parts, Entry):
                yield parts
                continue
            valence, arousal = float(row["valence_mean"]), float(row["arousal_mean"])
            pleasant, excited = valence > DEAM_MIDDLE, arousal > DEAM_MIDDLE
            quadrant = {(True, True): "Q1", (False, True): "Q2", (False, False): "Q3", (True, False): "Q4"}[pleasant, excited]
            meta = {"valence": f"{valence:g}", "arousal": f"{arousal:g}"}
            for number, part in enumerate(parts):
                yield tagged(name, part, "music_emotion", QUADRANTS[quadrant], where=where, meta=meta, number=number)


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="vocalset",
        title="VocalSet: 20 professional singers and their techniques",
        source="https://zenodo.org/record/1442513",
        licence="CC BY 4.0",
        hours=None,
        languages=(),
        tasks=("singer_id",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="FULL/{female1..9,male1..11}/{arpeggios,excerpts,long_tones,scales}/{technique}/{name}.wav",
        verified="users' loaders and listings of the archive (tree, licence)",
        walk=walk_vocalset,
        notes=(
            "The corpus has a split by singers, for technique; naming singers needs the same ones on both sides: the excerpts of songs are "
            "the test here, our choice. The folder is the singer; a few file names carry another's letter and number."
        ),
    ),
    Recipe(
        name="m4singer",
        title="M4Singer: Mandarin songs by 20 singers",
        source="https://github.com/M4Singer/M4Singer",
        licence="on application; an agreement is signed (terms not verified)",
        hours=None,
        languages=("zh",),
        tasks=("singer_id", "asr"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="meta.json: item_name (singer#song#number), txt, ..\n{singer}#{song}/{number}.wav",
        verified="ESPnet's recipe m4singer (keys of meta.json, tree), users' loaders; README of the corpus (application)",
        walk=walk_m4singer,
        notes=(
            "The authors draw test phrases at random, so that songs lie on both sides: here every tenth song of each singer is the test. "
            "Unpack with UTF-8 names; some tools write #Uxxxx instead of Chinese characters."
        ),
    ),
    Recipe(
        name="opencpop",
        title="Opencpop: Mandarin songs by one woman, cut into phrases",
        source="https://wenet.org.cn/opencpop/",
        licence="on application (terms not verified)",
        hours=None,
        languages=("zh",),
        tasks=("asr",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="segments/{train,test}.txt: id|words|phonemes|notes|..\nsegments/wavs/{id}.wav",
        verified="users' loaders (segments/transcriptions.txt, its columns, wavs), ESPnet's recipe; train.txt and test.txt: not verified",
        walk=walk_opencpop,
        notes="One singer, so there is no singer to identify: the words that are sung alone.",
    ),
    Recipe(
        name="artist20",
        title="artist20: six albums of 20 artists",
        source="http://labrosa.ee.columbia.edu/projects/artistid/",
        licence="commercial recordings at 32 kbit/s, for research (terms not verified)",
        hours=None,
        languages=("en",),
        tasks=("singer_id", "music_recognition"),
        splits=(Split("trn", "train"), Split("val", "dev"), Split("tst", "test")),
        layout="lists/a20-{trn,val,tst}-tracks.list: {artist}/{album}/{NN}-{Title} a line\nmp3s-32k/{artist}/{album}/{NN}-{Title}.mp3",
        verified="page of the corpus (1,413 tracks; 3, 1 and 2 albums of each artist); users' code (names of lists and folders)",
        walk=walk_artist20,
        notes=(
            "Albums are apart between the splits: titles of val and tst cannot be known to a model that learned trn. Cut into stretches of "
            "at most 30 s, instrumental ones among them."
        ),
    ),
    Recipe(
        name="emopia",
        title="EMOPIA: pop piano in four quadrants of emotion",
        source="https://zenodo.org/record/5090631",
        licence="CC BY-NC-SA 4.0 (labels); recordings are on YouTube",
        hours=None,
        languages=(),
        tasks=("music_emotion",),
        splits=(Split("train", "train"), Split("val", "dev"), Split("test", "test")),
        layout="split/{train,val,test}_clip.csv: clip_name (Q1_VIDEO_0.mid)\naudio/{Q1..Q4}_{video}_{number}.{wav,mp3}",
        verified="READMEs of the corpus (names of clips, licence, split by scripts/prepare_split.ipynb); users' loaders (split tables)",
        walk=walk_emopia,
        notes=(
            "Sound is fetched from YouTube and cut by the user (label.csv has the times); the corpus' scripts/prepare_split.ipynb makes "
            "the split tables, songs apart. The names of the quadrants (happy, angry, sad, calm) are our choice, shared with deam."
        ),
    ),
    Recipe(
        name="deam",
        title="DEAM: valence and arousal of 1,802 songs",
        source="https://cvml.unige.ch/databases/DEAM/",
        licence="not verified",
        hours=None,
        languages=(),
        tasks=("music_emotion",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout=(
            "annotations/annotations averaged per song/song_level/static_annotations_averaged_songs_{1_2000,2000_2058}.csv: "
            "song_id, valence_mean, .., arousal_mean, ..\nMEMD_audio/{song_id}.mp3"
        ),
        verified="users' loaders (tree, columns with blanks before their names, scale from 1 to 9, 1,802 rows in both tables)",
        walk=walk_deam,
        notes=(
            "No split: songs above 2000, which are whole songs, are the test here, our choice; the others are excerpts, cut in two. "
            "Quadrants part at 5: many songs lie near the middle, and the four labels are coarse."
        ),
    ),
)
