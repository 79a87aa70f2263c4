"""Read Qwen-Audio and Qwen-Audio-Chat as released: their config.json and the names of their tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.reading import check_fields, field

log = logging.getLogger(__name__)

TOLERATED = (r"transformer\.(h\.\d+\.attn\.)?rotary_emb\.inv_freq", r"transformer\.(h\.\d+\.attn\.)?(masked_bias|logn_tensor)")
"""Stored names that some copies carry: buffers which the model computes itself."""

RELEASED = ModelConfig()
PAD_OFFSET = RELEASED.audio_start_id - RELEASED.audio_pad_id
TAGS_BEFORE_START = 3520  # special tokens before <audio>: no vocabulary of byte pairs and tags has it earlier

ENCODER = {
    "conv1.weight": "conv1.weight",
    "conv1.bias": "conv1.bias",
    "conv2.weight": "conv2.weight",
    "conv2.bias": "conv2.bias",
    "positions": "positional_embedding",
    "norm.weight": "ln_post.weight",
    "norm.bias": "ln_post.bias",
}
ENCODER_BLOCK = {
    "attention_norm.weight": "attn_ln.weight",
    "attention_norm.bias": "attn_ln.bias",
    "attention.query.weight": "attn.query.weight",
    "attention.query.bias": "attn.query.bias",
    "attention.key.weight": "attn.key.weight",
    "attention.value.weight": "attn.value.weight",
    "attention.value.bias": "attn.value.bias",
    "attention.out.weight": "attn.out.weight",
    "attention.out.bias": "attn.out.bias",
    "mlp_norm.weight": "mlp_ln.weight",
    "mlp_norm.bias": "mlp_ln.bias",
    "mlp_up.weight": "mlp.0.weight",
    "mlp_up.bias": "mlp.0.bias",
    "mlp_down.weight": "mlp.2.weight",
    "mlp_down.bias": "mlp.2.bias",
}
DECODER_BLOCK = {
    "attention_norm.weight": "ln_1.weight",
    "attention.qkv.weight": "attn.c_attn.weight",
    "attention.qkv.bias": "attn.c_attn.bias",
    "attention.out.weight": "attn.c_proj.weight",
    "mlp_norm.weight": "ln_2.weight",
    "mlp.up.weight": "mlp.w1.weight",
    "mlp.gate.weight": "mlp.w2.weight",  # w2 is the gate: the other way round the logits are off by 4.7
    "mlp.down.weight": "mlp.c_proj.weight",
}


def encoder_plan(config: EncoderConfig, prefix: str) -> dict[str, tuple[str, ...]]:
    """Name the tensors of an encoder in openai-whisper's spelling, which Qwen-Audio kept.

    Args:
        prefix: before the stored names, "transformer.audio." or "encoder.".
    Returns:
        Our names within the encoder, without its projection, -> stored names.
    """
    plan: dict[str, tuple[str, ...]] = {ours: (f"{prefix}{theirs}",) for ours, theirs in ENCODER.items()}
    for i in range(config.layers):
        plan |= {f"blocks.{i}.{ours}": (f"{prefix}blocks.{i}.{theirs}",) for ours, theirs in ENCODER_BLOCK.items()}
    return plan


def decoder_plan(config: DecoderConfig) -> dict[str, tuple[str, ...]]:
    """Name the tensors of a decoder in Qwen-7B's spelling: our names within the decoder -> stored names."""
    plan: dict[str, tuple[str, ...]] = {"embedding.weight": ("transformer.wte.weight",), "norm.weight": ("transformer.ln_f.weight",)}
    if not config.tied_embeddings:
        plan["head.weight"] = ("lm_head.weight",)
    for i in range(config.layers):
        plan |= {f"blocks.{i}.{ours}": (f"transformer.h.{i}.{theirs}",) for ours, theirs in DECODER_BLOCK.items()}
    return plan


