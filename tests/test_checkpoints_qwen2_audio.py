"""Qwen2-Audio checkpoints: transformers writes them and is the oracle for their logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen_audio.audio import AudioClip
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints.load import LoadedCheckpoint, load_checkpoint
from qwen_audio.model.checkpoints.qwen2_audio import read_config

transformers = pytest.importorskip("transformers")

PAD, START, END = 300, 301, 302
RELEASED: dict[str, Any] = {  # config.json of Qwen2-Audio-7B and of -Instruct: most of text_config is left out
    "architectures": ["Qwen2AudioForConditionalGeneration"],
    "model_type": "qwen2_audio",
    "audio_token_index": 151646,
    "ignore_index": -100,
    "vocab_size": 156032,
    "torch_dtype": "bfloat16",
    "audio_config": {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": 128,
        "encoder_layers": 32,
        "encoder_attention_heads": 20,
        "encoder_ffn_dim": 5120,
        "encoder_layerdrop": 0.0,
        "d_model": 1280,
        "activation_function": "gelu",
        "scale_embedding": False,
        "max_source_positions": 1500,
    },
    "text_config": {
        "model_type": "qwen2",
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "intermediate_size": 11008,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000,
        "sliding_window": 32768,
        "use_mrope": False,
        "vocab_size": 156032,
    },
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw every parameter, so that no bias is zero and no norm is the identity."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            size = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.2
            parameter.copy_(noise * size + float("norm" in name and name.endswith("weight")))


@pytest.fixture(scope="module")
def oracle():
    """Build a small Qwen2-Audio of transformers': grouped keys, a base and an epsilon of its own."""
    config = transformers.Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 80,
            "d_model": 32,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": 320,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
            "pad_token_id": 0,
        },
        audio_token_index=PAD,
    )
    model = transformers.Qwen2AudioForConditionalGeneration(config).eval()
    randomise(model, seed=7)
    return model


