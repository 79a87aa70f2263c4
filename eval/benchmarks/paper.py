"""The published figures of Qwen-Audio on the twelve sets of its paper, with what each is a figure of, beside those of a run.

Sources: the tables of QwenLM/Qwen-Audio's README (figures and the best ones before it), its eval_audio/ scripts (how they were counted),
and issue 43 of that repository (figures that others got with the released weights).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from data.tables import table
from eval.benchmarks.table import BENCHMARKS
from eval.score import Score

WIDTH = 118  # letters of a line
NOT_RUN = "not run"
CLOSED = "closed set"
NOTES = {
    "wer": "words, lower case, punctuation counts (the references have none): the preset qwen-audio",
    "cer": "called WER in the paper; white space is removed and characters are counted",
    "bleu": "corpus BLEU of sacrebleu, cased, tokenizer 13a, zh for Chinese; computed with 1.5.1",
    "caption": "the instruction caption_clotho is one that the model learned Clotho's captions by; five references",
    "aas": "of an industrial set that is not public. The README's column is called AAC. Its script adds the shifts of start and end "
    "(aas_qwen), the published definition halves them (aas): the factor is about 2, and which of the two 51.5 is cannot be told",
    "exact": "the whole answer must equal the label, capitals included",
    "meld": "others got 55.1 with the released weights; always neutral gets 48.1",
    "aqa": "all rows of all three people, who disagree: a single answer to a question reaches at most 77.8. Others got 57.9 with the "
    "released weights. The best before (54.2*) is of single-word questions alone (828 classes), and no figure of all rows",
    "aqa_yes_no": "rows whose answer is yes or no; a single answer to a question reaches at most 86.2. Others got 75.2 with the released "
    "weights",
    "map": "mean average precision over ten qualities from hard yes or no, by the released script; naming none gets their prevalence",
    "instrument": "family of the instrument, 11 classes of which 10 occur",
}


@dataclass(frozen=True, slots=True)
class Published:
    """One figure of the paper.

    Attributes:
        set, metric: as the table prints them.
        value, before: of Qwen-Audio, and the best one that the README quotes from before it; in the unit of the table.
        benchmark: the set's name here, "" where it is closed.
        measured: names of metrics here that measure the same, the closest first; scale: from their values to the table's unit.
        decimals: that are printed.
        note: a key of NOTES: what exactly the figure is.
    """

    set: str
    metric: str
    value: float
    before: str
    benchmark: str
    measured: tuple[str, ...]
    scale: float
    decimals: int
    note: str


def _speech() -> list[Published]:
    librispeech = {"dev-clean": (1.8, "2.1"), "dev-other": (4.0, "5.5"), "test-clean": (2.0, "2.1"), "test-other": (4.2, "4.9")}
    rows = [
        Published(f"LibriSpeech {split}", "WER %", value, before, f"librispeech_{split}", ("wer_qwen", "wer"), 100, 1, "wer")
        for split, (value, before) in librispeech.items()
    ]
    aishell = {
        "1 dev": (1.2, "1.6"), "1 test": (1.3, "1.9"), "2 test Mic": (3.3, "4.5"), "2 test iOS": (3.1, "2.9"),
        "2 test Android": (3.3, "4.0"),
    }  # fmt: skip
    rows += [
        Published(f"AISHELL-{name}", "CER %", value, before, f"aishell{name.lower().replace(' ', '_')}", ("cer_qwen", "cer"), 100, 1, "cer")
        for name, (value, before) in aishell.items()
    ]
    pairs = {
        "en-de": (25.1, "18.6"), "de-en": (33.9, "27.1"), "en-zh": (41.5, "33.1"), "zh-en": (15.7, "12.3"), "es-en": (39.7, "27.9"),
        "fr-en": (38.5, "25.2"), "it-en": (36.0, "25.9"),
    }  # fmt: skip
    rows += [
        Published(f"CoVoST 2 {pair}", "BLEU", value, before, f"covost2_{pair}", ("bleu",), 1, 1, "bleu")
        for pair, (value, before) in pairs.items()
    ]
    return [*rows, Published("industrial word times", "AAS ms", 51.5, "60.3", "", (), 1, 1, "aas")]


EXACT = ("accuracy_qwen", "accuracy")
PUBLISHED: tuple[Published, ...] = (
    *_speech(),
    Published("Clotho", "CIDEr", 0.441, "0.416", "clotho", ("cider",), 1, 3, "caption"),
    Published("Clotho", "SPICE", 0.136, "0.126", "clotho", ("spice",), 1, 3, "caption"),
    Published("Clotho", "SPIDEr", 0.288, "0.271", "clotho", ("spider",), 1, 3, "caption"),
    Published("CochlScene", "accuracy %", 79.5, "66.9", "cochlscene", EXACT, 100, 1, "exact"),
    Published("TUT2017", "accuracy %", 64.9, "35.3", "tut2017", EXACT, 100, 1, "exact"),
    Published("MELD", "accuracy %", 55.7, "54.2", "meld", EXACT, 100, 1, "meld"),
    Published("ClothoAQA", "accuracy %", 57.9, "54.2*", "clotho_aqa", EXACT, 100, 1, "aqa"),
    Published(
        "ClothoAQA yes/no", "accuracy %", 74.9, "64.5", "clotho_aqa", ("accuracy_yes_no_qwen", "accuracy_yes_no"), 100, 1, "aqa_yes_no"
    ),
    Published("VocalSound", "accuracy %", 92.89, "60.35", "vocalsound", EXACT, 100, 2, "exact"),
    Published("NSynth qualities", "mAP %", 47.42, "38.60", "nsynth", ("map_hard",), 100, 2, "map"),
    Published("NSynth instrument", "accuracy %", 78.82, "50.07", "nsynth", ("instrument_qwen", "instrument"), 100, 2, "instrument"),
)


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The paper's figures beside a run's, as cells for whoever draws them.

    Attributes:
        head, rows: the names of the columns, and as many cells in each row; the last names the note.
        notes: what the figures are, in the order of their numbers from 1.
        remarks: in what the run's figures are not comparable as they stand.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]


def paper_cells(scores: Sequence[Score], model: str = "this model") -> PaperTable:
    """Set the paper's figures beside a run's.

    Args:
        scores: of any sets; those of the paper's are found by name.
        model: what the run's column is called.
    """
    notes = list(dict.fromkeys(row.note for row in PUBLISHED))
    rows, remarks = [], []
    for row in PUBLISHED:
        found = figure_of(row, scores)
        cells = (row.set, row.metric, f"{row.value:.{row.decimals}f}", row.before, _value(row, found), _interval(row, found))
        rows.append((*cells, f"{notes.index(row.note) + 1}"))
        remarks += [f"{row.set}, {row.metric}: {remark}" for remark in _remarks(row, found)]
    head = ("set", "metric", "Qwen-Audio", "best before", model, "95 %", "note")
    return PaperTable(head, tuple(rows), tuple(NOTES[name] for name in notes), tuple(remarks))


def paper_table(scores: Sequence[Score], model: str = "this model") -> str:
    """Lay the paper's figures and a run's out as text, with notes and remarks beneath."""
    cells = paper_cells(scores, model)
    notes = [
        textwrap.fill(note, WIDTH, initial_indent=f"{number:>2}. ", subsequent_indent="    ") for number, note in enumerate(cells.notes, 1)
    ]
    remarks = ["", *cells.remarks] if cells.remarks else []
    return "\n".join([table(cells.head, cells.rows), "", *notes, *remarks])


def figure_of(row: Published, scores: Sequence[Score]) -> Score | None:
    """Find the score of a run that measures what a published figure measures: counted as released where there is one."""
    mine = [score for score in scores if score.benchmark == row.benchmark and score.metric in row.measured and not score.subgroup]
    return min(mine, key=lambda score: row.measured.index(score.metric), default=None)


def _value(row: Published, found: Score | None) -> str:
    if not row.benchmark:
        return CLOSED
    if found is None:
        return NOT_RUN
    return "not computed" if found.not_computed or math.isnan(found.value) else f"{found.value * row.scale:.{row.decimals}f}"


def _interval(row: Published, found: Score | None) -> str:
    if found is None or math.isnan(found.low) or math.isnan(found.high):
        return ""
    return f"{found.low * row.scale:.{row.decimals}f} to {found.high * row.scale:.{row.decimals}f}"


def _remarks(row: Published, found: Score | None) -> list[str]:
    """Say why a run's figure is not to be compared with the paper's as it stands."""
    if found is None:
        return []
    if found.not_computed:
        return [found.not_computed]
    expected = BENCHMARKS[row.benchmark].count
    remarks = [] if expected in (None, found.n) else [f"over {found.n:,} rows instead of {expected:,}"]
    if found.metric != row.measured[0]:
        remarks.append(f"counted otherwise than released: {found.signature}")
    return remarks
