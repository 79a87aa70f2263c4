"""Read stored tensors one at a time, compare their names with what a model needs, and lay them into it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from qwen_audio.config import GenerationOptions
from qwen_audio.errors import CheckpointError, ConfigError

Plan = Mapping[str, tuple[str, ...]]
"""Our parameter's name -> the stored tensors whose rows, one after another, make it."""

SHOWN = 5  # names listed of each kind of mistake; a wrong directory would otherwise print hundreds
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Weights(Protocol):
    """Stored tensors by name; shapes are known before anything is read."""

    @property
    def where(self) -> str:
        """The file or directory, for messages."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of everything that is stored."""

    def read(self, name: str) -> Tensor:
        """Return one tensor on the CPU, in the numbers it is stored in."""


class WeightFiles:
    """The tensors of a directory's safetensors files, sharded with an index or in one file.

    Only headers are read when it is made. A file is opened at its first tensor and let go after its last, so that
    the memory mapped at any time is about one shard.
    """

    def __init__(self, directory: Path) -> None:
        """Read the headers.

        Raises:
            CheckpointError: no safetensors, a shard that is missing or cut off, or numbers that are not floats.
        """
        self.where = str(directory)
        self._file_of: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        self._unread: dict[Path, set[str]] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        stored_as: dict[str, str] = {}
        for path in weight_files(directory):
            file = _open_safetensors(path)
            names = file.keys()
            for name in names:
                part = file.get_slice(name)
                shapes[name], stored_as[name] = tuple(part.get_shape()), part.get_dtype()
                self._file_of[name] = path
                self._unread.setdefault(path, set()).add(name)
        self.shapes = shapes
        packed = [f"{name} ({kind})" for name, kind in stored_as.items() if kind not in FLOATS]
        if packed:
            raise CheckpointError(f"{directory}: not float numbers: {_listed(packed)}; quantized weights are not read, take the original")
        self.dtypes = {name: FLOATS[kind] for name, kind in stored_as.items()}

    def read(self, name: str) -> Tensor:
        """Return one tensor on the CPU; it may share the file's mapped memory."""
        path = self._file_of[name]
        if path not in self._open:
            self._open[path] = _open_safetensors(path)
        tensor: Tensor = self._open[path].get_tensor(name)
        self._unread[path].discard(name)
        if not self._unread[path]:
            del self._open[path]
        return tensor


