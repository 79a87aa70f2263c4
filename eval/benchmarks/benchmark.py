"""Benchmark: one evaluation set as data: where its rows lie, what is asked, how it is measured, what it must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from data.ledger import Entry
from data.manifest import AudioRef, Record, Turn
from data.recipe import NOT_VERIFIED, Split, Walk
from tag_schema.tasks import TASKS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TOLD = "choices_told"  # meta of a row whose choices the model gets to know already: in the text or in the audio
WITHHELD = "(no answer is published)"  # target of a row that nobody but its authors can score


@dataclass(frozen=True, slots=True)
class ChoicePrompt:
    """How a multiple-choice question is asked.

    Attributes:
        text: the words, with {question} and {choices} in them.
        option: one choice, with {letter} and {choice} in it.
        between: what stands between two choices.
        source: whose wording it is.
    """

    text: str
    option: str = "{letter}. {choice}"
    between: str = "\n"
    source: str = "this project"

    def words(self, question: str, choices: Sequence[str]) -> str:
        """Write the question with its choices."""
        assert len(choices) <= len(LETTERS), f"{len(choices)} choices, a letter each"
        options = [self.option.format(letter=letter, choice=choice) for letter, choice in zip(LETTERS, choices, strict=False)]
        return self.text.format(question=question, choices=self.between.join(options))


def everything(row: Record | Entry) -> bool:
    """Take every row of a walk."""
    return True


def as_it_is(records: list[Record]) -> list[Record]:
    """Take records as the walk gives them."""
    return records


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One evaluation set.

    Attributes:
        name: as commands write it; where a set has versions with other answers, the version is part of it.
        title, source: what it is, for people; the address it is fetched from.
        groups: short names for several sets at once ("paper", "modern", "openasr").
        folders: below the data root, the first is the one that messages name.
        layout: what the folder must hold, one path a line.
        walks, split: readers of a split, tried in order: the official layout, then the hub's parquet copy.
        mine: which of the walk's records and lines of account belong to the benchmark.
        choose: makes the benchmark's records of them: filters over all rows, references of one clip put together.
        family: task family of every row, "chat" for open conversation.
        language: of the answers; it chooses normalisers and tokenizers.
        prompt: what is asked, as text; {question} stands for what differs from row to row.
        ask: how the choices get into the question; "aloud" where they are spoken; None leaves that to the model, or there are none.
        presets: recipes of metrics beside the family's own; "qwen-audio" is the released evaluation's.
        not_computed: why no metric here can score it; answers are collected all the same.
        refusals: whether refusing is the right answer.
        count, counted_at: rows that it must have, and where that can be read; None where no source says.
        references: right answers that each row must have at least.
        version: of the rows and of what is asked; it stands in every result.
        max_new_tokens: room for an answer, also for tokenizers with shorter tokens; released_tokens: the released evaluation's limit.
        labels, aliases: closed answers of the set, and other spellings of them.
        cluster: meta key of what rows are not independent in.
        chance, ceiling: what is known of answers without hearing, and of the best possible ones.
        traps: copies and mistakes that give other numbers.
    """

    name: str
    title: str
    source: str
    groups: tuple[str, ...]
    folders: tuple[str, ...]
    layout: str
    walks: tuple[Walk, ...]
    split: Split
    family: str
    language: str
    prompt: str
    mine: Callable[[Record | Entry], bool] = everything
    choose: Callable[[list[Record]], list[Record]] = as_it_is
    ask: ChoicePrompt | Literal["aloud"] | None = None
    presets: tuple[str, ...] = ()
    not_computed: str = ""
    refusals: bool = False
    count: int | None = None
    counted_at: str = NOT_VERIFIED
    references: int = 1
    version: str = "1"
    max_new_tokens: int = 256
    released_tokens: int | None = None
    labels: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cluster: str = "source"
    chance: str = ""
    ceiling: str = ""
    notes: str = ""
    traps: str = ""

    def __post_init__(self) -> None:
        assert self.family in TASKS or self.family == "chat", self.family
        assert self.folders and self.max_new_tokens > 0, self.name

    @property
    def recipe(self) -> str:
        """Name and version: with another one, rows must be answered anew."""
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> str:
        """The folder below the data root that messages name."""
        return self.folders[0]


def question_of(record: Record) -> str:
    """Return what a record asks in words: the question of its tag sentence, or the last text of its conversation."""
    if record.prefix is not None:
        return record.prefix.question or ""
    texts = [part for part in record.messages[-1].parts if isinstance(part, str)]
    return texts[-1] if texts else ""


def in_chat(record: Record, words: str) -> Record:
    """Ask a record in a conversation: its clips, then words; without words the clips alone speak."""
    parts: tuple[str | AudioRef, ...] = (*record.audio, words) if words else record.audio
    return replace(record, prefix=None, messages=(Turn("user", parts),))


def put_to(benchmark: Benchmark, record: Record) -> Record:
    """Write the question of a row as its benchmark asks it, and note where its choices are told.

    A row whose answer is none of its choices keeps them in its question alone: no letter is right.
    """
    if record.prefix is not None and record.prefix.question and record.family in ("audio_qa", "music_qa"):
        record = replace(record, meta={**record.meta, "question": record.prefix.question})
    if not record.choices or benchmark.ask is None:
        return record
    if not isinstance(benchmark.ask, ChoicePrompt):
        return replace(record, meta={**record.meta, TOLD: "in the audio"})
    asked = in_chat(record, benchmark.ask.words(question_of(record), record.choices))
    kept = record.choices if record.target in record.choices or record.target == WITHHELD else ()
    return replace(asked, choices=kept, meta={"language": language_of(record), **record.meta, TOLD: "in the text"})


def language_of(record: Record) -> str:
    """Return the language of a record's answer: of its tag sentence, or as its meta says; empty where nobody says."""
    if record.prefix is not None:
        return record.prefix.text_language
    return record.meta.get("text_language") or record.meta.get("language", "")


def right_answers(record: Record) -> tuple[str, ...]:
    """Return the right answers of a record: its references, or its target where it has none."""
    return record.references or (record.target,)
