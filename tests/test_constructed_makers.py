"""Constructed examples: every task in its own form, questions in many wordings, labels that the waveform bears out."""

import dataclasses
import json
import re
from collections import Counter

import numpy as np
import pytest

from data.recipes.constructed import dialogues, espeak
from data.recipes.constructed.checks import checks_of
from data.recipes.constructed.example import Example, question
from data.recipes.constructed.makers import DIALOGUE, MAKERS, TASK_KINDS, TEXT, schedule
from data.recipes.constructed.questions_music import HEARD_MUSIC
from data.recipes.constructed.questions_sound import HEARD_SOUNDS
from data.recipes.constructed.text_only import TEXT_TASKS
from data.recipes.constructed.texts import words
from data.recipes.constructed.waves import RATE
from data.recipes.constructed.wordings import Fact, ask, kinds, option_order
from data.recipes.conversations import NOTE_NAMES
from qwen_audio.errors import ConfigError
from tag_schema.answers import read_speakers, read_yes_no
from tag_schema.tasks import TASKS, family_of
from tag_schema.timestamps import srwt_to_words

needs_voices = pytest.mark.skipif(not espeak.is_installed(), reason="espeak-ng is not installed")
SPOKEN = {"audio_qa", DIALOGUE, *(name for name, task in TASKS.items() if task.area == "speech" and name != "vocal_sound")}
RNG = np.random.default_rng(0)
QUESTIONS = [name for name in kinds() if not name.startswith(("chat.", "text.", "request."))]


def make(name: str, *seed: int) -> Example:
    return MAKERS[name](np.random.default_rng([len(name), *seed]), None)


def record_of(example: Example):
    return example.record("r", [f"{number}.flac" for number in range(len(example.clips))], "train")


def of_each() -> list:
    return [pytest.param(name, marks=[needs_voices] if name in SPOKEN else []) for name in MAKERS]


@pytest.mark.parametrize("name", of_each())
def test_each_maker_gives_records_of_its_task_with_answers_in_its_form(name: str) -> None:
    for seed in range(2):
        example = make(name, seed)
        record = record_of(example)
        assert len(example.kind) == len(example.label) == sum(turn.role == "assistant" for turn in record.messages) + 1
        assert all(clip.dtype == np.float32 and 0.3 <= len(clip) / RATE <= 30 and np.abs(clip).max() <= 1 for clip in example.clips)
        assert all(isinstance(value, str) for value in record.meta.values()) and record.meta["licence"] == "CC0-1.0"
        if name in TASKS:
            assert record.prefix is not None and family_of(record.prefix) is TASKS[name]
            TASKS[name].parse(record.target)
            assert record.audio and np.abs(example.clips[0]).max() > 0.001


@pytest.mark.parametrize("name", ["sound_event_detection", "music_qa", pytest.param("asr", marks=needs_voices)])
def test_the_same_seed_gives_the_same_example(name: str) -> None:
    first, second = make(name, 5), make(name, 5)
    assert record_of(first) == record_of(second)
    assert all(np.array_equal(one, other) for one, other in zip(first.clips, second.clips, strict=True))


def test_all_31_tasks_take_turns_with_conversations_and_text() -> None:
    assert set(TASK_KINDS) == set(TASKS) and set(schedule()) == {*TASKS, DIALOGUE, TEXT}
    counts = Counter(schedule())
    assert all(counts[name] >= 1 for name in TASKS) and counts["audio_qa"] > 1 and counts[DIALOGUE] > 1
    assert schedule(("asr", "text")) == ("asr", "text", "text")
    for wrong in (("asr", "singing"), ()):
        with pytest.raises(ConfigError, match="no task"):
            schedule(wrong)


@needs_voices
def test_a_timed_transcript_holds_the_words_in_order_within_the_clip() -> None:
    for name in ("srwt_en", "srwt_zh"):
        example = make(name, 1)
        said = srwt_to_words(example.target)
        assert len(said) >= 4 and said[-1].end_s <= len(example.clips[0]) / RATE
        assert all(len(word.text) == 1 for word in said) == (name == "srwt_zh")


