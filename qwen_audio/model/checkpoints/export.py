"""Write a model as transformers' Qwen2Audio, so that transformers and vLLM can serve it.

What cannot be carried over, because Qwen2Audio has no counterpart:
- past seq_length Qwen-Audio raises the rotary base in steps and scales queries; max_position_embeddings is seq_length,
  so that servers refuse such contexts rather than answer worse.
- the mel that follows a clip's last kept frame: Qwen2Audio's encoder hears it, Qwen-Audio's hears zeros. With the mel
  zeroed there and the frames counted as Qwen-Audio counts them, the logits are equal.
- that count: Qwen-Audio takes whole frames of 10 ms, transformers' processor started ones too. So a clip that ends within
  a frame may have one state of 20 ms or one vector of 40 ms more there (64,321 samples: 101 vectors instead of 100).
  Cut clips to whole frames (a multiple of 160 samples) and the counts agree.
  Measured through the processor on a random model of logits with standard deviation 1, clips of 30 ms to 10 s, largest
  difference of a clip's logits, median and worst: 0.003 and 0.03 at equal counts (half of all lengths), 0.03 and 0.18 with
  a state more (a quarter), 0.2 and 2.2 with a vector more (a quarter); the likeliest token is the same at 99.7, 98 and 89 %.
- in bfloat16 transformers' Qwen2 rounds the sines and cosines of the rotary angles.
- a chat template is encoded in one go, ours by role and content: a message that begins with a line break differs, and
  control tokens that a person types count there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qwen_audio.audio import HOP, SAMPLE_RATE
from qwen_audio.config import DecoderConfig, EncoderConfig, GenerationOptions
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints import qwen2_audio
from qwen_audio.model.checkpoints.writing import SHARD_BYTES, Staged, remove_stale_weights, write_weights
from qwen_audio.model.features import N_FFT
from qwen_audio.model.joint import QwenAudio

FRAMES_PER_STATE = 2

CHAT_TEMPLATE = (
    "{%- set audios = namespace(n=0) -%}"
    "{%- if not messages or messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- ('' if loop.first and message['role'] == 'system' else '\\n') + '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' or 'audio' in part or 'audio_url' in part -%}"
    "{%- set audios.n = audios.n + 1 -%}"
    "{{- 'Audio ' ~ audios.n ~ ':GAP<|audio_bos|><|AUDIO|><|audio_eos|>\\n' -}}"
    "{%- elif 'text' in part -%}"
    "{{- part['text'] -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '\\n<|im_start|>assistant\\n' -}}"
    "{%- endif -%}"
)
"""ChatML as the families' own prompts are written; GAP, between "Audio N:" and the clip, is a space in Qwen2-Audio only."""


@dataclass(frozen=True, slots=True)
class ChatIds:
    """Ids that the generation config needs; the tokenizer knows them, the model does not."""

    end_of_text: int
    im_end: int


