"""Walk the public repositories of notes, strokes and sounds that the bundled model is trained on, as they lie after cloning.

Names and sources are those of data/splits/*.tsv, as in mini_sources.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data.ledger import Entry
from data.manifest import Record
from data.recipe import Recipe, Split
from data.recipes.mini_sources import ALL, NAMES
from data.recipes.stretches import stretches
from data.recipes.walking import needed, tagged
from qwen_audio.errors import DataError
from tag_schema.answers import Note, write_note

# Kits whose licence is stated, and the parts of their files' names that tell the stroke, the first that fits.
DRUM_KITS = {
    "DM/CR-78/samples": "public domain", "DM/LM-2/samples": "public domain", "DM/MRK-2/samples": "public domain",
    "DM/TR-505/samples": "public domain", "DRUMS/avl-drumkits-1.1": "CC BY-SA", "DRUMS/pearl-master-studio/samples": "CC BY 3.0",
}  # fmt: skip
STROKES = (
    ("semiopen", "half-open hi-hat"), ("swish|hihat-open", "open hi-hat"), ("hatpedal", "pedal hi-hat"),
    ("hihat|hatclosed", "closed hi-hat"), ("ridebell", "ride bell"),
    ("ride", "ride cymbal"), ("crash", "crash cymbal"), ("splash", "splash cymbal"), ("cymb", "cymbal"),
    ("stick|rim", "rim shot"), ("snare", "snare drum"), ("kick", "bass drum"), ("rototom", "roto-tom"), ("tom", "tom"),
    ("clap", "hand clap"), ("tamb", "tambourine"), ("cowb", "cowbell"), ("bongo", "bongo"), ("conga", "conga"), ("guiro", "guiro"),
    ("cabasa", "cabasa"), ("block", "wood block"), ("clave", "claves"), ("maraca", "maraca"), ("timbal", "timbales"),
)  # fmt: skip
# Sonic Pi's samples whose name tells an instrument, and those whose name tells another sound; the first that fits.
SONIC_PI_INSTRUMENTS = (
    ("ambi_choir", "choir"), ("ambi_piano", "piano"), ("arovane_beat|loop_(amen|breakbeat|compus|industrial|mehackit)", "drum loop"),
    ("bass_", "synth bass"), ("bd_|drum_bass|drum_heavy_kick", "bass drum"), ("drum_cowbell", "cowbell"),
    ("drum_cymbal_closed|hat_", "closed hi-hat"),
    ("drum_cymbal_open", "open hi-hat"), ("drum_cymbal_pedal", "pedal hi-hat"), ("drum_cymbal", "cymbal"), ("drum_roll", "drum roll"),
    ("drum_snare|sn_", "snare drum"), ("drum_splash", "splash cymbal"), ("drum_tom", "tom"), ("guit_", "electric guitar"),
    ("ride_", "ride cymbal"), ("tabla_|loop_tabla", "tabla"), ("vinyl_(backspin|rewind|scratch)", "vinyl scratch"),
)  # fmt: skip
SONIC_PI_SOUNDS = (
    ("loop_3d_printer", "3D printer"), ("misc_burp", "burp"), ("misc_crow", "crow caw"), ("perc_bell", "bell"), ("perc_door", "door"),
    ("perc_snap", "finger snap"), ("perc_till", "cash register"),
)  # fmt: skip
BLANKET = {  # file: label, caption, scene where it is one
    "birds": ("birds chirping", "Birds are chirping.", ""), "boat": ("boat on water", "Water laps against a boat.", ""),
    "city": ("city street", "Traffic and people in a city street.", "city street"), "rain": ("rain", "Rain is falling.", ""),
    "coffee-shop": ("coffee shop", "People talk in a busy coffee shop.", "coffee shop"), "wind": ("wind", "The wind blows.", ""),
    "fireplace": ("fire crackling", "A fire crackles in a fireplace.", ""), "storm": ("thunderstorm", "Thunder rumbles in a storm.", ""),
    "summer-night": ("crickets", "Crickets chirp at night.", ""), "train": ("train", "A train rolls along the track.", "train"),
    "waves": ("sea waves", "Waves break on a shore.", ""),
}  # fmt: skip
PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
HYPHENATED = ("tam-tam", "tom-toms")
# Ways of playing in which the name's pitch is not the one that is heard, or not the only one.
UNPITCHED = re.compile("trill|glissando|tremolo|harmonic|battuto")


def walk_music_drums(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the drum kits of oramics/sampled whose licence is stated: the file's name tells the stroke."""
    kits = [kit for kit in DRUM_KITS if (root / kit).is_dir()]
    if not kits:
        raise DataError(f"{root}: found none of the kits {', '.join(DRUM_KITS)}; is this a clone of oramics/sampled?")
    for path in sorted(path for kit in kits for path in (root / kit).glob("*.wav")):
        source, kit = path.relative_to(root).as_posix(), path.parent.relative_to(root).as_posix()
        meta = {"kit": kit.split("/")[1], "clip_licence": DRUM_KITS[kit]}
        stroke = _first_fit(STROKES, re.sub(r"^tr505-|^\d+-", "", path.stem.lower()))
        yield tagged(source, path, "instrument", stroke, where=str(path), meta={**meta, "instrument": stroke})


