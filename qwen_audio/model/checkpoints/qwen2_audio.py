"""Read Qwen2-Audio as transformers stores it: its config.json and the names of its tensors in transformers 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.reading import check_fields, field

TEXT_FIELDS = {"hidden_act": "silu", "use_sliding_window": False, "use_mrope": False, "rope_scaling": None, "attention_bias": True}
AUDIO_FIELDS = {"activation_function": "gelu", "scale_embedding": False}


TOLERATED = (r".*\.rotary_emb\.inv_freq",)
"""Stored names that some copies carry: buffers which the model computes itself."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """What stands before the names of each part; transformers 5 moved the parts below one more module."""

    encoder: str
    projection: str
    decoder: str
    head: str


VERSION_4 = Prefixes("audio_tower.", "multi_modal_projector.linear.", "language_model.model.", "language_model.lm_head.")
VERSION_5 = Prefixes("model.audio_tower.", "model.multi_modal_projector.linear.", "model.language_model.", "lm_head.")

ENCODER = {
    "conv1.weight": "conv1.weight",
    "conv1.bias": "conv1.bias",
    "conv2.weight": "conv2.weight",
    "conv2.bias": "conv2.bias",
    "positions": "embed_positions.weight",
    "norm.weight": "layer_norm.weight",
    "norm.bias": "layer_norm.bias",
}
ENCODER_BLOCK = {
    "attention_norm.weight": "self_attn_layer_norm.weight",
    "attention_norm.bias": "self_attn_layer_norm.bias",
    "attention.query.weight": "self_attn.q_proj.weight",
    "attention.query.bias": "self_attn.q_proj.bias",
    "attention.key.weight": "self_attn.k_proj.weight",
    "attention.value.weight": "self_attn.v_proj.weight",
    "attention.value.bias": "self_attn.v_proj.bias",
    "attention.out.weight": "self_attn.out_proj.weight",
    "attention.out.bias": "self_attn.out_proj.bias",
    "mlp_norm.weight": "final_layer_norm.weight",
    "mlp_norm.bias": "final_layer_norm.bias",
    "mlp_up.weight": "fc1.weight",
    "mlp_up.bias": "fc1.bias",
    "mlp_down.weight": "fc2.weight",
    "mlp_down.bias": "fc2.bias",
}
DECODER_BLOCK = {
    "attention_norm.weight": ("input_layernorm.weight",),
    "attention.qkv.weight": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "attention.qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "attention.out.weight": ("self_attn.o_proj.weight",),
    "mlp_norm.weight": ("post_attention_layernorm.weight",),
    "mlp.up.weight": ("mlp.up_proj.weight",),
    "mlp.gate.weight": ("mlp.gate_proj.weight",),
    "mlp.down.weight": ("mlp.down_proj.weight",),
}


def encoder_plan(config: EncoderConfig, prefix: str) -> dict[str, tuple[str, ...]]:
    """Name the tensors of an encoder in transformers' spelling, which it shares with its Whisper.

    Args:
        prefix: before the stored names, such as "audio_tower.".
    Returns:
        Our names within the encoder, without its projection, -> stored names.
    """
    plan: dict[str, tuple[str, ...]] = {ours: (f"{prefix}{theirs}",) for ours, theirs in ENCODER.items()}
    for i in range(config.layers):
        plan |= {f"blocks.{i}.{ours}": (f"{prefix}layers.{i}.{theirs}",) for ours, theirs in ENCODER_BLOCK.items()}
    return plan


def decoder_plan(config: DecoderConfig, prefix: str, head: str) -> dict[str, tuple[str, ...]]:
    """Name the tensors of a decoder in the spelling of transformers' Qwen2: our names within the decoder -> stored names.

    Args:
        prefix: before the names of the layers, such as "model.".
        head: before the head's "weight".
    """
    plan: dict[str, tuple[str, ...]] = {"embedding.weight": (f"{prefix}embed_tokens.weight",), "norm.weight": (f"{prefix}norm.weight",)}
    if not config.tied_embeddings:
        plan["head.weight"] = (f"{head}weight",)
    for i in range(config.layers):
        plan |= {f"blocks.{i}.{ours}": tuple(f"{prefix}layers.{i}.{name}" for name in theirs) for ours, theirs in DECODER_BLOCK.items()}
    return plan


def model_plan(config: ModelConfig, prefixes: Prefixes = VERSION_4) -> dict[str, tuple[str, ...]]:
    """Name all tensors of a Qwen2-Audio: our names -> stored names."""
    plan = {f"encoder.{ours}": theirs for ours, theirs in encoder_plan(config.encoder, prefixes.encoder).items()}
    plan |= {f"encoder.projection.{part}": (f"{prefixes.projection}{part}",) for part in ("weight", "bias")}
    decoder = decoder_plan(config.decoder, prefixes.decoder, prefixes.head)
    return plan | {f"decoder.{ours}": theirs for ours, theirs in decoder.items()}


def stored_prefixes(names: Mapping[str, Any]) -> Prefixes:
    """Tell from the stored names which transformers wrote them."""
    return VERSION_5 if any(name.startswith(VERSION_5.decoder) for name in names) else VERSION_4


def read_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Turn a config.json of model_type qwen2_audio into a ModelConfig.

    The released file leaves out most of text_config: what is absent has the default of transformers' Qwen2Config and
    Qwen2AudioEncoderConfig. Where audio_start_id and audio_end_id are absent (we write them when we export a model
    whose three audio tokens do not follow one another), they are the two ids after <|AUDIO|>'s, as released.

    Raises:
        CheckpointError: a field that this architecture cannot honour.
    """
    text, audio = _part(values, "text_config", where), _part(values, "audio_config", where)
    if "tie_word_embeddings" in values:
        text = {"tie_word_embeddings": values["tie_word_embeddings"], **text}
    pad = field(where, {"id": values.get("audio_token_index", values.get("audio_token_id"))}, "id", int, 151_646)
    try:
        return ModelConfig(
            family="qwen2-audio",
            encoder=_read_encoder_config(audio, f"{where}: audio_config"),
            decoder=read_decoder_config(text, f"{where}: text_config"),
            audio_pad_id=pad,
            audio_start_id=field(where, values, "audio_start_id", int, pad + 1),
            audio_end_id=field(where, values, "audio_end_id", int, pad + 2),
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def read_decoder_config(text: Mapping[str, Any], where: str) -> DecoderConfig:
    """Turn a config of model_type qwen2 into a DecoderConfig; absent fields have the defaults of transformers' Qwen2Config."""
    check_fields(where, text, {"model_type": "qwen2", **TEXT_FIELDS}, "only a plain Qwen2 decoder is known here")
    rope = text.get("rope_parameters") or {}
    check_fields(f"{where}: rope_parameters", rope, {"rope_type": "default"}, "scaled rotary positions are not known here")
    width = field(where, text, "hidden_size", int, 4096)
    heads = field(where, text, "num_attention_heads", int, 32)
    positions = field(where, text, "max_position_embeddings", int, 32_768)
    try:
        return DecoderConfig(
            vocab_size=field(where, text, "vocab_size", int, 151_936),
            width=width,
            layers=field(where, text, "num_hidden_layers", int, 32),
            heads=heads,
            kv_heads=field(where, text, "num_key_value_heads", int, 32 if "num_key_value_heads" not in text else heads),
            head_size=field(where, text, "head_dim", int, width // heads),
            mlp_width=field(where, text, "intermediate_size", int, 22_016),
            norm_eps=field(where, text, "rms_norm_eps", float, 1e-6),
            rope_base=field(where, {**text, **rope}, "rope_theta", float, 10_000.0),
            seq_length=positions,
            window=positions,
            dynamic_ntk=False,
            logn_attention=False,
            tied_embeddings=field(where, text, "tie_word_embeddings", bool, False),
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _read_encoder_config(audio: Mapping[str, Any], where: str) -> EncoderConfig:
    """Turn audio_config into an EncoderConfig; absent fields have the defaults of transformers' Qwen2AudioEncoderConfig."""
    check_fields(where, audio, AUDIO_FIELDS, "only the encoder as released is known here")
    return EncoderConfig(
        n_mels=field(where, audio, "num_mel_bins", int, 128),
        n_ctx=field(where, audio, "max_source_positions", int, 1500),
        width=field(where, audio, "d_model", int, 1280),
        heads=field(where, audio, "encoder_attention_heads", int, 20),
        layers=field(where, audio, "encoder_layers", int, 32),
        mlp_width=field(where, audio, "encoder_ffn_dim", int, 5120),
    )


def _part(values: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return a part of config.json; an absent one is all defaults."""
    part = values.get(name) or {}
    if not isinstance(part, Mapping):
        raise CheckpointError(f"{where}: {name} is {type(part).__name__}, expected a mapping")
    return part
