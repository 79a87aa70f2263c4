"""Walk the public repositories of single words that the bundled model is trained on, as they lie after cloning.

Names and sources are those of data/splits/*.tsv, as in mini_sources.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.clip_folders import first_of
from data.recipes.mini_sources import ALL, NAMES, SPOKEN, spoken_clip
from data.recipes.walking import needed, read_lines, read_table, tagged
from tag_schema.tasks import language_name

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ARABIC = {
    "backward": "خلف", "cancel": "إلغاء", "close": "إغلاق", "digit": "رقم", "direction": "اتجاه", "disable": "تعطيل", "down": "أسفل",
    "eight": "ثمانية", "enable": "تفعيل", "enter": "إدخال", "five": "خمسة", "forward": "أمام", "four": "أربعة", "left": "يسار",
    "move": "تحريك", "next": "التالي", "nine": "تسعة", "no": "لا", "ok": "موافق", "one": "واحد", "open": "فتح", "options": "خيارات",
    "previous": "السابق", "receive": "استقبال", "record": "تسجيل", "right": "يمين", "rotate": "تدوير", "send": "إرسال", "seven": "سبعة",
    "six": "ستة", "start": "ابدأ", "stop": "توقف", "three": "ثلاثة", "two": "اثنان", "undo": "تراجع", "up": "أعلى", "yes": "نعم",
    "zero": "صفر", "zoom in": "تكبير", "zoom out": "تصغير",
}  # fmt: skip
WAKE_WORDS = {"heychatterbox": "hey chatterbox", "heycomputer": "hey computer"}  # folders of Precise-Community-Data that are no word
YES_NO = {"1": ("כן", "yes"), "0": ("לא", "no")}


def walk_fsdd(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Free Spoken Digit Dataset: the file's name says digit, speaker and take; takes 0 to 4 are the test."""
    for path in sorted(needed(root / "recordings", "folder").glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        if (int(take) < 5) == (split.name == "test"):
            word = DIGITS[int(digit)]
            yield from spoken_clip(f"recordings/{path.name}", path, word, str(path), "en", word=True, speaker=f"fsdd-{speaker}")


def walk_ar_commands(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Arabic Speech Commands: the folder is the word in English, the file begins with the speaker's number."""
    for where, row in read_table(root / f"{split.name}.csv"):
        path = root / row["file"]
        english = path.parent.name
        speaker = f"ar{path.name.partition('_')[0]}"
        yield from spoken_clip(row["file"], path, ARABIC.get(english, ""), where, "ar", word=True, english=english, speaker=speaker)


def walk_en_keywords(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the wake words of Picovoice's benchmark: the folder is the word."""
    for path in sorted(chain.from_iterable(needed(root / "audio", "folder").glob(f"*/*{end}") for end in (".flac", ".wav"))):
        yield from spoken_clip(f"audio/{path.parent.name}/{path.name}", path, path.parent.name, str(path), "en", word=True)


def _precise_clips(root: Path, languages: tuple[str, ...]) -> Iterator[tuple[str, Path, str, str, str]]:
    """Yield (source, path, words, FILE:LINE, who gave it) of Precise-Community-Data's clips that a waiver names."""
    words: dict[str, str] = {}
    for language in languages:
        table = root / "not-wake-words" / language / "metadata.csv"
        rows = read_table(table, columns=("file", "text", "language", "of")) if table.is_file() else ()
        words.update({f"not-wake-words/{language}/{row['file']}": row["text"] for _, row in rows})
    for waiver in sorted(needed(root / "licenses", "folder").glob("license*-20*.txt")):
        if "into the public domain" not in waiver.read_text(encoding="utf-8"):
            continue
        for where, line in read_lines(waiver):
            folder, _, rest = line.strip().partition("/")
            if rest.partition("/")[0] in languages and rest.endswith(".wav"):
                source = f"{folder}/{rest}"
                said = words.get(source, "") if folder == "not-wake-words" else WAKE_WORDS.get(folder, folder)
                yield source, root / source, said, where, waiver.stem.split("-", 2)[2]


def walk_en_keywords_pd(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the English clips of Precise-Community-Data that their givers put into the public domain, each named in a waiver."""
    for source, path, words, where, giver in _precise_clips(root, ("en", "en-us")):
        yield from spoken_clip(source, path, words, where, "en", word=True, contributor=giver)


def walk_es_words(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Spanish clips of Precise-Community-Data; "hey computer" is English in a Spanish mouth, no clip to tell a language by."""
    for source, path, words, where, giver in _precise_clips(root, ("es",)):
        rows = spoken_clip(source, path, words, where, "es", speaker=f"es-{giver}")
        foreign = source.startswith("heycomputer/")
        yield from (row for row in rows if not (foreign and isinstance(row, Record) and row.family == "language_id"))


def walk_ja_words(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Tofugu's words: the file's name is the word and, between brackets, how it is read."""
    folder = first_of(root, "lib/mp3", "lib/ogg")
    for path in sorted(path for path in folder.iterdir() if path.suffix == f".{folder.name}"):
        word, _, reading = path.stem.partition("【")
        source = f"lib/{folder.name}/{path.name}"
        yield from spoken_clip(source, path, word.strip("〜"), str(path), "ja", reading=reading.strip("】"))


def walk_zh_hsk(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk audio-cmn: hsk/cmn-WORD.mp3 by one voice, syllabs/cmn-PINYIN.mp3 by another; syllables have no words to write."""
    quality = first_of(root, "64k", "96k", "24k-abr", "18k-abr")
    for path in sorted(needed(quality / "hsk", "folder").glob("cmn-*.mp3")):
        source, word = path.relative_to(root).as_posix(), path.stem.removeprefix("cmn-")
        if "_" in word:  # a frame of words with gaps: what is said in the gaps is not told
            yield Entry(source, "no_answer", str(path), "a frame with gaps")
            continue
        yield from spoken_clip(source, path, word, str(path), "zh", speaker="zh-yuetan")
    for path in sorted((quality / "syllabs").glob("cmn-*.mp3")):
        meta = {"speaker": "zh-chenwang", "language": "zh", "pinyin": path.stem.removeprefix("cmn-")}
        yield tagged(path.relative_to(root).as_posix(), path, "language_id", language_name("zh"), where=str(path), meta=meta)


def walk_he_yesno(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Hebrew yes and no of Kaldi: the file's name says the eight words; names that begin with 1 are the test."""
    for path in sorted(needed(root / "waves_yesno", "folder").glob("?_?_?_?_?_?_?_?.wav")):
        if path.name.startswith("1") == (split.name == "test"):
            words = [YES_NO[digit] for digit in path.stem.split("_")]
            hebrew, english = (" ".join(said) for said in zip(*words, strict=True))
            yield from spoken_clip(
                f"waves_yesno/{path.name}", path, hebrew, str(path), "he", english=english, speaker="yesno-m", gender="male"
            )


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="en_fsdd",
        title="Free Spoken Digit Dataset",
        source="https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
        hours=None,
        languages=("en",),
        tasks=(*SPOKEN, "keyword_spotting"),
        splits=(
            Split("train", "train", 2700, "README of the corpus: 3,000 recordings, takes 0 to 4 of 50 are the test"),
            Split("test", "test", 300, "README of the corpus: 3,000 recordings, takes 0 to 4 of 50 are the test"),
        ),
        layout="recordings/{digit}_{speaker}_{take}.wav",
        verified="README of the corpus, sections Organization and Usage",
        walk=walk_fsdd,
    ),
    Recipe(
        name="ar_commands",
        title="Arabic Speech Commands: 40 words by 30 speakers",
        source="https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset",
        licence="CC BY 4.0",
        hours=None,
        languages=("ar",),
        tasks=(*SPOKEN, "keyword_spotting", "s2tt"),
        splits=(
            Split("train", "train", 9600, "description quoted by users: 30 x 10 x 40 clips, 80 %, speakers apart"),
            Split("val", "dev", 1200, "description quoted by users: 30 x 10 x 40 clips, 10 %, speakers apart"),
            Split("test", "test", 1200, "description quoted by users: 30 x 10 x 40 clips, 10 %, speakers apart"),
        ),
        layout="{train,val,test}.csv: file,class\ndataset/{word in English}/{speaker}_NO_{take}.wav",
        verified=f"a user's loader (tables), users' code (folder dataset, number of the speaker, Arabic words), {NAMES}",
        walk=walk_ar_commands,
        notes="The Arabic words are written from the folders' English names. data/splits parts the same clips in another way.",
    ),
    Recipe(
        name="en_keywords",
        title="Wake words of Picovoice's benchmark: six words, more than 50 speakers",
        source="https://github.com/Picovoice/wake-word-benchmark",
        licence="Apache-2.0 (the repository)",
        hours=None,
        languages=("en",),
        tasks=(*SPOKEN, "keyword_spotting"),
        splits=ALL,
        layout="audio/{word}/{name}.{wav,flac}",
        verified="README and files of the repository",
        walk=walk_en_keywords,
        notes="Made to compare engines: whoever trains on it must not be measured by it. Speakers are not named.",
    ),
    Recipe(
        name="en_keywords_pd",
        title="Mycroft's Precise-Community-Data, English, public domain",
        source="https://github.com/MycroftAI/Precise-Community-Data",
        licence="public domain, clip by clip, by the waivers in licenses/",
        hours=None,
        languages=("en",),
        tasks=(*SPOKEN, "keyword_spotting"),
        splits=ALL,
        layout="licenses/license-{date}-{giver}.txt\n{word}/{en,en-us}/{name}.wav\nnot-wake-words/en/metadata.csv\nnot-wake-words/en/{name}.wav",
        verified="README, licenses/*.txt, not-wake-words/*/metadata.csv and files of the repository",
        walk=walk_en_keywords_pd,
        notes="Clips that no waiver names are left alone (heysavant is CC BY-NC-SA); a waiver may name clips that are not there any more.",
    ),
    Recipe(
        name="es_words",
        title="Mycroft's Precise-Community-Data, Spanish, public domain",
        source="https://github.com/MycroftAI/Precise-Community-Data",
        licence="public domain, clip by clip, by the waivers in licenses/",
        hours=None,
        languages=("es",),
        tasks=SPOKEN,
        splits=ALL,
        layout="licenses/license-{date}-{giver}.txt\nheycomputer/es/{name}.wav\nnot-wake-words/es/metadata.csv\nnot-wake-words/es/{name}.wav",
        verified="README, licenses/*.txt, not-wake-words/*/metadata.csv and files of the repository",
        walk=walk_es_words,
    ),
    Recipe(
        name="ja_words",
        title="WaniKani's words by Tofugu: Japanese words by a man and a woman",
        source="https://github.com/tofugu/japanese-vocabulary-pronunciation-audio",
        licence="CC BY-SA 4.0 (credit Tofugu and WaniKani)",
        hours=None,
        languages=("ja",),
        tasks=SPOKEN,
        splits=ALL,
        layout="lib/{mp3,ogg}/{word}【{reading}】.{mp3,ogg}",
        verified=f"README and files of the repository (lib/ogg), {NAMES} (lib/mp3)",
        walk=walk_ja_words,
        notes="Which of the two voices speaks is not told.",
    ),
    Recipe(
        name="zh_hsk",
        title="audio-cmn: Mandarin words of the HSK lists and syllables, two voices",
        source="https://github.com/hugolpz/audio-cmn",
        licence="CC BY-SA (Yue Tan, Chen Wang; version not stated)",
        hours=None,
        languages=("zh",),
        tasks=SPOKEN,
        splits=ALL,
        layout="{64k,96k,24k-abr,18k-abr}/hsk/cmn-{word}.mp3\n{64k,24k-abr,18k-abr}/syllabs/cmn-{pinyin and tone}.mp3",
        verified="README and files of the repository",
        walk=walk_zh_hsk,
        notes="The first quality that is there is walked, from 64k on.",
    ),
    Recipe(
        name="he_yesno",
        title="Kaldi's yesno: Hebrew yes and no, eight a clip, one man",
        source="https://www.openslr.org/1/",
        licence="free to use, no formal licence",
        hours=None,
        languages=("he",),
        tasks=(*SPOKEN, "s2tt", "gender"),
        splits=(
            Split("train", "train", 31, "README of keighrim/kaldi-yesno-tutorial: 60 files, 31 that begin with 0"),
            Split("test", "test", 29, "README of keighrim/kaldi-yesno-tutorial: 60 files, those that begin with 1"),
        ),
        layout="waves_yesno/{0,1}_{0,1}_{0,1}_{0,1}_{0,1}_{0,1}_{0,1}_{0,1}.wav",
        verified="README of keighrim/kaldi-yesno-tutorial (1 is ken, yes; 0 is lo, no)",
        walk=walk_he_yesno,
        notes="For experiments: without a formal licence the bundled model leaves it out.",
    ),
)
