"""MixtureConfig: what a run is made of; one section of YAML, the same for `data mix` and for training."""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from qwen_audio.config import check_choice, from_mapping, option
from qwen_audio.errors import ConfigError

SECTION = "mixture"
LongRows = Literal["ledger", "windows"]  # as AdmissionOptions has it, whose room is too heavy for --help


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rows come from: a file or files of rows, or the prepared sets below the data root."""

    path: str = option("", "rows: .jsonl, .json, a .tar or .parquet shard, or a glob of them; relative to the working directory")
    prepared: bool = option(False, "the prepared sets below data_root, instead of a path")
    splits: str = option("data/splits", "prepared sets: folder with train.tsv and dev.tsv, the recordings each split may use")
    pairs: int = option(6000, "prepared sets: conversations over two clips to make")
    data_root: str = option("", "where relative audio paths begin; by default the mixture's data_root, else the file's folder")
    weight: float = option(1.0, "multiplies the weight of each of its groups")
    repeat: float = option(1.0, "counts each of its rows so often where a share depends on size")
    trust_durations: bool = option(False, "take lengths that rows state without opening their files: for what `data prepare` wrote")

    def __post_init__(self) -> None:
        if bool(self.path) == self.prepared:
            raise ConfigError("a source is either a path or {prepared: true}")
        for name in ("weight", "repeat"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{self.name}: {name} is {getattr(self, name)}: expected 0 or more")
        if self.pairs < 0:
            raise ConfigError(f"pairs is {self.pairs}: expected 0 or more")

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path or "prepared sets"


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureConfig:
    """What a run sees. The share of a group (DATASET/FAMILY) of a source is as its

        weight of the first pattern that fits * the source's weight * (the source's repeat * rows) ** (1 / temperature)

    until a family has more than its cap: what is above is shared out among the others. Rows are the admitted ones.
    """

    sources: tuple[Source, ...] = field(default=(), metadata={"help": "where rows come from; a bare string is a path"})
    data_root: str = option("", "folder of the prepared sets, and where relative audio paths begin")
    seed: int | None = option(None, "of the order; the run's own by default")
    temperature: float = option(1.0, "1 draws groups by their size, 2 by its square root, .inf by their weights alone")
    weights: dict[str, float] = field(
        default_factory=lambda: {"*": 1.0}, metadata={"help": "weights of DATASET/FAMILY groups; patterns, the first that fits counts"}
    )
    caps: dict[str, float] = field(default_factory=dict, metadata={"help": "largest share of the draws that a task has, as {asr: 0.4}"})
    hold_out: tuple[str, ...] = option((), "leave out what has KEY=VALUE, as in speaker=fsdd-george or dataset=en_fsdd")
    long_audio: LongRows = option("ledger", "clips over 30 s: ledger leaves them out with a line of account, windows cuts them")
    max_tokens: int | None = option(None, "most positions of a row; the model's window by default")
    max_lost: float = option(0.01, "largest share of a source's rows that may be lost before training refuses")
    index_dir: str = option("", "folder for the indexes; by default beside each file, else below $QWEN_AUDIO_HOME")
    index_workers: int = option(1, "processes that make an index")

    def __post_init__(self) -> None:
        check_choice("long_audio", self.long_audio, ("ledger", "windows"))
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}: expected a number above 0, .inf for weights alone")
        if not 0 <= self.max_lost <= 1:
            raise ConfigError(f"max_lost is {self.max_lost}: expected a share, 0 to 1")
        if self.index_workers < 1:
            raise ConfigError(f"index_workers is {self.index_workers}: expected 1 or more")
        _check_numbers("weights", self.weights, "a number, 0 or more", lambda value: 0 <= value < float("inf"))
        _check_numbers("caps", self.caps, "a share above 0, at most 1", lambda value: 0 < value <= 1)
        for entry in self.hold_out:
            if "=" not in entry:
                raise ConfigError(f"hold_out has {entry!r}: expected KEY=VALUE")
        if any(source.prepared and not (source.data_root or self.data_root) for source in self.sources):
            raise ConfigError("data_root is not set: name the folder of the prepared sets with --data-root")


def _check_numbers(name: str, values: Any, expected: str, fits: Any) -> None:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} is {values!r}: expected NAME: NUMBER pairs")
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
            raise ConfigError(f"{name}: {key} is {value!r}: expected {expected}")


def plain_sources(section: Any) -> Any:
    """Write a section's sources out: a bare string is a path, a bare source a list of one."""
    if not isinstance(section, Mapping) or "sources" not in section:
        return section
    return {**section, "sources": source_list(section["sources"])}


def source_list(sources: Any, name: str = "sources") -> list[Any]:
    """Write sources out as plain_sources does.

    Raises:
        ConfigError: they are no list.
    """
    listed = [sources] if isinstance(sources, (str, Mapping)) else sources
    if not isinstance(listed, (list, tuple)):
        raise ConfigError(f"{name} is {sources!r}: expected a list of paths and {{path: .., weight: ..}}")
    return [{"path": source} if isinstance(source, str) else source for source in listed]


def files_of(source: Source) -> list[Path]:
    """Return the files that a source's path names: itself, or those that fit it as a glob, in the order of their names."""
    path = Path(source.path)
    return [path] if path.is_file() else [Path(name) for name in sorted(glob.glob(source.path, recursive=True))]


class _Loader(yaml.SafeLoader):
    """Refuses a name that stands twice in a section, of which the last would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See yaml.SafeLoader."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the settings of a YAML file.

    Raises:
        ConfigError: the file is missing or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        # YAML reads the 5e-05 of JSON as text.
        values = json.loads(text) if Path(path).suffix == ".json" else yaml.load(text, _Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a YAML file of settings") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected settings, NAME: VALUE a line")
    return values


def mixture_config(section: Mapping[str, Any], where: str = SECTION) -> MixtureConfig:
    """Build the settings from plain values, as YAML gives them."""
    return from_mapping(MixtureConfig, plain_sources(section), where)


def read_mixture_config(path: Path | str, **changes: Any) -> MixtureConfig:
    """Read a mixture from a YAML file: its section `mixture`, or the whole file where it has no such section.

    Args:
        path: a file of its own, or a training configuration.
        changes: settings that lie over the file's; None leaves the file's.
    Raises:
        ConfigError: the file is missing, not YAML, or has an unknown or unfit setting.
    """
    values = read_yaml(path)
    section = values.get(SECTION, values)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{path}: {SECTION} is {section!r}: expected settings")
    return mixture_config({**section, **{name: value for name, value in changes.items() if value is not None}}, str(path))
