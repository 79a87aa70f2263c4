"""Make chat out of prepared rows: questions about one clip, about two, over several turns, and without any."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from data.manifest import AudioRef, Record, Turn
from data.recipes.prepared import meta_of
from qwen_audio.audio import WINDOW_S
from tag_schema.tasks import language_name

Row = Mapping[str, Any]
NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

HEAR = ("What do you hear?", "What is this?", "What can you hear in this clip?", "Describe the audio.", "What is in this recording?")
SAID = ("What does the person say?", "What is said?", "Transcribe this.", "Transcribe", "Write down the words.")
DIGIT = ("What digit is said?", "Which digit is it?", "What number does the speaker say?", "Which number is spoken?")
LANGUAGE = ("Which language is spoken?", "What language is this?", "In which language does the person speak?")
GENDER = ("Is the speaker a man or a woman?", "Is this a male or a female voice?", "Who is speaking, a man or a woman?")
EMOTION = ("How does the speaker feel?", "What emotion is in the voice?", "Which emotion do you hear?")
INSTRUMENT = ("Which instrument is it?", "What instrument is playing?", "Name the instrument.")
PITCH = ("Which note is played?", "What is the pitch?", "What note is this?")
SOUND = ("What sound is this?", "Name the sound.", "What makes this sound?", "Which sound is it?")
TRANSLATE = ("What does it mean in English?", "Translate it into English.", "What is said, in English?")

# Without audio the model has to say so: an answer about a clip that is not there is the worst answer.
TEXT_ONLY: Sequence[tuple[Sequence[str], str]] = (
    (HEAR + SAID + DIGIT + LANGUAGE + INSTRUMENT + SOUND, "There is no audio yet. Please add a clip."),
    (("Hello", "Hello!", "Hi", "hi", "hello", "Good morning.", "Hey there"), "Hello! Add a clip and ask me about it."),
    (("Who are you?", "What are you?", "What is your name?"), "I am mini, a small model that listens to audio."),
    (("What can you do?", "How can you help me?", "What do you know?"), "I hear speech, sounds and notes and answer questions about them."),
    (("Thanks", "Thank you", "Thank you!", "thanks"), "You are welcome."),
    (("Bye", "Goodbye", "bye"), "Goodbye!"),
)


def note_name(midi: int) -> str:
    """Return the scientific pitch name of a MIDI number (60 is C4)."""
    return f"{NOTE_NAMES[midi % 12]}{midi // 12 - 1}"


def with_article(noun: str) -> str:
    """Return noun behind "a" or "an"; plurals and mass nouns of the label sets stay bare."""
    if noun in {"rain", "sea waves", "castanets", "clash cymbals", "sleigh bells", "crickets", "Chinese hand cymbals", "tom-toms", "wind"}:
        return noun
    return f"an {noun}" if noun[0].lower() in "aeiou" and noun != "one" else f"a {noun}"


def hear_answer(row: Row) -> str | None:
    """Say in one sentence what a row's clip holds, as far as its labels know."""
    if row.get("caption"):
        return str(row["caption"])
    if row.get("midi") is not None:
        return _sentence(f"{with_article(row['instrument'])} plays the note {note_name(row['midi'])}.")
    if row.get("instrument"):
        return _sentence(f"this is {with_article(row['instrument'])}.")
    if row.get("label") == "baby cry":
        return "A baby is crying."
    if row.get("text") and len(row["text"]) <= 40:
        return f'Someone says "{row["text"]}" in {language_name(row["language"])}.'
    if row.get("gender") in ("male", "female") and row.get("language"):
        return f"A {'man' if row['gender'] == 'male' else 'woman'} is speaking {language_name(row['language'])}."
    if row.get("language"):
        return f"Someone is speaking {language_name(row['language'])}."
    return _sentence(f"this is {with_article(row['label'])}.") if row.get("label") else None


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def questions_about(row: Row) -> list[tuple[Sequence[str], str]]:
    """List what can be asked about one row: (paraphrases of the question, answer)."""
    asked: list[tuple[Sequence[str], str]] = []
    tasks = set(row["tasks"])
    if answer := hear_answer(row):
        asked.append((HEAR, answer))
    if "ASR" in tasks and len(row["text"]) <= 60:
        asked.append((SAID, row["text"]))
    if row.get("text") in DIGITS:
        asked.append((DIGIT, _sentence(row["text"]) + "."))
    if "LID" in tasks:
        asked.append((LANGUAGE, language_name(row["language"]) + "."))
    if "gender" in tasks and row.get("gender"):
        asked.append((GENDER, "A man." if row["gender"] == "male" else "A woman."))
    if row.get("emotion"):
        asked.append((EMOTION, _sentence(row["emotion"]) + "."))
    if row.get("instrument"):
        asked.append((INSTRUMENT, _sentence(with_article(row["instrument"])) + "."))
    if row.get("midi") is not None and "MNA" in tasks:
        asked.append((PITCH, note_name(row["midi"]) + "."))
    if tasks & {"SEC", "VSC"} and row.get("label"):
        asked.append((SOUND, _sentence(with_article(row["label"])) + "."))
    if "S2TT" in tasks and row.get("translation_en"):
        asked.append((TRANSLATE, _sentence(row["translation_en"])))
    for qa in row.get("qa") or ():
        asked.append(((qa["question"],), _sentence(qa["answer"]) + "."))
    return asked


