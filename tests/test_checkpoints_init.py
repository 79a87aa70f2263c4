"""Beginnings of a training: Whisper's encoder and a text model's decoder, against openai-whisper and transformers."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen_audio.audio import AudioClip
from qwen_audio.config import DecoderConfig, EncoderConfig, ModelConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints.qwen import fill_decoder
from qwen_audio.model.checkpoints.whisper import fill_encoder
from qwen_audio.model.decoder import Decoder
from qwen_audio.model.encoder import Encoder
from qwen_audio.model.features import log_mel

ENCODER = EncoderConfig(n_mels=80, n_ctx=1500, width=32, heads=2, layers=2, mlp_width=128)
DECODER = DecoderConfig(
    vocab_size=320,
    width=48,
    layers=2,
    heads=4,
    kv_heads=2,
    head_size=12,
    mlp_width=80,
    norm_eps=1e-5,
    rope_base=1e5,
    seq_length=256,
    dynamic_ntk=False,
    logn_attention=False,
)
TO_OPENAI = (  # transformers' names of an encoder -> openai-whisper's, as published with the weights
    (r"layers\.", "blocks."),
    (r"self_attn_layer_norm", "attn_ln"),
    (r"final_layer_norm", "mlp_ln"),
    (r"self_attn\.q_proj", "attn.query"),
    (r"self_attn\.k_proj", "attn.key"),
    (r"self_attn\.v_proj", "attn.value"),
    (r"self_attn\.out_proj", "attn.out"),
    (r"fc1", "mlp.0"),
    (r"fc2", "mlp.2"),
    (r"embed_positions\.weight", "positional_embedding"),
    (r"^encoder\.layer_norm", "encoder.ln_post"),
)


def randomise(model: torch.nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            size = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.2
            if "positions" not in name:  # fixed in Whisper
                parameter.copy_(noise * size + float(("norm" in name or "ln" in name) and name.endswith("weight")))


@pytest.fixture(scope="module")
def whisper_model():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    config = transformers.WhisperConfig(
        vocab_size=60,
        num_mel_bins=80,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    randomise(model, seed=5)
    return model


@pytest.fixture(scope="module")
def whisper_directory(whisper_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whisper")
    whisper_model.save_pretrained(directory)
    return directory


def heard(encoder: Encoder, mel: torch.Tensor) -> torch.Tensor:
    """Run our encoder on (F, n_mels) up to the norm, without pooling: what Whisper's encoder returns."""
    with torch.no_grad():
        states, _ = encoder.eval().states(mel, torch.tensor([len(mel)]))
        return encoder.norm(states)


def thirty_seconds(clip: Callable[..., AudioClip]) -> torch.Tensor:
    return log_mel([clip(30.0, seed=4)], ModelConfig(encoder=ENCODER))[0]


def empty_encoder(config: EncoderConfig = ENCODER) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config, 16, "qwen-audio")


def test_an_encoder_of_transformers_whisper_hears_the_same(whisper_model, whisper_directory: Path, clip: Callable[..., AudioClip]) -> None:
    encoder = empty_encoder()
    before = encoder.projection.weight.clone()
    assert fill_encoder(encoder, whisper_directory) == ("projection.weight", "projection.bias")
    mel = thirty_seconds(clip)
    with torch.no_grad():
        wanted = whisper_model.model.encoder(mel.t()[None]).last_hidden_state
    assert (heard(encoder, mel) - wanted).abs().max() < 1e-4
    assert torch.equal(encoder.projection.weight, before)


def test_a_bare_whisper_model_without_its_head_is_read_too(whisper_model, whisper_directory: Path, tmp_path: Path) -> None:
    whisper_model.model.save_pretrained(tmp_path)
    assert "encoder.conv1.weight" in load_file(tmp_path / "model.safetensors")
    first, second = empty_encoder(), empty_encoder()
    fill_encoder(first, whisper_directory)
    fill_encoder(second, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def openai_file(whisper_model, path: Path, **dims: int) -> Path:
    """Write what openai-whisper would: its names, and the sizes under dims."""
    state = {}
    for name, tensor in whisper_model.model.state_dict().items():
        for pattern, replacement in TO_OPENAI:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
    sizes = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 2} | dims
    torch.save({"dims": sizes, "model_state_dict": state}, path)
    return path


