"""Walk sets of speech with the time of each word: LibriSpeech, Common Voice, AISHELL-1, and whatever a forced aligner was run over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Parquet, Recipe, Role, Split
from data.recipes.parquet import walk_parquet
from data.recipes.speech import librispeech_genders
from data.recipes.textgrid import PAUSES, Interval, read_textgrid, spoken
from data.recipes.transcripts import gender_of, kaldi_table, lost_file, unspaced, wo_itn_form
from data.recipes.walking import needed, read_lines, tagged
from qwen_audio.audio import WINDOW_S
from qwen_audio.errors import DataError
from tag_schema.timestamps import Word, words_to_srwt
from tag_schema.vocabulary import TagError

AUDIO_ENDINGS = (".flac", ".wav", ".mp3", ".ogg", ".m4a", ".opus")
LEAST_WINDOW_S = 10.0  # a cut is looked for from here to the end of the window, at the widest pause
_ALIGNMENT = re.compile(r'(\S+) "([^"]*)" "([^"]*)"')


def windows(words: Sequence[Word], end_s: float) -> Iterator[tuple[float, float, list[Word]]]:
    """Cut a recording into windows of at most 30 s, each cut in the widest pause of the window's last two thirds.

    Args:
        words: in the order of their times, in seconds of the recording.
        end_s: where the recording ends.
    Returns:
        (start, end, the words inside) of each window that has words; one window where the recording fits.
    """
    rest, start = list(words), 0.0
    while rest:
        if end_s - start <= WINDOW_S:
            yield start, end_s, rest
            return
        start = max(start, rest[0].start_s - 0.5) if rest[0].end_s - start > WINDOW_S else start
        inside = [number for number, word in enumerate(rest) if word.end_s - start <= WINDOW_S]
        if not inside:  # one word of more than 30 s: the aligner lost its way
            start, rest = rest[0].end_s, rest[1:]
            continue
        cut, following = _widest_pause(rest, inside[-1], start, end_s)
        yield start, cut, rest[:following]
        start, rest = cut, rest[following:]


def _widest_pause(words: Sequence[Word], last: int, start: float, end_s: float) -> tuple[float, int]:
    """Find where to cut: the moment, and the first word behind it; `last` is the last word that fits."""
    pauses: list[tuple[float, float, int]] = []
    for number in range(last + 1):
        after = words[number + 1].start_s if number + 1 < len(words) else end_s
        cut = min((words[number].end_s + after) / 2, start + WINDOW_S)
        if cut - start >= LEAST_WINDOW_S or number == last:
            pauses.append((after - words[number].end_s, cut, number + 1))
    _, cut, following = max(pauses)
    return cut, following


def timed_records(
    source: str, audio: Path | str, words: Sequence[Interval | Word], end_s: float, *, language: str, where: str, meta: Mapping[str, Any]
) -> Iterator[Record | Entry]:
    """Yield the timed transcripts of one recording: one, or one for each window where it lasts more than 30 s.

    Args:
        words: those that are said, in order; their case and punctuation are taken away as `wo_itn` targets have it.
        end_s: where the recording ends, in seconds.
    """
    family = "srwt_zh" if language == "zh" else "srwt_en"
    said = [Word(wo_itn_form(word.text, language), word.start_s, word.end_s) for word in words]
    said = [word for word in said if word.text]
    if not said:
        yield Entry(f"{source}#{family}", "empty_text", where)
    for number, (start, stop, inside) in enumerate(windows(said, end_s)):
        whole = start == 0 and stop == end_s
        ref: AudioRef | Path | str = audio if whole else AudioRef(str(audio), round(start, 3), round(stop - start, 3))
        try:
            target = words_to_srwt(inside, offset_s=start, duration_s=stop - start)
        except TagError as error:  # words that overlap, or times behind the end
            yield Entry(f"{source}#{family}" + (f".{number}" if number else ""), "bad_row", where, str(error))
            continue
        yield tagged(source, ref, family, target, where=where, meta={**meta, "language": language}, number=number, language=language)


def walk_librispeech_alignments(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk LibriSpeech with the alignments merged into it: a text file for each chapter, or a TextGrid for each utterance."""
    base = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    genders = librispeech_genders(base)
    aligned = False
    for table in sorted(needed(base / split.name, "folder").glob("*/*/*.trans.txt")):
        chapter = table.parent
        lines = _alignment_lines(chapter / table.name.replace(".trans.txt", ".alignment.txt"))
        for where, line in read_lines(table):
            name, _, text = line.partition(" ")
            speaker = name.split("-")[0]
            meta = {"speaker": f"librispeech-{speaker}", "gender": genders.get(speaker)}
            audio, grid = chapter / f"{name}.flac", chapter / f"{name}.TextGrid"
            if entry := lost_file(name, audio, where):
                yield entry
            elif name in lines:
                aligned = True
                yield from timed_records(name, audio, *lines[name], language="en", where=where, meta=meta)
            elif grid.is_file():
                aligned = True
                yield from _grid_records(name, audio, grid, (text.split(),), language="en", meta=meta)
            else:
                yield Entry(name, "no_answer", where, "no alignment: see unaligned.txt of the release")
    if not aligned:
        raise DataError(f"{base / split.name}: no alignment here; merge the release's LibriSpeech folder with the corpus' own")