@needs_voices
def test_translations_go_from_one_language_into_another() -> None:
    seen = set()
    for seed in range(12):
        prefix = record_of(make("s2tt", seed)).prefix
        assert prefix is not None and prefix.audio_language != prefix.text_language
        seen.add(prefix.text_language)
    assert len(seen) > 4


@needs_voices
def test_overlapped_speech_has_two_texts_and_verification_two_clips() -> None:
    assert len(read_speakers(make("overlapped_asr", 0).target)) == 2
    pairs = [make("speaker_verification", seed) for seed in range(8)]
    assert all(len(pair.clips) == 2 and read_yes_no(pair.target) == ("\n" not in pair.meta["speaker"]) for pair in pairs)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_kind_of_question_has_six_wordings_and_grammatical_fills_in_every_language(name: str) -> None:
    kind = kinds()[name]
    assert len(kind.questions["en"]) >= 6 and len(kind.answers["en"]) >= 2
    assert set(kind.questions) == set(kind.answers)
    category = words()[kind.category] if kind.category else None
    labels = kind.labels or ([entry["en"][category.forms[0]] for entry in category.entries] if category else ["a bell"])
    fills = {"a": "the bell", "b": "the dog", "plural": "beeps"}
    options = ("rain", "wind", "fire", "a dog") if "A" in labels else ()
    for language in kind.questions:
        for label in labels:
            for seed in range(3):
                rng = np.random.default_rng(seed)
                asked = ask(Fact(name, label, fills, options=options), rng, language=language, audio_names=seed == 0)
                assert asked.language == language and asked.answer in asked.references
                for text in (asked.question, *asked.references):
                    assert not re.search(r"[{}<>|]", text), text
                    assert text[0] == text[0].upper()


def test_a_wish_for_the_form_or_language_of_an_answer_is_granted() -> None:
    fact = Fact("count.sounds", "three")
    seen: Counter[str] = Counter()
    for seed in range(400):
        asked = ask(fact, np.random.default_rng(seed), language="en")
        if asked.question.endswith("Answer in one word."):
            assert asked.answer == "Three."
        elif asked.question.endswith(("Answer in a full sentence.", "Use a complete sentence.")):
            assert asked.answer == "I can tell three apart."
        elif asked.question.endswith("Answer in German."):
            assert asked.answer in ("Drei.", "Ich höre drei.")
        else:
            continue
        seen[asked.question[-12:]] += 1
    assert len(seen) >= 4


def test_the_right_choice_stands_anywhere_among_the_others() -> None:
    letters: Counter[str] = Counter()
    for seed in range(200):
        options, letter = option_order("right", ["x", "y", "z"], np.random.default_rng(seed))
        assert options["ABCD".index(letter)] == "right"
        letters[letter] += 1
    assert set(letters) == set("ABCD") and max(letters.values()) < 80


