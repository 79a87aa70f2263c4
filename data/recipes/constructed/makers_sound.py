"""Make examples of the five tasks of sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from data.recipes.constructed.example import (
    Example,
    Generator,
    Maker,
    draw_several,
    events_meta,
    pick,
    question,
    sound,
    tagged,
    with_silence,
)
from data.recipes.constructed.questions_sound import COUNTABLE, COUNTS, HEARD_SOUNDS, in_sequence, in_sequence_of
from data.recipes.constructed.sounds import SCENES, SOUNDS, SoundKind, make_scene
from data.recipes.constructed.timeline import Placed, place
from data.recipes.constructed.waves import RATE, Wave, band, n_samples, peaked
from tag_schema.answers import TimedLabel, write_labels, write_timed_labels

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

_NOTHING = 0.04  # share of clips for detection in which there is nothing to detect
_FORMS = ("caption_clotho", "caption_audiocaps", "caption_plain")
_ONE = (
    "{Clause}.",
    "{Indefinite} can be heard.",
    "The sound of {indefinite}.",
    "In this recording {clause}.",
    "One can hear {indefinite}.",
    "There is {indefinite}.",
)
_MANY = (
    "{n} {plural}.",
    "{n} {plural} follow one another.",
    "One hears {n} {plural}.",
    "There are {n} {plural}.",
    "{n} {plural} can be heard.",
)
_SCENE = (
    "{Clause}.",
    "This is what {place} sounds like.",
    "The recording was made at {place}: {clause}.",
    "{Place} can be heard.",
    "At {place}, {clause}.",
)
_TWO = (
    "{Clause0}, then {clause1}.",
    "{Clause0}, and then {clause1}.",
    "First {clause0}, after that {clause1}.",
    "{Indefinite0} is followed by {indefinite1}.",
    "{Clause0} before {clause1}.",
    "One hears {indefinite0} and then {indefinite1}.",
)
_THREE = (
    "{Clause0}, then {clause1}, and finally {clause2}.",
    "First {clause0}, then {clause1}, and in the end {clause2}.",
    "{Indefinite0} is followed by {indefinite1} and by {indefinite2}.",
    "One hears {indefinite0}, {indefinite1} and {indefinite2}, one after another.",
    "{Clause0} and {clause1}; after both of them {clause2}.",
)
_TOGETHER = (
    "{Clause0} while {clause1}.",
    "{Clause0}, and at the same time {clause1}.",
    "{Indefinite0} and {indefinite1} can be heard together.",
    "One hears {indefinite0} along with {indefinite1}.",
    "As {clause0}, {clause1}.",
)


def audio_caption(rng: Generator, pool: Pool | None) -> Example:
    """Describe a clip: one sound, several of one kind, two or three in a row, two at once, or a scene; other wordings are references."""
    clip, captions, meta = pick((_single, _several, _in_a_row, _in_a_row, _at_once, _scene), rng)(rng, pool)
    chosen = draw_several(captions, len(captions), rng)
    return tagged("audio_caption", clip, chosen[0], references=chosen[:5], meta=meta, instruction=pick(_FORMS, rng))


def sound_event(rng: Generator, pool: Pool | None) -> Example:
    """Name one to three sounds, by the order in which they begin."""
    labels = draw_several(tuple(SOUNDS), int(rng.choice((1, 1, 2, 3))), rng)
    mixed = in_sequence(labels, rng, pool)
    return tagged("sound_event", mixed.samples, write_labels(item.label for item in mixed.events), meta=events_meta(mixed.events))


def scene(rng: Generator, pool: Pool | None) -> Example:
    """Name the place."""
    label = pick(tuple(SCENES), rng)
    return tagged("scene", make_scene(label, float(rng.uniform(5, 10)), rng), label)


def sound_event_detection(rng: Generator, pool: Pool | None) -> Example:
    """Say which sounds are heard when: one to five, which overlap in a third of the clips, over a quiet bed in a third."""
    bed = _bed(rng) if rng.random() < 1 / 3 else None
    if rng.random() < _NOTHING:
        quiet = peaked(_bed(rng), float(rng.uniform(0.005, 0.05)))
        return tagged("sound_event_detection", quiet, write_timed_labels(()), meta=events_meta(()))
    overlap = bool(rng.random() < 1 / 3)
    labels = [pick(tuple(SOUNDS), rng) for _ in range(int(rng.integers(1, 6)))]
    waves = [(label, peaked(sound(label, rng, pool), float(rng.uniform(0.35, 0.8)))) for label in labels]
    whole_s = sum(len(wave) for _, wave in waves) / RATE
    longest_s = max(len(wave) for _, wave in waves) / RATE
    seconds = max(longest_s, 0.6 * whole_s) + 1.0 if overlap else whole_s + 0.25 * (len(waves) + 1) + float(rng.uniform(0.2, 3.0))
    mixed = place(waves, seconds, rng, overlap=overlap, min_gap_s=0.25, snr_db=float(rng.uniform(22, 32)), bed=bed)
    target = write_timed_labels(TimedLabel(item.label, item.start_s, item.end_s) for item in mixed.events)
    meta = {**events_meta(mixed.events), "background": "quiet" if bed is None else "noise", "overlap": str(overlap).lower()}
    return tagged("sound_event_detection", mixed.samples, target, meta=meta)


def audio_qa(rng: Generator, pool: Pool | None) -> Example:
    """Ask something about sounds or speech."""
    return question("audio_qa", pick(tuple(HEARD_SOUNDS.values()), rng)(rng, pool), rng)


def _single(rng: Generator, pool: Pool | None) -> tuple[Wave, list[str], dict[str, str]]:
    label = pick(tuple(SOUNDS), rng)
    wave = peaked(sound(label, rng, pool), float(rng.uniform(0.3, 0.9)))
    clip = with_silence(wave, float(rng.uniform(0, 0.8)), float(rng.uniform(0, 0.8)))
    return clip, [_worded(form, (SOUNDS[label],)) for form in _ONE], {}


def _several(rng: Generator, pool: Pool | None) -> tuple[Wave, list[str], dict[str, str]]:
    label, count = pick(COUNTABLE, rng), int(rng.integers(2, 7))
    one = peaked(sound(label, rng, pool), float(rng.uniform(0.4, 0.8)))
    mixed = in_sequence_of([(label, one)] * count, rng)
    texts = [form.format(n=COUNTS[count - 1], plural=SOUNDS[label].plural) for form in _MANY]
    return mixed.samples, [text[0].upper() + text[1:] for text in texts], {**events_meta(mixed.events), "count": str(count)}


def _in_a_row(rng: Generator, pool: Pool | None) -> tuple[Wave, list[str], dict[str, str]]:
    mixed = in_sequence(draw_several(tuple(SOUNDS), int(rng.integers(2, 4)), rng), rng, pool)
    kinds = [SOUNDS[item.label] for item in mixed.events]
    return mixed.samples, [_worded(form, kinds) for form in (_TWO if len(kinds) == 2 else _THREE)], events_meta(mixed.events)


def _at_once(rng: Generator, pool: Pool | None) -> tuple[Wave, list[str], dict[str, str]]:
    labels = draw_several(tuple(label for label in SOUNDS if label not in COUNTABLE), 2, rng)
    waves = [peaked(sound(label, rng, pool), float(rng.uniform(0.35, 0.5))) for label in labels]
    both = np.sum([np.pad(wave, (0, max(map(len, waves)) - len(wave))) for wave in waves], axis=0).astype(np.float32)
    events = [Placed(label, 0.0, len(wave) / RATE) for label, wave in zip(labels, waves, strict=True)]
    return both, [_worded(form, [SOUNDS[label] for label in labels]) for form in _TOGETHER], events_meta(events)


def _scene(rng: Generator, pool: Pool | None) -> tuple[Wave, list[str], dict[str, str]]:
    where = SCENES[pick(tuple(SCENES), rng)]
    fills = {
        "place": where.place,
        "Place": where.place[0].upper() + where.place[1:],
        "clause": where.clause,
        "Clause": _capital(where.clause),
    }
    return make_scene(where.label, float(rng.uniform(5, 10)), rng), [form.format(**fills) for form in _SCENE], {"scene": where.label}


def _worded(form: str, kinds: Sequence[SoundKind]) -> str:
    """Fill a caption with the words of sounds; without a number behind, the first one's."""
    fills: dict[str, str] = {}
    for number, kind in enumerate(kinds):
        for name, text in (("clause", kind.clause), ("indefinite", kind.indefinite)):
            for mark in (str(number), "") if number == 0 else (str(number),):
                fills |= {name + mark: text, name.capitalize() + mark: _capital(text)}
    return form.format(**fills)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _bed(rng: Generator) -> Wave:
    """Make ten seconds of soft noise."""
    return band(n_samples(10.0), rng, float(rng.uniform(40, 200)), float(rng.uniform(600, 4000)), 9)


SOUND_MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "audio_caption": audio_caption, "sound_event": sound_event, "scene": scene, "sound_event_detection": sound_event_detection,
        "audio_qa": audio_qa,
    }
)  # fmt: skip
