"""Settings: dataclass <- mapping, dataclass -> flags, and the errors that a user meets."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from qwen_audio.config import (
    DecoderConfig,
    EncoderConfig,
    GenerationOptions,
    LoadOptions,
    ModelConfig,
    add_flags,
    from_flags,
    from_mapping,
    option,
    sampling_from_flags,
    to_mapping,
)
from qwen_audio.errors import USER_ERRORS, AudioTooLongError, ConfigError, QwenAudioError, fail
from tag_schema.vocabulary import TagError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Hold one field of each kind that settings have."""

    rate: float = option(1e-3, "a step")
    folds: tuple[int, ...] = option((1, 2), "some numbers")
    shuffle: bool = option(True, "yes or no")
    name: str | None = option(None, "a word")


def parse(kind: type, line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_flags(parser, kind)
    return parser.parse_args(line.split())


def test_the_default_model_is_the_released_one() -> None:
    config = ModelConfig()
    assert (config.encoder.width, config.encoder.heads, config.encoder.layers) == (1280, 20, 32)  # Whisper-large-v2's published sizes
    assert config.decoder.heads * config.decoder.head_size == config.decoder.width == 4096  # Qwen-7B's
    assert config.learned_bounds


def test_a_model_config_survives_json() -> None:
    config = ModelConfig(family="qwen2-audio", encoder=EncoderConfig(n_mels=128), decoder=DecoderConfig(kv_heads=8, tied_embeddings=True))
    again = from_mapping(ModelConfig, json.loads(json.dumps(to_mapping(config))))
    assert again == config
    assert not again.learned_bounds


def test_an_unknown_setting_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"config\.json\.encoder: unknown setting widht; did you mean width\?"):
        from_mapping(ModelConfig, {"encoder": {"widht": 32}}, "config.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": "fast"}, r"config\.rate is 'fast': expected float"),
        ({"rate": True}, r"config\.rate is True: expected float"),
        ({"folds": 3}, r"config\.folds is 3: expected a list"),
        ({"folds": [1, "two"]}, r"config\.folds is 'two': expected int"),
        ({"shuffle": 1}, r"config\.shuffle is 1: expected bool"),
        ({"name": 7}, r"config\.name is 7: expected str"),
        ([1, 2], r"expected a mapping of settings, found list"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(values: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Sample, values)  # type: ignore[arg-type]


def test_plain_values_become_what_the_field_holds() -> None:
    # YAML 1.1 reads 1e-4 as a string, and lists where tuples are meant
    assert from_mapping(Sample, {"rate": "1e-4", "folds": [3], "name": None}) == Sample(rate=1e-4, folds=(3,))
    rate = from_mapping(Sample, {"rate": 2}).rate
    assert rate == 2.0 and isinstance(rate, float)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EncoderConfig(width=33, heads=2), "33 is not a multiple of its 2 heads"),
        (lambda: DecoderConfig(heads=4, kv_heads=3), "4 query heads cannot share 3 key heads"),
        (lambda: DecoderConfig(head_size=15), "head_size is 15"),
        (lambda: DecoderConfig(layers=0), "layers is 0: expected a number above 0"),
        (lambda: ModelConfig(audio_pad_id=155_947), "audio_pad_id is 155947: expected an id below"),
        (lambda: ModelConfig(family="whisper"), "family is 'whisper': expected one of qwen-audio, qwen2-audio"),  # type: ignore[arg-type]
        (lambda: GenerationOptions(max_new_tokens=0), "max_new_tokens is 0"),
        (lambda: GenerationOptions(temperature=-1), "temperature is -1"),
        (lambda: GenerationOptions(top_k=-1), "top_k is -1"),
        (lambda: GenerationOptions(top_p=0), "top_p is 0"),
        (lambda: GenerationOptions(repetition_penalty=0), "repetition_penalty is 0"),
        (lambda: GenerationOptions(repetition_penalty=math.inf), "repetition_penalty is inf"),
        (lambda: GenerationOptions(temperature=math.nan), "temperature is nan"),
        (lambda: GenerationOptions(temperature=math.inf), "temperature is inf"),
        (lambda: GenerationOptions(seed=2**63), "seed is 9223372036854775808"),
        (lambda: LoadOptions(dtype="int8"), "dtype is 'int8'"),
        (lambda: LoadOptions(device="gpu"), "device is 'gpu'"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_when_it_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_value_out_of_range_is_named_with_its_file_and_section() -> None:
    with pytest.raises(ConfigError, match=r"^config\.json: model\.encoder: heads is 0: expected a number above 0$"):
        from_mapping(ModelConfig, {"encoder": {"heads": 0}}, "config.json: model")


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GenerationOptions().top_p = 1.0  # type: ignore[misc]


def test_a_default_that_could_be_changed_from_afar_is_refused() -> None:
    with pytest.raises(TypeError, match="mutable"):
        option([], "a list")


@pytest.mark.parametrize("line", ["--max-new-tokens 7 --top-p 0.9 --greedy", "--max_new_tokens 7 --top_p 0.9 --greedy"])
def test_flags_take_both_spellings(line: str) -> None:
    assert from_flags(GenerationOptions, parse(GenerationOptions, line)) == GenerationOptions(max_new_tokens=7, top_p=0.9, greedy=True)


def test_flags_that_were_not_given_leave_the_checkpoints_options_alone() -> None:
    base = GenerationOptions(top_p=0.8, greedy=True)
    options = from_flags(GenerationOptions, parse(GenerationOptions, "--no-greedy --seed 3"), base)
    assert options == GenerationOptions(top_p=0.8, greedy=False, seed=3)


def test_a_field_of_several_values_is_a_flag_of_several_values() -> None:
    assert from_flags(Sample, parse(Sample, "--folds 4 5 6 --no-shuffle")) == Sample(folds=(4, 5, 6), shuffle=False)


def test_nested_settings_and_skipped_fields_have_no_flags() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, ModelConfig, skip=("family",))
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert "--audio-pad-id" in flags
    assert not flags & {"--family", "--encoder", "--decoder"}


def test_temperature_zero_is_greedy() -> None:
    assert GenerationOptions(temperature=0).deterministic
    assert GenerationOptions(greedy=True).deterministic
    assert not GenerationOptions().deterministic


def test_a_users_mistake_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(ConfigError("top_p is 3:\n  expected a number in (0, 1]")) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: top_p is 3: expected a number in (0, 1]\n"
    assert printed.out == ""


def test_commands_catch_every_error_of_a_user() -> None:
    assert issubclass(AudioTooLongError, QwenAudioError)
    assert set(USER_ERRORS) == {QwenAudioError, TagError}


@pytest.mark.parametrize(
    ("flags", "greedy"),
    [
        ([], True),
        (["--seed", "3", "--max-new-tokens", "9"], True),
        (["--temperature", "0.7"], False),
        (["--top-k", "5"], False),
        (["--top-p", "0.9"], False),
        (["--top-p", "0.9", "--greedy"], True),
        (["--no-greedy"], False),
    ],
)
def test_asking_for_a_temperature_ends_a_checkpoints_greediness(flags: list[str], greedy: bool) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, GenerationOptions)
    options = sampling_from_flags(parser.parse_args(flags), GenerationOptions(greedy=True, max_new_tokens=4))
    assert options.greedy is greedy
    assert options.max_new_tokens == (9 if "9" in flags else 4)