@needs_voices
@pytest.mark.parametrize("maker", dict.fromkeys(dialogues.DIALOGUES))
def test_conversations_alternate_and_send_each_clip_once(maker) -> None:
    for seed in range(2):
        record = record_of(maker(np.random.default_rng([seed, 9]), None))
        assert [turn.role for turn in record.messages] == ["user", "assistant"] * (len(record.messages) // 2) + ["user"]
        sent = [part for turn in record.messages for part in turn.parts if not isinstance(part, str)]
        assert tuple(sent) == record.audio and record.audio
        assert type(record).__name__ == "Record" and record.to_json()["messages"]


def test_answers_without_audio_are_right() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        _, asked, answer = TEXT_TASKS["sum"](rng)
        first, sign, second = re.findall(r"(\d+) ([-+*]) (\d+)", asked)[0]
        value = {"+": int(first) + int(second), "-": int(first) - int(second), "*": int(first) * int(second)}[sign]
        assert re.findall(r"\d+", answer)[-1] == str(value)
        _, asked, answer = TEXT_TASKS["larger"](rng)
        assert int(re.findall(r"\d+", answer)[0]) == max(map(int, re.findall(r"\d+", asked)))
        _, asked, answer = TEXT_TASKS["spell"](rng)
        assert answer.replace("-", "") in re.sub(r"\W", "", asked.lower())


# what is heard -> the kinds of its questions that are measured, with a label that is wrong for each right one
OTHER = {
    "repeated": {"count.events": dict.fromkeys(("one", "two", "three", "four", "five"), "six") | {"six": "one"}},
    "opening silence": {
        "silence": {f"{number} second{'s' * (number != 'one')}": "four seconds" for number in ("one", "two", "three", "five")}
    },
    "two sounds": {kind: {"first": "second", "second": "first"} for kind in ("pair.louder", "pair.longer")},
    "two counts": {"pair.more": {"first": "second", "second": "first"}},
    "some notes": {"notes": dict.fromkeys(("one", "two", "three", "four", "five"), "six") | {"six": "one"}},
    "two notes": {"notes.direction": {"higher": "lower", "lower": "higher"}, "note.longer": {"first": "second", "second": "first"}},
    "scale": {"melody.direction": {"up": "down", "down": "up"}},
    "chord": {"chord": {"major": "minor", "minor": "major"}},
    "note": {"pitch": {f"{name}{octave}": "B6" for name in NOTE_NAMES for octave in (4, 5)}},
    "two clips of notes": {"pair.higher": {"first": "second", "second": "first"}, "pair.same_note": {"yes": "no", "no": "yes"}},
    "two tempi": {"pair.faster": {"first": "second", "second": "first"}},
    "pauses": {"pauses": dict.fromkeys(("one", "two", "three", "four"), "five") | {"five": "one"}},
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[needs_voices] if name == "pauses" else []) for name in OTHER])
def test_answers_agree_with_the_waveform_and_wrong_ones_do_not(name: str) -> None:
    checked = 0
    for seed in range(4):
        heard = {**HEARD_SOUNDS, **HEARD_MUSIC}[name](np.random.default_rng([seed, len(name)]), None)
        for fact in heard.facts:
            wrong = OTHER[name].get(fact.kind, {}).get(fact.label)
            for label, expected in ((fact.label, True), (wrong, False)):
                if wrong is not None and label is not None:
                    asked = question("audio_qa", dataclasses.replace(heard, facts=(dataclasses.replace(fact, label=label),)), RNG)
                    assert [right for _, right in checks_of(record_of(asked), asked.clips)] == [expected], (fact, label)
                    checked += 1
    assert checked >= 4


@pytest.mark.parametrize("name", ["louder", "longer"])
def test_the_louder_and_the_longer_of_two_sounds_are_measured(name: str) -> None:
    for seed in range(4):
        heard = HEARD_SOUNDS[name](np.random.default_rng(seed), None)
        labels = [label for label, _, _ in json.loads(heard.meta["events"])]
        for asked in labels:
            told = question("audio_qa", dataclasses.replace(heard, meta={**heard.meta, "asked": asked}), RNG)
            assert [right for _, right in checks_of(record_of(told), told.clips)] == [asked == heard.meta["asked"]]


def test_times_of_events_are_those_of_the_waveform_and_shifted_ones_are_not() -> None:
    checked = 0
    for seed in range(8):
        example = make("sound_event_detection", seed)
        if example.meta.get("background") != "quiet":
            continue
        assert [right for _, right in checks_of(record_of(example), example.clips)] == [True]
        shifted = dataclasses.replace(example, clips=(np.roll(example.clips[0], RATE // 5),))
        assert [right for _, right in checks_of(record_of(shifted), shifted.clips)] == [False]
        assert json.loads(example.meta["events"])
        checked += 1
    assert checked >= 2


def test_a_note_is_checked_for_pitch_and_velocity() -> None:
    for seed in range(6):
        example = make("note_analysis", seed)
        assert [right for _, right in checks_of(record_of(example), example.clips)] == [True]
        quieter = dataclasses.replace(example, clips=(example.clips[0] * np.float32(0.9),))
        assert [right for _, right in checks_of(record_of(quieter), quieter.clips)] == [False]


@needs_voices
@pytest.mark.parametrize("name", ["srwt_en", "srwt_zh", "diarization"])
def test_times_of_speech_are_those_of_the_waveform_and_shifted_ones_are_not(name: str) -> None:
    example = make(name, 3)
    assert [right for _, right in checks_of(record_of(example), example.clips)] == [True]
    late = dataclasses.replace(example, clips=(np.concatenate([np.zeros(RATE // 2, np.float32), example.clips[0][: -RATE // 2]]),))
    assert [right for _, right in checks_of(record_of(late), late.clips)] == [False]