def chat_records(row: Row, rng: random.Random) -> list[Record]:
    """Turn one row into one-turn conversations, one for each kind of question, its wording drawn by rng."""
    if row["duration_s"] > WINDOW_S:
        return []
    ref = AudioRef(row["audio"], 0.0, row["duration_s"])
    return [
        Record(
            id=f"{row['id']}#chat.{number}",
            audio=(ref,),
            messages=(Turn("user", (ref, rng.choice(wordings))),),
            target=answer,
            meta=meta_of(row),
            dataset=row["set"],
            family="chat",
        )
        for number, (wordings, answer) in enumerate(questions_about(row))
    ]


def text_records() -> list[Record]:
    """Return the conversations without audio."""
    return [
        Record(f"text/{number}.{wording}", (), answer, "chat_text", messages=(Turn("user", (question,)),), dataset="text")
        for number, (questions, answer) in enumerate(TEXT_ONLY)
        for wording, question in enumerate(questions)
    ]


def name_of(row: Row) -> str | None:
    """Return the noun by which a clip can be told from another of another name; None where its labels give none."""
    if row.get("text") in DIGITS:
        return str(row["text"])
    noun = row.get("instrument") or row.get("label")
    return None if noun is None else str(noun)


def pair_records(rows: Sequence[Row], count: int, rng: random.Random, longest_s: float = 2.0) -> list[Record]:
    """Make conversations over two clips: which is which, what is each, the higher note, the same or not, turn by turn.

    Args:
        rows: rows of one split; those that name_of knows take part, cut to longest_s.
        count: how many conversations.
    """
    named = [row for row in rows if name_of(row) and row["duration_s"] <= WINDOW_S]
    kinds: dict[str, list[Row]] = {}
    for row in named:
        kinds.setdefault("digit" if row.get("text") in DIGITS else "note" if row.get("midi") is not None else "sound", []).append(row)
    records = []
    names = sorted(kinds) if len(named) > 1 else []
    for number in range(count if names else 0):
        first = rng.choice(kinds[rng.choice(names)])
        second = rng.choice(kinds[rng.choice(names)])
        refs = [AudioRef(row["audio"], 0.0, min(row["duration_s"], longest_s)) for row in (first, second)]
        turns, target = _pair(first, second, refs, rng)
        meta = _joined(meta_of(first), meta_of(second))
        records.append(Record(f"pair/{number}", tuple(refs), target, "chat_pair", messages=turns, meta=meta, dataset="pairs"))
    return records


def _joined(one: Mapping[str, str], two: Mapping[str, str]) -> dict[str, str]:
    """Return what two clips' hold-outs are made of, one value a line where they differ."""
    shared = ("source", "speaker", "fold")
    return {key: "\n".join(dict.fromkeys(meta[key] for meta in (one, two) if key in meta)) for key in shared if key in one or key in two}


def _pair(first: Row, second: Row, refs: Sequence[AudioRef], rng: random.Random) -> tuple[tuple[Turn, ...], str]:
    """Draw one conversation over two clips; returns its turns and the last answer."""
    one, two = name_of(first) or "", name_of(second) or ""
    forms = ["list"]
    if one != two:
        forms += ["which", "which", "then"]
    if first.get("midi") is not None and second.get("midi") is not None and first["midi"] != second["midi"]:
        forms += ["higher", "higher"]
    if (first.get("text") in DIGITS) == (second.get("text") in DIGITS):
        forms.append("same")
    form = rng.choice(forms)
    if form == "which":
        asked, answer = rng.choice(((one, "Audio 1."), (two, "Audio 2.")))
        wording = rng.choice(
            (
                "Audio 1 or Audio 2: which is the {}?",
                "Which audio is the {}?",
                "Which one is the {}, Audio 1 or Audio 2?",
                "Where is the {}?",
            )
        )
        return (Turn("user", (*refs, wording.format(_short(asked, rng)))),), answer
    if form == "higher":
        answer = "Audio 1." if first["midi"] > second["midi"] else "Audio 2."
        return (Turn("user", (*refs, rng.choice(("Which note is higher?", "Which audio has the higher note?")))),), answer
    if form == "same":
        what = "digit" if first.get("text") in DIGITS else "sound"
        return (Turn("user", (*refs, f"Is it the same {what} in both?")),), "Yes." if one == two else "No."
    if form == "then":
        opening = Turn("user", (refs[0], rng.choice(SOUND)))
        reply = Turn("assistant", (_sentence(with_article(one)) + ".",))
        if rng.random() < 0.5:
            return (opening, reply, Turn("user", (refs[1], "And this?"))), _sentence(with_article(two)) + "."
        asked, answer = rng.choice(((one, "Audio 1."), (two, "Audio 2.")))
        later = Turn("user", (refs[1], f"Which one is the {_short(asked, rng)}?"))
        return (opening, reply, later), answer
    wording = rng.choice(("What are the two audios?", "What do you hear in each?", "Name both."))
    return (Turn("user", (*refs, wording)),), f"Audio 1 is {with_article(one)}, Audio 2 is {with_article(two)}."


def _short(noun: str, rng: random.Random) -> str:
    """Say a two-word label by its first word now and then, as people do: "the dog" for "dog bark"."""
    shorter = {"dog bark": "dog", "baby cry": "baby", "clock tick": "clock", "sea waves": "sea", "fire crackling": "fire"}
    return shorter.get(noun, noun) if rng.random() < 0.5 else noun
