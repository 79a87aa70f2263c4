"""What a person can choose about a run: the model, how rows are answered, what is compared; light enough for --help."""

from __future__ import annotations

from dataclasses import dataclass

from qwen_audio.config import MOST_TIMED_TOKENS, MOST_TOKENS, LoadOptions, LongAudio, check_choice, option
from qwen_audio.errors import ConfigError

KINDS = "a name, directory or hub id; transformers:DIR|HUB_ID; openai:NAME with --base-url; FILE.jsonl of predictions; pocketsphinx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How a model is loaded or reached."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    dtype: str = option("auto", "auto, float32, bfloat16 or float16")
    allow_download: bool = option(False, "let a hub id be fetched from the network")
    base_url: str = option("", "address of an OpenAI-compatible server, as http://localhost:8000/v1")
    api_key_env: str = option("OPENAI_API_KEY", "environment variable that holds the server's key")
    concurrency: int = option(8, "requests to the server at once")
    timeout_s: float = option(120.0, "seconds to wait for one answer of the server")
    retries: int = option(5, "how often a request is made again when the server is busy or away")

    def __post_init__(self) -> None:
        LoadOptions(device=self.device, dtype=self.dtype)  # checks both
        for name, least in (("concurrency", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected {least} or more")
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout_s is {self.timeout_s}: expected seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a set is answered."""

    batch_size: int = option(0, "rows answered at once; 0 takes what suits the model")
    limit: int = option(0, "a fixed draw of so many rows; 0 takes all")
    max_new_tokens: int = option(0, f"longest answer, tokens; 0 takes {MOST_TOKENS}, with word times {MOST_TIMED_TOKENS}")
    long_audio: LongAudio = option("error", "clips over 30 s: too_long, their first 30 s, or all of them in windows")
    workers: int = option(1, "processes on this machine; under torchrun its ranks are taken instead")
    overwrite: bool = option(False, "answer everything anew instead of going on")
    retry_failed: bool = option(False, "ask the rows again that ended as infer_fail")
    recipe: str = option("", "version of the benchmark; another one is answered anew")
    quiet: bool = option(False, "no progress")

    def __post_init__(self) -> None:
        check_choice("long_audio", self.long_audio, ("error", "first", "split"))
        for name, least in (("batch_size", 0), ("limit", 0), ("max_new_tokens", 0), ("workers", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected {least} or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityOptions:
    """What is compared."""

    batch_size: int = option(8, "rows of the batch that is compared with rows alone")
    limit: int = option(64, "a fixed draw of so many rows; 0 takes all")
    max_new_tokens: int = option(0, "longest answer, tokens; 0 takes the task's own")
    against: str = option("transformers", "the model's export in transformers, another model's name, or none")

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError(f"batch_size is {self.batch_size}: expected 2 or more, to compare it with rows alone")
