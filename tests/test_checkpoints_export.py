"""The export to transformers' Qwen2Audio: transformers loads it and is the oracle for its logits, ids and prompt."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qwen_audio.audio import AudioClip, audio_token_count, read_audio
from qwen_audio.config import GenerationOptions, ModelConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints.export import ChatIds, export_transformers
from qwen_audio.model.checkpoints.load import load_checkpoint
from qwen_audio.model.joint import QwenAudio
from qwen_audio.prompt import Message, render_chat
from qwen_audio.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")
soundfile = pytest.importorskip("soundfile")

TEXT = "what is it?"


def randomised(config: ModelConfig) -> QwenAudio:
    """Build a model whose every parameter is drawn from one seed."""
    model = QwenAudio(config)
    draw = torch.Generator().manual_seed(31)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=draw)
            size = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(noise * size + float(name.endswith("norm.weight")))
    return model.eval()


def ids_of(tokenizer: Tokenizer) -> ChatIds:
    return ChatIds(end_of_text=tokenizer.end_of_text, im_end=tokenizer.im_end)


@pytest.fixture(scope="module")
def model(tiny_config: ModelConfig) -> QwenAudio:
    """Build the tiny model with a seq_length that 30 s fit into."""
    return randomised(dataclasses.replace(tiny_config, decoder=dataclasses.replace(tiny_config.decoder, seq_length=1024)))


@pytest.fixture(scope="module")
def exported(model: QwenAudio, tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported")
    export_transformers(model, directory, ids_of(tiny_tokenizer), generation=GenerationOptions(top_p=0.8, max_new_tokens=64))
    tiny_tokenizer.write_transformers(directory)
    return directory


@pytest.fixture(scope="module")
def theirs(exported: Path):
    loaded, report = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(exported, output_loading_info=True)
    assert not any(report.values()), report
    return loaded.eval()


@pytest.fixture(scope="module")
def processor(exported: Path):
    return transformers.AutoProcessor.from_pretrained(exported)


def our_logits(model: QwenAudio, tokenizer: Tokenizer, sound: AudioClip) -> tuple[torch.Tensor, torch.Tensor]:
    """Run our model on a clip and TEXT: ids (1, T), logits (1, T, vocab)."""
    count = audio_token_count(len(sound.samples))
    ids = [tokenizer.audio_start, *[tokenizer.audio_pad] * (count - 2), tokenizer.audio_end, *tokenizer.encode_text(TEXT)]
    mels, frames = model.log_mel([sound])
    with torch.no_grad():
        out = model(torch.tensor([ids]), mels=mels, frames=frames, places=torch.tensor([[0, 0, count]]))
        return torch.tensor([ids]), model.decoder.logits(out.hidden)


def processed(processor, sound: AudioClip) -> dict[str, torch.Tensor]:
    """Prepare a clip and TEXT as a user of transformers would."""
    text = f"<|audio_bos|><|AUDIO|><|audio_eos|>{TEXT}"
    return dict(processor(text=text, audio=[sound.samples], sampling_rate=16_000, return_tensors="pt"))


@pytest.mark.parametrize("n_samples", [480, 1120, 16_000, 16_001, 16_160, 64_321, 160_001, 479_841, 480_000])
def test_logits_are_ours_where_the_mel_is_zero_past_the_clip(
    model, theirs, processor, tiny_tokenizer: Tokenizer, clip: Callable[..., AudioClip], n_samples: int
) -> None:
    sound = clip(n_samples=n_samples, seed=n_samples)
    ids, wanted = our_logits(model, tiny_tokenizer, sound)
    inputs = processed(processor, sound)
    kept = 2 * -(-(n_samples // 160) // 2)  # whole frames, rounded up to even: what Qwen-Audio's encoder hears
    mel = inputs["input_features"].clone()
    mel[:, :, kept:] = 0
    mask = torch.zeros_like(inputs["feature_attention_mask"])
    mask[:, :kept] = 1
    with torch.no_grad():
        found = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), input_features=mel, feature_attention_mask=mask).logits
    assert (found - wanted).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("n_samples", "edge"),
    [(16_000, 0.05), (37_760, 0.05), (64_320, 0.05), (16_161, 0.05), (16_001, 0.2), (96_100, 0.2), (479_841, 0), (480_000, 0)],
)
def test_a_wav_through_their_processor_differs_by_the_edge_of_the_clip_alone(
    model, theirs, processor, tiny_tokenizer: Tokenizer, clip: Callable[..., AudioClip], tmp_path: Path, n_samples: int, edge: float
) -> None:
    """Their encoder hears the frame behind ours' last, and a state more where a clip ends within a frame of odd number.

    On logits of standard deviation 1 that is 0.03 and 0.18 at worst (see export.py); a full window has no edge.
    """
    soundfile.write(tmp_path / "a.wav", clip(n_samples=n_samples, seed=n_samples).samples, 16_000, subtype="FLOAT")
    ids, wanted = our_logits(model, tiny_tokenizer, read_audio(tmp_path / "a.wav"))
    heard = transformers.audio_utils.load_audio(str(tmp_path / "a.wav"), sampling_rate=16_000)
    inputs = processor(text=f"<|audio_bos|><|AUDIO|><|audio_eos|>{TEXT}", audio=[heard], sampling_rate=16_000, return_tensors="pt")
    assert inputs["input_ids"].tolist() == ids.tolist()
    with torch.no_grad():
        behind = (theirs(**inputs).logits - wanted)[:, -len(tiny_tokenizer.encode_text(TEXT)) :]  # where an answer is read
    difference = behind.abs().max()
    assert difference < (edge or 1e-4)
    assert edge == 0 or difference > 1e-4  # else there was no edge and the figures are wrong


def test_a_clip_that_ends_within_a_frame_may_have_one_vector_more_there(
    theirs, processor, tiny_tokenizer: Tokenizer, clip: Callable[..., AudioClip]
) -> None:
    """They count started frames, Qwen-Audio whole ones: 403 and 402 of these samples, 101 and 100 vectors."""
    inputs = processed(processor, clip(n_samples=64_321))
    assert audio_token_count(64_321) - 2 == 100
    assert int((inputs["input_ids"] == tiny_tokenizer.audio_pad).sum()) == 101
    with torch.no_grad():
        assert theirs(**inputs).logits.isfinite().all()


def test_the_learned_bounds_are_the_embeddings_of_their_tokens(model, exported: Path) -> None:
    stored = load_file(exported / "model.safetensors")["language_model.model.embed_tokens.weight"]
    config = model.config
    assert torch.equal(stored[[config.audio_start_id, config.audio_end_id]], model.audio_bounds.weight)
    others = torch.ones(len(stored), dtype=torch.bool)
    others[[config.audio_start_id, config.audio_end_id]] = False
    assert torch.equal(stored[others], model.decoder.embedding.weight[others])


def test_the_chat_template_and_tokenizer_give_the_ids_of_our_prompt(
    processor, tiny_tokenizer: Tokenizer, clip: Callable[..., AudioClip]
) -> None:
    first, second = clip(1.0, seed=1), clip(2.0, seed=2)
    prompt = render_chat(
        [Message("user", (first, "What is it?")), Message("assistant", ("A dog.",)), Message("user", (second, "And this, 你好?"))],
        tiny_tokenizer,
    )
    messages = [
        {"role": "user", "content": [{"type": "audio", "audio_url": "1.wav"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": [{"type": "audio", "audio_url": "2.wav"}, {"type": "text", "text": "And this, 你好?"}]},
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=text, audio=[first.samples, second.samples], sampling_rate=16_000, return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == prompt.token_ids
    system = [{"role": "system", "content": ""}, {"role": "user", "content": "Hello"}]
    plain = processor.apply_chat_template(system, add_generation_prompt=True, tokenize=False)
    rendered = render_chat([Message("system", ("",)), Message("user", ("Hello",))], tiny_tokenizer)
    assert processor.tokenizer(plain)["input_ids"] == rendered.token_ids


def test_the_settings_are_those_of_the_model(exported: Path, model, processor, tiny_tokenizer: Tokenizer) -> None:
    config = transformers.AutoConfig.from_pretrained(exported)
    assert config.text_config.max_position_embeddings == model.config.decoder.seq_length  # beyond it the two have nothing in common
    assert config.audio_token_id == tiny_tokenizer.audio_pad
    assert processor.feature_extractor.feature_size == 80
    assert processor.feature_extractor.nb_max_frames == 3000
    generation = transformers.GenerationConfig.from_pretrained(exported)
    assert (generation.do_sample, generation.top_p, generation.top_k, generation.max_new_tokens) == (True, 0.8, 0, 64)
    assert generation.eos_token_id == [tiny_tokenizer.im_end, tiny_tokenizer.end_of_text]
    audio_ids = [tiny_tokenizer.audio_start, tiny_tokenizer.audio_pad, tiny_tokenizer.audio_end]
    assert processor.tokenizer.convert_ids_to_tokens(audio_ids) == ["<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"]


def test_a_greedy_export_does_not_sample(model, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    export_transformers(model, tmp_path, ids_of(tiny_tokenizer), generation=GenerationOptions(greedy=True), dtype=torch.bfloat16)
    assert transformers.GenerationConfig.from_pretrained(tmp_path).do_sample is False
    assert transformers.Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_a_tied_head_keeps_its_rows_where_the_bounds_go_in(tiny_config: ModelConfig, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    tied = dataclasses.replace(tiny_config.decoder, tied_embeddings=True, kv_heads=1)
    model = randomised(dataclasses.replace(tiny_config, decoder=tied))
    export_transformers(model, tmp_path, ids_of(tiny_tokenizer), shard_bytes=100_000)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 3
    found = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert torch.equal(found.lm_head.weight, model.decoder.embedding.weight)
    ids = torch.tensor([tiny_tokenizer.encode_text(TEXT)])
    with torch.no_grad():
        wanted = model.decoder.logits(model(ids).hidden)
        assert (found(input_ids=ids).logits - wanted).abs().max() < 1e-4


def test_an_export_is_read_back_as_a_qwen2_audio(
    exported: Path, theirs, processor, tiny_tokenizer: Tokenizer, clip: Callable[..., AudioClip]
) -> None:
    loaded = load_checkpoint(exported)
    config = loaded.config
    assert (config.family, loaded.layout) == ("qwen2-audio", "qwen2-audio")
    assert (config.audio_start_id, config.audio_pad_id, config.audio_end_id) == (
        tiny_tokenizer.audio_start,
        tiny_tokenizer.audio_pad,
        tiny_tokenizer.audio_end,
    )
    sound = clip(n_samples=64_321)
    inputs = processed(processor, sound)
    mels, frames = loaded.model.log_mel([sound])
    with torch.no_grad():
        out = loaded.model(inputs["input_ids"], mels=mels, frames=frames, places=torch.tensor([[0, 0, 103]]))
        difference = loaded.model.decoder.logits(out.hidden) - theirs(**inputs).logits
    assert difference.abs().max() < 1e-4


def test_a_window_that_is_not_whole_seconds_is_refused(tiny_config: ModelConfig, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config, encoder=dataclasses.replace(tiny_config.encoder, n_ctx=125))
    with pytest.raises(CheckpointError, match="125 positions"):
        export_transformers(QwenAudio(config), tmp_path, ids_of(tiny_tokenizer))
    ten = dataclasses.replace(tiny_config, encoder=dataclasses.replace(tiny_config.encoder, n_ctx=500))
    export_transformers(QwenAudio(ten), tmp_path, ids_of(tiny_tokenizer))
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["chunk_length"] == 10
