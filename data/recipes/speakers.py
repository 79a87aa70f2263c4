"""Walk sets for speaker verification: two clips, and whether both have the same speaker; sex and age where the corpus has them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.transcripts import decade, gender_of, lost_file
from data.recipes.walking import needed, read_lines, read_table, tagged
from qwen_audio.errors import DataError
from tag_schema.answers import write_yes_no

Sessions = Mapping[str, Sequence[Path]]  # session (a video, a day) -> its clips


class Pair(NamedTuple):
    """A comparison: the speaker and the clip it is made for, both clips as they are heard (None: nothing to compare with), the answer."""

    speaker: str
    clip: Path
    clips: tuple[Path, Path] | None
    same: bool


def pairs(speakers: Mapping[str, Sessions], groups: Mapping[str, str | None]) -> Iterator[Pair]:
    """Pair each clip with one other: with one of the same speaker from another session, or with another speaker's.

    The same tree gives the same pairs. As many are of one speaker as are of two, as far as speakers have two sessions; other speakers are
    of the same group (sex), so that the voice has to decide; the clip is the second one in half of the pairs.

    Args:
        speakers: speaker -> session -> clips.
        groups: speaker -> what the other speaker's must be equal to; None is equal to None.
    """
    clips = {speaker: [clip for session in sessions.values() for clip in session] for speaker, sessions in speakers.items()}
    peers: dict[str | None, list[str]] = {}
    for speaker in speakers:
        peers.setdefault(groups.get(speaker), []).append(speaker)
    ahead = 0  # how many more pairs are of one speaker than of two
    for speaker, sessions in speakers.items():
        others = [name for name in peers[groups.get(speaker)] if name != speaker and clips[name]]
        for session, inside in sessions.items():
            elsewhere = [clip for name, found in sessions.items() if name != session for clip in found]
            for clip in inside:
                number = zlib.crc32(f"{speaker}/{session}/{clip.name}".encode())
                same = bool(elsewhere) and (ahead <= 0 or not others)
                if not same and not others:  # alone in a group, in one session
                    yield Pair(speaker, clip, None, False)
                    continue
                choice = elsewhere if same else clips[others[number % len(others)]]
                partner = choice[(number >> 8) % len(choice)]
                ahead += 1 if same else -1
                yield Pair(speaker, clip, (clip, partner) if number & 1 else (partner, clip), same)


def pair_record(
    source: str, clips: tuple[Path, Path], same: bool, *, language: str, where: str, meta: Mapping[str, str | None]
) -> Record | Entry:
    """Make the record of one comparison, or the line of account of a clip that is not there."""
    gone = lost_file(source, clips[0], where) or lost_file(source, clips[1], where)
    return gone or tagged(source, clips, "speaker_verification", write_yes_no(same), where=where, meta=meta, language=language)


def _pair_record(pair: Pair, source: str, *, language: str, meta: Mapping[str, str | None]) -> Record | Entry:
    if pair.clips is None:
        return Entry(source, "no_answer", str(pair.clip), "there is no clip to compare it with")
    return pair_record(source, pair.clips, pair.same, language=language, where=str(pair.clip), meta=meta)


def _trials(path: Path, folder: Path, corpus: str, language: str) -> Iterator[Record | Entry]:
    """Yield the comparisons of a list whose lines are LABEL PATH PATH."""
    for where, line in read_lines(path):
        fields = line.split()
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            raise DataError(f"{where}: expected 0 or 1 and two paths, found {line[:80]!r}")
        first, second = fields[1:]
        meta = {"speaker": f"{corpus}-{first.split('/')[0]}"}
        clips = (folder / first, folder / second)
        yield pair_record(f"{first}|{second}", clips, fields[0] == "1", language=language, where=where, meta=meta)


def _voxceleb(folder: Path, ending: str, sexes: Mapping[str, str | None], corpus: str, compare: bool = True) -> Iterator[Record | Entry]:
    """Yield pairs, and each clip's sex, of the speakers that sexes names, from ID/VIDEO/NUMBER."""
    speakers: dict[str, dict[str, list[Path]]] = {}
    for name in sexes:
        place = folder / name
        if not place.is_dir():
            yield Entry(name, "no_file", str(place), "the speaker's folder is missing")
            continue
        speakers[name] = {path.name: sorted(path.glob(f"*{ending}")) for path in sorted(place.iterdir()) if path.is_dir()}
    for pair in pairs(speakers, sexes):
        source = pair.clip.relative_to(folder).with_suffix("").as_posix()
        sex = sexes[pair.speaker]
        meta = {"speaker": f"{corpus}-{pair.speaker}", "gender": sex}
        if compare:
            yield _pair_record(pair, source, language="en", meta=meta)
        if sex:
            yield tagged(source, pair.clip, "gender", sex, where=str(pair.clip), meta=meta, language="en")


