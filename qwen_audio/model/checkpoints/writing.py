"""Write checkpoint files beside their places and put them there together, so that a crash never leaves half of one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SHARD_BYTES = 5_000_000_000
INDEX = "model.safetensors.index.json"


class Staged:
    """Files of one directory that appear together: written under other names, renamed on a clean exit, else removed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._names: list[str] = []

    def __enter__(self) -> Staged:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                mode = 0o666 & ~_umask()  # safetensors makes files that nobody else may read
                for name in self._names:
                    self._part(name).chmod(mode)
                    with self._part(name).open("rb") as file:
                        os.fsync(file.fileno())
                for name in self._names:
                    os.replace(self._part(name), self.directory / name)
        finally:
            for name in self._names:
                self._part(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Return where a file is written until it takes its place."""
        self._names.append(name)
        return self._part(name)

    def text(self, name: str, text: str) -> None:
        """Write a text file."""
        self.path(name).write_text(text, encoding="utf-8")

    def json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON object."""
        self.text(name, json.dumps(values, ensure_ascii=False, indent=2) + "\n")

    def _part(self, name: str) -> Path:
        return self.directory / f".{name}.{os.getpid()}.part"


def write_weights(
    staged: Staged,
    shapes: Mapping[str, tuple[int, ...]],
    make: Callable[[str], Tensor],
    dtype: torch.dtype,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> list[str]:
    """Write tensors as model.safetensors, or as shards with an index where they are more than shard_bytes.

    Args:
        shapes: name -> shape, in the order in which they are stored.
        make: returns the tensor of a name; called one shard after another, so memory holds one shard more.
        dtype: the numbers to store.
    Returns:
        The names of the files.
    """
    groups = list(_groups(shapes, dtype.itemsize, shard_bytes))
    count = len(groups)
    names = ["model.safetensors"] if count == 1 else [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    for file_name, group in zip(names, groups, strict=True):
        # copy: tied tensors and slices share memory, which the format refuses
        tensors = {name: make(name).detach().to("cpu", dtype, copy=True).contiguous() for name in group}
        save_file(tensors, staged.path(file_name), metadata={"format": "pt"})
    if count > 1:
        total = sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize
        weight_map = {name: file_name for file_name, group in zip(names, groups, strict=True) for name in group}
        staged.json(INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    return names


def remove_stale_weights(directory: Path, names: list[str]) -> None:
    """Remove weight files of an earlier save that those just written replace; readers would prefer some of them."""
    stale = {path for path in directory.glob("model*.safetensors") if path.name not in names}
    for path in stale | ({directory / INDEX} if len(names) == 1 else set()):
        path.unlink(missing_ok=True)


def _umask() -> int:
    """Return the permissions that new files lack; the system tells them only by setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _groups(shapes: Mapping[str, tuple[int, ...]], itemsize: int, limit: int) -> Iterator[list[str]]:
    """Cut names into runs whose tensors take at most limit bytes, or one tensor where that alone takes more."""
    group: list[str] = []
    filled = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * itemsize
        if group and filled + size > limit:
            yield group
            group, filled = [], 0
        group.append(name)
        filled += size
    yield group
