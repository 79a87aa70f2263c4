"""Released Qwen-Audio checkpoints and our own layout: names, shapes, settings, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_model import WIDTHS, archive, clips, difference, golden, places_of, released_vectors
from safetensors.torch import load_file, save_file
from torch import Tensor

from qwen_audio.config import GenerationOptions, ModelConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints import find, ours, qwen2_audio, qwen_audio, writing
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import empty_model, load_checkpoint
from qwen_audio.model.checkpoints.reading import WeightFiles, read_generation, shapes_of
from qwen_audio.model.checkpoints.writing import Staged, remove_stale_weights, write_weights
from qwen_audio.model.joint import QwenAudio

LAYOUT = json.loads((Path(__file__).parent / "golden" / "released_layout.json").read_text())
RELEASED: dict[str, Any] = {  # config.json of Qwen-Audio as released
    "architectures": ["QWenLMHeadModel"],
    "model_type": "qwen",
    "torch_dtype": "bfloat16",
    "vocab_size": 155947,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "kv_channels": 128,
    "intermediate_size": 22016,
    "layer_norm_epsilon": 1e-06,
    "initializer_range": 0.02,
    "max_position_embeddings": 2048,
    "seq_length": 2048,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "use_flash_attn": "auto",
    "no_bias": True,
    "scale_attn_weights": True,
    "tie_word_embeddings": False,
    "onnx_safe": None,
    "audio": {
        "n_mels": 80,
        "n_ctx": 1500,
        "n_state": 1280,
        "n_head": 20,
        "n_layer": 32,
        "output_dim": 4096,
        "avg_pool": True,
        "add_audio_bos_eos_token": True,
        "audio_start_id": 155163,
    },
}
GOLDEN: dict[str, Any] = RELEASED | {
    "vocab_size": 640,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "kv_channels": 16,
    "intermediate_size": 176,
    "audio": RELEASED["audio"] | {"n_state": 48, "n_head": 3, "n_layer": 2, "output_dim": 64, "audio_start_id": 600, "audio_pad_id": 599},
}


def unfold(pattern: str) -> list[str]:
    return [pattern.replace("{i}", str(i)) for i in range(LAYOUT["layers"])] if "{i}" in pattern else [pattern]


def with_audio(**changes: object) -> dict:
    return RELEASED | {"audio": RELEASED["audio"] | changes}


def golden_state() -> dict[str, Tensor]:
    """Give the golden weights under their released names; the positions are sinusoids and not in the archive."""
    state = {name.removeprefix("sd/"): golden(name).clone() for name in archive() if name.startswith("sd/")}
    scales = np.exp(-math.log(10_000) / 23 * np.arange(24))
    angles = np.arange(1500)[:, None] * scales
    positions = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
    return state | {"transformer.audio.positional_embedding": torch.from_numpy(positions)}


def write_released(directory: Path, state: dict[str, Tensor], config: dict = GOLDEN, shards: int = 3) -> Path:
    """Write a directory as Qwen-Audio was released: shards, an index, config.json."""
    names = sorted(state)
    weight_map: dict[str, str] = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = names[i::shards]
        save_file({name: state[name].contiguous() for name in part}, directory / file)
        weight_map |= dict.fromkeys(part, file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def logits_a(model: QwenAudio) -> Tensor:
    """Run the golden text A, whose clips carry the released encoder's batched vectors, and keep the stored positions."""
    ids, vectors = golden("in/idsA"), released_vectors(batched=True)
    with torch.no_grad():
        hidden = model.decoder(model.embed(ids, vectors, places_of(ids, vectors)))
        return model.decoder.logits(hidden[:, ::16])


# Full size -----------------------------------------------------------------------------------------------------------


def test_a_full_size_model_has_the_released_keys_and_shapes() -> None:
    released = {name: tuple(shape) for pattern, shape in LAYOUT["shapes"] for name in unfold(pattern)}
    config = qwen_audio.read_config(RELEASED, "config.json")
    shapes = shapes_of(empty_model(config))
    stored = {theirs: shapes[name] for name, (theirs,) in qwen_audio.model_plan(config).items()}
    assert stored == released
    assert len(stored) == LAYOUT["n_keys"] == 749
    assert sum(math.prod(shape) for shape in stored.values()) == LAYOUT["n_numbers"] == 8_396_222_464


