"""Read a JSON file of many gigabytes one element at a time: WenetSpeech and GigaSpeech keep all segments in a single list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.recipes.walking import needed
from qwen_audio.errors import DataError

_CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")


def listed_under(path: Path, key: str, chunk: int = _CHUNK) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (FILE:[n], element) of the list under a key of the outermost object; memory holds one element at a time.

    Args:
        chunk: characters read at once.
    Raises:
        DataError: the file is missing, has no such list, or ends within it.
    """
    decoder, opening = json.JSONDecoder(), re.compile(rf'"{re.escape(key)}"\s*:\s*\[')
    with needed(path).open(encoding="utf-8") as lines:
        buffer = ""
        while (found := opening.search(buffer)) is None:
            piece = lines.read(chunk)
            if not piece:
                raise DataError(f"{path}: no list under the key {key!r}")
            buffer += piece
        at, number, step = found.end(), 0, chunk
        while True:
            at = _next_element(buffer, at)
            if buffer[at : at + 1] == "]":
                return
            try:
                element, end = decoder.raw_decode(buffer, at)
            except json.JSONDecodeError as error:
                piece = lines.read(step)  # twice as much each time, so that a large element is not tried over and over
                if not piece:
                    raise DataError(f"{path}:[{number}]: the list {key!r} is broken or not complete ({error.msg})") from error
                buffer, at, step = buffer[at:] + piece, 0, step * 2
                continue
            yield f"{path}:[{number}]", element
            at, number, step = end, number + 1, chunk


def _next_element(buffer: str, at: int) -> int:
    """Find where the next element begins: behind white space and a comma."""
    match = _BETWEEN.match(buffer, at)
    assert match is not None  # the pattern matches the empty string too
    return match.end()