def test_an_openai_file_gives_the_same_encoder(whisper_model, whisper_directory: Path, tmp_path: Path) -> None:
    first, second = empty_encoder(), empty_encoder()
    fill_encoder(first, whisper_directory)
    fill_encoder(second, openai_file(whisper_model, tmp_path / "tiny.pt"))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_an_encoder_of_openai_whisper_hears_the_same(tmp_path: Path) -> None:
    whisper = pytest.importorskip("whisper.model")
    dims = whisper.ModelDimensions(
        n_mels=80,
        n_audio_ctx=100,
        n_audio_state=32,
        n_audio_head=2,
        n_audio_layer=2,
        n_vocab=50,
        n_text_ctx=8,
        n_text_state=32,
        n_text_head=2,
        n_text_layer=1,
    )
    model = whisper.Whisper(dims).eval()
    randomise(model.encoder, seed=6)
    torch.save({"dims": dataclasses.asdict(dims), "model_state_dict": model.state_dict()}, tmp_path / "tiny.pt")
    encoder = empty_encoder(dataclasses.replace(ENCODER, n_ctx=100))
    fill_encoder(encoder, tmp_path / "tiny.pt")
    mel = torch.randn(200, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model.encoder(mel.t()[None])
    assert (heard(encoder, mel) - wanted).abs().max() < 1e-4


def test_a_shorter_window_takes_the_first_positions(whisper_model, whisper_directory: Path) -> None:
    encoder = empty_encoder(dataclasses.replace(ENCODER, n_ctx=500))
    encoder.positions.zero_()
    fill_encoder(encoder, whisper_directory)
    assert torch.equal(encoder.positions, whisper_model.model.encoder.embed_positions.weight[:500])


def test_a_whisper_of_another_size_is_refused_with_every_number(whisper_model, whisper_directory: Path, tmp_path: Path) -> None:
    other = empty_encoder(dataclasses.replace(ENCODER, n_mels=128, heads=4))
    with pytest.raises(CheckpointError, match=r"num_mel_bins is 80, expected 128; encoder_attention_heads is 2, expected 4"):
        fill_encoder(other, whisper_directory)
    with pytest.raises(CheckpointError, match=r"n_mels is 80, expected 128; n_audio_head is 2, expected 4"):
        fill_encoder(other, openai_file(whisper_model, tmp_path / "tiny.pt"))


class Harmful:
    """A pickle that would run a command."""

    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"dims": Harmful(), "model_state_dict": {}}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt"):
        fill_encoder(empty_encoder(), tmp_path / "bad.pt")
    assert "run" not in capsys.readouterr().out
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pt"):
        fill_encoder(empty_encoder(), tmp_path / "text.pt")


@pytest.fixture(scope="module")
def text_model():
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        vocab_size=320,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        tie_word_embeddings=True,
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    randomise(model, seed=8)
    return model


