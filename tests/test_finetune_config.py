"""Settings of a run: defaults, sections, flags, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from finetune.__main__ import main
from finetune.config import TrainConfig, resumed_config, train_config
from finetune.devices import settled
from qwen_audio.config import from_mapping, to_mapping
from qwen_audio.errors import ConfigError


def test_a_file_of_rows_is_all_that_a_run_needs() -> None:
    config = train_config(None, {"train_file": ["rows.jsonl"], "model": "mini"})
    assert [source.path for source in config.blend.sources] == ["rows.jsonl"]
    assert config.max_steps == 0 and config.num_train_epochs == 3.0 and config.encoder is None and config.augment is None


def test_validation_rows_are_named_by_files_and_by_sources(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"train_file": ["t.jsonl"], "validation": ["a.jsonl", {"path": "b.jsonl"}]}), encoding="utf-8")
    config = train_config(path, {"validation_file": ["c.jsonl"]})
    assert [source.path for source in config.validated_by] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert config.best_by == "score" and dataclasses.replace(config, predict_with_generate=False).best_by == "loss"
    assert from_mapping(TrainConfig, json.loads(json.dumps(to_mapping(config)))) == config


def test_bfloat16_is_left_to_the_device_where_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    config, cpu = train_config(None, {"train_file": ["rows.jsonl"]}), torch.device("cpu")
    assert config.bf16 is None and settled(config, torch.device("cuda")).bf16 is True
    for units, wanted in (({"avx2": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: units)
        assert settled(config, cpu).bf16 is wanted
    assert settled(dataclasses.replace(config, bf16=True), cpu).bf16 is True
    assert train_config(None, {"train_file": ["rows.jsonl"], "bf16": False}).bf16 is False


def test_names_are_those_of_transformers_where_it_has_them() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = {spec.name for spec in dataclasses.fields(transformers.TrainingArguments)}
    shared = {
        "output_dir", "max_steps", "num_train_epochs", "learning_rate", "warmup_steps", "weight_decay", "adam_beta1",
        "adam_beta2", "adam_epsilon", "max_grad_norm", "per_device_train_batch_size", "gradient_accumulation_steps", "bf16",
        "use_cpu", "gradient_checkpointing", "deepspeed", "seed", "save_steps",
        "save_total_limit", "logging_steps", "resume_from_checkpoint", "optim", "eval_steps", "eval_on_start",
        "per_device_eval_batch_size", "metric_for_best_model", "report_to", "dataloader_num_workers",
        "lr_scheduler_type",
    }  # fmt: skip
    ours = {spec.name for spec in dataclasses.fields(TrainConfig)}
    assert shared <= ours and shared <= theirs


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deepspeed": "zero2", "optim": "muon"}, "take adamw with deepspeed"),
        ({"offload": True}, "offload needs deepspeed"),
        ({"stage": "encoder"}, "stage encoder learns by ctc_weight and class_weight"),
        ({"stage": "sft", "ctc_weight": 0.1}, "which stage sft freezes"),
        ({"num_train_epochs": 0.0}, "say with one of them how long to train"),
        ({"encoder_lr_decay": 1.5}, "expected a share above 0"),
        ({"batch_tokens": 0}, "batch_tokens is 0: expected at least 1"),
        ({"gradient_accumulation_steps": -1}, "expected 0 or more"),
        ({"lora_r": 4}, "name it with --model"),
        ({"deepspeed": "zero9"}, "expected one of"),
        ({"stage": "dpo"}, "expected one of pretrain, sft, joint, encoder"),
        ({"nonsense": 1}, "unknown setting nonsense"),
        ({"early_stopping_patience": 2}, "early_stopping_patience needs rows to measure by: name them with --validation-file"),
        ({"eval_steps": 5}, "eval_steps needs rows to measure by"),
        ({"eval_on_start": True}, "eval_on_start needs rows to measure by"),
        ({"lora_target": ["*"]}, "lora_r is 0: give the adapters a rank"),
        ({"seed": -1}, "seed is -1: expected 0 or more"),
        ({"validation_file": ["rows.jsonl"]}, "rows.jsonl: rows cannot both teach and measure"),
        ({"validation": 7}, "validation is 7: expected a list of paths"),
        ({"validation": [{"paths": "x"}]}, "unknown setting paths"),
        ({"validation_file": ["d.jsonl"], "stage": "encoder", "ctc_weight": 0.1}, "stage encoder teaches no answers"),
        ({"validation_file": ["d.jsonl"], "predict_with_generate": False, "metric_for_best_model": "score"}, "there is but the loss"),
        ({"report_to": "wandb"}, "expected one of auto, tensorboard, none"),
        ({"max_eval_samples": 0}, "expected at least 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0: expected a number above 0"),
        ({"learning_rate": "nan"}, "learning_rate is nan: expected a number above 0"),
        ({"learning_rate": 1e-6}, "min_learning_rate is 1e-05, above learning_rate, 1e-06: the rate would rise"),
        ({"adam_beta2": 1.0}, "adam_beta2 is 1.0: expected 0 or more, below 1"),
        ({"lora_dropout": 1.5}, "lora_dropout is 1.5: expected 0 or more, below 1"),
        ({"warmup_steps": -3}, "warmup_steps is -3: expected 0 or more"),
        ({"max_grad_norm": "inf"}, "max_grad_norm is inf: expected 0 or more"),
        ({"validation_file": ["./x/../rows.jsonl"]}, "rows cannot both teach and measure"),
        ({"learning_rte": 1.0}, r"unknown setting learning_rte; did you mean learning_rate\?"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"train_file": ["rows.jsonl"], **changes}), encoding="utf-8")  # JSON is YAML too
    with pytest.raises(ConfigError, match=said):
        train_config(path, {})


def test_rows_that_a_glob_names_cannot_measure_either(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"dev\.jsonl: rows cannot both teach and measure"):
        TrainConfig(train_file=(str(tmp_path / "*.jsonl"),), validation_file=(str(tmp_path / "dev.jsonl"),))


def test_a_name_that_stands_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("train_file: [x.jsonl]\nlearning_rate: 1.0e-3\nlearning_rate: 1.0e-4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="learning_rate stands twice"):
        train_config(path, {})


def test_small_numbers_come_back_from_a_runs_settings(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("mixture: {sources: [{path: x.jsonl, weight: 0.00005}]}\n", encoding="utf-8")
    begun = train_config(path, {"output_dir": str(tmp_path)})
    (tmp_path / "config.json").write_text(json.dumps(to_mapping(begun)), encoding="utf-8")
    assert resumed_config({"output_dir": str(tmp_path)}) == begun


def test_epochs_that_a_flag_names_count_whatever_the_file_says_of_steps(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("train_file: [x.jsonl]\nmax_steps: 7\n", encoding="utf-8")
    assert train_config(path, {"num_train_epochs": 2.0}).max_steps == 0
    assert train_config(path, {"num_train_epochs": 2.0, "max_steps": 3}).max_steps == 3
    assert train_config(path, {}).max_steps == 7


def test_a_run_is_gone_on_with_its_own_settings_and_the_flags_over_them(tmp_path: Path) -> None:
    begun = train_config(
        None, {"train_file": ["rows.jsonl"], "temperature": float("inf"), "resume_from_checkpoint": "none", "max_steps": 7}
    )
    (tmp_path / "config.json").write_text(json.dumps(to_mapping(begun)), encoding="utf-8")
    found = resumed_config({"output_dir": str(tmp_path), "learning_rate": 5e-5})
    assert found == dataclasses.replace(begun, output_dir=str(tmp_path), learning_rate=5e-5, resume_from_checkpoint="auto")
    with pytest.raises(ConfigError, match="no such file; name the folder of a run with --output-dir"):
        resumed_config({"output_dir": str(tmp_path / "nowhere")})


def test_the_commands_take_their_flags_in_both_spellings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "--output_dir", str(tmp_path), "--max-steps", "3"]) == 1
    assert "name the folder of a run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--local_rank=1", "train", "--help"])  # as deepspeed's launcher says it
    assert "--gradient-accumulation-steps" in capsys.readouterr().out