class WeightDict:
    """Tensors that are in memory already."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        self.where = where
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self._tensors = tensors

    def read(self, name: str) -> Tensor:
        """Return one tensor."""
        return self._tensors[name]


def weight_files(directory: Path) -> list[Path]:
    """List a directory's safetensors files: those its index names, or the one file.

    Raises:
        CheckpointError: there is none, or a shard is missing; a directory of pickles is refused with the mend.
    """
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index}: no weight_map in it; fetch the file again")
        names = sorted({Path(str(name)).name for name in weight_map.values()})
        missing = [name for name in names if not (directory / name).is_file()]
        if missing:
            raise CheckpointError(f"{directory}: {_listed(missing)} missing of the {len(names)} shards that {index.name} names; fetch them")
        return [directory / name for name in names]
    single = directory / "model.safetensors"
    if single.is_file():
        return [single]
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{directory}: found {pickles[0]} but no model.safetensors; pickled weights can run code and are not read: "
            "load them with transformers where you trust them and save with save_pretrained(..., safe_serialization=True)"
        )
    raise CheckpointError(f"{directory}: no model.safetensors and no model.safetensors.index.json in it; is this a checkpoint?")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; what cannot be read is a CheckpointError that names the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; a checkpoint directory needs it") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); fetch it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def read_generation(directory: Path) -> GenerationOptions:
    """Read generation_config.json as transformers means it: what it leaves out has transformers' default.

    do_sample absent or false is greedy; top_k 50, top_p 1, temperature 1, repetition_penalty 1. Where the file is
    absent the options are our own defaults.
    """
    path = directory / "generation_config.json"
    if not path.is_file():
        return GenerationOptions()
    stored = {key: value for key, value in read_json(path).items() if value is not None}
    try:
        return GenerationOptions(
            max_new_tokens=int(stored.get("max_new_tokens", GenerationOptions().max_new_tokens)),
            temperature=float(stored.get("temperature", 1.0)),
            top_k=int(stored.get("top_k", 50)),
            top_p=float(stored.get("top_p", 1.0)),
            repetition_penalty=float(stored.get("repetition_penalty", 1.0)),
            greedy=not stored.get("do_sample", False),
        )
    except (ConfigError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def check_fields(where: str, found: Mapping[str, Any], expected: Mapping[str, Any], mend: str) -> None:
    """Raise one CheckpointError that lists every field whose value is another than expected; absent fields pass."""
    wrong = [f"{key} is {found[key]!r}, expected {value!r}" for key, value in expected.items() if key in found and found[key] != value]
    if wrong:
        raise CheckpointError(f"{where}: {'; '.join(wrong)}; {mend}")


def field(where: str, values: Mapping[str, Any], name: str, kind: Callable[[Any], Any], default: Any = None) -> Any:
    """Return one value of a config.json as a number of the given kind.

    Args:
        default: taken where the file has no such field or null; None makes the field compulsory.
    Raises:
        CheckpointError: the field is absent and has no default, or is not such a number.
    """
    value = values.get(name)
    value = default if value is None else value
    if value is None:
        raise CheckpointError(f"{where}: {name} is missing; take the config.json that was released with these weights")
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise CheckpointError(f"{where}: {name} is {value!r}, expected {kind.__name__}") from None


def check_plan(
    plan: Plan,
    expected: Mapping[str, tuple[int, ...]],
    weights: Weights,
    *,
    tolerated: Iterable[str] = (),
    at_most: Sequence[str] = (),
) -> None:
    """Compare the stored names and shapes with those that a plan needs.

    Args:
        plan: for each of our names the stored tensors that make it.
        expected: the shape of each of our names.
        weights: what is stored.
        tolerated: regular expressions of stored names that may be there and are not read.
        at_most: our names that may take the first rows of a longer stored tensor.
    Raises:
        CheckpointError: one for all missing and surplus names and wrong shapes, the first few of each and their count.
    """
    assert set(plan) == set(expected), sorted(set(plan) ^ set(expected))[:SHOWN]
    needed = {source for sources in plan.values() for source in sources}
    patterns = [re.compile(pattern) for pattern in tolerated]
    missing = sorted(needed - set(weights.shapes), key=natural)
    surplus = sorted((name for name in set(weights.shapes) - needed if not any(p.fullmatch(name) for p in patterns)), key=natural)
    misshapen = []
    for ours, sources in plan.items():
        shapes = [weights.shapes[source] for source in sources if source in weights.shapes]
        if len(shapes) == len(sources) and not _fits(joined_shape(shapes), expected[ours], ours in at_most):
            misshapen.append(f"{' + '.join(sources)} {joined_shape(shapes)}, expected {expected[ours]}")
    kinds = {"missing": missing, "surplus": surplus, "wrong shape": misshapen}
    found = "; ".join(f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names)
    if found:
        raise CheckpointError(f"{weights.where}: the weights do not fit the configuration: {found}; take all files from one checkpoint")


def lay_in(module: nn.Module, plan: Plan, weights: Weights, *, device: torch.device | str, dtype: torch.dtype) -> None:
    """Replace a module's tensors, which may be on the meta device, by stored ones; call check_plan first.

    One tensor is read, converted and moved at a time: memory never holds the model twice.

    """
    owners = dict(module.named_modules())
    for ours, sources in plan.items():
        parts = [weights.read(source) for source in sources]
        # copy=True: a mapped file that is replaced or cut while the model lives must not reach into it
        tensor = parts[0].to(device, dtype, copy=True) if len(parts) == 1 else torch.cat(parts).to(device, dtype)
        path, _, leaf = ours.rpartition(".")
        owner = owners[path]
        if leaf in owner._parameters:
            setattr(owner, leaf, nn.Parameter(tensor))
        else:
            setattr(owner, leaf, tensor)
    left = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    assert not left, f"tensors outside the state dict stayed without values: {left}"


@torch.no_grad()
def copy_in(module: nn.Module, plan: Plan, weights: Weights, *, rows: Mapping[str, int] | None = None) -> None:
    """Overwrite a module's tensors in place, in its own numbers and on its own device; call check_plan first.

    Args:
        rows: of these names of ours only so many first rows are overwritten.
    """
    ours_by_name = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for ours, sources in plan.items():
        target = ours_by_name[ours]
        n_rows = (rows or {}).get(ours, len(target))
        parts = [weights.read(source) for source in sources]
        stored = parts[0] if len(parts) == 1 else torch.cat(parts)
        target[:n_rows].copy_(stored[:n_rows])


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of everything that a module stores."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def joined_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of tensors laid below one another."""
    return (sum(shape[0] for shape in shapes), *shapes[0][1:]) if shapes[0] else ()


def natural(name: str) -> list[str | int]:
    """Return a sorting key under which layer 2 comes before layer 10."""
    return [part.zfill(6) for part in re.split(r"(\d+)", name)]


def _fits(found: tuple[int, ...], expected: tuple[int, ...], longer_is_fine: bool) -> bool:
    """Tell whether a stored shape serves: equal, or with more rows where the first ones are enough."""
    return found == expected or (longer_is_fine and found[1:] == expected[1:] and found[0] >= expected[0])


def _listed(names: Sequence[str]) -> str:
    """Show the first few names and how many there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _open_safetensors(path: Path) -> Any:
    """Open a safetensors file for reading; only its header is read."""
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
