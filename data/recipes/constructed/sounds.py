"""The sounds there are to hear, with the words for them: events, vocal sounds, and scenes made of a bed and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from data.recipes.constructed import sounds_living as living
from data.recipes.constructed import sounds_things as things
from data.recipes.constructed import sounds_vocal as vocal
from data.recipes.constructed.waves import (
    Wave,
    band,
    decay,
    drift,
    envelope,
    fast_length,
    glide,
    n_samples,
    noise,
    peaked,
    pulses,
    put,
    resonated,
    shaped,
    strike,
)
from qwen_audio.errors import DataError

Category = Literal["animal", "human", "nature", "water", "machine", "vehicle", "alarm", "impact", "household"]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class SoundKind:
    """A kind of sound and its words.

    Attributes:
        label: its name in labels ("dog bark").
        clause: what happens, as a sentence without capital and stop ("a dog barks").
        noun_phrase: what is heard, after an article ("barking dog"): `indefinite` and `definite` put one in front.
        plural: several of one after another ("barks of a dog"), where events can be counted.
        make: generator -> (n,) float32, largest sample at most 1.
        onset_like: one event with one clear beginning, so that repetitions can be counted.
    """

    label: str
    clause: str
    noun_phrase: str
    category: Category
    make: Callable[[Generator], Wave]
    plural: str = ""

    @property
    def onset_like(self) -> bool:
        """Say whether repetitions can be counted."""
        return bool(self.plural)

    @property
    def indefinite(self) -> str:
        """Name it with a or an ("a barking dog")."""
        return ("an " if self.noun_phrase[0] in "aeiou" else "a ") + self.noun_phrase

    @property
    def definite(self) -> str:
        """Name it with the ("the barking dog")."""
        return "the " + self.noun_phrase


@dataclass(frozen=True, slots=True)
class Scene:
    """A kind of place: its label, the words for it, the noise that is always there, and what happens in it.

    Attributes:
        clause: what goes on, as a sentence without capital and stop.
        bed: (n, generator) -> n samples.
        events: labels of SOUNDS, or makers that have no label of their own; the first is always heard, about per_ten_s are in ten seconds.
        bed_db: mean level of the bed below full scale; events have their largest samples 3 to 12 dB below it.
    """

    label: str
    place: str
    clause: str
    bed: Callable[[int, Generator], Wave]
    events: tuple[str | Callable[[Generator], Wave], ...]
    per_ten_s: float
    bed_db: float = -26.0


_KINDS: Sequence[SoundKind] = (
    SoundKind("dog bark", "a dog barks", "barking dog", "animal", living.dog_bark, "barks of a dog"),
    SoundKind("cat meow", "a cat meows", "meowing cat", "animal", living.cat_meow, "meows of a cat"),
    SoundKind("bird song", "a bird sings", "singing bird", "animal", living.bird_song),
    SoundKind("rooster crow", "a rooster crows", "crowing rooster", "animal", living.rooster_crow),
    SoundKind("cow moo", "a cow moos", "mooing cow", "animal", living.cow_moo, "moos of a cow"),
    SoundKind("sheep bleat", "a sheep bleats", "bleating sheep", "animal", living.sheep_bleat, "bleats of a sheep"),
    SoundKind("frog croak", "a frog croaks", "croaking frog", "animal", living.frog_croak, "croaks of a frog"),
    SoundKind("crickets", "a cricket chirps", "chirping cricket", "animal", living.crickets),
    SoundKind("bee buzz", "a bee buzzes about", "buzzing bee", "animal", living.bee_buzz),
    SoundKind("owl hoot", "an owl hoots", "hooting owl", "animal", living.owl_hoot),
    SoundKind("horse hooves", "a horse trots by", "trotting horse", "animal", living.hooves),
    SoundKind("hand clap", "somebody claps their hands", "hand clap", "human", living.hand_clap, "hand claps"),
    SoundKind("applause", "an audience applauds", "applauding audience", "human", living.applause),
    SoundKind("footsteps", "somebody walks", "walking person", "human", living.footsteps),
    SoundKind("whistling", "somebody whistles", "whistling person", "human", living.whistling, "whistles"),
    SoundKind("baby cry", "a baby cries", "crying baby", "human", living.baby_cry),
    SoundKind("rain", "rain falls", "shower of rain", "nature", things.rain),
    SoundKind("thunder", "thunder rolls", "roll of thunder", "nature", things.thunder),
    SoundKind("wind", "the wind howls", "howling wind", "nature", things.wind),
    SoundKind("fire", "a fire crackles", "crackling fire", "nature", things.fire),
    SoundKind("sea waves", "a wave breaks on the beach", "breaking wave", "water", things.sea_waves),
    SoundKind("stream", "a stream gurgles", "gurgling stream", "water", things.stream),
    SoundKind("water drop", "a drop falls into water", "falling drop", "water", things.water_drop, "drops"),
    SoundKind("engine", "an engine revs up", "running engine", "vehicle", things.engine),
    SoundKind("train", "a train rolls by", "rolling train", "vehicle", things.train),
    SoundKind("train whistle", "a steam train whistles", "whistling train", "vehicle", things.train_whistle, "whistles of a train"),
    SoundKind("helicopter", "a helicopter hovers", "hovering helicopter", "vehicle", things.helicopter),
    SoundKind("airplane", "an airplane flies over", "passing airplane", "vehicle", things.airplane),
    SoundKind("car passing", "a car drives by", "passing car", "vehicle", things.car_passing),
    SoundKind("car horn", "a car sounds its horn", "honking car", "vehicle", things.car_horn, "honks of a car"),
    SoundKind("foghorn", "a ship sounds its horn", "ship's horn", "vehicle", things.foghorn, "blasts of a ship's horn"),
    SoundKind("drill", "an electric drill whines", "whining drill", "machine", things.drill),
    SoundKind("vacuum cleaner", "a vacuum cleaner runs", "humming vacuum cleaner", "machine", things.vacuum_cleaner),
    SoundKind("sawing", "somebody saws wood", "sawing of wood", "machine", things.sawing),
    SoundKind("hammer", "a hammer strikes a nail", "hammer blow", "impact", things.hammer, "hammer blows"),
    SoundKind("alarm clock", "an alarm clock beeps", "beeping alarm clock", "alarm", things.alarm_clock),
    SoundKind("siren", "a siren wails", "wailing siren", "alarm", things.siren),
    SoundKind("telephone", "a telephone rings", "ringing telephone", "alarm", things.telephone),
    SoundKind("doorbell", "a doorbell rings", "ringing doorbell", "alarm", things.doorbell),
    SoundKind("bicycle bell", "a bicycle bell rings", "ringing bicycle bell", "alarm", things.bicycle_bell),
    SoundKind("church bell", "a church bell tolls", "tolling church bell", "alarm", things.church_bell, "strokes of a church bell"),
    SoundKind("beep", "a microwave oven beeps", "beeping microwave oven", "alarm", things.beep, "beeps"),
    SoundKind("door knock", "somebody knocks on a door", "knock on the door", "impact", things.knock, "knocks on a door"),
    SoundKind("door slam", "a door slams", "slamming door", "impact", things.door_slam, "slams of a door"),
    SoundKind("glass breaking", "a glass breaks", "breaking glass", "impact", things.glass_breaking),
    SoundKind("firework", "a firework goes off", "exploding firework", "impact", things.firework, "bangs of fireworks"),
    SoundKind("coin drop", "a coin drops and bounces", "bouncing coin", "impact", things.coin),
    SoundKind("clock tick", "a clock ticks", "ticking clock", "household", things.clock_ticking),
    SoundKind("typing", "somebody types on a keyboard", "clattering keyboard", "household", things.typing),
    SoundKind("camera shutter", "a camera clicks", "clicking camera", "household", things.camera_shutter, "clicks of a camera"),
    SoundKind("zipper", "a zip is closed", "closing zip", "household", things.zipper),
    SoundKind("kettle", "a kettle whistles", "whistling kettle", "household", things.kettle),
)
SOUNDS: Mapping[str, SoundKind] = MappingProxyType({kind.label: kind for kind in _KINDS})

_VOCAL: Sequence[SoundKind] = (
    SoundKind("laughter", "somebody laughs", "laughing person", "human", vocal.laughter),
    SoundKind("cough", "somebody coughs", "coughing person", "human", vocal.cough),
    SoundKind("sigh", "somebody sighs", "sighing person", "human", vocal.sigh, "sighs"),
    SoundKind("sneeze", "somebody sneezes", "sneezing person", "human", vocal.sneeze),
    SoundKind("throat clearing", "somebody clears their throat", "person clearing their throat", "human", vocal.throat_clearing),
    SoundKind("sniff", "somebody sniffs", "sniffing person", "human", vocal.sniff),
)
VOCAL_SOUNDS: Mapping[str, SoundKind] = MappingProxyType({kind.label: kind for kind in _VOCAL})


def _cup(rng: Generator) -> Wave:
    """Let a cup clink on its saucer."""
    tone = float(rng.uniform(2200, 3800))
    return peaked(strike(0.25, [(tone, 1.0, 0.18), (tone * 1.62, 0.6, 0.1), (tone * 2.4, 0.3, 0.06)]))


def _murmur(n: int, rng: Generator) -> Wave:
    """Let many people talk: noise in the shape of vowels, in syllables."""
    voices = []
    for _ in range(6):
        syllables = np.clip(0.2 + 1.4 * drift(n, rng, 7), 0, None) * np.clip(0.5 + drift(n, rng, 0.8), 0.05, None)
        pitch = float(rng.choice([115.0, 205.0])) * (1 + 0.15 * drift(n, rng, 3))
        vowel = [(float(rng.uniform(350, 800)), 120, 1.0), (float(rng.uniform(1000, 2100)), 180, 0.5), (2600, 300, 0.15)]
        voices.append(resonated(pulses(pitch) * syllables, vowel))
    return peaked(np.sum(voices, axis=0)) + 0.02 * band(n, rng, 200, 4000, 6)


def _hiss(points: Sequence[tuple[float, float]], turns: float = 0.5, depth: float = 0.2) -> Callable[[int, Generator], Wave]:
    """Make a bed of shaped noise that swells now and then."""

    def bed(n: int, rng: Generator) -> Wave:
        return shaped(noise(n, rng), points) * (1 + depth * drift(n, rng, turns))

    return bed


def _rain_bed(n: int, rng: Generator) -> Wave:
    wave = 0.08 * shaped(noise(n, rng), [(200, -14), (1000, -4), (5000, 0)])
    for start in rng.integers(0, n - 200, n // 120):
        put(wave, glide(float(rng.uniform(1500, 6000)), 200) * decay(200, 0.014), int(start), 0.1 * float(rng.gamma(1.3, 1.5)))
    return wave


def _surf(n: int, rng: Generator) -> Wave:
    period = n_samples(float(rng.uniform(4.0, 6.0)))
    swell = np.tile(envelope(period, [(0, 0.15), (0.4, 0.6), (0.5, 1), (0.7, 0.4), (1, 0.15)]), n // period + 2)
    shift = int(rng.integers(period))
    return band(n, rng, 80, 900, 6) * swell[shift : shift + n] * 0.2 + 0.1 * band(n, rng, 1500, 7000, 12) * swell[shift : shift + n] ** 2


def _hall(n: int, rng: Generator) -> Wave:
    return 0.35 * _murmur(n, rng) + 0.05 * band(n, rng, 40, 250, 6)


_STREET = _hiss([(40, 0), (300, -4), (1500, -14), (6000, -28)])
_SCENES: Sequence[Scene] = (
    Scene(
        "rainy street",
        "a street in the rain",
        "rain falls and cars pass by on a street",
        _rain_bed,
        ("car passing", "car horn", "footsteps"),
        3.0,
    ),
    Scene(
        "office",
        "an office",
        "people type and a telephone rings in an office",
        _hiss([(60, 0), (200, -6), (2000, -20), (7000, -30)], depth=0.05),
        ("typing", "typing", "telephone", "camera shutter", "footsteps"),
        5.0,
        -38.0,
    ),
    Scene(
        "forest",
        "a forest",
        "birds sing and leaves rustle in a forest",
        _hiss([(300, -18), (2500, 0), (6000, -4)], 0.8, 0.7),
        ("bird song", "bird song", "bird song", "owl hoot"),
        6.0,
        -34.0,
    ),
    Scene(
        "farm",
        "a farm",
        "animals call on a farm",
        _hiss([(80, -3), (500, 0), (3000, -16)]),
        ("cow moo", "sheep bleat", "rooster crow", "dog bark", "horse hooves"),
        5.0,
        -36.0,
    ),
    Scene(
        "kitchen",
        "a kitchen",
        "a kettle whistles and dishes clink in a kitchen",
        _hiss([(80, 0), (160, -3), (1200, -12), (6000, -16)]),
        (_cup, _cup, "kettle", "beep", "water drop"),
        7.0,
        -34.0,
    ),
    Scene(
        "railway station",
        "a railway station",
        "trains roll and people talk in a railway station",
        _hall,
        ("train", "train whistle", "whistling", "footsteps"),
        4.0,
    ),
    Scene("beach", "a beach", "waves break and children shout on a beach", _surf, ("sea waves", "whistling", "dog bark"), 1.5),
    Scene(
        "construction site",
        "a construction site",
        "people hammer, saw and drill on a construction site",
        _STREET,
        ("hammer", "hammer", "hammer", "drill", "sawing", "engine"),
        9.0,
    ),
    Scene("cafe", "a cafe", "people talk and cups clink in a cafe", _murmur, (_cup, _cup, _cup, "footsteps"), 7.0, -22.0),
    Scene(
        "street",
        "a busy street",
        "cars pass and sound their horns on a busy street",
        _STREET,
        ("car passing", "car passing", "car horn", "siren", "bicycle bell"),
        6.0,
    ),
    Scene("airport", "an airport", "airplanes take off at an airport", _hall, ("airplane", "airplane", "doorbell"), 3.0),
    Scene(
        "pond at night",
        "a pond at night",
        "frogs croak and crickets chirp at a pond at night",
        _hiss([(200, -8), (1500, 0), (5000, -6)]),
        ("frog croak", "frog croak", "crickets", "crickets", "owl hoot", "water drop"),
        9.0,
        -40.0,
    ),
)
SCENES: Mapping[str, Scene] = MappingProxyType({scene.label: scene for scene in _SCENES})


def make_scene(name: str, seconds: float, rng: Generator) -> Wave:
    """Make a stretch of a scene: its bed, and at least one of its events at random times.

    Raises:
        DataError: there is no such scene.
    """
    if name not in SCENES:
        raise DataError(f"scene {name!r}: expected one of {', '.join(SCENES)}")
    scene, n = SCENES[name], n_samples(seconds)
    bed = scene.bed(fast_length(n), rng)[:n]
    line = (bed * (10 ** (scene.bed_db / 20) / max(float(bed.std()), 1e-9))).astype(np.float32)
    for number in range(max(1, int(rng.poisson(scene.per_ten_s * seconds / 10)))):
        chosen = scene.events[0 if number == 0 else int(rng.integers(len(scene.events)))]
        sound = SOUNDS[chosen].make(rng) if isinstance(chosen, str) else chosen(rng)
        start = int(rng.integers(-len(sound) // 3, max(1, n - len(sound) // 3)))
        put(line, sound[max(0, -start) :], max(0, start), float(rng.uniform(0.25, 0.7)))
    return peaked(line, float(rng.uniform(0.4, 0.9)))
