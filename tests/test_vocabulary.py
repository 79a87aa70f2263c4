"""The special tokens: the released list, token by token, and the wrong names that circulate."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from tag_schema import vocabulary
from tag_schema.vocabulary import (
    CONTENT_TOKENS,
    CONTROL_TOKENS,
    FAMILIES,
    LANGUAGES,
    MISSPELT,
    OFFSETS,
    SPECIAL_TOKENS,
    TIMESTAMP_LAST,
    TIMESTAMP_ZERO,
    TagError,
    check_spelling,
    unknown_tag,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "tags.json").read_text(encoding="utf-8"))  # from the released tokenizer


def test_all_tokens_are_the_released_ones_in_the_released_order() -> None:
    assert len(SPECIAL_TOKENS) == len(OFFSETS) == GOLDEN["count"] == 3522
    digest = hashlib.sha256("\n".join(SPECIAL_TOKENS).encode()).hexdigest()
    assert digest == GOLDEN["sha256_of_names_joined_by_newlines"]


@pytest.mark.parametrize(("token", "token_id"), GOLDEN["ids"].items())
def test_offset_behind_the_released_ranks_is_the_released_id(token: str, token_id: int) -> None:
    assert GOLDEN["ranks"] + OFFSETS[token] == token_id


def test_timestamps_are_a_straight_line_of_hundredths() -> None:
    assert [SPECIAL_TOKENS[TIMESTAMP_ZERO + step] for step in (0, 1, 100, 233, 3000)] == [
        *("<|0.00|>", "<|0.01|>", "<|1.00|>", "<|2.33|>", "<|30.00|>")
    ]
    assert TIMESTAMP_LAST - TIMESTAMP_ZERO == 3000
    assert GOLDEN["ranks"] + TIMESTAMP_ZERO == 151871


def test_families_cover_every_offset_once_and_in_order() -> None:
    assert [offset for family in FAMILIES.values() for offset in family] == list(range(3522))
    assert FAMILIES["extra"] == range(3, 208)
    assert FAMILIES["midi_pitch"] == range(3248, 3376)


def test_control_and_content_tokens_share_nothing_and_leave_nothing_out() -> None:
    assert not CONTROL_TOKENS & CONTENT_TOKENS
    assert set(SPECIAL_TOKENS) == {*CONTROL_TOKENS, *CONTENT_TOKENS}
    assert {"<|im_end|>", "<|endoftext|>", "<|extra_7|>", "<audio>", "</audio>", "[[[AUDIO:modality]]]"} <= CONTROL_TOKENS
    assert {"<|2.33|>", "<|sil|>", "<|midi_pitch_60|>", "<|en|>", "<|answer|>"} <= CONTENT_TOKENS


def test_languages_are_the_eight_spoken_and_one_script() -> None:
    assert LANGUAGES == ("en", "zh", "de", "es", "ko", "fr", "ja", "it", "zh_tr")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("<|startoftranscription|>", "<|startoftranscript|>"),  # the released README
        ("<|startoftranscripts|>", "<|startoftranscript|>"),  # the paper
        ("<|analysis|>", "<|startofanalysis|>"),
        ("<|question-answer|>", "<|question|>"),
    ],
)
def test_misspelt_name_raises_an_error_that_names_the_right_one(wrong: str, right: str) -> None:
    assert MISSPELT[wrong] == right
    assert wrong not in OFFSETS
    with pytest.raises(TagError) as caught:
        check_spelling(f"ab{wrong}<|en|>")
    assert f"{wrong} at character 2" in str(caught.value)
    assert f"the right name is {right}" in str(caught.value)


def test_right_names_and_plain_text_pass_the_spelling_check() -> None:
    check_spelling("<|startoftranscript|><|en|> what is an <|unheard of|> analysis? <|2.33|>")


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        ("<|wo_int|>", "<|wo_itn|>"),
        ("<|caption_cloto|>", "<|caption_clotho|>"),
        ("<|ar|>", "custom tag"),
        ("<|analysis|>", "<|startofanalysis|>"),
    ],
)
def test_unknown_tag_is_told_what_is_near(tag: str, part: str) -> None:
    assert part in unknown_tag(tag)


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        vocabulary.OFFSETS["<|new|>"] = 1  # type: ignore[index]


def test_tag_error_is_a_value_error_that_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(TagError("what is wrong")))
    assert isinstance(error, ValueError)
    assert str(error) == "what is wrong"