def test_both_spellings_of_every_weight_agree_with_the_published_map() -> None:
    published = {
        (source, tuple(rows) if rows else None, target)
        for sources, rows, targets in LAYOUT["renamings"]
        for source, target in zip(unfold(sources), unfold(targets) if targets else [None], strict=True)
    }
    prefixes = qwen2_audio.Prefixes("audio_tower.", "multi_modal_projector.linear.", "model.", "lm_head.")  # as the map writes them
    theirs = qwen2_audio.model_plan(ModelConfig(), prefixes)
    found = set()
    for name, (released,) in qwen_audio.model_plan(ModelConfig()).items():
        targets = theirs.get(name, (None,))
        rows = [(4096 * i, 4096 * (i + 1)) for i in range(3)] if len(targets) == 3 else [None]
        found |= {(released, part, target) for part, target in zip(rows, targets, strict=True)}
    assert found == published
    assert len(found) == LAYOUT["n_renamings"] == 877


# Settings ------------------------------------------------------------------------------------------------------------


def test_the_released_config_is_the_default_model() -> None:
    assert qwen_audio.read_config(RELEASED, "config.json") == ModelConfig()


def test_the_first_chat_uploads_start_id_is_refused_with_the_right_one() -> None:
    with pytest.raises(CheckpointError, match=r"audio_start_id is 155164 \(the id of </audio>.*expected 155163"):
        qwen_audio.read_config(with_audio(audio_start_id=155164), "config.json")
    with pytest.raises(CheckpointError, match=r"audio_start_id is 155000, expected 155163"):
        qwen_audio.read_config(with_audio(audio_start_id=155000), "config.json")


def test_an_outdated_epsilon_is_kept_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = qwen_audio.read_config(RELEASED | {"layer_norm_epsilon": 1e-05, "max_position_embeddings": 8192}, "config.json")
    assert config.decoder.norm_eps == 1e-5
    assert "layer_norm_epsilon is 1e-05" in caplog.text


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (RELEASED | {"rotary_pct": 0.5, "no_bias": False}, "rotary_pct is 0.5, expected 1.0; no_bias is False, expected True"),
        (with_audio(avg_pool=False), "avg_pool is False, expected True"),
        (with_audio(output_dim=2048), "output_dim is 2048, expected 4096"),
        ({key: value for key, value in RELEASED.items() if key != "kv_channels"}, "kv_channels is missing"),
        (RELEASED | {"hidden_size": "wide"}, "hidden_size is 'wide', expected int"),
        (with_audio(n_head=7), "width 1280 is not a multiple of its 7 heads"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused_by_name(values: dict, named: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        qwen_audio.read_config(values, "config.json")
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (  # the released base model's
            {"chat_format": "raw", "eos_token_id": 151643, "max_new_tokens": 512, "do_sample": True, "top_k": 0, "top_p": 0.8},
            GenerationOptions(top_k=0, top_p=0.8),
        ),
        ({"max_window_size": 6144, "max_new_tokens": 512, "do_sample": True, "top_k": 0, "top_p": 0.5}, GenerationOptions()),  # Chat's
        ({"max_new_tokens": None, "top_p": 0.7}, GenerationOptions(greedy=True, top_k=50, top_p=0.7)),
    ],
)
def test_sampling_defaults_are_read_as_transformers_reads_them(tmp_path: Path, stored: dict, expected: GenerationOptions) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(stored))
    assert read_generation(tmp_path) == expected


def test_a_generation_config_at_fault_is_named(tmp_path: Path) -> None:
    assert read_generation(tmp_path) == GenerationOptions()
    (tmp_path / "generation_config.json").write_text('{"top_p": 3}')
    with pytest.raises(CheckpointError, match=r"generation_config\.json: top_p is 3"):
        read_generation(tmp_path)


# Released directories ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_a_released_directory_reaches_the_golden_logits(tmp_path: Path, width: int) -> None:
    loaded = load_checkpoint(write_released(tmp_path, golden_state(), GOLDEN | {"seq_length": width}))
    assert loaded.layout == "qwen-audio"
    assert (loaded.config.audio_start_id, loaded.config.audio_pad_id, loaded.config.audio_end_id) == (600, 599, 601)
    assert difference(logits_a(loaded.model), golden(f"dec/w{width}/A/logits")) < 1e-4