def _first_fit(table: tuple[tuple[str, str], ...], name: str, *, at_start: bool = False) -> str:
    """Return what the first pattern that fits a name stands for, "" where none does."""
    find = re.match if at_start else re.search
    return next((meaning for pattern, meaning in table if find(pattern, name)), "")


def walk_music_philharmonia(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk the Philharmonia's samples: INSTRUMENT_NOTE_LENGTH_DYNAMICS_ARTICULATION.mp3; strokes of percussion have no note."""
    folder = needed(root / "audio", "folder")
    for path in sorted((*folder.glob("*/*.mp3"), *folder.glob("percussion/*/*.mp3"))):
        source, where = path.relative_to(root).as_posix(), str(path)
        cells = path.stem.split("_")
        if len(cells) != 5:
            yield Entry(source, "bad_row", where, "the name is not INSTRUMENT_NOTE_LENGTH_DYNAMICS_ARTICULATION")
            continue
        instrument, note, length, dynamics, articulation = cells
        instrument = instrument if instrument in HYPHENATED else instrument.replace("-", " ")
        midi = midi_number(note) if note else None
        meta = {"instrument": instrument, "midi": midi, "dynamics": dynamics, "length": length, "articulation": articulation}
        yield tagged(source, path, "instrument", instrument, where=where, meta=meta)
        if midi is not None and length != "phrase" and not UNPITCHED.search(articulation):
            yield tagged(source, path, "note_analysis", write_note(Note(pitch=midi, instrument=instrument)), where=where, meta=meta)


def midi_number(note: str) -> int | None:
    """Return the MIDI number of a note written as As4 or Gs3 (s is sharp, C4 is 60), None where it is not written so."""
    match = re.fullmatch(r"([A-G])(s?)(-?\d)", note)
    return None if match is None else 12 * (int(match[3]) + 1) + PITCH_CLASSES[match[1]] + len(match[2])


def walk_sfx_sonicpi(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Sonic Pi's samples: the beginning of the name tells the instrument or the sound; what tells neither is accounted for."""
    folder = needed(root / "etc" / "samples", "folder")
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".flac", ".wav")):
        source, where = f"etc/samples/{path.name}", str(path)
        sound = _first_fit(SONIC_PI_SOUNDS, path.stem, at_start=True)
        if sound:
            yield tagged(source, path, "sound_event", sound, where=where, meta={"label": sound})
        else:
            name = _first_fit(SONIC_PI_INSTRUMENTS, path.stem, at_start=True)
            yield tagged(source, path, "instrument", name, where=where, meta={"instrument": name})