def walk_voxceleb1(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk VoxCeleb1: pairs made of the speakers for development; the test's clips, and the official list of comparisons of them."""
    if split.name.startswith("veri_test"):
        yield from _trials(root / f"{split.name}.txt", needed(root / "wav", "folder"), "voxceleb1", "en")
        return
    table = read_table(root / "vox1_meta.csv", delimiter="\t", columns=("speaker", "name", "sex", "country", "set"))
    sexes = {row["speaker"]: gender_of(row["sex"]) for _, row in table if row["set"].strip() == split.name}
    yield from _voxceleb(needed(root / "wav", "folder"), ".wav", sexes, "voxceleb1", compare=split.name == "dev")


def walk_voxceleb2(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk VoxCeleb2: pairs made of its speakers."""
    table = read_table(root / "vox2_meta.csv", columns=("speaker", "vggface", "sex", "set"))
    sexes = {row["speaker"].strip(): gender_of(row["sex"]) for _, row in table if row["set"].strip() == split.name}
    yield from _voxceleb(needed(root / split.name / "aac", "folder"), ".m4a", sexes, "voxceleb2")


def walk_agevoxceleb(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk AgeVoxCeleb: ages over VoxCeleb2's clips, one utterance and its speaker's age a line."""
    places = [folder for folder in (root / "dev" / "aac", root / "test" / "aac") if folder.is_dir()]
    if not places:
        needed(root / "dev" / "aac", "folder")
    for where, line in read_lines(root / f"utt2age.{split.name}"):
        name, _, age = line.strip().partition(" ")
        audio = next((path for path in (folder / f"{name}.m4a" for folder in places) if path.is_file()), None)
        if audio is None:
            yield Entry(name, "no_file", where, f"no {name}.m4a below dev/aac or test/aac")
            continue
        meta = {"speaker": f"voxceleb2-{name.split('/')[0]}", "age": age.strip()}
        yield tagged(name, audio, "age", decade(age.strip()) or "", where=where, meta=meta, language="en")


def walk_cnceleb(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk CN-Celeb: pairs made of the speakers of dev.lst across genres and sessions, the official comparisons for the test."""
    base = root / "CN-Celeb_flac" if (root / "CN-Celeb_flac").is_dir() else root
    if split.name == "eval":
        yield from _cnceleb_trials(base / "eval")
        return
    speakers: dict[str, dict[str, list[Path]]] = {}
    for where, line in read_lines(base / "dev" / "dev.lst"):
        name = line.strip()
        if not (base / "data" / name).is_dir():
            yield Entry(name, "no_file", where, "the speaker's folder is missing")
            continue
        for path in sorted((base / "data" / name).glob("*.flac")):  # speech-01-079: genre, session, number
            speakers.setdefault(name, {}).setdefault(path.stem.rsplit("-", 1)[0], []).append(path)
    for pair in pairs(speakers, {}):
        meta = {"speaker": f"cnceleb-{pair.speaker}", "genre": pair.clip.name.split("-")[0]}
        yield _pair_record(pair, f"{pair.speaker}/{pair.clip.stem}", language="zh", meta=meta)


def _cnceleb_trials(folder: Path) -> Iterator[Record | Entry]:
    """Yield the comparisons of lines such as `id00800-enroll test/id00800-singing-01-005.wav 1`; the files are FLAC."""
    for where, line in read_lines(folder / "lists" / "trials.lst"):
        fields = line.split()
        if len(fields) != 3 or fields[2] not in ("0", "1"):
            raise DataError(f"{where}: expected a speaker enrolled, a path, and 0 or 1, found {line[:80]!r}")
        enrolled, heard = fields[0], Path(fields[1]).with_suffix(".flac")
        clips = (folder / "enroll" / f"{enrolled}.flac", folder / heard)
        meta = {"speaker": f"cnceleb-{enrolled.split('-')[0]}", "genre": heard.stem.split("-")[1]}
        yield pair_record(f"{enrolled}|{heard.stem}", clips, fields[2] == "1", language="zh", where=where, meta=meta)


def walk_himia(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk HI-MIA: everybody says the same four syllables; pairs are made of different sayings, whatever the microphone."""
    folder = root / "test" if split.name == "test" else root / split.name / "SPEECHDATA"
    table, below = (folder / "wav.scp", folder / "wav") if split.name == "test" else (folder / f"{split.name}.scp", folder)
    speakers: dict[str, dict[str, list[Path]]] = {}
    for where, line in read_lines(table):
        path = below / line.strip()
        if entry := lost_file(path.stem, path, where):
            yield entry
            continue
        parts = path.stem.split("_")  # SV0297_2_00_F0041: speaker, device and place, saying
        speakers.setdefault(parts[0], {}).setdefault(parts[-1], []).append(path)
    for pair in pairs(speakers, {}):
        meta = {"speaker": f"himia-{pair.speaker}"}
        yield _pair_record(pair, pair.clip.stem, language="zh", meta=meta)


_HUB_COUNTS = "card of yangwang825/vox1-veri-full on the hub: 133,777 + 14,865 clips of 1,211 speakers, 4,874 of 40"
_HUB_COUNTS_2 = "card of yangwang825/vox2-veri-3s on the hub: 982,808 + 109,201 clips of 5,994 speakers, 36,237 of 118"
_LHOTSE = "lhotse 1.33, recipes/himia.py: number of lines of the .scp files"
_PAIRS = "Pairs for training are made by the walk, always the same: each clip once, as many of one speaker (from two sessions) as of two"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="voxceleb1",
        title="VoxCeleb1: interviews of celebrities",
        source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
        licence="CC BY 4.0",
        hours=None,
        languages=("en",),
        tasks=("speaker_verification", "gender"),
        splits=(
            Split("dev", "train", 148_642, _HUB_COUNTS),
            Split("test", "test", 4_874, _HUB_COUNTS),
            Split("veri_test", "test", 37_720, "lines of the list, counted in issue 70 of clovaai/voxceleb_trainer"),
            Split("veri_test2", "test"),
        ),
        layout=(
            "wav/{id}/{video}/{number}.wav (the zip files of dev and test unpacked into one wav)\n"
            "vox1_meta.csv\n"
            "veri_test.txt, veri_test2.txt"
        ),
        verified="torchaudio, datasets/voxceleb1.py; lhotse 1.33, recipes/voxceleb.py",
        walk=walk_voxceleb1,
        notes=(
            f"{_PAIRS} of the same sex. veri_test is the official list of comparisons of the original protocol, veri_test2 the same "
            "without wrong labels; test gives the sex of its clips. Mostly, not only, English. Clips may last more than 30 s. "
            "SLUE-VoxCeleb and the VoxCeleb sets of AudioBench are made of the same videos."
        ),
    ),
    Recipe(
        name="voxceleb2",
        title="VoxCeleb2: interviews of celebrities, other people than in VoxCeleb1",
        source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html",
        licence="CC BY 4.0",
        hours=None,
        languages=("en",),
        tasks=("speaker_verification", "gender"),
        splits=(Split("dev", "train", 1_092_009, _HUB_COUNTS_2), Split("test", "test", 36_237, _HUB_COUNTS_2)),
        layout="{dev,test}/aac/{id}/{video}/{number}.m4a\nvox2_meta.csv",
        verified="lhotse 1.33, recipes/voxceleb.py (table, endings of the files); list files of public trainers (dev/aac/id..)",
        walk=walk_voxceleb2,
        notes=f"{_PAIRS} of the same sex. In many languages, which the table does not name. AgeVoxCeleb parts the same clips otherwise.",
    ),
    Recipe(
        name="agevoxceleb",
        title="AgeVoxCeleb: ages of the speakers of VoxCeleb2",
        source="https://github.com/nttcslab-sp/agevoxceleb, over VoxCeleb2",
        licence="CC BY 4.0 (VoxCeleb2); the page of the ages names none",
        hours=None,
        languages=("en",),
        tasks=("age",),
        splits=(Split("train", "train"), Split("test", "test")),
        layout="utt2age.{train,test}\n{dev,test}/aac/{id}/{video}/{number}.m4a",
        verified="README and utt2age.test of nttcslab-sp/agevoxceleb",
        walk=walk_agevoxceleb,
        notes=(
            "Answers are decades (30s); meta keeps the years, which its authors computed from names and titles of videos. It parts "
            "the clips otherwise than VoxCeleb2 does: what is test here may be dev in voxceleb2."
        ),
    ),
    Recipe(
        name="cnceleb",
        title="CN-Celeb 1: Chinese celebrities, speech and song of several genres",
        source="https://www.openslr.org/82",
        licence="that of its page at OpenSLR (not verified)",
        hours=None,
        languages=("zh",),
        tasks=("speaker_verification",),
        splits=(Split("dev", "train"), Split("eval", "test")),
        layout=(
            "CN-Celeb_flac/dev/dev.lst\n"
            "CN-Celeb_flac/data/{id}/{genre}-{session}-{number}.flac\n"
            "CN-Celeb_flac/eval/{enroll,test}/*.flac\n"
            "CN-Celeb_flac/eval/lists/trials.lst"
        ),
        verified="wespeaker, examples/cnceleb/v2/local/prepare_data.sh",
        walk=walk_cnceleb,
        notes=(
            f"{_PAIRS}. The official list has millions of comparisons of a recording joined from several (enroll) with a clip: take a "
            "sample. Recordings of enroll may last more than 30 s. Sexes are not published with it. data also holds the speakers of the "
            "evaluation; dev.lst keeps them out of training."
        ),
    ),
    Recipe(
        name="himia",
        title="HI-MIA: a wake-up word, near and far microphones",
        source="https://www.openslr.org/85",
        licence="that of its page at OpenSLR (not verified)",
        hours=None,
        languages=("zh",),
        tasks=("speaker_verification",),
        splits=(Split("train", "train", 993_083, _LHOTSE), Split("dev", "dev", 164_640, _LHOTSE), Split("test", "test", 165_120, _LHOTSE)),
        layout="{train,dev}/SPEECHDATA/{train,dev}.scp and the files it names\ntest/wav.scp, test/wav/.. (test_v2.tar.gz)",
        verified="lhotse 1.33, recipes/himia.py",
        walk=walk_himia,
        notes=(
            f"{_PAIRS}. Pairs of the test are made as those of training; the lists of challenges are not read. Everybody says "
            "你好米雅, so that nothing but the voice tells people apart. test_v2.tar.gz replaced test.tar.gz, whose audio was damaged."
        ),
    ),
)
