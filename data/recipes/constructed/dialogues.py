"""Make conversations of several turns and clips: follow-ups, comparisons, references to earlier clips, requests that stay in force.

Every answer of the assistant is learned, so each has its kind and label; what is answered from the text alone (thanks, a
translation of what has been transcribed) has a kind that begins with "text".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from data.recipes.constructed.example import Example, Generator, Heard, Line, Maker, draw_several, pick, playable, sound, with_silence
from data.recipes.constructed.makers_speech import about
from data.recipes.constructed.questions_music import HEARD_MUSIC
from data.recipes.constructed.questions_sound import HEARD_SOUNDS
from data.recipes.constructed.sounds import SOUNDS
from data.recipes.constructed.texts import TEXT_LANGUAGES, draw
from data.recipes.constructed.voices import speak, voice
from data.recipes.constructed.waves import Wave, peaked
from data.recipes.constructed.wordings import Fact, ask, kinds, language_in, phrase, reply

if TYPE_CHECKING:
    from data.recipes.constructed.recorded import Pool

_FOLLOWED = (
    *(HEARD_SOUNDS[name] for name in ("repeated", "one sound", "opening silence", "language", "number", "somebody", "pauses", "people")),
    *(HEARD_MUSIC[name] for name in ("note", "instrument", "some notes", "chord", "man or woman", "scale")),
)
_COMPARED = (
    *(HEARD_SOUNDS[name] for name in ("two sounds", "two counts", "two voices")),
    *(HEARD_MUSIC[name] for name in ("two clips of notes", "two tempi")),
)
_SEVERAL_FACTS = (
    *(HEARD_SOUNDS[name] for name in ("some sounds", "somebody", "language", "number")),
    *(HEARD_MUSIC[name] for name in ("two notes", "scale")),
)
_EVERY_LANGUAGE = (
    *(HEARD_SOUNDS[name] for name in ("opening silence", "language", "pauses", "people", "man and woman", "two sounds", "two voices")),
    *(HEARD_MUSIC[name] for name in ("some notes", "chord", "man or woman")),
)
_IN_ENGLISH = 0.75


class _Talk:
    """A conversation that is being made, in a language in which all its questions can be asked."""

    def __init__(self, rng: Generator, *facts: Fact) -> None:
        self.rng = rng
        known = [code for code in TEXT_LANGUAGES[1:] if all(code in kinds()[fact.kind].questions for fact in facts)]
        self.language = pick(known, rng) if known and rng.random() >= _IN_ENGLISH else "en"
        self.answer_in: str | None = None
        self.clips: list[Wave] = []
        self.lines: list[Line] = []
        self.kinds: list[str] = []
        self.labels: list[str] = []
        self.references: tuple[str, ...] = ()

    def say(self, text: str, clips: Sequence[Wave] = ()) -> None:
        """Let the user say something; clips stand in front of it, a single one now and then behind."""
        numbers = range(len(self.clips), len(self.clips) + len(clips))
        self.clips += [playable(clip) for clip in clips]
        behind = len(clips) == 1 and self.rng.random() < 0.2
        self.lines.append(Line("user", (text + "\n", *numbers) if behind else (*numbers, text)))

    def answer(self, text: str, kind: str, label: str = "", references: Sequence[str] = ()) -> None:
        """Let the assistant answer."""
        self.lines.append(Line("assistant", (text,)))
        self.kinds.append(kind)
        self.labels.append(label)
        self.references = tuple(references)

    def ask(self, fact: Fact, clips: Sequence[Wave] = (), frame: str = "", **fills: str) -> None:
        """Let the user ask for a fact and the assistant answer; frame is the turn of speech that the question stands in."""
        asked = ask(fact, self.rng, audio_names=True, language=self.language, answer_in=self.answer_in)
        text = phrase(frame, self.rng, asked.language, question=asked.question, **fills) if frame else asked.question
        self.say(text, clips)
        self.answer(asked.answer, fact.kind, fact.label, asked.references)

    def chatter(self, name: str) -> None:
        """Exchange words without audio."""
        self.say(phrase(name, self.rng, self.language))
        self.answer(reply(name, self.rng, self.answer_in or self.language), f"text.{name.removeprefix('chat.')}")

    def finish(self, meta: dict[str, str] | None = None) -> Example:
        """Take the last answer as the target."""
        last = self.lines[-1]
        assert last.role == "assistant"
        return Example(
            family="chat", clips=tuple(self.clips), target=str(last.parts[0]), lines=tuple(self.lines[:-1]), references=self.references,
            kind=tuple(self.kinds), label=tuple(self.labels), meta={"language": self.language, **(meta or {})},
        )  # fmt: skip


def one_question(rng: Generator, pool: Pool | None) -> Example:
    """Ask one question about one or two clips."""
    heard = pick((*HEARD_SOUNDS.values(), *HEARD_MUSIC.values()), rng)(rng, pool)
    fact = pick(heard.facts, rng)
    talk = _Talk(rng, fact)
    talk.ask(fact, heard.clips)
    return talk.finish()


def follow_up(rng: Generator, pool: Pool | None) -> Example:
    """Ask the same of two or three clips, one after another: "And this one?"."""
    hear = pick(_FOLLOWED, rng)
    first = hear(rng, pool)
    fact = pick(first.facts, rng)
    talk = _Talk(rng, fact)
    talk.answer_in = talk.language
    if rng.random() < 0.2:
        talk.chatter("chat.hello")
    talk.ask(fact, first.clips)
    for _ in range(int(rng.integers(1, 3))):
        heard, again = _same_kind(hear, fact.kind, rng, pool)
        if again.options or again.fills:  # they have to be named
            talk.ask(again, heard.clips)
            continue
        asked = ask(again, rng, language=talk.language, answer_in=talk.language)
        talk.say(phrase("chat.follow", rng, talk.language), heard.clips)
        talk.answer(asked.answer, fact.kind, again.label, asked.references)
    return talk.finish()


def comparison(rng: Generator, pool: Pool | None) -> Example:
    """Send two clips at once or one by one, and compare them in one or several respects."""
    heard = pick(_COMPARED, rng)(rng, pool)
    facts = draw_several(heard.facts, len(heard.facts), rng)[: int(rng.integers(1, 4))]
    talk = _Talk(rng, *facts)
    if rng.random() < 0.4:
        talk.say(phrase("chat.first", rng, talk.language), heard.clips[:1])
        talk.answer(reply("chat.first", rng, talk.language), "text.first")
        talk.ask(facts[0], heard.clips[1:])
    else:
        talk.ask(facts[0], heard.clips)
    for fact in facts[1:]:
        talk.ask(fact, frame="chat.also")
    return talk.finish()


def several_questions(rng: Generator, pool: Pool | None) -> Example:
    """Ask several things about one clip, with a word of thanks in between now and then."""
    heard = pick(_SEVERAL_FACTS, rng)(rng, pool)
    facts = draw_several(heard.facts, len(heard.facts), rng)
    talk = _Talk(rng, *facts)
    talk.ask(facts[0], heard.clips)
    for fact in facts[1:]:
        if rng.random() < 0.3:
            talk.chatter("chat.thanks")
        talk.ask(fact, frame="chat.also")
    return talk.finish()


def back_reference(rng: Generator, pool: Pool | None) -> Example:
    """Ask about two clips in turn, and then about one of them again, in another respect."""
    pair = [_with_two_facts(rng, pool) for _ in range(2)]
    facts = [draw_several(heard.facts, len(heard.facts), rng) for heard in pair]
    number = int(rng.integers(2))
    talk = _Talk(rng, facts[0][0], facts[1][0], facts[number][1])
    for heard, about_it in zip(pair, facts, strict=True):
        talk.ask(about_it[0], heard.clips)
    talk.ask(facts[number][1], frame="chat.back", number=str(number + 1))
    return talk.finish()


def which_one(rng: Generator, pool: Pool | None) -> Example:
    """Send three clips and ask in which of them something is heard, and what is in another one."""
    labels = draw_several(tuple(SOUNDS), 3, rng)
    waves = [peaked(sound(label, rng, pool), float(rng.uniform(0.4, 0.9))) for label in labels]
    right, other = draw_several(range(3), 2, rng)
    fact = Fact("which.audio", ("first", "second", "third")[right], {"a": SOUNDS[labels[right]].indefinite})
    talk = _Talk(rng, fact)
    talk.ask(fact, [with_silence(wave, float(rng.uniform(0, 0.3)), 0.1) for wave in waves])
    if rng.random() < 0.4:
        talk.ask(Fact("sound", labels[other], said=SOUNDS[labels[other]].indefinite), frame="chat.back", number=str(other + 1))
    return talk.finish()


def standing_request(rng: Generator, pool: Pool | None) -> Example:
    """Settle the language of all answers, then ask about two clips."""
    several = [hear(rng, pool) for hear in draw_several(_EVERY_LANGUAGE, 2, rng)]
    facts = [pick(heard.facts, rng) for heard in several]
    talk = _Talk(rng, *facts)
    into = pick([code for code in TEXT_LANGUAGES if code != talk.language], rng)
    talk.say(phrase("chat.language", rng, talk.language, language=language_in(into, talk.language)))
    talk.answer(reply("chat.language", rng, into), "text.language")
    talk.answer_in = into
    for fact, heard in zip(facts, several, strict=True):
        talk.ask(fact, heard.clips)
    return talk.finish()


def translation(rng: Generator, pool: Pool | None) -> Example:
    """Transcribe a sentence, then translate it as often as asked."""
    language = pick(TEXT_LANGUAGES, rng)
    person, sentence = voice(language, rng), draw(rng)
    fact = Fact("words", sentence.plain(language), said=sentence.written(language))
    talk = _Talk(rng, fact)
    talk.answer_in = talk.language
    talk.ask(fact, [speak(person, sentence.spoken(language)).samples])
    for into in draw_several([code for code in TEXT_LANGUAGES if code != language], int(rng.integers(1, 3)), rng):
        talk.say(phrase("chat.translate", rng, talk.language, language=language_in(into, talk.language)))
        talk.answer(sentence.written(into), "text.translate", "", (sentence.written(into),))
    return talk.finish({**about(person), "language": language})


def _with_two_facts(rng: Generator, pool: Pool | None) -> Heard:
    """Hear a clip of which two things can be asked."""
    while True:
        heard: Heard = pick(_SEVERAL_FACTS, rng)(rng, pool)
        if len(heard.facts) > 1:
            return heard


def _same_kind(hear: Callable[[Generator, Pool | None], Heard], kind: str, rng: Generator, pool: Pool | None) -> tuple[Heard, Fact]:
    """Hear another clip of the sort, of which the same can be asked."""
    while True:
        heard = hear(rng, pool)
        for fact in heard.facts:
            if fact.kind == kind:
                return heard, fact


DIALOGUES: tuple[Maker, ...] = (
    one_question, one_question, follow_up, follow_up, comparison, several_questions, back_reference, which_one, standing_request,
    translation,
)  # fmt: skip


def dialogue(rng: Generator, pool: Pool | None) -> Example:
    """Make one of the conversations."""
    maker: Maker = pick(DIALOGUES, rng)
    return maker(rng, pool)
