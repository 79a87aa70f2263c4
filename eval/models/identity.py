"""Which weights these are: a hash of a checkpoint's files, taken once for a file that does not change."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from qwen_audio.errors import CheckpointError

DECIDING = ("*.safetensors", "*.tiktoken", "*.json", "*.jinja", "vocab.*", "merges.txt")  # files that an answer depends on
BLOCK_BYTES = 1 << 22
SHA256 = re.compile("[0-9a-f]{64}")


def weights_digest(directory: Path | str) -> str:
    """Hash the weights, settings and vocabulary of a checkpoint's directory: 64 hexadecimal digits.

    A file of the Hugging Face cache is called by its hash already. Where the environment names a $QWEN_AUDIO_HOME, hashes of
    large files are kept there in digests.json, by path, size and time.

    Raises:
        CheckpointError: there is nothing to hash.
    """
    directory = Path(directory)
    files = sorted({path for pattern in DECIDING for path in directory.glob(pattern) if path.is_file()})
    if not files:
        raise CheckpointError(f"{directory}: holds no weights to tell it by; expected *.safetensors")
    known = _Known()
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name} {known.digest(path)}\n".encode())
    known.save()
    return whole.hexdigest()


def file_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file, read once as long as its size and time stay the same."""
    found = os.stat(path)
    return _digest(str(path), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    whole = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            whole.update(block)
    return whole.hexdigest()


def joined_digest(parts: Iterable[bytes]) -> str:
    """Hash parts as if they were one."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def shown_name(name: str) -> str:
    """Call a model by what people know it by: a name or hub id as it is, a directory by its last two parts."""
    parts = Path(name).parts
    return name if len(parts) <= 2 and not Path(name).is_absolute() else "/".join(parts[-2:])


class _Known:
    """The hashes of large files that are kept between runs."""

    def __init__(self) -> None:
        home = os.environ.get("QWEN_AUDIO_HOME")
        self.file = Path(home) / "digests.json" if home else None
        self.found: dict[str, list[object]] = {}
        self.new = False
        if self.file is not None and self.file.is_file():
            try:
                self.found = dict(json.loads(self.file.read_bytes()))
            except ValueError:  # half written by a run that was killed: made again
                self.found = {}

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file."""
        real = path.resolve()
        if real.parent.name == "blobs" and SHA256.fullmatch(real.name):
            return real.name
        found = os.stat(real)
        key, about = str(real), [found.st_size, found.st_mtime_ns]
        if self.found.get(key, [])[:2] != about:
            self.found[key] = [*about, file_digest(real)]
            self.new = True
        return str(self.found[key][2])

    def save(self) -> None:
        """Write what is new, whole or not at all."""
        if self.file is None or not self.new:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_name(f"{self.file.name}.{os.getpid()}.part")
        draft.write_text(json.dumps(self.found), encoding="utf-8")
        os.replace(draft, self.file)
