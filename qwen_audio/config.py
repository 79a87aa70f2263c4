"""Settings: frozen dataclasses, checked once when they are made; read from YAML or JSON strictly, shown as flags."""

from __future__ import annotations

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, TypeVar

from qwen_audio.errors import ConfigError

T = TypeVar("T")
Family = Literal["qwen-audio", "qwen2-audio"]
LongAudio = Literal["error", "first", "split"]
SAMPLING = ("temperature", "top_k", "top_p")  # settings that mean nothing to an answer that is greedy
SEEDS = range(-(2**63), 2**63)  # what a generator of random numbers takes
MOST_TOKENS, MOST_TIMED_TOKENS = 256, 512  # of a scored answer, as the released evaluation has it; words with their times are longer


def option(default: Any, help_text: str) -> Any:
    """Declare a field of a settings class with the help that its flag shows."""
    if isinstance(default, (list, dict)):
        raise TypeError("a default must not be mutable")
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The audio encoder; the defaults are Whisper-large-v2's."""

    n_mels: int = option(80, "mel bands")
    n_ctx: int = option(1500, "positions, 20 ms each")
    width: int = option(1280, "channels")
    heads: int = option(20, "attention heads")
    layers: int = option(32, "blocks")
    mlp_width: int = option(5120, "channels inside the feed-forward part")

    def __post_init__(self) -> None:
        check_positive(self)
        if self.width % self.heads:
            raise ConfigError(f"encoder width {self.width} is not a multiple of its {self.heads} heads")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """The language model; the defaults are Qwen-7B's as Qwen-Audio was released."""

    vocab_size: int = option(155_947, "rows of the embedding")
    width: int = option(4096, "channels")
    layers: int = option(32, "blocks")
    heads: int = option(32, "query heads")
    kv_heads: int = option(32, "key and value heads; fewer than heads is grouped-query attention")
    head_size: int = option(128, "channels of one head")
    mlp_width: int = option(11_008, "channels inside the SwiGLU part (half of Qwen-7B's intermediate_size)")
    norm_eps: float = option(1e-6, "RMSNorm epsilon")
    rope_base: float = option(10_000.0, "base of the rotary frequencies")
    seq_length: int = option(2048, "positions seen in training: past them NTK and log-n scaling begin")
    window: int = option(8192, "positions that one conversation may fill")
    dynamic_ntk: bool = option(True, "raise the rotary base in steps past seq_length, at inference only")
    logn_attention: bool = option(True, "scale queries past seq_length by the logarithm of their position, at inference only")
    tied_embeddings: bool = option(False, "the output head is the embedding")

    def __post_init__(self) -> None:
        check_positive(self)
        if self.heads % self.kv_heads:
            raise ConfigError(f"{self.heads} query heads cannot share {self.kv_heads} key heads evenly")
        if self.head_size % 2:
            raise ConfigError(f"head_size is {self.head_size}: rotary positions need an even number")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A whole model: encoder, decoder and how the two meet.

    family "qwen-audio": clips count floor(samples / 160) frames, a zero follows the last one, learned vectors replace the
    two bounds of a span, positions past seq_length are scaled. "qwen2-audio": ceil, the true next frame follows, the
    bounds are ordinary embeddings, no scaling.
    """

    family: Family = option("qwen-audio", "whose rules for frames and bounds apply")
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    audio_start_id: int = option(155_163, "id before a clip's vectors")
    audio_pad_id: int = option(151_851, "id in whose places a clip's vectors are laid")
    audio_end_id: int = option(155_164, "id after a clip's vectors")

    def __post_init__(self) -> None:
        check_choice("family", self.family, typing.get_args(Family))
        for name in ("audio_start_id", "audio_pad_id", "audio_end_id"):
            value = getattr(self, name)
            if not 0 <= value < self.decoder.vocab_size:
                raise ConfigError(f"{name} is {value}: expected an id below the vocabulary's {self.decoder.vocab_size}")

    @property
    def learned_bounds(self) -> bool:
        """Whether a span's two bounds are learned vectors rather than embeddings of their tokens."""
        return self.family == "qwen-audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How one reply is sampled; the defaults are the released chat checkpoint's."""

    max_new_tokens: int = option(512, "stop after so many tokens")
    temperature: float = option(1.0, "divide the logits by this; 0 is greedy")
    top_k: int = option(0, "keep the k likeliest tokens; 0 keeps all")
    top_p: float = option(0.5, "nucleus mass, in (0, 1]")
    repetition_penalty: float = option(1.0, "divide the logits of what was said already; 1 leaves them")
    seed: int | None = option(None, "make sampling repeatable")
    greedy: bool = option(False, "always take the likeliest token")

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}: expected at least 1")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature is {self.temperature}: expected 0 (greedy) or more")
        if self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}: expected 0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}: expected a number in (0, 1]")
        if not 0 < self.repetition_penalty < math.inf:
            raise ConfigError(f"repetition_penalty is {self.repetition_penalty}: expected a number above 0")
        if self.seed is not None and self.seed not in SEEDS:
            raise ConfigError(f"seed is {self.seed}: expected a whole number of at most 63 bits")

    @property
    def deterministic(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.greedy or self.temperature == 0

    def heeding(self, asked: Collection[str]) -> GenerationOptions:
        """Return the options in which what was asked for by name counts: a temperature, top_k or top_p ends greediness.

        A checkpoint may be greedy by default; where `greedy` itself was asked for, it wins.
        """
        ends = self.greedy and "greedy" not in asked and any(name in asked for name in SAMPLING)
        return dataclasses.replace(self, greedy=False) if ends else self


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Where a model is loaded and in which numbers."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    dtype: str = option("auto", "auto, float32, bfloat16 or float16")
    allow_download: bool = option(False, "let a hub id be fetched from the network")

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("auto", "float32", "bfloat16", "float16"))
        if self.device.split(":")[0] not in ("auto", "cpu", "cuda", "mps"):
            raise ConfigError(f"device is {self.device!r}: expected auto, cpu, cuda, cuda:N or mps")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ConfigError unless value is one of the choices."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}: expected one of {', '.join(map(str, choices))}")