def export_transformers(
    model: QwenAudio,
    directory: str | Path,
    ids: ChatIds,
    *,
    generation: GenerationOptions | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write weights, settings and chat template; the tokenizer's files are written by Tokenizer.write_transformers.

    The learned vectors around a clip become the embeddings of its two bounding tokens, whose own embeddings are never
    used. The names of the tensors are those of transformers 4, which transformers 5 and vLLM read as well. A tied head
    is written out, since transformers 5 ties none in this class.

    Args:
        directory: made where it does not exist; files of an earlier export are replaced.
        ids: the two ids that end an answer.
        generation: how replies are sampled; None writes the class's defaults.
        dtype: the numbers to store; None stores the model's own.
    Raises:
        CheckpointError: the encoder's window is not whole seconds, which a feature extractor cannot express.
    """
    directory = Path(directory)
    chunk_s = window_s(model.config.encoder)
    dtype = dtype or model.dtype
    parts = exported_parts(model)
    with Staged(directory) as staged:
        shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
        names = write_weights(staged, shapes, parts.__getitem__, dtype, shard_bytes=shard_bytes)
        staged.json("config.json", config_values(model, ids, dtype))
        staged.json("generation_config.json", generation_values(generation or GenerationOptions(), ids))
        staged.json("preprocessor_config.json", preprocessor_values(model.config.encoder, chunk_s))
        staged.text("chat_template.jinja", CHAT_TEMPLATE.replace("GAP", "" if model.config.learned_bounds else " "))
    remove_stale_weights(directory, names)


def exported_parts(model: QwenAudio) -> dict[str, Tensor]:
    """Name a model's tensors as transformers 4 does; views of the model's own, except the embedding where bounds are laid in."""
    config = model.config
    state = model.state_dict()
    state.setdefault("decoder.head.weight", state["decoder.embedding.weight"])  # before the bounds go in: a head has none
    if model.audio_bounds is not None:
        embedding = state["decoder.embedding.weight"].clone()
        embedding[[config.audio_start_id, config.audio_end_id]] = state["audio_bounds.weight"]
        state["decoder.embedding.weight"] = embedding
    plan = qwen2_audio.model_plan(config) | {"decoder.head.weight": (f"{qwen2_audio.VERSION_4.head}weight",)}
    parts: dict[str, Tensor] = {}
    for ours, theirs in plan.items():
        sizes = _head_rows(config.decoder) if len(theirs) > 1 else [len(state[ours])]
        parts |= dict(zip(theirs, state[ours].split(sizes), strict=True))
    return parts


def window_s(encoder: EncoderConfig) -> int:
    """Return the seconds that an encoder hears; a feature extractor can only express whole ones."""
    per_s = SAMPLE_RATE // (HOP * FRAMES_PER_STATE)
    if encoder.n_ctx % per_s:
        raise CheckpointError(f"the encoder has {encoder.n_ctx} positions: an export needs whole seconds, {per_s} positions each")
    return encoder.n_ctx // per_s


def config_values(model: QwenAudio, ids: ChatIds, dtype: torch.dtype) -> dict[str, Any]:
    """Return config.json of a Qwen2Audio of this size."""
    config, name = model.config, str(dtype).removeprefix("torch.")
    return {
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "model_type": "qwen2_audio",
        "torch_dtype": name,
        "audio_token_index": config.audio_pad_id,
        "audio_start_id": config.audio_start_id,
        "audio_end_id": config.audio_end_id,
        "ignore_index": -100,
        "vocab_size": config.decoder.vocab_size,
        "tie_word_embeddings": False,
        "audio_config": _audio_values(config.encoder),
        "text_config": _text_values(config.decoder, ids, name),
    }


def generation_values(generation: GenerationOptions, ids: ChatIds) -> dict[str, Any]:
    """Return generation_config.json: it stops at the end of a turn and at the end of a text."""
    values: dict[str, Any] = {
        "do_sample": not generation.deterministic,
        "eos_token_id": [ids.im_end, ids.end_of_text],
        "pad_token_id": ids.end_of_text,
        "max_new_tokens": generation.max_new_tokens,
        "repetition_penalty": generation.repetition_penalty,
    }
    if not generation.deterministic:
        values |= {"temperature": generation.temperature, "top_k": generation.top_k, "top_p": generation.top_p}
    return values


def preprocessor_values(encoder: EncoderConfig, chunk_s: int) -> dict[str, Any]:
    """Return preprocessor_config.json: Whisper's feature extractor for this encoder's window."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "Qwen2AudioProcessor",
        "feature_size": encoder.n_mels,
        "sampling_rate": SAMPLE_RATE,
        "hop_length": HOP,
        "n_fft": N_FFT,
        "chunk_length": chunk_s,
        "n_samples": chunk_s * SAMPLE_RATE,
        "nb_max_frames": FRAMES_PER_STATE * encoder.n_ctx,
        "padding_side": "right",
        "padding_value": 0.0,
        "dither": 0.0,
        "return_attention_mask": True,
    }


def _audio_values(encoder: EncoderConfig) -> Mapping[str, Any]:
    """Return audio_config."""
    return {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": encoder.n_mels,
        "encoder_layers": encoder.layers,
        "encoder_attention_heads": encoder.heads,
        "encoder_ffn_dim": encoder.mlp_width,
        "d_model": encoder.width,
        "max_source_positions": encoder.n_ctx,
        "activation_function": "gelu",
        "scale_embedding": False,
    }


def _text_values(decoder: DecoderConfig, ids: ChatIds, dtype: str) -> Mapping[str, Any]:
    """Return text_config; the context ends where the two have no common numbers any more."""
    scaled = decoder.dynamic_ntk or decoder.logn_attention
    values = {
        "model_type": "qwen2",
        "torch_dtype": dtype,
        "vocab_size": decoder.vocab_size,
        "hidden_size": decoder.width,
        "intermediate_size": decoder.mlp_width,
        "num_hidden_layers": decoder.layers,
        "num_attention_heads": decoder.heads,
        "num_key_value_heads": decoder.kv_heads,
        "rms_norm_eps": decoder.norm_eps,
        "rope_theta": decoder.rope_base,
        "max_position_embeddings": decoder.seq_length if scaled else decoder.window,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "bos_token_id": ids.end_of_text,
        "eos_token_id": ids.im_end,
        "pad_token_id": ids.end_of_text,
    }
    return values if decoder.head_size * decoder.heads == decoder.width else values | {"head_dim": decoder.head_size}


def _head_rows(decoder: DecoderConfig) -> list[int]:
    """Return how many rows of the fused projection are queries, keys and values."""
    return [decoder.heads * decoder.head_size, *[decoder.kv_heads * decoder.head_size] * 2]
