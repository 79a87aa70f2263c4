"""Draw the curves of runs from their journals: losses, what dev rows say, rate and gradient, speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from finetune.watch.dev import BEFORE
from finetune.watch.journal import Figures, read_journal
from finetune.watch.meter import TASK
from qwen_audio.errors import ConfigError, DataError

FILE: Final = "curves.png"
COLUMNS: Final = 3
WIDTH, HEIGHT = 5.0, 3.2  # inches of one panel
SMOOTHED: Final = 20  # of many points, a mean over a twentieth of them lies over the single ones
MOST_LINES: Final = 8  # of one panel
PLAIN: Final = ("grad_norm", "lr", "audio_s_per_s", "tokens_per_s", "mfu", "padding")
TITLES: Final[Mapping[str, str]] = {
    "loss": "loss", "grad_norm": "gradient norm", "lr": "learning rate", "audio_s_per_s": "audio seconds per second",
    "tokens_per_s": "tokens per second", "mfu": "share of the peak (MFU)", "padding": "share of padding", "ctc": "CTC loss",
    "class": "classification loss", "eval/score": "score of dev rows, 0 to 1",
}  # fmt: skip

Points = list[tuple[int, float]]
Series = dict[str, Points]  # label -> (step, value)


def can_draw() -> bool:
    """Tell whether what draws is installed."""
    return find_spec("matplotlib") is not None


def draw(folders: Sequence[Path | str], output: Path | str) -> str:
    """Draw the curves of one run, or of several over each other, and return a line that says where.

    Raises:
        ConfigError: matplotlib is not installed. DataError: a folder has no journal, or an empty one.
    """
    if not can_draw():
        raise ConfigError("curves need matplotlib: pip install -e '.[train]'")
    runs = {_name(folder, folders): read_journal(folder) for folder in folders}
    panels = _panels(runs)
    if not panels:
        raise DataError(f"{', '.join(map(str, folders))}: nothing to draw yet")
    _draw(panels, Path(output))
    return f"{output}: {len(panels)} panels of {', '.join(runs)}"


def _name(folder: Path | str, folders: Sequence[Path | str]) -> str:
    path = Path(folder)
    return path.name if sum(Path(other).name == path.name for other in folders) == 1 else str(path)


def _panels(runs: Mapping[str, Sequence[Figures]]) -> dict[str, Series]:
    """Sort figures into panels: title -> its lines."""
    panels: dict[str, Series] = {}
    several = len(runs) > 1

    def add(title: str, lines: Sequence[Figures], run: str, wanted: Callable[[str], str | None]) -> None:
        names = {name: label for figures in lines for name in figures if (label := wanted(name)) is not None}
        for name, label in names.items():
            points = [(figures["step"], figures[name]) for figures in lines if figures.get(name) is not None]
            shown = f"{run} {label}".strip() if several else label
            panels.setdefault(title, {})[shown] = points

    for run, lines in runs.items():
        add("loss", lines, run, {"loss": "train", f"{BEFORE}loss": "dev"}.get)
        add("score of dev rows, 0 to 1", lines, run, {f"{BEFORE}score": "score"}.get)
        add("training loss by task", lines, run, lambda name: name.removeprefix(TASK) if name.startswith(TASK) else None)
        before = f"{BEFORE}{TASK}"
        add("dev loss by task", lines, run, lambda name, before=before: name.removeprefix(before) if name.startswith(before) else None)  # type: ignore[misc]
        chief = _chief_metrics(lines)
        for metric in sorted(set(chief.values())):
            of = {f"{BEFORE}{part}/{metric}": part for part, name in chief.items() if name == metric}
            add(f"dev rows: {metric}", lines, run, of.get)
        for name in ("ctc", "class", *PLAIN):
            add(TITLES[name], lines, run, {name: ""}.get)
    return dict(_fewest(title, series) for title, series in panels.items() if any(series.values()))


def _chief_metrics(lines: Sequence[Figures]) -> dict[str, str]:
    """Find the first metric of each task among figures eval/TASK/METRIC: the one that it is judged by."""
    found: dict[str, str] = {}
    for name in (name for figures in lines for name in figures if name.startswith(BEFORE) and not name.startswith(f"{BEFORE}{TASK}")):
        if name.count("/") == 2:
            _, part, metric = name.split("/")
            found.setdefault(part, metric)
    return found


def _fewest(title: str, series: Series) -> tuple[str, Series]:
    """Keep as many lines as can be told apart, those with the most points first, and say so."""
    kept = sorted(series, key=lambda label: -len(series[label]))[:MOST_LINES]
    shown = title if len(kept) == len(series) else f"{title} ({len(kept)} of {len(series)})"
    return shown, {label: points for label, points in series.items() if label in kept}


def smooth(points: Points) -> Points:
    """Lay a moving mean over many points: each is the mean of those around it, a twentieth of all."""
    reach = len(points) // (2 * SMOOTHED)
    values = [value for _, value in points]
    around = [values[max(0, place - reach) : place + reach + 1] for place in range(len(values))]
    return [(step, sum(some) / len(some)) for (step, _), some in zip(points, around, strict=True)]


def _draw(panels: Mapping[str, Series], output: Path) -> None:
    """Draw panels in rows of three."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(panels) // COLUMNS)
    figure, grid = pyplot.subplots(rows, COLUMNS, figsize=(WIDTH * COLUMNS, HEIGHT * rows), squeeze=False, layout="constrained")
    for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, title, series)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    pyplot.close(figure)


def _panel(axes: Any, title: str, series: Series) -> None:
    for label, points in series.items():
        steps, values = zip(*points, strict=True)
        few = len(points) < 2 * SMOOTHED
        (line,) = axes.plot(steps, values, label=label or None, marker="o" if few else None, markersize=3, alpha=1.0 if few else 0.3)
        if not few:
            axes.plot(*zip(*smooth(points), strict=True), color=line.get_color())
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    if any(series):
        axes.legend(fontsize=7)