@pytest.fixture(scope="module")
def checkpoint(oracle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("qwen2_audio")
    oracle.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> LoadedCheckpoint:
    return load_checkpoint(checkpoint)


def our_logits(loaded: LoadedCheckpoint, clips: list[AudioClip], ids: list[int]) -> torch.Tensor:
    """Run our model on the clips' own length; the spans are found by their bounds."""
    starts = [place for place, token in enumerate(ids) if token == START]
    ends = [place for place, token in enumerate(ids) if token == END]
    places = torch.tensor([[0, start, end - start + 1] for start, end in zip(starts, ends, strict=True)])
    mels, frames = loaded.model.log_mel(clips)
    with torch.no_grad():
        out = loaded.model(torch.tensor([ids]), mels=mels, frames=frames, places=places)
        return loaded.model.decoder.logits(out.hidden)


def their_logits(oracle, clips: list[AudioClip], ids: list[int]) -> torch.Tensor:
    """Run transformers on 30 s of padded mel."""
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    arrays = [clip.samples for clip in clips]
    mel = extractor(arrays, sampling_rate=16_000, return_tensors="pt", padding="max_length", return_attention_mask=True)
    token_ids = torch.tensor([ids])
    with torch.no_grad():
        return oracle(
            input_ids=token_ids,
            attention_mask=torch.ones_like(token_ids),
            input_features=mel["input_features"],
            feature_attention_mask=mel["attention_mask"],
        ).logits


def span(n_samples: int) -> list[int]:
    """Write a clip's span as transformers' processor counts it."""
    frames = -(-n_samples // 160)
    return [START, *[PAD] * ((((frames - 1) // 2 + 1) - 2) // 2 + 1), END]


@pytest.mark.parametrize("n_samples", [480, 1120, 16_000, 16_001, 16_160, 16_161, 64_321, 479_841, 480_000])
def test_logits_are_transformers_own_although_only_the_clip_is_heard(
    oracle, loaded, clip: Callable[..., AudioClip], n_samples: int
) -> None:
    sound = clip(n_samples=n_samples, seed=n_samples)
    ids = [5, 6, *span(n_samples), 7, 8]
    difference = our_logits(loaded, [sound], ids) - their_logits(oracle, [sound], ids)
    assert difference.abs().max() < 1e-4


def test_a_loud_end_and_a_neighbour_change_nothing(oracle, loaded) -> None:
    draw = np.random.default_rng(3)
    swelling = [AudioClip((draw.standard_normal(n) * np.linspace(0, 1, n)).astype(np.float32) * 0.3) for n in (37_777, 8_123)]
    ids = [5, *span(37_777), 9, *span(8_123), 7]
    difference = our_logits(loaded, swelling, ids) - their_logits(oracle, swelling, ids)
    assert difference.abs().max() < 1e-4


def test_the_names_of_transformers_4_and_5_give_the_same_model(oracle, checkpoint: Path, loaded, tmp_path: Path) -> None:
    stored = load_file(checkpoint / "model.safetensors")
    older = ("audio_tower.", "multi_modal_projector.linear.", "language_model.model.", "language_model.lm_head.")
    assert all(name.startswith(older) for name in stored)  # what save_pretrained writes is still the layout of transformers 4
    newer = {name: tensor.contiguous() for name, tensor in oracle.state_dict().items()}  # the names inside transformers 5
    assert "model.language_model.embed_tokens.weight" in newer
    save_file(newer, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    again = load_checkpoint(tmp_path)
    assert again.layout == "qwen2-audio"
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_shards_that_cut_a_layer_in_two_are_joined(oracle, loaded, tmp_path: Path) -> None:
    oracle.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    again = load_checkpoint(tmp_path)
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_a_stored_head_is_used_even_where_the_config_says_tied(oracle, checkpoint: Path, loaded, tmp_path: Path) -> None:
    values = json.loads((checkpoint / "config.json").read_text())
    values["text_config"]["tie_word_embeddings"] = True
    (tmp_path / "config.json").write_text(json.dumps(values))
    stored = load_file(checkpoint / "model.safetensors")
    save_file(stored, tmp_path / "model.safetensors")
    untied = load_checkpoint(tmp_path).model.state_dict()
    assert torch.equal(untied["decoder.head.weight"], loaded.model.state_dict()["decoder.head.weight"])
    save_file({name: tensor for name, tensor in stored.items() if "lm_head" not in name}, tmp_path / "model.safetensors")
    tied = load_checkpoint(tmp_path)
    assert tied.config.decoder.tied_embeddings and tied.model.decoder.head is None


def test_the_released_config_is_completed_with_transformers_defaults() -> None:
    config = read_config(RELEASED, "config.json")
    assert config == ModelConfig(
        family="qwen2-audio",
        encoder=EncoderConfig(n_mels=128),
        decoder=DecoderConfig(
            vocab_size=156032,
            norm_eps=1e-5,
            seq_length=8192,
            window=8192,
            dynamic_ntk=False,
            logn_attention=False,
        ),
        audio_pad_id=151646,
        audio_start_id=151647,
        audio_end_id=151648,
    )
    theirs = transformers.Qwen2AudioConfig(**{key: value for key, value in RELEASED.items() if key != "model_type"})
    text = theirs.text_config
    ours = config.decoder
    assert (ours.width, ours.layers, ours.heads, ours.kv_heads) == (
        text.hidden_size,
        text.num_hidden_layers,
        text.num_attention_heads,
        text.num_key_value_heads,
    )


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("text_config", "use_sliding_window", True),
        ("text_config", "rope_scaling", {"type": "yarn"}),
        ("audio_config", "scale_embedding", True),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused_by_name(part: str, field: str, value: object) -> None:
    values = {**RELEASED, part: {**RELEASED[part], field: value}}
    with pytest.raises(CheckpointError, match=field):
        read_config(values, "config.json")


def test_sampling_defaults_come_from_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    stored = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.5, "repetition_penalty": 1.1, "eos_token_id": [151643, 151645]}
    (tmp_path / "generation_config.json").write_text(json.dumps(stored))
    options = load_checkpoint(tmp_path).generation
    assert (options.temperature, options.top_k, options.top_p, options.repetition_penalty) == (0.7, 20, 0.5, 1.1)
    assert not options.deterministic
