"""Walk sets of Mandarin speech with transcripts: AISHELL-1, AISHELL-2, WenetSpeech."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import AudioRef, Record
from data.recipe import Recipe, Split
from data.recipes.large_json import listed_under
from data.recipes.transcripts import Speech, chinese_form, gender_of, kaldi_table, speech_records
from data.recipes.walking import needed, read_lines
from qwen_audio.errors import DataError


def walk_aishell1(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AISHELL-1: one transcript of all splits; recordings that it leaves out have a line of account."""
    corpus = root / "data_aishell" if (root / "data_aishell").is_dir() else root
    texts = kaldi_table(corpus / "transcript" / "aishell_transcript_v0.8.txt")
    info = corpus.parent / "resource_aishell" / "speaker.info"  # "0002 F" or "S0002 F"
    genders = {key.lstrip("S"): gender_of(sex) for key, sex in kaldi_table(info).items()} if info.is_file() else {}
    for path in sorted(needed(corpus / "wav" / split.name, "folder").glob("*/*.wav")):
        speaker = path.parent.name
        meta = {"speaker": f"aishell1-{speaker}", "gender": genders.get(speaker.lstrip("S"))}
        speech = Speech(
            source=path.stem, audio=path, where=str(path), code="zh", spoken=chinese_form(texts.get(path.stem, "")), meta=meta
        )  # fmt: skip
        yield from speech_records(speech, ("gender",), checked=True)


def _aishell2_folder(root: Path, split: Split) -> Path:
    """Find a split of AISHELL-2: train is iOS/data, "dev/iOS" and its like lie in the zip of evaluation sets, or beside the training."""
    part, _, channel = split.name.partition("/")
    if part == "train":
        places = [root / "AISHELL-2" / "iOS" / "data", root / "iOS" / "data"]
    else:
        places = [root / "AISHELL-DEV-TEST-SET" / channel / part, root / channel / part, root / "AISHELL-2" / channel / part]
    found = next((place for place in places if (place / "trans.txt").is_file()), None)
    if found is None:
        raise DataError(f"{root}: no trans.txt of {split.name}; looked for {', '.join(str(p.relative_to(root)) for p in places)}")
    return found


def walk_aishell2(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AISHELL-2: wav.scp (or the folders themselves) and trans.txt, tab separated."""
    folder = _aishell2_folder(root, split)
    scp = folder / "wav.scp"
    paths = {key: folder / value for key, value in kaldi_table(scp).items()} if scp.is_file() else {}
    channel = split.name.partition("/")[2] or "iOS"
    for where, line in read_lines(folder / "trans.txt"):
        name, *words = line.split()
        path = paths.get(name) or folder / "wav" / name[1:6] / f"{name}.wav"  # IC0001W0061 lies in wav/C0001
        meta = {"speaker": f"aishell2-{path.parent.name}", "channel": channel}
        text = chinese_form(" ".join(words))
        yield from speech_records(Speech(source=name, audio=path, where=where, code="zh", spoken=text, meta=meta))


def walk_wenetspeech(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the segments of one subset of WenetSpeech.json; each is a stretch of a long recording."""
    for where, talk in listed_under(root / "WenetSpeech.json", "audios"):
        segments = [segment for segment in talk["segments"] if split.name in segment["subsets"]]
        if not segments:
            continue
        path = root / talk["path"]
        there = path.is_file()
        for segment in segments:
            start, end = float(segment["begin_time"]), float(segment["end_time"])
            if end <= start:
                yield Entry(segment["sid"], "empty_audio", where, f"from {start} to {end} s")
                continue
            speech = Speech(
                source=segment["sid"], audio=AudioRef(str(path), start, round(end - start, 3)), where=where, code="zh",
                spoken=chinese_form(segment["text"]), meta={"recording": talk["aid"]},
            )  # fmt: skip
            yield from speech_records(speech, checked=there)


_RESULTS = "sentences in ESPnet's table of results (egs2/{}/asr1/README.md)"
_KALDI = "the authors' pull request of the recipe to Kaldi (#2398): dev 2,500 utterances of 5 speakers, test 5,000 of 10"
RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="aishell1",
        title="AISHELL-1: read Mandarin",
        source="https://www.openslr.org/33",
        licence="Apache 2.0",
        hours=178.0,
        languages=("zh",),
        tasks=("asr", "gender"),
        splits=(
            Split("train", "train", 120_098, "141,600 lines of the transcript without dev and test; READMEs of recipes on GitHub"),
            Split("dev", "dev", 14_326, _RESULTS.format("aishell")),
            Split("test", "test", 7_176, _RESULTS.format("aishell")),
        ),
        layout="data_aishell/wav/{split}/{speaker}/{utterance}.wav\ndata_aishell/transcript/aishell_transcript_v0.8.txt\n"
        "resource_aishell/speaker.info",
        verified="lhotse's recipe aishell; speaker.info: scripts of other projects that read it",
        walk=walk_aishell1,
        notes="Unpack the archives of speakers inside wav/ first. 141,925 recordings, of which 141,600 have a transcript: "
        "the others are accounted for as empty_text.",
    ),
    Recipe(
        name="aishell2",
        title="AISHELL-2: read Mandarin, iOS channel; evaluation on iOS, Android and microphone",
        source="https://www.aishelltech.com/aishell_2",
        licence="academic research, by agreement",
        hours=1_000.0,
        languages=("zh",),
        tasks=("asr",),
        splits=(
            Split("train", "train"),
            *(Split(f"dev/{channel}", "dev", 2_500, _KALDI) for channel in ("iOS", "Android", "Mic")),
            *(Split(f"test/{channel}", "test", 5_000, _KALDI) for channel in ("iOS", "Android", "Mic")),
        ),
        layout="AISHELL-2/iOS/data/{wav.scp,trans.txt,wav/{speaker}/{utterance}.wav}\n"
        "AISHELL-DEV-TEST-SET/{iOS,Android,Mic}/{dev,test}/{wav.scp,trans.txt,wav/{speaker}/{utterance}.wav}",
        verified="lhotse's recipe aishell2; ESPnet's and WeNet's scripts for the evaluation sets",
        walk=walk_aishell2,
        notes="A form is to be signed for the training part. The three channels record the same sentences at once; "
        "10 speakers in the test: cluster by speaker.",
    ),
    Recipe(
        name="wenetspeech",
        title="WenetSpeech: Mandarin of YouTube and podcasts",
        source="https://github.com/wenet-e2e/WenetSpeech",
        licence="non-commercial, by agreement",
        hours=10_005.0,
        languages=("zh",),
        tasks=("asr",),
        splits=(
            *(Split(name, "train") for name in ("S", "M", "L")),
            Split("DEV", "dev", 13_825, _RESULTS.format("wenetspeech")),
            Split("TEST_NET", "test", 24_774, _RESULTS.format("wenetspeech")),
            Split("TEST_MEETING", "test", 8_370, _RESULTS.format("wenetspeech")),
        ),
        layout="WenetSpeech.json\naudio/{part}/{source}/{folder}/{recording}.opus",
        verified="lhotse's recipe wenet_speech; the corpus' README (subsets and hours)",
        walk=walk_wenetspeech,
        notes="A form is to be signed. L holds M, which holds S: prepare one of them. Labels of the training part are not human.",
    ),
)
