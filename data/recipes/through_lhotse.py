"""Walk a corpus by lhotse's own recipe, where lhotse does it well: its supervisions, as rows."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.manifest import AudioRef
from qwen_audio.errors import DataError


def lhotse_rows(module: str, function: str, root: Path, part: str, **options: Any) -> Iterator[tuple[str, AudioRef, Any]]:
    """Yield (where, audio, supervision) of one part of a corpus.

    Args:
        module: of lhotse.recipes, as in "librispeech".
        function: in it, as in "prepare_librispeech".
        root: folder of the corpus, handed to the function as its first argument.
        part: key of the manifests that it returns.
        options: further arguments of the function.
    Returns:
        supervision has id, text, speaker, gender, language, start, duration, custom; audio is the stretch that it covers.
    Raises:
        DataError: lhotse is not installed, or finds no such part below root.
    """
    try:
        prepare = getattr(importlib.import_module(f"lhotse.recipes.{module}"), function)
    except ImportError as error:
        raise DataError("this recipe walks by lhotse: pip install -e '.[data]'") from error
    with tempfile.TemporaryDirectory() as scratch:
        try:
            manifests = prepare(root, output_dir=options.pop("output_dir", scratch), **options)
        except (AssertionError, FileNotFoundError, ValueError, KeyError) as error:
            raise DataError(f"{root}: lhotse's {function} cannot walk it ({error})") from error
    found = manifests.get(part) if part else manifests
    if not found:
        raise DataError(f"{root}: no part {part!r} here; found: {', '.join(map(str, manifests)) or 'none'}")
    recordings = {recording.id: recording for recording in found["recordings"]}
    for supervision in found["supervisions"]:
        recording = recordings[supervision.recording_id]
        path = recording.sources[0].source
        whole = supervision.start == 0 and abs(supervision.duration - recording.duration) < 0.01
        stretch = AudioRef(path) if whole else AudioRef(path, supervision.start, supervision.duration)
        yield f"{path}:{supervision.id}", stretch, supervision
