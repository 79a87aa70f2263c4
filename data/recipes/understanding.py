"""Walk sets of what is meant in speech: intents, slots and named entities."""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Parquet, Recipe, Split
from data.recipes.languages import language_of
from data.recipes.transcripts import lost_file
from data.recipes.walking import Audio, needed, read_json, read_json_lines, read_lines, read_table, tagged
from qwen_audio.errors import DataError
from tag_schema.answers import Entity, Intent, write_entities, write_intent
from tag_schema.vocabulary import TagError

# The classes that SLUE scores: those of OntoNotes joined, five of them left out.
SLUE_TYPES = {
    "DATE": "WHEN", "TIME": "WHEN", "CARDINAL": "QUANT", "ORDINAL": "QUANT", "QUANTITY": "QUANT", "MONEY": "QUANT", "PERCENT": "QUANT",
    "GPE": "PLACE", "LOC": "PLACE", "NORP": "NORP", "ORG": "ORG", "LAW": "LAW", "PERSON": "PERSON",
}  # fmt: skip
SLUE_LEFT_OUT = frozenset({"FAC", "EVENT", "WORK_OF_ART", "PRODUCT", "LANGUAGE"})
AISHELL_TYPES = {"[": "PER", "(": "LOC", "<": "ORG"}
_AISHELL_ENTITY = re.compile(r"\[([^\[\]()<>]+)\]|\(([^\[\]()<>]+)\)|<([^\[\]()<>]+)>")
_MINDS14_PATH = re.compile(r"([a-z]{2}-[A-Z]{2})~(\w+)/[\w-]+(?=\.\w+$)")
TEST_EVERY = 5  # one speaker or recording of so many is the test, where a corpus has no official split


def meanings(
    source: str, audio: Audio, where: str, meta: Mapping[str, Any], language: str,
    intent: Intent | None = None, slots: Iterable[Entity] | None = None, entities: Iterable[Entity] | None = None,
) -> Iterator[Record | Entry]:  # fmt: skip
    """Yield what is known of one utterance, each in the form of its task; None where its corpus does not say."""
    if isinstance(audio, Path) and (gone := lost_file(source, audio, where)):
        yield gone
        return
    kept = {**meta, "language": language}
    try:
        answers = [("intent", write_intent(intent))] if intent is not None else []
        answers += [(name, write_entities(found)) for name, found in (("slot_filling", slots), ("entity", entities)) if found is not None]
    except TagError as error:
        yield Entry(source, "bad_row", where, str(error))
        return
    for family, answer in answers:
        yield tagged(source, audio, family, answer, where=where, meta=kept, language=language)