def walk_env_blanket(root: Path, split: Split) -> Iterator[Record | Entry]:
    """Walk Blanket's ambient sounds: one long recording a class, cut into stretches; captions are sentences of ours."""
    folder = needed(root / "data" / "resources" / "sounds", "folder")
    for name, (label, caption, scene) in BLANKET.items():
        path, source = folder / f"{name}.ogg", f"data/resources/sounds/{name}.ogg"
        parts = stretches(source, path, str(path))
        if isinstance(parts, Entry):
            yield parts
            continue
        for number, part in enumerate(parts):
            for family, answer in (("sound_event", label), ("audio_caption", caption), ("scene", scene)):
                if answer:
                    yield tagged(source, part, family, answer, where=str(path), meta={"label": label}, number=number)


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="music_drums",
        title="Drum kits of oramics/sampled",
        source="https://github.com/oramics/sampled",
        licence="by kit (meta clip_licence): public domain, CC BY-SA or CC BY 3.0",
        hours=None,
        languages=(),
        tasks=("instrument",),
        splits=ALL,
        layout="DM/{CR-78,LM-2,MRK-2,TR-505}/samples/{stroke}.wav\nDRUMS/avl-drumkits-1.1/{note}-{stroke}-{force}.wav\n"
        "DRUMS/pearl-master-studio/samples/{stroke}-{number}.wav",
        verified=f"sampled.json and README of several kits, files of the repository, {NAMES}",
        walk=walk_music_drums,
        notes="Kits without a stated licence (TR-808, TR-909) are left alone. Hold out by meta kit.",
    ),
    Recipe(
        name="music_philharmonia",
        title="Philharmonia Orchestra's samples: notes of the orchestra, strokes of percussion",
        source="https://github.com/skratchdot/philharmonia-samples",
        licence="CC BY-SA 3.0, and never to be made available as samples or as a sampler instrument",
        hours=None,
        languages=(),
        tasks=("instrument", "note_analysis"),
        splits=ALL,
        layout="audio/{folder}/{instrument}_{note}_{length}_{dynamics}_{articulation}.mp3\n"
        "audio/percussion/{folder}/{instrument}__{length}_{dynamics}_{articulation}.mp3",
        verified=f"README of the repository, users' loaders (names of files, addresses), {NAMES} (percussion)",
        walk=walk_music_philharmonia,
        notes=(
            "Trills, harmonics and the like give no note. Some names are wrong: the bundled model's data leaves out notes whose measured "
            "pitch is half a semitone off or more."
        ),
    ),
    Recipe(
        name="sfx_sonicpi",
        title="Sonic Pi's samples: drums, tabla, guitar, bass, effects",
        source="https://github.com/sonic-pi-net/sonic-pi",
        licence="CC0 1.0",
        hours=None,
        languages=(),
        tasks=("instrument", "sound_event"),
        splits=ALL,
        layout="etc/samples/{name}.flac",
        verified="etc/samples/README.md and files of the repository",
        walk=walk_sfx_sonicpi,
        notes="Drones, glitches and electric blips have no name that a listener would give: they are in the account, not in the rows.",
    ),
    Recipe(
        name="env_blanket",
        title="Blanket's ambient sounds: one long recording a class",
        source="https://github.com/rafaelmardojai/blanket",
        licence="by sound, see SOUNDS_LICENSING.md: CC0, CC BY, public domain, CC Sampling+ (train)",
        hours=None,
        languages=(),
        tasks=("sound_event", "audio_caption", "scene"),
        splits=ALL,
        layout="data/resources/sounds/{name}.ogg",
        verified="SOUNDS_LICENSING.md and files of the repository",
        walk=walk_env_blanket,
        notes="Stretches of one recording: never part them between training and test. Two sounds of noise and a stream are left alone.",
    ),
)
