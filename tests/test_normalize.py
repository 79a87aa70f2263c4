from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from data.recipes.prepared import spoken_form
from eval.metrics.sample import NotComputed
from eval.normalize import NORMALISERS, without_tags
from eval.normalize_chinese import read_number
from eval.normalize_english import EnglishByPieces

GOLDEN = json.loads((Path(__file__).parent / "golden" / "scoring_lmms.json").read_text(encoding="utf-8"))
# What the library's rules might see, beside the words of its tables.
STRANGE = """
5 $5 5% % $ 3.5 1,000 5th 1st o'clock he's she'd they'll 'tis mr. um uh, um's half well-known twenty-one and-half half-a $0.50 ¢5 £2 €3.20 1
1s . ... … wait… — “five” ’s five’s x.y 3. $. a% %a -- ' " 5's <b> [x] (y) s th u.s. é café hálf ＡＢＣ ½ 5/6 7:30 #1 _ x_y and, been, gone.
it's, she's-been q q's
"""
PLAIN = """
the cat sat on a dog house run and a and been gone done got q xyz well then
"""


def made_sentence(rng: random.Random, rules: list[str]) -> str:
    plain = rng.choice([0.2, 0.5, 0.8])
    words = []
    for _ in range(rng.choice([1, 2, 3, 5, 8, 14])):
        word = rng.choice(PLAIN.split() if rng.random() < plain else rng.choice([STRANGE.split(), rules]))
        word = word.capitalize() if rng.random() < 0.1 else word
        words.append(word + rng.choice(",.?!;:'%") if rng.random() < 0.1 else word)
    return rng.choice([" ", " ", " ", "  ", " \n"]).join(words)


def test_english_by_pieces_answers_as_the_library_does() -> None:
    library = EnglishTextNormalizer()
    rules = [*library.standardize_numbers.words, *(pattern.replace(r"\b", "") for pattern in library.replacers)]
    pieces, rng = EnglishByPieces(EnglishTextNormalizer()), random.Random(0)
    sentences = [made_sentence(rng, sorted(rules)) for _ in range(3000)]
    assert [text for text in sentences if pieces(text) != library(text)] == []


def test_every_word_that_the_library_knows_is_seen_among_words_that_it_does_not_know() -> None:
    library = EnglishTextNormalizer()
    pieces = EnglishByPieces(EnglishTextNormalizer())
    known = [*library.standardize_numbers.words, *library.standardize_spellings.mapping, "hmm", "mm", "mhm", "mmm", "uh", "um", "nd", "th"]
    known += [pattern.replace(r"\b", "") for pattern in library.replacers]
    texts = [f"We saw {word} there." for word in known]
    assert [text for text in texts if pieces(text) != library(text)] == []


def test_english_is_normalised_as_the_library_does_at_any_speed() -> None:
    assert NORMALISERS["whisper-en"].apply("Mr. Brown's colour, it's $20 million — two and a half!") == EnglishTextNormalizer()(
        "Mr. Brown's colour, it's $20 million — two and a half!"
    )


@pytest.mark.parametrize(("number", "said"), GOLDEN["readings"].items())
def test_numbers_are_read_as_in_chinese(number: str, said: str) -> None:
    assert read_number(number) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("他2023年5月3日花了1,200块5，50%", "他二零二三年五月三日花了一千二百块五百分之五十"),
        ("他 二〇二三年 花了 一千两百块", "他二零二三年花了一千二百块"),
        ("１２个ＡＢＣ。", "十二个abc"),
        ("1/2的人12:30出发", "二分之一的人十二点三十出发"),
        ("零下5度，-5.5度", "零下五度负五点五度"),
        ("电话13812345678，门牌007", "电话一三八一二三四五六七八门牌零零七"),
        ("10000人，220元，100万", "一万人二百二十元一百万"),
        ("3-5个《苹果》……", "三五个苹果"),
    ],
)
def test_chinese_numerals_become_what_is_said_for_them(written: str, said: str) -> None:
    assert NORMALISERS["chinese"].apply(written) == said


def test_traditional_characters_become_simplified_only_where_that_is_asked_for() -> None:
    assert NORMALISERS["chinese-simplified"].apply("後來他說：好！") == "后来他说好"
    assert NORMALISERS["chinese"].apply("後來他說：好！") == "後來他說好"


@pytest.mark.parametrize(
    "text", ["It's Mr. O'Neil’s — 'quoted' text, isn't it?", "Ça va, l’été? 50 %", "DON'T 'tis rock'n'roll'", "你好，世界！", ""]
)
def test_the_spoken_rule_writes_texts_as_training_targets_are_written(text: str) -> None:
    assert NORMALISERS["spoken"].apply(text) == spoken_form(text)


def test_vowels_that_are_marks_are_kept_by_the_rule_that_says_so() -> None:
    assert NORMALISERS["whisper-marks"].apply("นี่คือ हिन्दी!").split() == ["นี่คือ", "हिन्दी"]
    assert NORMALISERS["whisper-basic"].apply("हिन्दी").split() == ["ह", "न", "द"]


def test_tags_are_taken_out_of_answers() -> None:
    assert without_tags("<|en|>a<|0.23|><|sil|>b<|endoftext|>") == "a  b"
    assert without_tags(" a < b | c ") == "a < b | c"


def test_the_rules_have_names_and_versions_that_a_signature_can_carry() -> None:
    assert NORMALISERS["whisper-en"].version == "0.1.15"
    assert all(name == rule.name and rule.version and "|" not in rule.version for name, rule in NORMALISERS.items())


def test_a_missing_library_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zhconv", None)
    with pytest.raises(NotComputed, match="pip install zhconv"):
        NORMALISERS["chinese-simplified"].apply("後來")


def test_another_version_of_the_library_with_rules_of_another_kind_is_refused() -> None:
    library = EnglishTextNormalizer()
    library.replacers = {**library.replacers, r"\bas well as\b": "and"}
    with pytest.raises(NotComputed, match="as well as"):
        EnglishByPieces(library)


def test_scoring_needs_no_torch() -> None:
    code = "import eval.normalize, eval.metrics.edits, eval.metrics.translation, eval.scoring_speed, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