def walk_slurp(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk SLURP: a sentence with its intent and entities a line, and the recordings of it, by headset and from afar."""
    table = root / "dataset" / "slurp" / f"{split.name}.jsonl"
    folder = needed(root / "audio" / ("slurp_synth" if split.name == "train_synthetic" else "slurp_real"), "folder")
    speakers = _slurp_speakers(root / "dataset" / "slurp" / "metadata.json")
    seen: set[str] = set()
    for where, row in read_json_lines(table):
        words = [token["surface"] for token in row["tokens"]]
        slots = [Entity(item["type"], " ".join(words[place] for place in item["span"])) for item in row["entities"]]
        for recording in row["recordings"]:
            source = Path(recording["file"]).stem
            if source in seen:
                yield Entry(source, "duplicate_id", where, "the recording is listed twice")
                continue
            seen.add(source)
            speaker = speakers.get(recording["file"], "")
            microphone = "headset" if source.endswith("-headset") else "distant"
            meta = {"speaker": speaker and f"slurp-{speaker}", "gender": {"F": "female", "M": "male"}.get(speaker[:1])}
            meta |= {"microphone": microphone, "sentence": str(row["slurp_id"])}
            intent = Intent(row["action"], row["scenario"])
            yield from meanings(source, folder / recording["file"], where, meta, "en", intent=intent, slots=slots)


def _slurp_speakers(path: Path) -> dict[str, str]:
    """Read who speaks each recording (FO-488: a woman, not a native speaker); {} where the table is missing."""
    if not path.is_file():
        return {}
    return {file: str(who.get("usrid", "")) for row in read_json(path).values() for file, who in row["recordings"].items()}


def walk_fluent_speech_commands(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Fluent Speech Commands: action, object and place make one of 31 intents; "none" is left out of it."""
    base = root / "fluent_speech_commands_dataset" if (root / "fluent_speech_commands_dataset").is_dir() else root
    for where, row in read_table(base / "data" / f"{split.name}_data.csv"):
        intent = Intent(" ".join(row[name] for name in ("action", "object", "location") if row[name] != "none"))
        meta = {"speaker": f"fsc-{row['speakerId']}", "text": row["transcription"]}
        yield from meanings(Path(row["path"]).stem, base / row["path"], where, meta, "en", intent=intent)


def _minds14(name: str, audio: Audio, where: str, split: Split, text: str) -> Iterator[Record | Entry]:
    """Yield the intent that the path of a clip of MInDS-14 says: en-US~APP_ERROR/response_4.wav."""
    match = _MINDS14_PATH.search(name)
    if match is None:
        yield Entry(name, "bad_row", where, "expected a path such as en-US~APP_ERROR/response_4.wav")
    elif (zlib.crc32(match[0].encode()) % TEST_EVERY == 0) == (split.role == "test"):
        meta = {"accent": match[1], "text": text}
        yield from meanings(match[0], audio, where, meta, language_of(match[1]), intent=Intent(match[2].lower()))


def walk_minds14(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk MInDS-14: a table a language, folders by language and intent; all 14 languages that are there."""
    tables = sorted(needed(root / "text", "folder").glob("*.csv"))
    if not tables:
        raise DataError(f"{root / 'text'}: no tables here, expected en-US.csv and others; unpack text.zip into it")
    for table in tables:
        for where, row in read_table(table):
            yield from _minds14(row["filepath"], root / "audio" / row["filepath"], where, split, row.get("text_asr", ""))


def read_minds14(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the parquet copy of MInDS-14, whose one part is split as the walk splits."""
    yield from _minds14(str(row["path"]), audio, where, split, str(row.get("transcription") or ""))


def walk_snips_lights(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the SmartLights corpus of Snips: sentences with intent and slots, and one recording of each by a paid worker."""
    corpus = root / "speech_corpus"
    said = {" ".join(item["text"].split()): item for item in read_json(corpus / "metadata.json").values()}
    table = root / "dataset.json"
    for intent, group in read_json(table)["intents"].items():
        for number, utterance in enumerate(group["utterances"]):
            sentence = " ".join("".join(part["text"] for part in utterance["data"]).split())
            where = f"{table}:{intent}[{number}]"
            if sentence not in said:
                yield Entry(sentence, "no_file", where, "nobody was recorded saying it")
                continue
            item = said[sentence]
            worker = str((item.get("worker") or {}).get("id") or item["filename"])
            if (zlib.crc32(worker.encode()) % TEST_EVERY == 0) != (split.role == "test"):
                continue
            slots = [Entity(part["slot_name"], part["text"]) for part in utterance["data"] if part.get("slot_name")]
            audio, meta = corpus / "audio" / item["filename"], {"speaker": f"snips-{worker}"}
            yield from meanings(Path(item["filename"]).stem, audio, where, meta, "en", intent=Intent(intent), slots=slots)


def walk_audio_snips(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Audio SNIPS, the sentences of SNIPS read by 16 synthetic voices: words, a mark for each, and the intent behind them."""
    base = root / "SNIPS" if (root / "SNIPS").is_dir() else root
    folder = needed(base / split.name, "folder")
    for where, line in read_lines(base / "all.iob.snips.txt"):
        name, _, rest = line.partition(" ")
        text, _, marked = rest.partition("\t")
        words, marks = text.split()[1:-1], marked.split()  # BOS .. EOS; a mark for each, the intent in the place of EOS'
        if f"-{split.name}-" not in f"{name}-":
            continue
        if len(marks) != len(words) + 2:
            yield Entry(name, "bad_row", where, f"{len(words)} words and {len(marks) - 2} marks")
            continue
        audio = next((path for path in (folder / f"{name}.{ending}" for ending in ("mp3", "wav")) if path.is_file()), None)
        if audio is None:
            yield Entry(name, "no_file", where, str(folder / f"{name}.mp3"))
            continue
        meta = {"speaker": f"polly-{name.split('-')[0]}"}
        yield from meanings(name, audio, where, meta, "en", intent=Intent(marks[-1]), slots=chunks(words, marks[1:-1]))


def chunks(words: Sequence[str], marks: Sequence[str]) -> list[Entity]:
    """Join words by their marks: B-TYPE begins a chunk, I-TYPE goes on with it, O is none."""
    found: list[Entity] = []
    before = ""
    for word, mark in zip(words, marks, strict=True):
        kind = mark[2:]
        if mark[:2] == "I-" and before == kind:
            found[-1] = Entity(kind, f"{found[-1].value} {word}")
        elif mark[:2] in ("B-", "I-"):
            found.append(Entity(kind, word))
        before = kind
    return found


def walk_slue_voxpopuli(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk SLUE-VoxPopuli: a table a split with entities as [TYPE, first character, length] of the normalised text."""
    name = split.name
    tables = [root / f"slue-voxpopuli_{name}{ending}.tsv" for ending in ("", "_blind")]
    table = next((path for path in tables if path.is_file()), tables[0])
    folder = needed(root / name, "folder")
    for where, row in read_table(table, delimiter="\t", quoted=False):
        if "normalized_ner" not in row:
            yield Entry(row["id"], "no_answer", where, "the table without answers; those of the test were published in 2024")
            continue
        yield from _slue(row, folder / f"{row['id']}.ogg", where, row["normalized_ner"])


def read_slue(row: Mapping[str, Any], audio: str, split: Split, where: str) -> Iterator[Record | Entry]:
    """Read a row of the parquet copy of SLUE-VoxPopuli."""
    yield from _slue(row, audio, where, row["normalized_ner"])


def _slue(row: Mapping[str, Any], audio: Audio, where: str, marks: Any) -> Iterator[Record | Entry]:
    source, text = str(row["id"]), str(row["normalized_text"])
    try:
        spans = sorted((int(start), int(length), str(kind)) for kind, start, length in _spans(marks))
    except (ValueError, SyntaxError, TypeError, KeyError) as error:
        yield Entry(source, "bad_row", where, f"the entities are {str(marks)[:80]!r} ({error})")
        return
    strange = sorted({kind for _, _, kind in spans} - set(SLUE_TYPES) - SLUE_LEFT_OUT)
    if strange or any(start + length > len(text) for start, length, _ in spans):
        yield Entry(source, "bad_row", where, f"types {strange}, or entities behind the end of the text")
        return
    kept = [(SLUE_TYPES[kind], text[start : start + length]) for start, length, kind in spans if kind in SLUE_TYPES]
    entities = [Entity(kind, words.strip(" .,!?;")) for kind, words in kept]
    yield from meanings(source, audio, where, {"speaker": f"voxpopuli-{row['speaker_id']}"}, "en", entities=entities)


def _spans(marks: Any) -> list[tuple[Any, Any, Any]]:
    """Read entities as the tables write them (text), or as parquet holds them (a list of rows, or a row of lists)."""
    value = ast.literal_eval(marks or "[]") if isinstance(marks, str) else marks
    if isinstance(value, Mapping):
        return list(zip(value["type"], value["start"], value["length"], strict=True))
    return [(item["type"], item["start"], item["length"]) if isinstance(item, Mapping) else tuple(item) for item in value or []]


def walk_aishell_ner(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AISHELL-NER: AISHELL-1's transcripts with persons in [], places in () and organisations in <>."""
    folder = needed(root / "data_aishell" / "wav" / split.name, "folder")
    for where, line in read_lines(root / "data" / f"aishell_ner_transcript.{split.name}.txt"):
        name, _, text = line.strip().partition(" ")
        entities = [Entity(AISHELL_TYPES[match[0][0]], match[0][1:-1]) for match in _AISHELL_ENTITY.finditer(text)]
        if set("[]()<>") & set(_AISHELL_ENTITY.sub("", text)):
            yield Entry(name, "bad_row", where, "a mark that is not closed, or one inside another")
            continue
        speaker = name[6:11]  # BAC009S0002W0122
        yield from meanings(name, folder / speaker / f"{name}.wav", where, {"speaker": f"aishell1-{speaker}"}, "zh", entities=entities)


_SLUE = "README of asappresearch/slue-toolkit"
_NO_SPLIT = "The corpus has no official split"
_MINDS_LANGUAGES = ("cs", "de", "en", "es", "fr", "it", "ko", "nl", "pl", "pt", "ru", "zh")

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="slurp",
        title="SLURP: requests to a home assistant, in 18 scenarios",
        source="https://github.com/pswietojanski/slurp, audio: https://zenodo.org/records/4274930",
        licence="CC BY 4.0 (text), CC BY-NC 4.0 (audio)",
        hours=None,
        languages=("en",),
        tasks=("intent", "slot_filling"),
        splits=(Split("train", "train"), Split("train_synthetic", "train"), Split("devel", "dev"), Split("test", "test")),
        layout=(
            "dataset/slurp/{train,train_synthetic,devel,test}.jsonl\n"
            "dataset/slurp/metadata.json\n"
            "audio/slurp_real/*.flac\n"
            "audio/slurp_synth/*.flac"
        ),
        verified="README and devel.jsonl of pswietojanski/slurp; ESPnet, egs2/slurp/asr1/local/prepare_slurp_data.py",
        walk=walk_slurp,
        notes=(
            "Each recording is a row: headset and distant microphone of one reading are two, told apart by meta. Recordings that its "
            "authors' recogniser did not read as written (wer in the table) are kept, as in their paper. train_synthetic holds the "
            "sentences of 64 % of test and of 65 % of devel (issue 5 of its repository): leave it out where you compare."
        ),
    ),
    Recipe(
        name="fluent_speech_commands",
        title="Fluent Speech Commands: 31 intents of a smart home",
        source="https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research",
        licence="academic research, by its own terms (not verified)",
        hours=None,
        languages=("en",),
        tasks=("intent",),
        splits=(Split("train", "train"), Split("valid", "dev"), Split("test", "test")),
        layout="data/{train,valid,test}_data.csv\nwavs/speakers/{speaker}/{name}.wav",
        verified="torchaudio, datasets/fluentcommands.py; lhotse 1.33, recipes/slu.py",
        walk=walk_fluent_speech_commands,
        notes="30,043 utterances by 97 speakers in all. An intent is action, object and place, written one behind the other.",
    ),
    Recipe(
        name="minds14",
        title="MInDS-14: 14 intents of a bank's customers, in 14 language varieties",
        source="https://huggingface.co/datasets/PolyAI/minds14",
        licence="CC BY 4.0",
        hours=None,
        languages=_MINDS_LANGUAGES,
        tasks=("intent",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="audio/{code}~{INTENT}/response_{n}.wav (audio.zip)\ntext/{code}.csv (text.zip)",
        verified="ESPnet, egs2/minds14/asr1/local (columns filepath, text_asr, intent); card and files of PolyAI/minds14 on the hub",
        walk=walk_minds14,
        parquet=Parquet(
            hub="PolyAI/minds14",
            files={"train": "*-*/train-*.parquet", "test": "*-*/train-*.parquet"},
            read_row=read_minds14,
            verified="pull request 23 of PolyAI/minds14 (names of the files), discussion 38 (form of path)",
        ),
        notes=f"{_NO_SPLIT} and names no speakers: one recording of five, by a hash of its path, is the test.",
    ),
    Recipe(
        name="snips_smart_lights",
        title="Snips SmartLights, near microphone: six intents with slots",
        source="https://github.com/sonos/spoken-language-understanding-research-datasets",
        licence="research, by a form that is to be signed; no commercial use",
        hours=None,
        languages=("en",),
        tasks=("intent", "slot_filling"),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="dataset.json\nspeech_corpus/metadata.json\nspeech_corpus/audio/{file}.wav",
        verified="dataset.py of the repository; ESPnet, egs2/snips/asr1/local/data_prep.py",
        walk=walk_snips_lights,
        notes=f"{_NO_SPLIT} (it is meant for cross-validation): one worker of five, by a hash, is the test.",
    ),
    Recipe(
        name="audio_snips",
        title="Audio SNIPS: the sentences of SNIPS read by 16 synthetic voices",
        source="https://github.com/aws-samples/aws-lex-noisy-spoken-language-understanding",
        licence="that of its repository (not verified)",
        hours=None,
        languages=("en",),
        tasks=("intent", "slot_filling"),
        splits=(Split("train", "train"), Split("valid", "dev"), Split("test", "test")),
        layout="SNIPS/all.iob.snips.txt\nSNIPS/{train,valid,test}/{voice}-snips-{split}-{n}.mp3",
        verified="torchaudio, datasets/snips.py",
        walk=walk_audio_snips,
        notes="Speech of a synthesiser (Amazon Polly). SUPERB uses it with some of the voices kept for its test: meta names the voice.",
    ),
    Recipe(
        name="slue_voxpopuli",
        title="SLUE-VoxPopuli: named entities in the European Parliament",
        source="https://asappresearch.github.io/slue-toolkit",
        licence="CC0 1.0",
        hours=24.4,
        languages=("en",),
        tasks=("entity",),
        splits=(
            Split("fine-tune", "train", 5_000, _SLUE),
            Split("dev", "dev", 1_753, _SLUE),
            Split("test", "test", 1_842, _SLUE),
        ),
        layout="slue-voxpopuli_{fine-tune,dev,test}.tsv (test_blind without answers)\n{fine-tune,dev,test}/{id}.ogg",
        verified="asappresearch/slue-toolkit: README, prepare/prepare_voxpopuli.py, prepare/data_utils.py",
        walk=walk_slue_voxpopuli,
        parquet=Parquet(
            hub="asapp/slue",
            files={"fine-tune": "voxpopuli/train-*.parquet", "dev": "voxpopuli/validation-*.parquet", "test": "voxpopuli/test-*.parquet"},
            read_row=read_slue,
            verified="README of asapp/slue on the hub (files); the form of normalized_ner: not verified, both usual ones are read",
        ),
        notes=(
            "Types are the seven that SLUE scores; five of the eighteen are left out, as there. A part of VoxPopuli: keep its dev and test "
            "out of a mixture with VoxPopuli by their ids."
        ),
    ),
    Recipe(
        name="aishell_ner",
        title="AISHELL-NER: persons, places and organisations in AISHELL-1",
        source="https://github.com/Alibaba-NLP/AISHELL-NER, over https://www.openslr.org/33",
        licence="Apache 2.0 (recordings); the page of the labels names none",
        hours=None,
        languages=("zh",),
        tasks=("entity",),
        splits=(Split("train", "train"), Split("dev", "dev"), Split("test", "test")),
        layout="data/aishell_ner_transcript.{train,dev,test}.txt\ndata_aishell/wav/{train,dev,test}/{speaker}/{name}.wav",
        verified="README and transcripts (dev, test) of Alibaba-NLP/AISHELL-NER",
        walk=walk_aishell_ner,
        notes="Labels over AISHELL-1, with its splits: the recordings of its test are those of the recognition benchmark.",
    ),
)
