"""Walk meetings and conversations of several people: AMI, AISHELL-4, AliMeeting, VoxConverse."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.prepared import spoken_form
from data.recipes.transcripts import MARKUP, chinese_form
from data.recipes.walking import needed, read_lines
from data.recipes.windows import Utterance, meeting_records
from qwen_audio.errors import DataError

# The partition "full-corpus-asr" of the corpus' site: meetings whose names begin so; all others are for training.
AMI_DEV = ("ES2011", "IS1008", "TS3004", "IB4001", "IB4002", "IB4003", "IB4004", "IB4010", "IB4011")
AMI_TEST = ("ES2004", "IS1009", "TS3003", "EN2002")
AMI_UNUSED = ("IB4005",)
AMI_PAUSE_S = 0.3  # a longer silence between words of one speaker begins a new utterance


def ami_split(meeting: str) -> str:
    """Return the split of a meeting of AMI; empty for the one that no split has."""
    if meeting.startswith(AMI_UNUSED):
        return ""
    return "dev" if meeting.startswith(AMI_DEV) else "test" if meeting.startswith(AMI_TEST) else "train"


def ami_words(path: Path) -> list[tuple[float, float, str]]:
    """Read words/MEETING.AGENT.words.xml: (start, end, word) in seconds; punctuation and words without times are left out.

    Raises:
        DataError: the file is not XML.
    """
    try:
        tree = ElementTree.parse(path)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not XML ({error})") from error
    found = []
    for word in tree.getroot():
        start, end, text = word.get("starttime"), word.get("endtime"), spoken_form(word.text or "")
        if word.tag == "w" and start and end and text and word.get("punc") != "true" and float(end) >= float(start):
            found.append((float(start), float(end), text))
    return sorted(found)


def _joined(speaker: str, words: list[tuple[float, float, str]]) -> Iterator[Utterance]:
    """Join the words of one speaker to utterances, anew behind each pause."""
    group: list[tuple[float, float, str]] = []
    for word in [*words, None]:
        if group and (word is None or word[0] - group[-1][1] > AMI_PAUSE_S):
            end = max(group[-1][1], group[0][0] + 0.01)
            yield Utterance(speaker, group[0][0], end, " ".join(text for _, _, text in group))
            group = []
        if word is not None:
            group.append(word)


def walk_ami(root: Path, split: Split, *, microphone: str) -> Iterator[Record | Entry]:
    """Walk AMI by its manual annotations 1.6.2: words with times, one file a meeting and participant.

    Args:
        microphone: the end of the recording's name: Mix-Headset, Array1-01.
    """
    meetings = ElementTree.parse(needed(root / "corpusResources" / "meetings.xml")).getroot()
    folder = next((path for name in ("amicorpus", "wav_db") if (path := root / name).is_dir()), root)
    for meeting in meetings:
        name = meeting.get("observation", "")
        if ami_split(name) != split.name:
            continue
        utterances: list[Utterance] = []
        for participant in meeting:
            words = root / "words" / f"{name}.{participant.get('nxt_agent')}.words.xml"
            speaker = participant.get("global_name", "")
            if words.is_file():
                utterances += _joined(speaker, ami_words(words))
            else:
                yield Entry(f"{name}.{participant.get('nxt_agent')}", "no_file", str(words), "the participant's words are missing")
        audio = folder / name / "audio" / f"{name}.{microphone}.wav"
        yield from meeting_records(name, audio, str(root / "words" / name), "en", utterances, {"microphone": microphone})


_TIER = re.compile(
    r'\bname = "(?P<name>(?:[^"]|"")*)"|\bxmin = (?P<start>[-\d.eE+]+)\s+xmax = (?P<end>[-\d.eE+]+)\s+text = "(?P<text>(?:[^"]|"")*)"'
)


def read_textgrid(path: Path) -> Iterator[tuple[str, float, float, str]]:
    """Yield (tier, start, end, text) of the intervals of a Praat TextGrid in its long form, those without text left out.

    Raises:
        DataError: it has no tiers.
    """
    raw = needed(path).read_bytes()
    content = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    tier = None
    for match in _TIER.finditer(content):
        if match["name"] is not None:
            tier = match["name"].replace('""', '"')
        elif tier is not None and match["text"].strip():
            yield tier, float(match["start"]), float(match["end"]), match["text"].replace('""', '"')
    if tier is None:
        raise DataError(f'{path}: no tier (name = ".."); expected a TextGrid in its long form')


def _textgrid_records(session: str, audio: Path, textgrid: Path, speaker_field: int = 0) -> Iterator[Record | Entry]:
    """Yield the windows of one meeting; speaker_field: which part of a tier's name, cut at _, is the speaker."""
    utterances = []
    for number, (tier, start, end, text) in enumerate(read_textgrid(textgrid)):
        words = chinese_form(MARKUP.sub(" ", text))
        if end <= start:
            yield Entry(f"{session}.{tier}.{number}", "empty_audio", str(textgrid), f"from {start} to {end} s: {text[:40]}")
        elif words:
            utterances.append(Utterance(tier.split("_")[speaker_field], start, end, words))
    yield from meeting_records(session, audio, str(textgrid), "zh", utterances)


