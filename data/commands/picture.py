"""Draw what a row hears: waveform and log-mel of each clip over its seconds, with the words or events of a timed answer on top."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.manifest import Record
from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.config import ModelConfig
from qwen_audio.errors import DataError
from qwen_audio.model.features import N_FFT, log_mel, mel_filters
from tag_schema.answers import TimedLabel, read_text
from tag_schema.tasks import TASKS
from tag_schema.timestamps import Word, find_spans
from tag_schema.vocabulary import TagError

INK, QUIET, WAVE, FRAME = "#1f2430", "#6d7484", "#2f6f8f", "#c9cdd6"
COLOURS = ("#d9684a", "#2f8f6b", "#7462b5", "#c98a16", "#b94c78", "#3b78b0")
# The first has no Chinese, Japanese, Korean or Arabic letters; which of the others a machine has is its own affair.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Sans Arabic", "Arial Unicode MS")
COLUMNS = 1600  # a waveform's lows and highs: about one a pixel
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # one of them is marked on the amplitude's axis
HERTZ = (250, 500, 1000, 2000, 4000)
WIDTH, LEFT, RIGHT = 12.0, 0.75, 0.7  # inches
TITLE, HEAD, LANE, WAVE_HEIGHT, MEL_HEIGHT, FOOT = 0.5, 0.34, 0.27, 0.95, 1.9, 0.5  # inches, from the top down
LETTER = 0.075  # inches that a letter of a label takes


@dataclass(frozen=True)
class _Labelled:
    """What an answer says of a stretch of the clip, and the lane in which it is drawn: overlapping stretches take several."""

    text: str
    start_s: float
    end_s: float
    lane: int


def draw(record: Record, clips: Sequence[AudioClip], config: ModelConfig, path: Path) -> None:
    """Write a PNG with waveform and log-mel of each clip.

    Args:
        record: its answer's times are drawn over the first clip.
        clips: what is heard, in order.
        config: says the mel bands that the encoder hears.
    Raises:
        DataError: the row has no audio, or matplotlib is not installed.
    """
    if not clips:
        raise DataError(f"record {record.id}: a row of text alone has no picture")
    labels = timed_labels(record)
    lanes = 1 + max((label.lane for label in labels), default=-1)
    each = HEAD + WAVE_HEIGHT + MEL_HEIGHT + FOOT
    sheet = _Sheet(TITLE + lanes * LANE + each * len(clips))
    without_letters = f"{record.family or 'chat'}   (no font here has the letters; Noto Sans CJK would)"
    sheet.write(TITLE / 2 + 0.03, sheet.drawable(_title(record), without_letters), 12, INK)
    top = TITLE
    for number, clip in enumerate(clips, 1):
        stretch = f"{clip.start_s:.2f} to {clip.start_s + clip.duration_s:.2f} s"
        sheet.write(top + HEAD / 2, f"Audio {number}   {Path(clip.source).name}   {stretch}", 9, QUIET)
        top += HEAD
        if number == 1 and labels:
            top += _draw_labels(sheet, top, labels, lanes, clip)
        _draw_wave(sheet.panel(top, WAVE_HEIGHT, clip.duration_s), clip, labels if number == 1 else [])
        top += WAVE_HEIGHT
        _draw_mel(sheet.panel(top, MEL_HEIGHT, clip.duration_s), clip, config, labels if number == 1 else [])
        top += MEL_HEIGHT + FOOT
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.figure.savefig(path, facecolor="white")


def _title(record: Record) -> str:
    """Say what the row is, what is asked and what is answered."""
    said = [part for turn in record.messages[-1:] for part in turn.parts if isinstance(part, str)]
    asked = record.prefix.question if record.prefix is not None else " ".join(said)
    pieces = [textwrap.shorten(text, 70, placeholder=" …") for text in (asked or "", read_text(record.target) or "(nothing)")]
    return f"{record.family or 'chat'}   " + "   →   ".join(piece for piece in pieces if piece)


def timed_labels(record: Record) -> list[_Labelled]:
    """Read the words, events or turns with their times out of an answer; a chat's answer gives stretches without a text."""
    try:
        task = TASKS.get(record.family or "")
        value = task.parse(record.target) if task is not None and record.prefix is not None else ()
    except TagError:
        value = ()
    items = value if isinstance(value, (list, tuple)) else ()
    found = [(item.text, item.start_s, item.end_s) for item in items if isinstance(item, Word)]
    found += [(item.label, item.start_s, item.end_s) for item in items if isinstance(item, TimedLabel)]
    found = found or [("", span.start_s, span.end_s) for span in find_spans(record.target)]
    ends: list[float] = []
    labels = []
    for text, start_s, end_s in sorted(found, key=lambda item: item[1:]):
        lane = next((lane for lane, end in enumerate(ends) if end <= start_s + 1e-6), len(ends))
        ends[lane : lane + 1] = [end_s]
        labels.append(_Labelled(text, start_s, end_s, lane))
    return labels