def model_plan(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Name all tensors of a released Qwen-Audio: our names -> stored names."""
    plan: dict[str, tuple[str, ...]] = {"audio_bounds.weight": ("transformer.audio.audio_bos_eos_token.weight",)}
    plan |= {f"encoder.{ours}": theirs for ours, theirs in encoder_plan(config.encoder, "transformer.audio.").items()}
    plan |= {f"encoder.projection.{part}": (f"transformer.audio.proj.{part}",) for part in ("weight", "bias")}
    return plan | {f"decoder.{ours}": theirs for ours, theirs in decoder_plan(config.decoder).items()}


def read_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """Turn a released config.json into a ModelConfig.

    The file is trusted but for audio_start_id: the first upload of Qwen-Audio-Chat names the id of </audio>. An epsilon
    of 1e-5 (that upload's and GitHub's config.json; the weights were released with 1e-6) is kept, with a warning.

    Raises:
        CheckpointError: a field that this architecture cannot honour, a missing one, or a wrong audio_start_id.
    """
    audio = values.get("audio")
    if not isinstance(audio, Mapping):
        raise CheckpointError(f"{where}: no audio part in it: a text model; checkpoints.qwen.fill_decoder takes it as a beginning")
    try:
        decoder = read_decoder_config(values, where)
        start = field(where, audio, "audio_start_id", int)
        config = ModelConfig(
            encoder=_read_encoder_config(audio, decoder.width, where),
            decoder=decoder,
            audio_start_id=start,
            audio_pad_id=field(where, audio, "audio_pad_id", int, start - PAD_OFFSET if start >= TAGS_BEFORE_START else start - 1),
            audio_end_id=start + 1,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    _check_start_id(config, where)
    if decoder.norm_eps == 1e-5:
        log.warning("%s: layer_norm_epsilon is 1e-05; the released weights go with 1e-06 and this may be the outdated file", where)
    return config


def read_decoder_config(values: Mapping[str, Any], where: str) -> DecoderConfig:
    """Turn the text part of a config.json of model_type qwen into a DecoderConfig.

    intermediate_size counts both halves of the SwiGLU part, so half of it is the width; there are no grouped keys.
    """
    expected = {"rotary_pct": 1.0, "no_bias": True, "scale_attn_weights": True}
    check_fields(where, values, expected, "only Qwen's own architecture is known here")
    seq_length = field(where, values, "seq_length", int)
    heads = field(where, values, "num_attention_heads", int)
    try:
        return DecoderConfig(
            vocab_size=field(where, values, "vocab_size", int),
            width=field(where, values, "hidden_size", int),
            layers=field(where, values, "num_hidden_layers", int),
            heads=heads,
            kv_heads=heads,
            head_size=field(where, values, "kv_channels", int),
            mlp_width=field(where, values, "intermediate_size", int) // 2,
            norm_eps=field(where, values, "layer_norm_epsilon", float),
            rope_base=field(where, values, "rotary_emb_base", float),
            seq_length=seq_length,
            window=max(seq_length, RELEASED.decoder.window),
            dynamic_ntk=field(where, values, "use_dynamic_ntk", bool, False),
            logn_attention=field(where, values, "use_logn_attn", bool, False),
            tied_embeddings=field(where, values, "tie_word_embeddings", bool, False),
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _read_encoder_config(audio: Mapping[str, Any], width: int, where: str) -> EncoderConfig:
    """Turn the audio part of config.json into an EncoderConfig; width is the decoder's, which the projection must reach."""
    where = f"{where}: audio"
    expected = {"avg_pool": True, "add_audio_bos_eos_token": True, "output_dim": width}
    check_fields(where, audio, expected, "only Qwen-Audio's own encoder is known here")
    state = field(where, audio, "n_state", int)
    return EncoderConfig(
        n_mels=field(where, audio, "n_mels", int),
        n_ctx=field(where, audio, "n_ctx", int),
        width=state,
        heads=field(where, audio, "n_head", int),
        layers=field(where, audio, "n_layer", int),
        mlp_width=4 * state,
    )


def _check_start_id(config: ModelConfig, where: str) -> None:
    """Refuse an audio_start_id that cannot be <audio>'s in the released vocabulary; other vocabularies are the engine's to check."""
    if config.decoder.vocab_size != RELEASED.decoder.vocab_size or config.audio_start_id == RELEASED.audio_start_id:
        return
    end = " (the id of </audio>, as in the first upload of Qwen-Audio-Chat)" if config.audio_start_id == RELEASED.audio_end_id else ""
    raise CheckpointError(
        f"{where}: audio.audio_start_id is {config.audio_start_id}{end}, expected {RELEASED.audio_start_id}, the id of <audio>; "
        "fetch the current config.json, or set it there (and layer_norm_epsilon to 1e-06, which that upload has wrong too)"
    )
