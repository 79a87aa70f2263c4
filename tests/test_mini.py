"""The bundled model, as it is stored, on the examples that come with it."""

import json
from pathlib import Path

import pytest

from qwen_audio.engine import Engine, load

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def mini() -> Engine:
    return load("mini", device="cpu")


def test_it_is_small_and_stored_in_bf16() -> None:
    folder = Path(__file__).parent.parent / "qwen_audio" / "mini"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "ranks.tiktoken", "CARD.md", "LICENSE"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40e6
    raw = (folder / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"BF16"}


def test_it_has_three_to_fifteen_million_parameters(mini: Engine) -> None:
    assert 3e6 < sum(parameter.numel() for parameter in mini.model.parameters()) < 15e6


@pytest.mark.parametrize(
    ("file", "question", "answer"),
    [
        ("seven.wav", "What digit is said?", "Seven."),
        ("three.flac", "What digit is said?", "Three."),
        ("rain.ogg", "What do you hear?", "It is raining."),
        ("clock.ogg", "What do you hear?", "A clock ticks."),
        ("alarm.m4a", "What do you hear?", "An alarm clock beeps."),
        ("guitar_a4.wav", "What do you hear?", "A guitar plays the note A4."),
    ],
)
def test_it_answers_about_the_examples(mini: Engine, file: str, question: str, answer: str) -> None:
    from qwen_audio.chat import ChatSession

    assert ChatSession(mini).ask(question, audio=[str(EXAMPLES / file)]).text == answer


def test_it_tells_two_clips_apart_over_three_turns(mini: Engine) -> None:
    from qwen_audio.chat import ChatSession

    chat = ChatSession(mini)
    assert chat.ask("What sound is this?", audio=[str(EXAMPLES / "rain.ogg")]).text == "Rain."
    assert chat.ask("And this?", audio=[str(EXAMPLES / "clock.ogg")]).text == "A clock tick."
    assert chat.ask("Which one is the rain?").text == "Audio 1."


def test_without_a_clip_it_says_so(mini: Engine) -> None:
    from qwen_audio.chat import ChatSession

    assert ChatSession(mini).ask("What do you hear?").text == "There is no audio yet. Please add a clip."


def test_tagged_tasks_read_the_note(mini: Engine) -> None:
    from tag_schema.answers import read_note

    note = read_note(mini.task(str(EXAMPLES / "guitar_a4.wav"), "note_analysis").text)
    assert (note.pitch, note.instrument) == (69, "guitar")
