"""The 31 training tasks: their sentences, the readers of their answers, their words for models without tags."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tag_schema import answers
from tag_schema.answers import Entity, Intent, Note, Song, TimedLabel
from tag_schema.custom import CustomTags
from tag_schema.prefix import TagPrefix, parse_sentence
from tag_schema.tasks import TASKS, family, family_of, language_name, natural_prompt, prefix_for, read_task
from tag_schema.timestamps import Word
from tag_schema.vocabulary import TagError

SENTENCES = json.loads((Path(__file__).parent / "golden" / "tags.json").read_text(encoding="utf-8"))["task_sentences"]


def test_there_are_18_tasks_of_speech_5_of_sound_and_8_of_music() -> None:
    areas = [task.area for task in TASKS.values()]
    assert [areas.count(area) for area in ("speech", "sound", "music")] == [18, 5, 8]


def test_a_task_is_asked_by_its_name_or_by_a_sentence_with_tags_of_ones_own() -> None:
    assert read_task("scene") == prefix_for("scene") == read_task(f" {prefix_for('scene').sentence()}")
    mine = prefix_for("scene").sentence().replace("scene", "bird_species")
    with pytest.raises(TagError, match="a new tag must be named as a custom tag first"):
        read_task(mine)
    assert read_task(mine, CustomTags.from_names(["bird_species"])).instruction == "bird_species"


def test_every_task_has_a_sentence_of_its_own() -> None:
    assert len({task.prefix.sentence() for task in TASKS.values()}) == 31


@pytest.mark.parametrize("name", TASKS)
def test_task_is_recognised_by_its_sentence(name: str) -> None:
    assert family_of(TASKS[name].prefix) is TASKS[name]
    assert family_of(parse_sentence(TASKS[name].prefix.sentence())) is TASKS[name]


@pytest.mark.parametrize(
    ("golden", "arguments"),
    [
        ("asr", {"name": "asr"}),
        ("srwt", {"name": "srwt_zh"}),
        ("srwt", {"name": "asr", "language": "zh", "timestamps": True}),
        ("st", {"name": "s2tt", "text_language": "de"}),
        ("caption", {"name": "audio_caption"}),
        ("scene", {"name": "scene"}),
        ("emotion", {"name": "emotion"}),
        ("aqa", {"name": "audio_qa", "question": "Is it raining?"}),
        ("vocal", {"name": "vocal_sound"}),
        ("note", {"name": "note_analysis"}),
    ],
)
def test_released_prompt_is_built_from_the_name_of_its_task(golden: str, arguments: dict[str, Any]) -> None:
    assert prefix_for(**arguments).sentence() == SENTENCES[golden]["sentence"]


@pytest.mark.parametrize(
    ("arguments", "prefix"),
    [
        ({"name": "asr", "language": "de"}, TagPrefix("transcribe", "de", "de", instruction="wo_itn")),
        ({"name": "asr", "language": "zh", "text_language": "zh_tr"}, TagPrefix("transcribe", "zh", "zh_tr", instruction="wo_itn")),
        ({"name": "asr", "language": "ar"}, TagPrefix("transcribe", "ar", "ar", instruction="wo_itn")),
        ({"name": "asr", "instruction": "itn", "timestamps": True}, TagPrefix("transcribe", "en", "en", True, "itn")),
        ({"name": "s2tt", "language": "de"}, TagPrefix("translate", "de", "en", instruction="itn")),
        ({"name": "s2tt", "language": "ru", "text_language": "en"}, TagPrefix("translate", "ru", "en", instruction="itn")),
        ({"name": "dialect_asr", "language": "de"}, TagPrefix("transcribe", None, "de", instruction="wo_itn")),
        ({"name": "emotion", "language": "de"}, TagPrefix("keyword", "de", "en", instruction="emotion_recognition")),
        ({"name": "keyword_spotting", "language": "ar"}, TagPrefix("keyword", "ar", "ar")),
        ({"name": "scene", "language": "zh"}, TagPrefix("keyword", None, "zh", instruction="scene")),
        ({"name": "audio_caption", "instruction": "caption_audiocaps"}, TagPrefix("caption", None, "en", instruction="caption_audiocaps")),
        ({"name": "sound_event", "timestamps": True}, TASKS["sound_event_detection"].prefix),
        ({"name": "gender", "timestamps": True}, TASKS["diarization"].prefix),
        ({"name": "music_qa", "question": "Which key?"}, TagPrefix("question", None, "en", question="Which key?")),
    ],
)
def test_sentence_follows_what_is_asked_of_the_task(arguments: dict[str, Any], prefix: TagPrefix) -> None:
    assert prefix_for(**arguments) == prefix


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"name": "asrr"}, "'asrr' does not exist; expected a tag sentence, or one of asr, s2tt"),
        ({"name": "audio_qa"}, "the question is missing"),
        ({"name": "scene", "question": "Where?"}, "takes no question of yours"),
        ({"name": "age", "question": "How old?"}, "takes no question of yours"),
        ({"name": "s2tt", "language": "en"}, "Give the text language"),
        ({"name": "s2tt", "language": "en", "text_language": "en"}, "that is task transcribe"),
        ({"name": "scene", "language": "en", "text_language": "zh"}, "hears no language in particular"),
        ({"name": "scene", "timestamps": True}, "takes no timestamps"),
        ({"name": "asr", "instruction": "scene"}, "belongs to keyword"),
    ],
)
def test_sentence_that_cannot_be_built_is_refused(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(TagError) as caught:
        prefix_for(**arguments)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        (TagPrefix("transcribe", "fr", "fr"), "asr"),
        (TagPrefix("transcribe", "fr", "fr", instruction="itn"), "asr"),
        (TagPrefix("transcribe", "zh", "zh", True, "itn"), "srwt_zh"),
        (TagPrefix("translate", "fr", "en"), "s2tt"),
        (TagPrefix("caption", None, "en", instruction="caption_plain"), "audio_caption"),
        (TagPrefix("keyword", None, "en", instruction="audioset_ontology"), "sound_event"),
        (TagPrefix("keyword", None, "zh", instruction="emotion_recognition"), "music_emotion"),
        (TagPrefix("keyword", "zh", "zh", instruction="emotion_recognition"), "emotion"),
        (TagPrefix("question", "en", "en", question="How old is the speaker?"), "age"),
        (TagPrefix("question", "en", "en", question="How old is the dog?"), "audio_qa"),
        (TagPrefix("keyword", None, "en", instruction="audio_grounding"), None),
        (TagPrefix("keyword", None, "en", instruction="bird_species"), None),
    ],
)
def test_task_is_found_from_any_of_its_sentences(prefix: TagPrefix, name: str | None) -> None:
    assert family_of(prefix) is (None if name is None else TASKS[name])


def test_table_travels_between_processes() -> None:
    for task in TASKS.values():
        assert pickle.loads(pickle.dumps(task)) == task


def test_unknown_task_is_told_which_there_are() -> None:
    assert family("asr") is TASKS["asr"]
    with pytest.raises(TagError, match="music_qa"):
        family("ASR")


CONTENT_SAMPLE = (
    *("<|0.00|>", "<|1.50|>", "<|30.00|>", "<|sil|>", "<|delim|>", "<|en|>", "<|pitch|>", "<|midi_pitch_60|>", "<|velocity|>", "<|sonic|>"),
    *("<|instrument|>", "<|scenario|>", "<|action|>", "<|startofentityvalue|>", "<|endofentityvalue|>", "<|startofentitytype|>"),
)

# One answer of each task as training writes it, and what its reader makes of it.
ANSWERS: dict[str, tuple[str, object]] = {
    "asr": (" mister quilter  is the apostle ", "mister quilter is the apostle"),
    "s2tt": ("Herr Quilter ist der Apostel.", "Herr Quilter ist der Apostel."),
    "overlapped_asr": ("good morning<|delim|>did you see it", ("good morning", "did you see it")),
    "dialect_asr": ("今天天气很好", "今天天气很好"),
    "srwt_en": ("mister<|0.40|><|sil|><|0.50|>quilter<|0.95|>", [Word("mister", 0.0, 0.4), Word("quilter", 0.5, 0.95)]),
    "srwt_zh": ("<|sil|><|0.54|>面<|0.86|>条<|1.17|>", [Word("面", 0.54, 0.86), Word("条", 0.86, 1.17)]),
    "dialect_id": ("Sichuanese", "Sichuanese"),
    "language_id": ("German.", "German"),
    "gender": ("female", "female"),
    "emotion": (" neutral\n", "neutral"),
    "speaker_verification": ("Yes.", True),
    "diarization": (
        "speaker 1<|0.20|><|3.10|>speaker 2<|2.90|><|5.00|>",
        (TimedLabel("speaker 1", 0.2, 3.1), TimedLabel("speaker 2", 2.9, 5.0)),
    ),
    "entity": ("<|startofentityvalue|>Paris<|endofentityvalue|><|startofentitytype|>PLACE<|endofentitytype|>", (Entity("PLACE", "Paris"),)),
    "keyword_spotting": ("stop", "stop"),
    "intent": ("<|scenario|>alarm<|action|>set", Intent("set", "alarm")),
    "slot_filling": ("", ()),
    "age": ("20s", "20s"),
    "vocal_sound": ("Throat clearing", "Throat clearing"),
    "audio_caption": ("A dog barks twice.", "A dog barks twice."),
    "sound_event": ("Male speech, man speaking; Rain", ("Male speech, man speaking", "Rain")),
    "scene": ("metro station", "metro station"),
    "sound_event_detection": ("<|sil|>", ()),
    "audio_qa": ("yes", "yes"),
    "singer_id": ("Freddie", "Freddie"),
    "music_emotion": ("happy; calm", ("happy", "calm")),
    "music_caption": ("A slow waltz.", "A slow waltz."),
    "instrument": ("banjo", ("banjo",)),
    "note_analysis": (  # the form of the released evaluation
        "<|pitch|><|midi_pitch_83|><|velocity|><|midi_velocity_75|><|instrument|>banjo<|sonic|>bright, fast_decay",
        Note(83, 75, "banjo", ("bright", "fast_decay")),
    ),
    "genre": ("blues", "blues"),
    "music_recognition": ("So What<|delim|>Miles Davis", Song("So What", "Miles Davis")),
    "music_qa": ("piano", "piano"),
}


@pytest.mark.parametrize("name", TASKS)
def test_answer_of_each_task_is_read(name: str) -> None:
    answer, value = ANSWERS[name]
    assert TASKS[name].parse(answer) == value


@pytest.mark.parametrize(
    ("write", "read", "value"),
    [
        (answers.write_labels, answers.read_labels, ("Male speech, man speaking", "Rain")),
        (answers.write_yes_no, answers.read_yes_no, False),
        (answers.write_speakers, answers.read_speakers, ("good morning", "did you")),
        (answers.write_timed_labels, answers.read_timed_labels, (TimedLabel("dog", 0.0, 2.0), TimedLabel("car", 0.5, 30.0))),
        (answers.write_timed_labels, answers.read_timed_labels, ()),
        (answers.write_entities, answers.read_entities, (Entity("PLACE", "Paris"), Entity("DATE", "1 May"))),
        (answers.write_entities, answers.read_entities, ()),
        (answers.write_intent, answers.read_intent, Intent("set", "alarm")),
        (answers.write_intent, answers.read_intent, Intent("orderDrink")),
        (answers.write_note, answers.read_note, Note(0, 127, "synth_lead", ("tempo-synced", "long_release"))),
        (answers.write_note, answers.read_note, Note(60, None, "cello")),
        (answers.write_note, answers.read_note, Note()),
        (answers.write_song, answers.read_song, Song("So What", "Miles Davis")),
        (answers.write_song, answers.read_song, Song("Untitled")),
    ],
)
def test_what_is_written_is_read_back(write: Callable[[Any], str], read: Callable[[str], object], value: object) -> None:
    assert read(write(value)) == value


@pytest.mark.parametrize(
    ("read", "answer", "part"),
    [
        (answers.read_label, "  ", "the answer is empty"),
        (answers.read_label, "happy<|sil|>", "<|sil|> stands in"),
        (answers.read_yes_no, "perhaps", "found 'perhaps'"),
        (answers.read_timed_labels, "dog<|1.00|>", "has no end"),
        (answers.read_timed_labels, "dog<|2.00|><|1.00|>", "<|1.00|> at character 11"),
        (answers.read_timed_labels, "<|1.00|><|2.00|>", "has no label"),
        (answers.read_timed_labels, "dog<|1.00|>cat<|2.00|>", "expected the end of 'dog'"),
        (answers.read_timed_labels, "dog<|en|>", "is no time"),
        (answers.read_timed_labels, "dog<|1.00|><|2.00|>cat", "has no end"),
        (answers.read_entities, "Paris", "at character 0"),
        (answers.read_entities, "<|startofentityvalue|>Paris<|endofentityvalue|>", "at character 0"),
        (answers.read_intent, "<|scenario|>alarm", "has no <|action|>"),
        (answers.read_intent, "set an alarm", "stands in no field"),
        (answers.read_note, "a guitar", "'a guitar' stands in no field"),
        (answers.read_note, "<|pitch|>60", "found '60'"),
        (answers.read_note, "<|pitch|><|midi_velocity_60|>", "expected <|midi_pitch_0|>"),
        (answers.read_note, "<|pitch|><|midi_pitch_128|>", "expected <|midi_pitch_0|>"),
        (answers.read_note, "<|instrument|>a<|instrument|>b", "is said twice, again at character 15"),
        (answers.read_song, "<|delim|>Miles Davis", "has no title"),
    ],
)
def test_answer_that_has_not_its_form_is_refused_with_the_reason(read: Callable[[str], object], answer: str, part: str) -> None:
    with pytest.raises(TagError) as caught:
        read(answer)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", TASKS)
def test_whatever_a_model_says_is_read_or_refused(name: str) -> None:
    chance = random.Random(name)
    pieces = ["word", "面", " ", ";", ",", ".", "yes", "<|", "|>", *CONTENT_SAMPLE]
    for _ in range(300):
        answer = "".join(chance.choices(pieces, k=chance.randint(0, 8)))
        with contextlib.suppress(TagError):
            TASKS[name].parse(answer)


@pytest.mark.parametrize(
    ("write", "value", "part"),
    [
        (answers.write_labels, ["a;b"], "holds ;"),
        (answers.write_labels, [""], "is empty"),
        (answers.write_note, Note(pitch=128), "pitch is 128"),
        (answers.write_note, Note(qualities=("a,b",)), "holds ,"),
        (answers.write_timed_labels, [TimedLabel("dog", 2.0, 1.0)], "before its start"),
        (answers.write_timed_labels, [TimedLabel("dog", 2.0, 31.0)], "31.00"),
        (answers.write_song, Song("a<|delim|>b"), "<|delim|> stands in"),
        (answers.write_entities, [Entity("PLACE", "a < b")], "holds <"),
    ],
)
def test_value_that_its_form_cannot_hold_is_refused(write: Callable[[Any], str], value: object, part: str) -> None:
    with pytest.raises(TagError) as caught:
        write(value)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        (prefix_for("asr", language="de"), "Transcribe the speech in German."),
        (prefix_for("s2tt", language="zh", text_language="en"), "from Mandarin Chinese into English"),
        (prefix_for("srwt_en"), "the time in seconds at which each word starts"),
        (prefix_for("audio_qa", question="Is it {raining}?"), "Is it {raining}?"),
        (prefix_for("age"), "How old is the speaker? Answer"),
        (TagPrefix("caption", None, "zh", instruction="caption_plain"), "Generate the caption in Mandarin Chinese:"),
    ],
)
def test_tag_sentence_is_said_in_words_for_models_without_tags(prefix: TagPrefix, words: str) -> None:
    assert words in natural_prompt(prefix)


@pytest.mark.parametrize("name", TASKS)
def test_words_of_every_task_are_filled_in_and_hold_no_tags(name: str) -> None:
    prompt = natural_prompt(prefix_for(name, question="Who?" if TASKS[name].prefix.question == "{question}" else None))
    assert prompt
    assert not set("{}<>|") & set(prompt)


def test_sentence_that_is_none_of_the_tasks_has_no_words() -> None:
    with pytest.raises(TagError, match="keyword with bird_species: is none of the 31 tasks"):
        natural_prompt(TagPrefix("keyword", None, "en", instruction="bird_species"))


def test_language_without_an_english_name_is_called_by_its_code() -> None:
    assert language_name("ar") == "Arabic"
    assert language_name("xx") == "the language with the code xx"