class _Sheet:
    """A figure whose panels are placed in inches from its top."""

    def __init__(self, height: float) -> None:
        try:
            from matplotlib import font_manager
            from matplotlib.figure import Figure
        except ImportError as error:
            raise DataError("a picture needs the package matplotlib: pip install -e '.[data]'") from error
        known = {entry.name for entry in font_manager.fontManager.ttflist}
        self.fonts = [name for name in FONTS if name in known] or ["sans-serif"]
        self._glyphs = [font_manager.get_font(font_manager.findfont(name)) for name in self.fonts]
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), dpi=130)

    def panel(self, top: float, height: float, duration_s: float) -> Any:
        """Add a panel over the seconds of a clip."""
        place = (LEFT / WIDTH, 1 - (top + height) / self.height, 1 - (LEFT + RIGHT) / WIDTH, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set_xlim(0, duration_s)
        axes.tick_params(length=3, labelsize=8, color=FRAME, labelcolor=QUIET)
        for side in axes.spines.values():
            side.set_color(FRAME)
        return axes

    def write(self, top: float, text: str, size: float, colour: str) -> None:
        """Write a line of text, its middle so many inches below the top."""
        self.figure.text(
            LEFT / WIDTH, 1 - top / self.height, text, fontsize=size, color=colour, va="center", family=self.fonts, parse_math=False
        )

    def drawable(self, text: str, instead: str) -> str:
        """Return text where the fonts here have all of its letters."""
        drawn = all(any(font.get_char_index(ord(letter)) for font in self._glyphs) for letter in text)
        return text if drawn else instead


def _colour(label: _Labelled, labels: Sequence[_Labelled]) -> str:
    """Give each event or speaker a colour of its own; words take turns."""
    names = list(dict.fromkeys(each.text for each in labels))
    return COLOURS[names.index(label.text) % len(COLOURS)]


def _draw_labels(sheet: _Sheet, top: float, labels: Sequence[_Labelled], lanes: int, clip: AudioClip) -> float:
    """Draw the answer's stretches in lanes and return the inches that they take; a text that does not fit in loses its end."""
    axes = sheet.panel(top, lanes * LANE, clip.duration_s)
    axes.set_ylim(lanes, 0)
    axes.set_axis_off()
    inches_a_second = (WIDTH - LEFT - RIGHT) / clip.duration_s
    for number, label in enumerate(labels, 1):
        length_s = label.end_s - label.start_s
        axes.broken_barh(
            [(label.start_s, length_s)], (label.lane + 0.1, 0.8), color=_colour(label, labels), alpha=0.9, linewidth=0.8, edgecolor="white"
        )
        room = int(length_s * inches_a_second / LETTER)
        text = sheet.drawable(label.text, str(number))
        text = text if len(text) <= room else text[: max(0, room - 1)] + "…" if room > 2 else ""
        axes.text(label.start_s + length_s / 2, label.lane + 0.52, text, ha="center", va="center", color="white", fontsize=8,
                  family=sheet.fonts, parse_math=False)  # fmt: skip
    return lanes * LANE


def _shade(axes: Any, labels: Sequence[_Labelled], colour: str | None, alpha: float) -> None:
    """Mark where the answer's stretches begin and end."""
    for label in labels:
        for at_s in (label.start_s, label.end_s):
            axes.axvline(at_s, color=colour or _colour(label, labels), linewidth=0.7, alpha=alpha)


def _draw_wave(axes: Any, clip: AudioClip, labels: Sequence[_Labelled]) -> None:
    """Draw the lows and highs of a waveform."""
    n_samples = len(clip.samples)
    edges = np.linspace(0, n_samples, min(COLUMNS, n_samples) + 1).astype(int)[:-1]
    times = edges / SAMPLE_RATE
    lows, highs = np.minimum.reduceat(clip.samples, edges), np.maximum.reduceat(clip.samples, edges)
    for label in labels:
        axes.axvspan(label.start_s, label.end_s, color=_colour(label, labels), alpha=0.10, linewidth=0)
    axes.fill_between(times, lows, highs, step="post", color=WAVE, linewidth=0.3, edgecolor=WAVE)
    reach = max(0.05, float(np.abs(clip.samples).max()) * 1.08)
    axes.set_ylim(-reach, reach)
    axes.set_xticklabels([])
    axes.tick_params(axis="x", length=0)
    mark = max((step for step in STEPS if step < 0.9 * reach), default=reach / 2)
    axes.set_yticks([-mark, 0, mark], [f"−{mark:g}", "0", f"{mark:g}"])
    axes.set_ylabel("amplitude", fontsize=8, color=QUIET)
    _shade(axes, labels, None, 0.35)


def _draw_mel(axes: Any, clip: AudioClip, config: ModelConfig, labels: Sequence[_Labelled]) -> None:
    """Draw what the encoder hears: mel bands over seconds, with the frequencies that the bands stand for on the right."""
    n_mels = config.encoder.n_mels
    mel, frames = log_mel([clip], config)
    axes.imshow(
        mel.numpy().T, origin="lower", aspect="auto", cmap="magma", extent=(0, int(frames[0]) / 100, 0, n_mels), interpolation="nearest"
    )
    axes.set_xlim(0, clip.duration_s)
    axes.set_ylabel("mel band", fontsize=8, color=QUIET)
    axes.set_xlabel("seconds", fontsize=8, color=QUIET, labelpad=2)
    axes.set_yticks(range(0, n_mels, 20))
    _shade(axes, labels, "white", 0.45)
    peaks = mel_filters(n_mels).argmax(axis=1) * SAMPLE_RATE / N_FFT  # Hz, where each band hears best
    right = axes.twinx()
    right.set_ylim(0, n_mels)
    right.set_yticks([float(np.interp(hertz, peaks, np.arange(n_mels) + 0.5)) for hertz in HERTZ])
    right.set_yticklabels([f"{hertz / 1000:g} kHz" if hertz >= 1000 else f"{hertz} Hz" for hertz in HERTZ])
    right.tick_params(length=3, labelsize=8, color=FRAME, labelcolor=QUIET)
    for side in right.spines.values():
        side.set_visible(False)
