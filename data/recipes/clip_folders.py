"""Find the clips of corpora that are published as lists, so that everyone names folders and files in another way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from data.recipes.walking import needed

SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4", ".mkv")


def first_of(root: Path, *names: str, what: str = "folder") -> Path:
    """Return the first of several places below root that exists.

    Raises:
        DataError: none does; the message names the first.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    return needed(root / names[0], what)


def clips_below(folder: Path) -> dict[str, Path]:
    """Map the name without suffix of each recording below folder, at any depth, to its path."""
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(needed(folder, "folder")):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                found.setdefault(stem, Path(place, name))
    return found


def youtube_clip(clips: Mapping[str, Path], video: str, start_s: float, end_s: float | None = None) -> Path | None:
    """Find the clip of a video that begins at start_s, whichever of the usual ways it is named; None where there is none."""
    return first_found(clips, (prefix + name for name in _youtube_names(video, start_s, end_s) for prefix in ("", "Y")))


def first_found(clips: Mapping[str, Path], names: Iterable[str]) -> Path | None:
    """Return the clip of the first name that there is one for."""
    return next((clips[name] for name in names if name in clips), None)


def words(label: str) -> str:
    """Write a label of a table as words: Alarm_bell_ringing becomes Alarm bell ringing."""
    return " ".join(label.replace("_", " ").split())


def _youtube_names(video: str, start_s: float, end_s: float | None) -> list[str]:
    """List the names in use for a clip, without suffix: seconds as 30, 30.0 or 30.000, or milliseconds as in AudioSet's strong labels."""
    end = start_s + 10 if end_s is None else end_s
    forms = [(f"{start_s:g}", f"{end:g}"), (f"{start_s:.1f}", f"{end:.1f}"), (f"{start_s:.3f}", f"{end:.3f}")]
    forms.append((f"{round(start_s * 1000)}", f"{round(end * 1000)}"))
    names = [video]
    for start, stop in forms:
        names += [f"{video}_{start}", f"{video}_{start}_{stop}"]
    return names
