"""Parallel sentences: the same thing said in every language, each by its own grammar, with values that stand in the text."""

import re

import numpy as np
import pytest

from data.recipes.constructed.texts import WRITTEN, Sentence, draw, draw_word, entries, phrases, plain, words
from tag_schema.answers import Entity, Intent


def sentence(start: str, **chosen: str) -> Sentence:
    """Fill the phrase whose English line begins so, each role by its entry's English."""
    (phrase,) = [phrase for phrase in phrases() if phrase.lines["en"].startswith(start)]
    categories = dict(phrase.places)
    places = {role: [entry["en"].written for entry in entries(categories[role])].index(text) for role, text in chosen.items()}
    assert set(places) == set(categories)
    return Sentence(phrase, places)


def samples(count: int) -> list[Sentence]:
    rng = np.random.default_rng(0)
    return [draw(rng) for _ in range(count)]


def test_a_sentence_says_the_same_in_every_language() -> None:
    said = sentence("add a meeting", person="Anna", date="Monday", time="half past seven in the morning")
    assert {language: said.written(language) for language in WRITTEN} == {
        "en": "Add a meeting with Anna on Monday at half past seven in the morning.",
        "zh": "帮我记下星期一早上七点半和安娜开会。",
        "de": "Trag am Montag um halb acht morgens ein Treffen mit Anna ein.",
        "es": "Apunta una reunión con Anna el lunes a las siete y media de la mañana.",
        "ko": "월요일 아침 일곱 시 반에 안나와의 회의를 일정에 넣어 줘.",
        "fr": "Note une réunion avec Anna lundi à sept heures et demie du matin.",
        "ja": "月曜日の朝七時半にアンナとの会議を入れて。",
        "it": "Segna una riunione con Anna lunedì alle sette e mezza di mattina.",
        "yue": "幫我記低星期一朝早七點半同安娜開會。",
    }
    assert said.intent == Intent("add", "calendar") and said.has_number
    assert said.spoken("ja") == "げつよーびのあさしちじはんにアンナとのかいぎをいれて。"


def test_slots_and_entities_are_the_words_that_are_said() -> None:
    said = sentence("add a meeting", person="Anna", date="Monday", time="half past seven in the morning")
    assert said.slots("de") == (Entity("date", "montag"), Entity("time", "halb acht morgens"), Entity("person", "anna"))
    assert said.entities("ja") == (Entity("DATE", "月曜日"), Entity("TIME", "朝七時半"), Entity("PERSON", "アンナ"))
    assert sentence("the {animal}", animal="dog", nook="in the garden").entities("en") == ()
    assert sentence("stop the timer").slots("fr") == ()


@pytest.mark.parametrize(
    ("person", "korean", "french"),
    [
        ("Anna", "안나는 엠마에게", "Est-ce que j'ai de nouveaux messages d'Anna ?"),
        ("Paul", "폴은 엠마에게", "Est-ce que j'ai de nouveaux messages de Paul ?"),
        ("Oscar", "오스카는 엠마에게", "Est-ce que j'ai de nouveaux messages d'Oscar ?"),
    ],
)
def test_particles_and_elisions_follow_the_name(person: str, korean: str, french: str) -> None:
    called = sentence("{person} called", person=person, friend="Emma", past="yesterday")
    assert called.written("ko").replace("어제 ", "").startswith(korean)
    assert sentence("do I have new", person=person).written("fr") == french


@pytest.mark.parametrize(("place", "said"), [("Seoul", "서울로"), ("London", "런던으로"), ("Paris", "파리로"), ("Munich", "뮌헨으로")])
def test_the_korean_particle_of_direction_knows_the_letter_rieul(place: str, said: str) -> None:
    assert sentence("when does the next train", destination=place).written("ko").startswith(said + " ")


def test_questions_carry_the_marks_of_their_language() -> None:
    said = sentence("what time is it", place="Rome")
    assert said.written("es") == "¿Qué hora es en Roma?"
    assert said.written("zh") == "罗马现在几点？"
    assert said.written("ja") == "ローマは今何時ですか。"
    assert said.plain("es") == "qué hora es en roma"


def test_nothing_of_the_grammar_is_left_in_a_sentence() -> None:
    for said in samples(400):
        for language in WRITTEN:
            for text in (said.written(language), said.spoken(language)):
                assert not re.search(r"[{}\[\]《》｜~();|/\ue000\ue001]|  ", text), text
            assert said.plain(language) == plain(said.written(language)) != ""
            assert all(value.value in said.plain(language) for value in said.slots(language))


def test_japanese_is_spoken_in_kana_and_chinese_written_in_characters() -> None:
    for said in samples(300):
        assert re.fullmatch(r"[ぁ-ゖァ-ヺー。、]+", said.spoken("ja"))
        assert all(re.fullmatch(r"[㐀-鿿。，？]+", said.written(language)) for language in ("zh", "yue"))


def test_thousands_of_sentences_are_different() -> None:
    for language in ("en", "zh", "ko"):
        assert len({said.plain(language) for said in samples(2000)}) > 1500
    assert len(phrases()) >= 60 and {phrase.kind for phrase in phrases()} == {"command", "statement"}


def test_two_roles_of_one_category_are_never_the_same() -> None:
    people = ("person", "friend", "origin", "destination", "first", "second")
    for said in samples(400):
        names = [value.value for value in said.slots("en") if value.type in people]
        assert len(names) == len(set(names))


def test_entries_of_a_category_can_be_told_apart() -> None:
    for name in words():
        if name in ("keyword", "digit", "person", "place", "room", "colour", "tongue", "noun"):
            for language in WRITTEN:
                written = [entry[language].written for entry in entries(name)]
                assert len(set(written)) == len(written), (name, language)


def test_commands_and_statements_can_be_asked_for() -> None:
    rng = np.random.default_rng(3)
    assert all(draw(rng, "command").intent is not None for _ in range(50))
    assert all(draw(rng, "statement").intent is None for _ in range(50))
    assert draw_word(rng, "digit")["de"].written in ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