def walk_aishell4(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AISHELL-4: eight channels of one array, a TextGrid a meeting with a tier a speaker."""
    for textgrid in sorted(needed(root / split.name / "TextGrid", "folder").glob("*.TextGrid")):
        audio = root / split.name / "wav" / f"{textgrid.stem}.flac"
        yield from _textgrid_records(textgrid.stem, audio, textgrid)


def walk_alimeeting(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the far-field part of AliMeeting: MEETING_ARRAY.wav of eight channels, a tier MEETING_GENDER_SPEAKER a speaker."""
    name = f"{split.name}_Ali_far"
    folder = next((path for path in (root / name, root / f"{split.name}_Ali" / name) if path.is_dir()), root / name)
    for textgrid in sorted(needed(folder / "textgrid_dir", "folder").glob("*.TextGrid")):
        found = sorted((folder / "audio_dir").glob(f"{textgrid.stem}*.wav"))
        audio = found[0] if found else folder / "audio_dir" / f"{textgrid.stem}.wav"
        yield from _textgrid_records(textgrid.stem, audio, textgrid, speaker_field=-1)


def read_rttm(path: Path) -> dict[str, list[Utterance]]:
    """Read RTTM (SPEAKER file channel start duration <NA> <NA> speaker ..): file -> turns, without text."""
    turns: dict[str, list[Utterance]] = defaultdict(list)
    for where, line in read_lines(path):
        fields = line.split()
        if fields[0] == "SPEAKER":
            if len(fields) < 8:
                raise DataError(f"{where}: {len(fields)} fields, expected SPEAKER file channel start duration <NA> <NA> speaker")
            start, length = float(fields[3]), float(fields[4])
            turns[fields[1]].append(Utterance(fields[7], start, start + length))
    return turns


def walk_voxconverse(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk VoxConverse: an RTTM a recording in dev/ and test/; the recordings as unpacked from their archives or beside the RTTM."""
    places = {"dev": ("audio", "dev", "dev/audio"), "test": ("voxconverse_test_wav", "test", "test/voxconverse_test_wav")}
    for rttm in sorted(needed(root / split.name, "folder").glob("*.rttm")):
        paths = [root / place / f"{rttm.stem}.wav" for place in places[split.name]]
        audio = next((path for path in paths if path.is_file()), paths[0])
        for session, turns in read_rttm(rttm).items():
            spoken = [turn for turn in turns if turn.end_s > turn.start_s]
            yield from meeting_records(session, audio, str(rttm), "en", spoken)


_AMI_LIST = "partition full-corpus-asr of the corpus' site, as lhotse's recipe ami lists it"
_AMI_SPLITS = (Split("train", "train", 136, _AMI_LIST), Split("dev", "dev", 18, _AMI_LIST), Split("test", "test", 16, _AMI_LIST))
_ALI = "documentation of lhotse's recipe ali_meeting, after the challenge M2MeT"
_WINDOWS = "Cut into windows of at most 30 s where nobody speaks; stretches without a common pause are lost to recognition (too_long), "


def _ami(name: str, title: str, microphone: str) -> Recipe:
    return Recipe(
        name=name,
        title=f"AMI meetings, {title}",
        source="https://groups.inf.ed.ac.uk/ami/corpus",
        licence="CC BY 4.0 (not verified)",
        hours=None,
        languages=("en",),
        tasks=("overlapped_asr", "asr", "diarization"),
        splits=_AMI_SPLITS,
        layout=f"amicorpus/{{meeting}}/audio/{{meeting}}.{microphone}.wav\nwords/{{meeting}}.{{agent}}.words.xml\n"
        "corpusResources/meetings.xml",
        verified="lhotse's recipe ami (manual annotations 1.6.2, unpacked into root)",
        walk=partial(walk_ami, microphone=microphone),
        notes=f"{_WINDOWS}not to diarisation. Counts are of meetings. Texts without punctuation, in lower case.",
    )


RECIPES: tuple[Recipe, ...] = (
    _ami("ami", "all headsets mixed", "Mix-Headset"),
    _ami("ami_sdm", "one distant microphone", "Array1-01"),
    Recipe(
        name="aishell4",
        title="AISHELL-4: Mandarin meetings of four to eight people, far field",
        source="https://www.openslr.org/111",
        licence="CC BY-SA 4.0 (not verified)",
        hours=120.0,
        languages=("zh",),
        tasks=("overlapped_asr", "asr", "diarization"),
        splits=(Split("train_L", "train"), Split("train_M", "train"), Split("train_S", "train"), Split("test", "test")),
        layout="{split}/wav/{meeting}.flac\n{split}/TextGrid/{meeting}.TextGrid",
        verified="lhotse's recipe aishell4 (211 meetings in all)",
        walk=walk_aishell4,
        notes=f"{_WINDOWS}not to diarisation. Eight channels are averaged into one when they are read. "
        "Names of speakers hold within a meeting.",
    ),
    Recipe(
        name="alimeeting",
        title="AliMeeting: Mandarin meetings of two to four people, far field",
        source="https://www.openslr.org/119",
        licence="CC BY-SA 4.0 (not verified)",
        hours=118.75,
        languages=("zh",),
        tasks=("overlapped_asr", "asr", "diarization"),
        splits=(Split("Train", "train", 212, _ALI), Split("Eval", "dev", 8, _ALI), Split("Test", "test", 20, _ALI)),
        layout="Train_Ali_far/{audio_dir,textgrid_dir}\nEval_Ali/Eval_Ali_far/{audio_dir/{meeting}_{array}.wav,textgrid_dir/{meeting}.TextGrid}\n"
        "Test_Ali/Test_Ali_far/{audio_dir,textgrid_dir}",
        verified="lhotse's recipe ali_meeting",
        walk=walk_alimeeting,
        notes=f"{_WINDOWS}not to diarisation. Eight channels are averaged into one when they are read. Counts are of meetings.",
    ),
    Recipe(
        name="voxconverse",
        title="VoxConverse: debates and news of YouTube, who speaks when",
        source="https://github.com/joonson/voxconverse",
        licence="CC BY 4.0",
        hours=None,
        languages=("en",),
        tasks=("diarization",),
        splits=(Split("dev", "dev"), Split("test", "test")),
        layout="{dev,test}/{recording}.rttm\naudio/{recording}.wav (dev)\nvoxconverse_test_wav/{recording}.wav (test)",
        verified="the corpus' README (version 0.3) and lhotse's recipe voxconverse",
        walk=walk_voxconverse,
        notes="No training split: it is for evaluation. No transcripts. Turns over 30 s are cut at the windows' ends. "
        "The language is taken to be English.",
    ),
)
