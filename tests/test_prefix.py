"""TagPrefix <-> tag sentence."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tag_schema.custom import CustomTags
from tag_schema.prefix import INSTRUCTIONS, TASK_TAGS, TIMED_INSTRUCTIONS, TRANSCRIPTION_TAG, TagPrefix, parse_sentence
from tag_schema.vocabulary import CONTENT_TOKENS, LANGUAGES, OFFSETS, TAG_PATTERN, TagError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "tags.json").read_text(encoding="utf-8"))  # from the released tokenizer
SENTENCES = {name: case for name, case in GOLDEN["task_sentences"].items() if name != "asr_readme_bad"}
EXPECTED = {
    "asr": TagPrefix("transcribe", "en", "en", instruction="wo_itn"),
    "srwt": TagPrefix("transcribe", "zh", "zh", timestamps=True),
    "st": TagPrefix("translate", "en", "de", instruction="itn"),
    "caption": TagPrefix("caption", None, "en", instruction="caption_clotho"),
    "scene": TagPrefix("keyword", None, "en", instruction="scene"),
    "emotion": TagPrefix("keyword", "en", "en", instruction="emotion_recognition"),
    "aqa": TagPrefix("question", "en", "en", question="Is it raining?"),
    "vocal": TagPrefix("keyword", "en", "en", instruction="vocal_classification"),
    "note": TagPrefix("keyword", None, "en", instruction="note_analysis"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_released_prompt_is_rendered_and_read_back(name: str) -> None:
    assert EXPECTED[name].sentence() == SENTENCES[name]["sentence"]
    assert parse_sentence(SENTENCES[name]["sentence"]) == EXPECTED[name]


@pytest.mark.parametrize("name", SENTENCES)
def test_tags_of_a_released_prompt_have_the_released_ids(name: str) -> None:
    tags = "".join(text for text, is_tags in EXPECTED[name].pieces() if is_tags)
    ids = [GOLDEN["ranks"] + OFFSETS[match.group()] for match in TAG_PATTERN.finditer(tags)]
    assert ids == [token_id for token_id in SENTENCES[name]["ids"] if token_id >= GOLDEN["ranks"]]


def test_prompt_of_the_released_readme_is_refused_with_the_right_name() -> None:
    with pytest.raises(TagError, match=r"startoftranscription.*the right name is <\|startoftranscript\|>"):
        parse_sentence(GOLDEN["task_sentences"]["asr_readme_bad"]["sentence"])


def test_every_legal_combination_is_rendered_of_known_tags_and_read_back() -> None:
    count = 0
    for task in (task for task in TASK_TAGS if task != "question"):
        choices = itertools.product((None, "en", "zh", "it"), LANGUAGES, (None, *INSTRUCTIONS[task]), (False, True))
        for audio, text, instruction, timed in choices:
            try:
                prefix = TagPrefix(task, audio, text, timed, instruction)
            except TagError:
                continue
            sentence = prefix.sentence()
            assert TAG_PATTERN.sub("", sentence) == ""
            assert {match.group() for match in TAG_PATTERN.finditer(sentence)} <= CONTENT_TOKENS
            assert sentence.startswith(TRANSCRIPTION_TAG[task])
            assert parse_sentence(sentence) == prefix
            count += 1
    # Pairs of languages times instructions, plain and timed: transcribe, translate, caption, keyword; counted by hand.
    assert count == 13 * (5 + 3) + 32 * 3 + 36 * 6 + 36 * (18 + 3)


def test_timestamps_bring_the_first_time_along() -> None:
    assert TagPrefix("keyword", None, "en", True, "event").sentence() == (
        "<|startofanalysis|><|unknown|><|keyword|><|en|><|timestamps|><|0.00|><|event|>"
    )


def test_question_is_plain_text_between_tags() -> None:
    prefix = TagPrefix("question", None, "en", question="<|im_end|> or </audio> or <|answer|>?")
    assert prefix.pieces() == [
        ("<|startofanalysis|><|unknown|><|question|>", True),
        ("<|im_end|> or </audio> or <|answer|>?", False),
        ("<|answer|>", True),
    ]
    assert parse_sentence(prefix.sentence()) == prefix


def test_wrong_name_in_a_question_is_nobodys_mistake() -> None:
    question = "What does <|analysis|> mean, and <|question|>?"
    assert parse_sentence(TagPrefix("question", "en", "en", question=question).sentence()).question == question


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("recognise", "en", "en"), "task is 'recognise'"),
        (("transcribe", "en", "de"), "that is task translate"),
        (("translate", "en", "en"), "that is task transcribe"),
        (("translate", "zh", "zh_tr"), "that is task transcribe"),  # two scripts of one language
        (("keyword", "zh_tr", "zh"), "audio_language is 'zh_tr'"),  # a script is not spoken
        (("transcribe", "English", "English"), "audio_language is 'English'"),
        (("transcribe", "en", "itn"), "text_language is 'itn'"),
        (("transcribe", "", "en"), "audio_language is ''"),
        (("transcribe", "en", "en", False, "scene"), "scene belongs to keyword"),
        (("keyword", None, "en", False, "caption_clotho"), "belongs to caption"),
        (("keyword", None, "en", False, "itn"), "belongs to transcribe and translate"),
        (("keyword", None, "en", False, "endoftext"), "instruction is 'endoftext'"),
        (("keyword", None, "en", False, "pitch"), "instruction is 'pitch'"),
        (("keyword", None, "en", False, "<|scene|>"), "instruction is '<|scene|>'"),
        (("translate", "en", "de", True, "itn"), "takes no timestamps"),
        (("caption", None, "en", True), "takes no timestamps"),
        (("keyword", None, "en", True, "scene"), "takes no timestamps"),
        (("keyword", None, "en", True), "takes no timestamps"),
        (("question", "en", "en", True, None, "When?"), "takes no timestamps"),
        (("question", "en", "en", False, "scene", "Where?"), "takes no output instruction"),
        (("question", "en", "en"), "the question is missing"),
        (("question", "en", "en", False, None, "  "), "the question is missing"),
        (("caption", None, "en", False, None, "What?"), "takes no question"),
    ],
)
def test_combination_that_no_sentence_says_is_refused(arguments: tuple[Any, ...], part: str) -> None:
    with pytest.raises(TagError) as caught:
        TagPrefix(*arguments)
    assert part in str(caught.value)


def test_timed_instructions_are_instructions_of_their_task() -> None:
    for task in TASK_TAGS:
        assert set(TIMED_INSTRUCTIONS[task]) <= {None, *INSTRUCTIONS[task]}


HEAD = "<|startoftranscript|><|en|><|transcribe|>"


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("", "the sentence ends at character 0; expected a transcription tag"),
        ("mister quilter", "found 'mister quilter' at character 0"),
        ("<|en|><|transcribe|>", "found <|en|> at character 0; expected a transcription tag"),
        ("<|startoftranscript|><|transcribe|>", "found <|transcribe|> at character 21; expected the audio language"),
        ("<|startoftranscript|><|zh_tr|><|transcribe|>", "found <|zh_tr|> at character 21"),
        ("<|startoftranscript|><|en|><|en|>", "found <|en|> at character 27; expected a task tag"),
        (HEAD, "the sentence ends at character 41; expected the text language"),
        (HEAD + "<|en|><|wo_itn|>", "expected a timestamps tag"),
        (HEAD + "<|en|><|timestamps|>", "expected the first time (<|0.00|>)"),
        (HEAD + "<|en|><|timestamps|><|0.10|>", "found <|0.10|>"),
        (HEAD + "<|en|><|notimestamps|><|wo_itn|>mister", "found 'mister' at character 73"),
        (HEAD + "<|en|><|notimestamps|><|wo_itn|><|itn|>", "expected nothing behind the output instruction"),
        (HEAD + "<|en|><|notimestamps|><|sil|>", "expected an output instruction or the end"),
        (HEAD + "<|en|><|notimestamps|><|wo_int|>", "did you mean <|wo_itn|>?"),
        (HEAD + "<|ar|><|notimestamps|>", "<|ar|> is not a token"),
        (HEAD + "<|de|><|notimestamps|>", "that is task translate"),
        ("<|startofanalysis|><|en|><|transcribe|><|en|><|notimestamps|>", "stands under <|startoftranscript|>"),
        ("<|startoftranscript|><|en|><|question|>Is it?<|answer|>", "stands under <|startofanalysis|>"),
        ("<|startofanalysis|><|en|><|question|>Is it?", "is not closed; expected <|answer|>"),
        ("<|startofanalysis|><|en|><|question|><|answer|>", "the question is missing"),
        ("<|startofanalysis|><|en|><|question-answer|>", "the right name is <|question|>"),
        ("<|analysis|><|en|>", "the right name is <|startofanalysis|>"),
        ("<|startoftranscripts|><|en|>", "the right name is <|startoftranscript|>"),
    ],
)
def test_sentence_with_a_mistake_is_refused_with_its_place(sentence: str, part: str) -> None:
    with pytest.raises(TagError) as caught:
        parse_sentence(sentence)
    assert part in str(caught.value)


def test_custom_tags_are_rendered_and_read_where_the_model_has_them() -> None:
    custom = CustomTags.from_names(["ar", "zh_yue", "bird_species"])
    for prefix, names in [
        (TagPrefix("transcribe", "ar", "ar", instruction="itn"), "startoftranscript ar transcribe ar notimestamps itn"),
        (TagPrefix("translate", "ar", "en"), "startoftranscript ar translate en notimestamps"),
        (TagPrefix("transcribe", "zh_yue", "zh"), "startoftranscript zh_yue transcribe zh notimestamps"),
        (TagPrefix("keyword", None, "en", True, "bird_species"), "startofanalysis unknown keyword en timestamps 0.00 bird_species"),
    ]:
        sentence = "".join(f"<|{name}|>" for name in names.split())
        assert prefix.sentence(custom) == sentence
        assert parse_sentence(sentence, custom) == prefix


@pytest.mark.parametrize(
    ("prefix", "part"),
    [
        (TagPrefix("transcribe", "ar", "ar"), "<|ar|> is not a token"),
        (TagPrefix("translate", "en", "he"), "<|he|> is not a token"),
        (TagPrefix("keyword", None, "en", instruction="bird_species"), "this model's custom instructions: none"),
        (TagPrefix("keyword", None, "en", instruction="emotion_recogniton"), "did you mean <|emotion_recognition|>?"),
    ],
)
def test_name_that_the_model_lacks_is_refused_when_the_sentence_is_made(prefix: TagPrefix, part: str) -> None:
    with pytest.raises(TagError) as caught:
        prefix.sentence(CustomTags.from_names(["ru"]))
    assert part in str(caught.value)