def _alignment_lines(path: Path) -> dict[str, tuple[list[Word], float]]:
    """Read a chapter's alignments: utterance -> its words, and where it ends; {} where the chapter has no such file.

    Raises:
        DataError: a line is not UTTERANCE "WORD,WORD" "END,END".
    """
    found: dict[str, tuple[list[Word], float]] = {}
    for where, line in read_lines(path) if path.is_file() else ():
        match = _ALIGNMENT.fullmatch(line.strip())
        words, ends = (match[2].split(","), [float(end) for end in match[3].split(",")]) if match else ([], [])
        if match is None or len(words) != len(ends):
            raise DataError(f'{where}: expected UTTERANCE ",WORD,WORD," "END,END,END,END", found {line[:60]!r}')
        times = zip(words, [0.0, *ends], ends, strict=False)
        found[match[1]] = ([Word(word, start, end) for word, start, end in times if word], ends[-1])
    return found


def _grid_records(
    source: str, audio: Path, grid: Path, transcripts: Sequence[Sequence[str]], *, language: str, meta: Mapping[str, Any]
) -> Iterator[Record | Entry]:
    """Yield the timed transcripts of a recording by its TextGrid."""
    try:
        found = read_textgrid(grid)
        words = spoken(found.words(), *transcripts)
    except DataError as error:
        yield Entry(source, "bad_row", str(grid), str(error))
        return
    yield from timed_records(source, audio, words, found.end_s, language=language, where=str(grid), meta=meta)


