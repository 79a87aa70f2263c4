"""A model by the name that a command line gives it."""

from __future__ import annotations

from eval.models.base import Model
from eval.models.endpoint import EndpointModel, EndpointOptions
from eval.models.predictions import PredictionsModel
from eval.models.sphinx import SphinxModel
from eval.options import ModelOptions
from qwen_audio.config import LoadOptions
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.tokenizer import Tokenizer
from tag_schema.custom import CustomTags


def own_tags(name: str, options: ModelOptions | None = None) -> CustomTags | None:
    """Return the tags that a checkpoint of ours has of its own, without loading it; None for models that know no tags.

    Args:
        name: see eval.options.KINDS.
    Raises:
        CheckpointError: there is no such checkpoint.
    """
    if name.partition(":")[0] in ("openai", "predictions", "transformers") or name.endswith((".jsonl", ".json")) or name == "pocketsphinx":
        return None
    return Tokenizer.from_directory(find_checkpoint(name, allow_download=(options or ModelOptions()).allow_download)).custom


def open_model(name: str, options: ModelOptions | None = None) -> Model:
    """Open a model of any kind; torch is loaded only for those that need it.

    Args:
        name: see eval.options.KINDS.
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
