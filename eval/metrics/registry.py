"""Which metrics a task has: by its family and language, as this project counts or as others do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from eval.metrics.captions import CiderD, Meteor, RougeL, Spice, Spider
from eval.metrics.choice import Mcq, MmauMatch
from eval.metrics.edits import Wer, wer_for
from eval.metrics.events import EventF1, SegmentF1
from eval.metrics.labels import ACTION, INTENT, LABEL, LABEL_SET, SONG, TITLE, YES_NO, Accuracy, BinaryAccuracy, EntityF1, MacroF1, Uar
from eval.metrics.notes import (
    CHROMA,
    INSTRUMENT,
    PITCH,
    QUALITIES,
    RELEASED_INSTRUMENT,
    RELEASED_PITCH,
    RELEASED_VELOCITY,
    VELOCITY,
    MapHard,
    PitchWithin,
    qualities,
)
from eval.metrics.ranking import MacroF1OfLabels, MapFixed, MapScored, MicroF1
from eval.metrics.reading import EXACT, FOLDED, Reading, closed
from eval.metrics.sample import Metric
from eval.metrics.speakers import CpWer, Der
from eval.metrics.times import NEAR_MS, Aas, AasQwen, BoundaryShare, TimedCoverage
from eval.metrics.translation import Chrf, bleu_for
from qwen_audio.errors import ConfigError
from tag_schema.tasks import TASKS

CHAT = "chat"
OURS, RELEASED, LMMS, MMAU, COCO = "ours", "qwen-audio", "lmms", "mmau", "coco"
# Whose figures are to be compared with: this project's way of counting, the released evaluation's, lmms-eval's error rates, the string
# match of MMAU and MMAR, and everything that captions of pictures are scored by (METEOR starts Java for half a minute).
PRESETS = (OURS, RELEASED, LMMS, MMAU, COCO)
Choice = Callable[[str, str], tuple[Metric, ...]]  # (language, preset) -> metrics


class LabelList(Protocol):
    """What of a benchmark its metrics want to know: its closed answers, other spellings of them, and their name."""

    @property
    def name(self) -> str:
        """Of the benchmark."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Closed answers; none where answers are open."""
        ...

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other spelling -> label."""
        ...


def metrics_for(
    family: str, language: str = "", *, preset: str | None = OURS, benchmark: LabelList | None = None
) -> tuple[Metric, ...]:  # fmt: skip
    """Choose the metrics of a task, the one that tables put first at the front.

    Args:
        family: one of the 31, or "chat"; one that a user has added, or none, is compared like a chat's answers.
        language: of the answers; it chooses normalisers, tokenizers and units.
        preset: of PRESETS, None for ours. Where a preset says nothing of a family, ours are taken.
        benchmark: whose closed labels metrics of labels take.
    Raises:
        ConfigError: there is no such preset.
    """
    preset = preset or OURS
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    chosen = _FAMILIES.get(family, _answers)(language, preset)
    if benchmark is None or not benchmark.labels:
        return chosen
    reading = closed(benchmark.labels, benchmark.aliases, name=benchmark.name)
    return tuple(_knowing(metric, reading) for metric in chosen)


def _knowing(metric: Metric, reading: Reading) -> Metric:
    """Let a metric of labels know the list that they are of."""
    if isinstance(metric, (Accuracy, MacroF1, Uar)) and metric.reading is LABEL:
        return type(metric)(reading, metric.name)
    if type(metric) is Mcq and metric.reading is FOLDED:
        return Mcq(reading, metric.name)
    return metric


def _errors(language: str, preset: str) -> Wer:
    return wer_for(language, preset if preset in (RELEASED, LMMS) else OURS)


def _speech(language: str, preset: str) -> tuple[Metric, ...]:
    return (_errors(language, preset),)


def _translation(language: str, preset: str) -> tuple[Metric, ...]:
    return (bleu_for(language),) if preset == RELEASED else (bleu_for(language), Chrf())


def _overlapped(language: str, preset: str) -> tuple[Metric, ...]:
    return (CpWer(_errors(language, preset)),)


def _word_times(default: str) -> Choice:
    def choose(language: str, preset: str) -> tuple[Metric, ...]:
        errors = _errors(language or default, preset)
        if preset == RELEASED:
            return AasQwen(), errors
        return Aas(), TimedCoverage(), *(BoundaryShare(near_ms) for near_ms in NEAR_MS), AasQwen(), errors

    return choose


def _label(language: str, preset: str) -> tuple[Metric, ...]:
    if preset == RELEASED:
        return (Accuracy(EXACT, "accuracy_qwen"),)
    return Accuracy(LABEL), MacroF1(LABEL), Uar(LABEL)


def _name(language: str, preset: str) -> tuple[Metric, ...]:
    """Choose for names of which there may be thousands: no score goes class by class."""
    return (Accuracy(EXACT, "accuracy_qwen"),) if preset == RELEASED else (Accuracy(LABEL),)


def _label_set(language: str, preset: str) -> tuple[Metric, ...]:
    return Accuracy(LABEL_SET), MicroF1(), MacroF1OfLabels()


def _yes_no(language: str, preset: str) -> tuple[Metric, ...]:
    return Accuracy(YES_NO), MacroF1(YES_NO)


def _diarization(language: str, preset: str) -> tuple[Metric, ...]:
    return Der(), Der(0.25)


def _entities(language: str, preset: str) -> tuple[Metric, ...]:
    return (EntityF1(),)


def _intent(language: str, preset: str) -> tuple[Metric, ...]:
    return Accuracy(INTENT), Accuracy(ACTION, "accuracy_action")


def _caption(language: str, preset: str) -> tuple[Metric, ...]:
    code = language or "en"
    ours: tuple[Metric, ...] = (CiderD(code), Spice(code), Spider(code), RougeL(code))
    return (*ours, Meteor(code)) if preset == COCO else ours


def _events(language: str, preset: str) -> tuple[Metric, ...]:
    return MapFixed(), MapScored(), MicroF1(), MacroF1OfLabels()


def _detection(language: str, preset: str) -> tuple[Metric, ...]:
    return EventF1(), EventF1("macro"), SegmentF1()


def _answers(language: str, preset: str) -> tuple[Metric, ...]:
    return (MmauMatch(),) if preset == MMAU else (Mcq(),)


def _questions(language: str, preset: str) -> tuple[Metric, ...]:
    if preset == RELEASED:
        return Accuracy(EXACT, "accuracy_qwen"), BinaryAccuracy(), BinaryAccuracy(EXACT, "accuracy_yes_no_qwen")
    return _answers(language, preset)


def _note(language: str, preset: str) -> tuple[Metric, ...]:
    if preset == RELEASED:  # but for its chroma, which is none
        return (
            Accuracy(RELEASED_INSTRUMENT, "instrument_qwen"), MapHard(), Accuracy(RELEASED_VELOCITY, "velocity_qwen"),
            Accuracy(RELEASED_PITCH, "pitch_qwen"),
        )  # fmt: skip
    return (
        Accuracy(INSTRUMENT, "instrument"), MapFixed(qualities, QUALITIES, "map_hard_fixed"), Accuracy(PITCH, "pitch"), PitchWithin(1),
        Accuracy(CHROMA, "chroma"), Accuracy(VELOCITY, "velocity"), MapHard(), MapScored(qualities, QUALITIES),
    )  # fmt: skip


def _song(language: str, preset: str) -> tuple[Metric, ...]:
    return Accuracy(SONG), Accuracy(TITLE, "accuracy_title")


_FAMILIES: Mapping[str, Choice] = MappingProxyType(
    {
        "asr": _speech, "s2tt": _translation, "overlapped_asr": _overlapped, "dialect_asr": _speech,
        "srwt_en": _word_times("en"), "srwt_zh": _word_times("zh"),
        "dialect_id": _label, "language_id": _label, "gender": _label, "emotion": _label, "speaker_verification": _yes_no,
        "diarization": _diarization, "entity": _entities, "keyword_spotting": _label, "intent": _intent, "slot_filling": _entities,
        "age": _label, "vocal_sound": _label,
        "audio_caption": _caption, "sound_event": _events, "scene": _label, "sound_event_detection": _detection, "audio_qa": _questions,
        "singer_id": _name, "music_emotion": _label_set, "music_caption": _caption, "instrument": _label_set, "note_analysis": _note,
        "genre": _label, "music_recognition": _song, "music_qa": _questions, CHAT: _answers,
    }
)  # fmt: skip
assert {*_FAMILIES} == {*TASKS, CHAT}