def test_a_released_directory_hears_the_golden_vectors(tmp_path: Path) -> None:
    model = load_checkpoint(write_released(tmp_path, golden_state())).model
    with torch.no_grad():
        heard = model.encode_audio(*model.log_mel(clips()))
    for found, released in zip(heard, released_vectors(), strict=True):
        assert difference(found, released) < 1e-4


def test_computed_buffers_in_the_files_are_tolerated(tmp_path: Path) -> None:
    extra = {"transformer.rotary_emb.inv_freq": torch.ones(8), "transformer.h.0.attn.rotary_emb.inv_freq": torch.ones(8)}
    extra |= {"transformer.h.2.attn.masked_bias": torch.tensor(-1e4), "transformer.h.2.attn.logn_tensor": torch.ones(1, 9, 1, 1)}
    model = load_checkpoint(write_released(tmp_path, golden_state() | extra)).model
    assert difference(logits_a(model), golden("dec/w2048/A/logits")) < 1e-4


def test_one_error_lists_what_is_missing_surplus_and_misshapen(tmp_path: Path) -> None:
    state = golden_state()
    for i in range(3):
        del state[f"transformer.h.{i}.ln_1.weight"], state[f"transformer.h.{i}.ln_2.weight"]
    state["transformer.h.7.ln_1.weight"] = torch.ones(64)
    state["transformer.audio.proj.weight"] = torch.ones(60, 48)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(write_released(tmp_path, state))
    message = str(caught.value)
    assert "6 missing: transformer.h.0.ln_1.weight, transformer.h.0.ln_2.weight, " in message and " and 1 more" in message
    assert "1 surplus: transformer.h.7.ln_1.weight" in message
    assert "1 wrong shape: transformer.audio.proj.weight (60, 48), expected (64, 48)" in message


def test_weights_come_in_the_numbers_and_copies_that_were_asked_for(tmp_path: Path) -> None:
    state = {name: tensor.bfloat16() for name, tensor in golden_state().items()}
    write_released(tmp_path, state)
    kept = load_checkpoint(tmp_path).model
    widened = load_checkpoint(tmp_path, dtype=torch.float32).model
    assert {tensor.dtype for tensor in kept.state_dict().values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in widened.state_dict().values()} == {torch.float32}
    assert not kept.training
    wanted = state["transformer.wte.weight"].clone()
    for shard in tmp_path.glob("*.safetensors"):
        shard.write_bytes(b"\0" * shard.stat().st_size)  # a model must not look into files that may change
    assert torch.equal(kept.decoder.embedding.weight, wanted)
    assert torch.equal(widened.decoder.embedding.weight, wanted.float())


def test_missing_and_damaged_shards_are_named(tmp_path: Path) -> None:
    write_released(tmp_path, golden_state())
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00003\.safetensors missing of the 3 shards"):
        load_checkpoint(tmp_path)
    first = tmp_path / "model-00001-of-00003.safetensors"
    (tmp_path / "model-00002-of-00003.safetensors").write_bytes(first.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model-00002-of-00003\.safetensors: not a whole safetensors file"):
        load_checkpoint(tmp_path)


def test_pickles_quantized_weights_and_strangers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GOLDEN))
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_checkpoint(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"found pytorch_model\.bin .*safe_serialization=True"):
        load_checkpoint(tmp_path)
    save_file({"transformer.h.0.attn.c_attn.qweight": torch.ones(2, 2, dtype=torch.int32)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"qweight \(I32\); quantized"):
        load_checkpoint(tmp_path)
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    for kind, named in [("llama", "model_type is 'llama'"), ("qwen2", "text model"), ("whisper", "its encoder")]:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(CheckpointError, match=named):
            load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="expected a JSON object, found list"):
        load_checkpoint(tmp_path)


