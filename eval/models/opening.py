"""A model by the name that a command line gives it."""

from __future__ import annotations

from dataclasses import dataclass

from eval.models.base import Model
from eval.models.endpoint import EndpointModel, EndpointOptions
from eval.models.predictions import PredictionsModel
from eval.models.sphinx import SphinxModel
from qwen_audio.config import LoadOptions, option
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


def open_model(name: str, options: ModelOptions | None = None) -> Model:
    """Open a model of any kind; torch is loaded only for those that need it.

    Args:
        name: see KINDS.
    Raises:
        CheckpointError, ConfigError, DataError: there is no such model, or it cannot be loaded here.
    """
    options = options or ModelOptions()
    kind, colon, rest = name.partition(":")
    if kind == "openai" and colon:
        server = EndpointOptions(options.base_url, options.api_key_env, options.concurrency, options.timeout_s, options.retries)
        return EndpointModel(rest, server)
    if kind == "predictions" and colon:
        return PredictionsModel(rest)
    if name.endswith((".jsonl", ".json")):
        return PredictionsModel(name)
    if name == "pocketsphinx":
        return SphinxModel()
    where = LoadOptions(device=options.device, dtype=options.dtype, allow_download=options.allow_download)
    if kind == "transformers" and colon:
        from eval.models.qwen2_audio import open_transformers  # torch loads once the name is known to need it

        return open_transformers(rest, where)
    from eval.models.engine import open_engine

    return open_engine(name, where)