@pytest.fixture(scope="module")
def text_directory(text_model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("qwen2")
    text_model.save_pretrained(directory)
    return directory


def logits_of(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return decoder.logits(decoder.eval()(decoder.embedding(ids)))


@pytest.mark.parametrize("tied", [True, False])
def test_a_qwen2_decoder_says_the_same(text_model, text_directory: Path, tied: bool) -> None:
    torch.manual_seed(1)
    decoder = Decoder(dataclasses.replace(DECODER, tied_embeddings=tied))
    filled = fill_decoder(decoder, text_directory)
    assert (filled.copied, filled.left, filled.unused) == (320, 0, 0)
    ids = torch.randint(0, 320, (2, 40), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = text_model(input_ids=ids).logits
    assert (logits_of(decoder, ids) - wanted).abs().max() < 1e-4


def test_a_larger_vocabulary_takes_the_common_rows_and_says_what_was_left(text_model, text_directory: Path) -> None:
    torch.manual_seed(1)
    decoder = Decoder(dataclasses.replace(DECODER, vocab_size=400))
    assert decoder.head is not None
    embedding, head = decoder.embedding.weight.detach().clone(), decoder.head.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"320 rows, ours has 400; say with common_rows"):
        fill_decoder(decoder, text_directory)
    filled = fill_decoder(decoder, text_directory, common_rows=300)
    assert (filled.copied, filled.left, filled.unused) == (300, 100, 20)
    assert "300 rows" in str(filled) and "100 left" in str(filled)
    theirs = text_model.model.embed_tokens.weight
    for ours, before in ((decoder.embedding.weight, embedding), (decoder.head.weight, head)):
        assert torch.equal(ours[:300], theirs[:300])
        assert torch.equal(ours[300:], before[300:])
    with pytest.raises(CheckpointError, match="common_rows is 321, expected 1 to 320"):
        fill_decoder(decoder, text_directory, common_rows=321)


def test_a_text_model_of_another_size_is_refused_with_every_number(text_directory: Path) -> None:
    decoder = Decoder(dataclasses.replace(DECODER, heads=2, kv_heads=1, head_size=24, rope_base=1e4))
    with pytest.raises(CheckpointError, match=r"heads is 4, ours 2; kv_heads is 2, ours 1; head_size is 12, ours 24; rope_base"):
        fill_decoder(decoder, text_directory)


def test_qwen_7b_keys_give_the_same_decoder_as_qwen2_keys(text_model, tmp_path: Path) -> None:
    """The published map between the two spellings: fused projection, w1 up, w2 gate."""
    config = dataclasses.replace(DECODER, heads=4, kv_heads=4)
    transformers = pytest.importorskip("transformers")
    values = text_model.config.to_dict() | {"num_key_value_heads": 4, "tie_word_embeddings": False}
    oracle = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**values)).eval()
    randomise(oracle, seed=9)
    state = oracle.state_dict()
    stored = {
        "transformer.wte.weight": state["model.embed_tokens.weight"],
        "transformer.ln_f.weight": state["model.norm.weight"],
        "lm_head.weight": state["lm_head.weight"],
        "transformer.rotary_emb.inv_freq": torch.ones(6),
    }
    for i in range(2):
        layer, block = f"model.layers.{i}.", f"transformer.h.{i}."
        for kind in ("weight", "bias"):
            stored[f"{block}attn.c_attn.{kind}"] = torch.cat([state[f"{layer}self_attn.{part}_proj.{kind}"] for part in "qkv"])
        stored[f"{block}attn.c_proj.weight"] = state[f"{layer}self_attn.o_proj.weight"]
        stored[f"{block}ln_1.weight"] = state[f"{layer}input_layernorm.weight"]
        stored[f"{block}ln_2.weight"] = state[f"{layer}post_attention_layernorm.weight"]
        stored[f"{block}mlp.w1.weight"] = state[f"{layer}mlp.up_proj.weight"]
        stored[f"{block}mlp.w2.weight"] = state[f"{layer}mlp.gate_proj.weight"]
        stored[f"{block}mlp.c_proj.weight"] = state[f"{layer}mlp.down_proj.weight"]
    save_file({name: tensor.clone() for name, tensor in stored.items()}, tmp_path / "model.safetensors")
    settings = {
        "model_type": "qwen",
        "vocab_size": 320,
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "kv_channels": 12,
        "intermediate_size": 160,
        "layer_norm_epsilon": 1e-5,
        "rotary_emb_base": 1e5,
        "rotary_pct": 1.0,
        "no_bias": True,
        "seq_length": 256,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    decoder = Decoder(config)
    fill_decoder(decoder, tmp_path)
    ids = torch.randint(0, 320, (1, 60), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted = oracle(input_ids=ids).logits
    assert (logits_of(decoder, ids) - wanted).abs().max() < 1e-4


def test_a_model_with_audio_is_no_text_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_audio"}))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="model_type is 'qwen2_audio', expected a text model"):
        fill_decoder(Decoder(DECODER), tmp_path)