def walk_mfa(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk a corpus as the Montreal Forced Aligner takes and makes it: LANGUAGE/SPLIT/SPEAKER/NAME.wav, .lab (or .txt) and .TextGrid."""
    folders = sorted(folder for folder in root.glob(f"*/{split.name}") if folder.is_dir())
    if not folders:
        needed(root / "en" / split.name, "folder")
    for folder in folders:
        language = folder.parent.name
        for grid in sorted(folder.rglob("*.TextGrid")):
            source = f"{language}/{grid.relative_to(folder).with_suffix('').as_posix()}"
            audio = next((path for path in map(grid.with_suffix, AUDIO_ENDINGS) if path.is_file()), None)
            if audio is None:
                yield Entry(source, "no_file", str(grid), f"no {grid.stem} with an ending of {', '.join(AUDIO_ENDINGS)}")
                continue
            text = next((path.read_text(encoding="utf-8") for path in map(grid.with_suffix, (".lab", ".txt")) if path.is_file()), "")
            speaker = "-".join(grid.relative_to(folder).parts[:-1])
            yield from _grid_records(source, audio, grid, _readings(text), language=language, meta={"speaker": speaker})


def walk_aishell1(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AISHELL-1 by TextGrids that an aligner made of it, in whatever folders below textgrids."""
    texts = kaldi_table(root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt")
    grids = {path.stem: path for path in sorted(needed(root / "textgrids", "folder").rglob("*.TextGrid"))}
    for audio in sorted(needed(root / "data_aishell" / "wav" / split.name, "folder").glob("*/*.wav")):
        if audio.stem not in grids:
            yield Entry(audio.stem, "no_answer", str(audio), "no TextGrid of that name below textgrids")
            continue
        meta = {"speaker": f"aishell1-{audio.parent.name}"}
        yield from _grid_records(audio.stem, audio, grids[audio.stem], _readings(texts.get(audio.stem, "")), language="zh", meta=meta)


def _readings(text: str) -> tuple[list[str], ...]:
    """Give a transcript's words, and its characters where it is Chinese: an aligner may have timed either."""
    words = text.split()
    characters = list("".join(unspaced(text).split()))
    return () if not words else (words, characters) if re.search("[\u4e00-\u9fff]", text) else (words,)


def read_librispeech_words(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the parquet copy of LibriSpeech's alignments."""
    source, meta = str(row["id"]), {"speaker": f"librispeech-{str(row['id']).split('-')[0]}", "gender": gender_of(row.get("sex"))}
    intervals = [Interval(item["start"], item["end"], (item["word"] or "").strip()) for item in row["words"]]
    try:
        words = spoken(intervals, (row.get("transcript") or "").split())
    except DataError as error:
        yield Entry(source, "bad_row", where, str(error))
        return
    yield from timed_records(
        source, audio, words, max((item.end_s for item in intervals), default=0.0), language="en", where=where, meta=meta
    )


def read_common_voice_words(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of Common Voice with word times."""
    source = Path(row.get("path") or where).stem
    meta = {"speaker": row.get("client_id"), "gender": gender_of(row.get("gender")), "age": row.get("age"), "accent": row.get("accent")}
    times = [item for item in row.get("timestamps") or () if (item["text"] or "").strip().lower() not in PAUSES]
    words = [Word(item["text"], item["start"], item["end"]) for item in times]
    yield from timed_records(source, audio, words, max((word.end_s for word in words), default=0.0), language="en", where=where, meta=meta)


def walk_librispeech_words(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the parquet copy of LibriSpeech's alignments: it has no other form."""
    return walk_parquet(LIBRISPEECH_WORDS, root, split)


def walk_common_voice_words(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Common Voice 17 with word times: published as parquet alone."""
    return walk_parquet(COMMON_VOICE_WORDS, root, split)


_PARTS: tuple[tuple[str, Role, int], ...] = (
    ("train-clean-100", "train", 28_538),
    ("train-clean-360", "train", 104_008),
    ("train-other-500", "train", 148_645),
    ("dev-clean", "dev", 2_703),
    ("dev-other", "dev", 2_864),
    ("test-clean", "test", 2_620),
    ("test-other", "test", 2_938),
)
_WORDS_CARD = "card of gilkeyio/librispeech-alignments on the hub, dataset_info"

LIBRISPEECH_WORDS = Recipe(
    name="librispeech_words",
    title="LibriSpeech with the word times of the Montreal Forced Aligner, as parquet",
    source="https://huggingface.co/datasets/gilkeyio/librispeech-alignments",
    licence="CC BY 4.0",
    hours=None,
    languages=("en",),
    tasks=("srwt_en",),
    splits=tuple(Split(name, role, count, _WORDS_CARD) for name, role, count in _PARTS),
    layout="data/{split, _ for -}-*.parquet",
    verified=_WORDS_CARD,
    walk=walk_librispeech_words,
    parquet=Parquet(
        hub="gilkeyio/librispeech-alignments",
        files={name: f"data/{name.replace('-', '_')}-*.parquet" for name, _, _ in _PARTS},
        read_row=read_librispeech_words,
        verified=_WORDS_CARD,
    ),
    notes=(
        "Words that the aligner did not know (<unk>) are read from the transcript where it has as many words, else the row is lost. "
        "The same recordings as librispeech and librispeech_alignments: take one of the three for a task. Times by an aligner, not by hand."
    ),
)

COMMON_VOICE_WORDS = Recipe(
    name="common_voice_words",
    title="Common Voice 17, English, with word times",
    source="https://huggingface.co/datasets/fixie-ai/common_voice_17_0_timestamps",
    licence="CC0 1.0 (Common Voice); the card names none for the times",
    hours=None,
    languages=("en",),
    tasks=("srwt_en",),
    splits=(
        Split("train", "train"),
        Split("validation", "dev", 16_393, "names of the files on the hub: chunk-range-000000000-000016393"),
        Split("test", "test"),
    ),
    layout="en/{split}/chunk-range-*/{split}-*.parquet",
    verified="folders of fixie-ai/common_voice_17_0_timestamps on the hub; the columns of timestamps (start, end, text): not verified",
    walk=walk_common_voice_words,
    parquet=Parquet(
        hub="fixie-ai/common_voice_17_0_timestamps",
        files={name: f"en/{name}/**/*.parquet" for name in ("train", "validation", "test")},
        read_row=read_common_voice_words,
    ),
    notes=(
        "How the times were made is not said on the card; a clip's last pause is not written, as the rows do not hold the clip's length. "
        "Its fourth part, validated, holds train, validation and test together and is left out on purpose."
    ),
)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="librispeech_alignments",
        title="LibriSpeech with the LibriSpeech Alignments: text files or TextGrids of the Montreal Forced Aligner",
        source="https://github.com/CorentinJ/librispeech-alignments, over https://www.openslr.org/12",
        licence="CC BY 4.0 (recordings and text); the page of the alignments names none",
        hours=None,
        languages=("en",),
        tasks=("srwt_en",),
        splits=tuple(Split(name, role) for name, role, _ in _PARTS),
        layout=(
            "LibriSpeech/SPEAKERS.TXT\n"
            "LibriSpeech/{split}/{speaker}/{chapter}/{speaker}-{chapter}.trans.txt\n"
            "LibriSpeech/{split}/{speaker}/{chapter}/{speaker}-{chapter}-{number}.flac\n"
            "LibriSpeech/{split}/{speaker}/{chapter}/{speaker}-{chapter}.alignment.txt, or {speaker}-{chapter}-{number}.TextGrid"
        ),
        verified="README and parser_example.py of the release; lhotse 1.33, recipes/librispeech.py",
        walk=walk_librispeech_alignments,
        notes=(
            "By its README 127 utterances have no line in the text form and 46 no TextGrid: each is in the ledger. "
            "LibriSpeech's sentences with times: librispeech itself and librispeech_words hold the same recordings."
        ),
    ),
    LIBRISPEECH_WORDS,
    COMMON_VOICE_WORDS,
    Recipe(
        name="mfa_textgrids",
        title="Your own recordings, aligned by the Montreal Forced Aligner",
        source="https://montreal-forced-aligner.readthedocs.io",
        licence="that of your recordings",
        hours=None,
        languages=("en", "zh"),
        tasks=("srwt_en", "srwt_zh"),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="{language: en, zh, de ..}/{train,dev,test}/{speaker}/{name}.{flac,wav,mp3} with {name}.TextGrid and {name}.lab (or .txt)",
        verified="documentation of the Montreal Forced Aligner, corpus structure and TextGrid output",
        walk=walk_mfa,
        notes=(
            "Recordings over 30 s are cut in their widest pauses. The released model times Mandarin by characters: write a space between "
            "the characters of the .lab files before you align. Pinyin is replaced by the transcript's characters where there are as "
            "many; languages other than Mandarin are asked for as English is, under their own tag."
        ),
    ),
    Recipe(
        name="aishell1_textgrids",
        title="AISHELL-1 with word times from TextGrids of a forced aligner",
        source="https://www.openslr.org/33; TextGrids: your own, or those that https://github.com/lingjzhu/charsiu (misc/data.md) links to",
        licence="Apache 2.0 (recordings and text); charsiu names none for its TextGrids",
        hours=None,
        languages=("zh",),
        tasks=("srwt_zh",),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout=(
            "data_aishell/wav/{train,dev,test}/{speaker}/{name}.wav\n"
            "data_aishell/transcript/aishell_transcript_v0.8.txt\n"
            "textgrids/**/{name}.TextGrid"
        ),
        verified="lhotse 1.33, recipes/aishell.py (recordings, text); the folders of charsiu's TextGrids: not verified, any depth is read",
        walk=walk_aishell1,
        notes=(
            "No corpus of Mandarin word times is published with its recordings: this one joins AISHELL-1 to TextGrids, aligned by "
            "machine and not by hand. Its scores are therefore not those of the closed industrial set of the paper. "
            "Words of several characters stay one item; TextGrids by character give the form of the released evaluation."
        ),
    ),
)