# Our own layout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
def test_what_was_saved_is_loaded_bit_for_bit(tiny_config: ModelConfig, tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(3)
    model = QwenAudio(dataclasses.replace(tiny_config, decoder=dataclasses.replace(tiny_config.decoder, tied_embeddings=tied)))
    options = GenerationOptions(top_p=0.9, greedy=True)
    ours.save(model, tmp_path / "new" / "place", generation=options, custom_tags={"<|ar|>": 0})
    loaded = load_checkpoint(tmp_path / "new" / "place")
    assert (loaded.config, loaded.generation, loaded.layout) == (model.config, options, "ours")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    values = json.loads((tmp_path / "new" / "place" / "config.json").read_text())
    assert (values["format"], values["version"], values["custom_tags"]) == ("qwen_audio", 1, {"<|ar|>": 0})
    files = sorted((tmp_path / "new" / "place").iterdir())
    assert [path.name for path in files] == ["config.json", "model.safetensors"]
    assert len({path.stat().st_mode for path in files}) == 1  # readable by those who may read any new file


def test_a_model_is_stored_in_bf16_when_asked(tiny_model: QwenAudio, tmp_path: Path) -> None:
    ours.save(tiny_model, tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(stored[name], tensor.bfloat16()) for name, tensor in tiny_model.state_dict().items())
    assert tiny_model.dtype == torch.float32


def test_a_crash_while_saving_leaves_the_older_checkpoint(tiny_model: QwenAudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours.save(tiny_model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(tensors: dict[str, Tensor], path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(writing, "save_file", full)
    with torch.no_grad():
        tiny_model.decoder.norm.weight.add_(1)
    with pytest.raises(OSError, match="No space left"):
        ours.save(tiny_model, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_shards_are_read_back_and_an_older_split_is_removed(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.full((10, 10), float(i)) for i in range(7)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for limit, files in ((850, 4), (10_000, 1), (850, 4)):
        with Staged(tmp_path) as staged:
            names = write_weights(staged, shapes, tensors.__getitem__, torch.float32, shard_bytes=limit)
        remove_stale_weights(tmp_path, names)
        assert len(list(tmp_path.glob("*.safetensors"))) == files
        weights = WeightFiles(tmp_path)
        assert all(torch.equal(weights.read(name), tensor) for name, tensor in tensors.items())
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 7 * 400


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 2}, "version is 2, this program reads 1"),
        ({"extra": 1}, "unknown key extra"),
        ({"model": {"family": "qwen-audio", "depth": 3}}, "unknown setting depth"),
        ({"generation": {"top_p": 0}}, "top_p is 0"),
    ],
)
def test_settings_of_ours_that_do_not_fit_are_named(tiny_model: QwenAudio, tmp_path: Path, change: dict, named: str) -> None:
    ours.save(tiny_model, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(tmp_path)


# Finding -------------------------------------------------------------------------------------------------------------


def test_names_of_checkpoints_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint(str(tmp_path)) == tmp_path
    assert find_checkpoint(tmp_path) == tmp_path
    bundled = tmp_path / "mini"
    monkeypatch.setattr(find, "BUNDLED_DIRECTORY", bundled)
    with pytest.raises(CheckpointError, match="the bundled model is not at"):
        find_checkpoint("mini")
    bundled.mkdir()
    (bundled / "config.json").write_text("{}")
    assert find_checkpoint("mini") == bundled
    with pytest.raises(CheckpointError, match="a file, expected the directory"):
        find_checkpoint(bundled / "config.json")
    for name in ("no/such/directory", "/nowhere", "nothing", ""):
        with pytest.raises(CheckpointError, match="no such directory"):
            find_checkpoint(name)


def test_the_hub_is_asked_only_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict] = []

    def snapshot(hub_id: str, **options: object) -> str:
        asked.append({"id": hub_id, **options})
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert find_checkpoint("Qwen/Qwen-Audio-Chat") == find_checkpoint("Qwen/Qwen-Audio-Chat", allow_download=True) == tmp_path
    assert [call["local_files_only"] for call in asked] == [True, False]
    assert not [pattern for call in asked for pattern in call["allow_patterns"] if pattern.endswith((".bin", ".py", ".pt", "*"))]


def test_a_hub_id_that_is_not_here_names_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"Qwen/Not-Here: no such directory.*--allow-download"):
        find_checkpoint("Qwen/Not-Here")