def check_positive(config: Any) -> None:
    """Raise ConfigError where a number of a settings object is not above zero."""
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
            raise ConfigError(f"{spec.name} is {value}: expected a number above 0")


def to_mapping(config: Any) -> dict[str, Any]:
    """Turn a settings object into plain values for JSON or YAML."""
    return dataclasses.asdict(config)


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "config") -> T:
    """Build a settings object from plain values; an unknown key or a wrong type is a ConfigError that names it.

    Args:
        kind: the dataclass to build; fields that are dataclasses themselves take mappings.
        values: keys and values as JSON or YAML gives them.
        where: file or section, for the message.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, found {type(values).__name__}")
    hints = typing.get_type_hints(kind)
    known = {spec.name for spec in dataclasses.fields(kind)}  # type: ignore[arg-type]
    surplus = sorted(set(values) - known, key=str)
    if surplus:
        alike = get_close_matches(str(surplus[0]), known, n=1)
        mend = f"did you mean {alike[0]}?" if alike else f"known: {', '.join(sorted(known))}"
        raise ConfigError(f"{where}: unknown setting {', '.join(map(str, surplus))}; {mend}")
    built = {name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return kind(**built)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check one plain value against its annotation; an int serves as a float, a list as a tuple."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is Literal:
        check_choice(where, value, args)
        return value
    if dataclasses.is_dataclass(hint):
        return from_mapping(typing.cast(type, hint), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} is {value!r}: expected a list")
        return tuple(_convert(args[0], item, where) for item in value)
    if origin is not None:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if hint is not Any and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ConfigError(f"{where} is {value!r}: expected {hint.__name__}")
    return value


class CommandParser(argparse.ArgumentParser):
    """A parser that tells a wrong flag in one line, without the whole usage in front of it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the flags and leave with exit code 2."""
        self.exit(2, f"error: {message}; --help lists the flags\n")


def add_flags(parser: argparse.ArgumentParser, kind: type, *, skip: tuple[str, ...] = ()) -> None:
    """Give a parser one flag for each field of a settings class: kebab-case, the underscore spelling accepted too.

    Flags default to None ("not given"), so that from_flags can lay them over values from a file or a checkpoint.
    """
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        if spec.name in skip or dataclasses.is_dataclass(hints[spec.name]):
            continue
        names = dict.fromkeys((f"--{spec.name.replace('_', '-')}", f"--{spec.name}"))
        text = f"{spec.metadata.get('help', '')} (default: {spec.default})"
        hint = hints[spec.name]
        options: dict[str, Any] = {"dest": spec.name, "default": None, "help": text}
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        if hint is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, **options)
            continue
        if typing.get_origin(hint) is Literal:
            options["choices"] = typing.get_args(hint)
        elif typing.get_origin(hint) is tuple:
            options |= {"type": typing.get_args(hint)[0], "nargs": "+"}
        else:
            options["type"] = hint
        parser.add_argument(*names, **options)


def from_flags(kind: type[T], args: argparse.Namespace, base: T | None = None) -> T:
    """Build a settings object from parsed flags; what was not given comes from base, else from the defaults."""
    given = {
        spec.name: getattr(args, spec.name)
        for spec in dataclasses.fields(kind)  # type: ignore[arg-type]
        if getattr(args, spec.name, None) is not None
    }
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    if base is None:
        return kind(**given)
    return dataclasses.replace(base, **given)  # type: ignore[type-var]


def sampling_from_flags(args: argparse.Namespace, base: GenerationOptions) -> GenerationOptions:
    """Lay the sampling flags that were given over a checkpoint's options, so that each of them has its effect."""
    given = [spec.name for spec in dataclasses.fields(GenerationOptions) if getattr(args, spec.name, None) is not None]
    return from_flags(GenerationOptions, args, base=base).heeding(given)
