"""Voices: the same request gives the same samples in any order, and words are said when they are said to be."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.recipes.constructed import espeak
from data.recipes.constructed.espeak import Request, is_installed, utter
from data.recipes.constructed.measure import active_spans, loudness_db
from data.recipes.constructed.voices import (
    AGES,
    LANGUAGES,
    MANNERS,
    SPEAKERS,
    Speech,
    Voice,
    age_voice,
    dialects,
    speak,
    speaker,
    voice,
)
from qwen_audio.errors import DataError
from tag_schema.timestamps import srwt_to_words, words_to_srwt

pytestmark = pytest.mark.skipif(not is_installed(), reason="espeak-ng is an optional dependency")
RATE = 16_000
SAID = {
    "en": "The dog ran home, and the cat sat on the wall.", "zh": "今天 天气 很好", "cmn": "今天 天气 很好", "yue": "今日 天氣 好好",
    "de": "Der Hund läuft nach Hause.", "es": "El perro corre.", "fr": "Il y a un chat.", "it": "Il cane corre.",
    "ja": "きょうは いい てんき です", "ko": "오늘은 날씨가 좋습니다",
}  # fmt: skip


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def digest(speech: Speech) -> str:
    return hashlib.sha256(speech.samples.tobytes()).hexdigest()


def fundamental(samples: np.ndarray) -> float:
    """Give the median fundamental in hertz by autocorrelation, of the voiced frames of 80 ms."""
    found = []
    lags = np.arange(36, 260)
    for frame in np.lib.stride_tricks.sliding_window_view(samples, 1280)[::320]:
        again = np.fft.irfft(np.square(np.abs(np.fft.rfft(frame, 4096))))[:262] / (1280 - np.arange(262))
        peaks = [lag for lag in lags if again[lag - 1] < again[lag] >= again[lag + 1] and again[lag] > 0.5 * again[0]]
        if peaks and np.abs(frame).max() > 0.05:
            found.append(RATE / max(peaks, key=lambda lag: again[lag] * (1 - lag / 5000)))
    return float(np.median(found))


def centroid(samples: np.ndarray) -> float:
    power = np.square(np.abs(np.fft.rfft(samples)))
    return float((np.fft.rfftfreq(len(samples), 1 / RATE) * power).sum() / power.sum())


def test_what_was_said_before_changes_nothing() -> None:
    people = [Voice(f"p{n}", "en", variant, "male", 150, 50) for n, variant in enumerate(("f1", "klatt2", "m1", "aunty"))]
    first = [digest(speak(person, "one two three")) for person in people]
    again = [digest(speak(person, "one two three")) for person in reversed(people)][::-1]
    assert first == again
    assert len(set(first)) == 4


def test_another_process_says_the_same() -> None:
    code = (
        "import hashlib; from data.recipes.constructed.voices import speak, speaker;"
        "print(hashlib.sha256(speak(speaker(5), 'good morning', manner='sad').samples.tobytes()).hexdigest())"
    )
    root = Path(__file__).resolve().parent.parent
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(speak(speaker(5), "good morning", manner="sad"))


@pytest.mark.parametrize("language", [*LANGUAGES, "yue"])
def test_every_language_is_spoken_with_the_times_of_its_words(language: str) -> None:
    said = speak(voice(language, rng(1)), SAID[language])
    words = [piece.strip(".,") for piece in SAID[language].split()]
    assert [word.text for word in said.words] == words
    assert said.samples.dtype == np.float32 and np.abs(said.samples).max() <= 1
    times = [time for word in said.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= said.duration_s
    assert all(word.end_s - word.start_s > 0.03 for word in said.words)
    assert [word.text for word in srwt_to_words(words_to_srwt(said.words, duration_s=said.duration_s))] == words


@pytest.mark.parametrize(
    ("language", "text"), [("en", "banana, window, yellow, garden"), ("zh", "我们，妈妈，你好，老师"), ("de", "morgen, Garten, Regen")]
)
def test_words_between_pauses_are_where_the_sound_is(language: str, text: str) -> None:
    for seed in range(4):
        said = speak(voice(language, rng(seed)), text)
        words = list(said.words)
        if language == "zh":
            assert len(words) == len(text.replace("，", ""))
            words = [type(word)(word.text, word.start_s, end.end_s) for word, end in zip(words[::2], words[1::2], strict=True)]
        spans = active_spans(said.samples, min_gap_s=0.1)
        assert len(spans) == len(words)
        for word, (start, end) in zip(words, spans, strict=True):
            assert abs(word.start_s - start) < 0.04
            assert abs(word.end_s - end) < 0.06


def test_frequent_pairs_of_words_are_told_apart() -> None:
    text = "he is at the top of the hill and I am to be in the house"
    assert [word.text for word in speak(speaker(0), text).words] == text.split()


def test_spaces_mark_chinese_words_and_are_not_spoken() -> None:
    person = speaker(2, "zh")
    words, characters = speak(person, "今天 天气 很好"), speak(person, "今天天气很好")
    assert digest(words) == digest(characters)
    assert [word.text for word in characters.words] == list("今天天气很好")
    assert [word.start_s for word in words.words] == [word.start_s for word in characters.words][::2]


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("ja", "今日は いい", "in kana"),
        ("zh", "我有 3 个", "Chinese characters alone"),
        ("en", "...", "no words"),
        ("xx", "hm", "expected one of"),
    ],
)
def test_what_cannot_be_read_is_refused(language: str, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        speak(voice(language, rng(0)), text)


def test_speakers_are_many_stable_and_men_speak_below_women() -> None:
    people = [speaker(number) for number in range(SPEAKERS)]
    assert SPEAKERS >= 40
    assert len({(person.variant, person.pitch, person.tract) for person in people}) == SPEAKERS
    assert speaker(7, "de").variant == speaker(7).variant
    for person in people[::5]:
        hertz = fundamental(speak(person, "are you all well today my dear").samples)
        assert (hertz > 158) == (person.gender == "female"), (person, hertz)
    with pytest.raises(DataError, match="from 0 to"):
        speaker(SPEAKERS)


def test_a_gender_that_is_asked_for_is_drawn() -> None:
    assert {voice("en", rng(seed), "female").gender for seed in range(9)} == {"female"}
    assert {voice("en", rng(seed)).gender for seed in range(9)} == {"male", "female"}


def test_manners_differ_in_rate_loudness_and_brightness() -> None:
    person = speaker(3)
    plain = speak(person, "the train will leave at noon")
    acted = {manner: speak(person, "the train will leave at noon", manner=manner) for manner in MANNERS}
    assert acted["fearful"].duration_s < acted["angry"].duration_s < plain.duration_s < acted["calm"].duration_s < acted["sad"].duration_s
    assert loudness_db(acted["angry"].samples) > loudness_db(plain.samples) > loudness_db(acted["sad"].samples)
    assert centroid(acted["angry"].samples) > centroid(plain.samples) > centroid(acted["sad"].samples)
    assert fundamental(acted["happy"].samples) > fundamental(acted["sad"].samples)
    with pytest.raises(DataError, match="angry, calm"):
        speak(person, "hm", manner="bored")


def test_children_speak_high_and_the_old_slowly() -> None:
    text = "we are going to the garden now"
    spoken = {age: [speak(age_voice(age, "en", rng(seed)), text) for seed in range(5)] for age in AGES}
    assert min(fundamental(said.samples) for said in spoken["child"]) > 230
    slow, usual = (np.mean([said.duration_s for said in spoken[age]]) for age in ("elderly", "adult"))
    assert slow > 1.2 * usual
    with pytest.raises(DataError, match="child, adult, elderly"):
        age_voice("middle", "en", rng(0))


def test_dialects_say_the_same_words_otherwise() -> None:
    english = [item for item in dialects().values() if item.language == "en"]
    assert len(english) >= 4 and {"yue", "cmn"} <= set(dialects())
    said = {utter(Request(item.voice, "the girl could not park her car near the bath house")).samples.tobytes() for item in english}
    assert len(said) == len(english)
    one, other = (speak(voice(code, rng(4)), SAID[code]) for code in ("yue", "cmn"))
    assert digest(one) != digest(other)


def test_without_espeak_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    espeak.located.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(espeak, "_loads", lambda name: False)
    with pytest.raises(DataError, match="pip install espeakng-loader"):
        espeak.located()
    espeak.located.cache_clear()


def test_a_voice_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="no voice 'zz\\+f1'"):
        utter(Request("zz+f1", "hello"))
